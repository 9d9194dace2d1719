//! When the work on a file ends early.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::FileError;
use crate::progress::Cancel;

/// Two reasons to stop: the user asks, or another worker has the job.
#[derive(Clone, Copy)]
pub(in crate::embed) struct Stop<'a> {
    pub(in crate::embed) cancel: &'a Cancel,
    pub(in crate::embed) lost: &'a AtomicBool,
}

impl Stop<'_> {
    /// # Errors
    /// Where it is time to stop.
    pub(super) fn check(self, input: &Path) -> Result<(), FileError> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(FileError::LeaseLost { path: input.to_path_buf() });
        }
        if self.cancel.is_cancelled() { Err(FileError::Cancelled) } else { Ok(()) }
    }
}
