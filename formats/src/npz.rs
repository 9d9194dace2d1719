//! The `.npz` archives of `numpy.savez`.

use std::path::Path;

use crate::error::FormatError;
use crate::format::{Confidence, Format, LocateOptions, Located, Probe};

/// The `.npz` archives of `numpy.savez`.
#[derive(Debug)]
pub(crate) struct Npz;

impl Format for Npz {
    fn name(&self) -> &'static str {
        "npz"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["npz"]
    }

    fn detect(&self, _probe: &Probe) -> Confidence {
        Confidence::No
    }

    fn locate(&self, path: &Path, _options: &LocateOptions) -> Result<Located, FormatError> {
        Err(FormatError::Container { path: path.to_path_buf(), what: "cannot be read yet".into(), hint: "wait" })
    }
}
