//! Zarr.

use std::path::Path;

use crate::error::FormatError;
use crate::format::{Confidence, Format, LocateOptions, Located, Probe};

/// Zarr.
#[derive(Debug)]
pub(crate) struct Zarr;

impl Format for Zarr {
    fn name(&self) -> &'static str {
        "zarr"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["zarr"]
    }

    fn detect(&self, _probe: &Probe) -> Confidence {
        Confidence::No
    }

    fn locate(&self, path: &Path, _options: &LocateOptions) -> Result<Located, FormatError> {
        Err(FormatError::Container { path: path.to_path_buf(), what: "cannot be read yet".into(), hint: "wait" })
    }
}
