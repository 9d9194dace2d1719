//! HDF5.

use std::path::Path;

use crate::error::FormatError;
use crate::format::{Confidence, Format, LocateOptions, Located, Probe};

/// HDF5.
#[derive(Debug)]
pub(crate) struct Hdf5;

impl Format for Hdf5 {
    fn name(&self) -> &'static str {
        "hdf5"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["h5", "hdf5"]
    }

    fn detect(&self, _probe: &Probe) -> Confidence {
        Confidence::No
    }

    fn locate(&self, path: &Path, _options: &LocateOptions) -> Result<Located, FormatError> {
        Err(FormatError::Container { path: path.to_path_buf(), what: "cannot be read yet".into(), hint: "wait" })
    }
}
