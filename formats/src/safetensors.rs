//! Safetensors.

use std::path::Path;

use crate::error::FormatError;
use crate::format::{Confidence, Format, LocateOptions, Located, Probe};

/// Safetensors.
#[derive(Debug)]
pub(crate) struct Safetensors;

impl Format for Safetensors {
    fn name(&self) -> &'static str {
        "safetensors"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["safetensors"]
    }

    fn detect(&self, _probe: &Probe) -> Confidence {
        Confidence::No
    }

    fn locate(&self, path: &Path, _options: &LocateOptions) -> Result<Located, FormatError> {
        Err(FormatError::Container { path: path.to_path_buf(), what: "cannot be read yet".into(), hint: "wait" })
    }
}
