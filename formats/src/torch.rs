//! The `.pt` archives of `torch.save`.

use std::path::Path;

use crate::error::FormatError;
use crate::format::{Confidence, Format, LocateOptions, Located, Probe};

/// The `.pt` archives of `torch.save`.
#[derive(Debug)]
pub(crate) struct Torch;

impl Format for Torch {
    fn name(&self) -> &'static str {
        "torch"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["pt", "pth"]
    }

    fn detect(&self, _probe: &Probe) -> Confidence {
        Confidence::No
    }

    fn locate(&self, path: &Path, _options: &LocateOptions) -> Result<Located, FormatError> {
        Err(FormatError::Container { path: path.to_path_buf(), what: "cannot be read yet".into(), hint: "wait" })
    }
}
