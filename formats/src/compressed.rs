//! Files that are compressed as a whole.

use std::path::Path;

use crate::error::FormatError;
use crate::format::{Confidence, Format, LocateOptions, Located, Probe};

/// Files that are compressed as a whole.
#[derive(Debug)]
pub(crate) struct Compressed;

impl Format for Compressed {
    fn name(&self) -> &'static str {
        "compressed"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["gz", "zst", "bz2", "xz", "lz4"]
    }

    fn detect(&self, _probe: &Probe) -> Confidence {
        Confidence::No
    }

    fn locate(&self, path: &Path, _options: &LocateOptions) -> Result<Located, FormatError> {
        Err(FormatError::Container { path: path.to_path_buf(), what: "cannot be read yet".into(), hint: "wait" })
    }
}
