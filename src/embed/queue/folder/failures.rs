//! `<output>.failed`: how often a job was tried in vain. Whoever writes it holds the claim.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use embstore_formats::FormatError;
use serde::{Deserialize, Serialize};

use crate::embed::queue::QueueError;

/// Tries that count, and why the last one failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failures {
    pub(super) tries: u32,
    /// Tries that were allowed when the last one failed.
    #[serde(default)]
    pub(super) allowed: u32,
    pub(super) error: String,
}

impl Failures {
    /// Whether the last try that was allowed has failed.
    pub(super) fn is_dead(&self) -> bool {
        self.tries > 0 && self.tries >= self.allowed
    }

    /// Those of this output; a file that cannot be read as such tells of none.
    pub(super) fn of(output: &Path) -> Self {
        fs::read(path_of(output)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    pub(super) fn write(&self, output: &Path) -> Result<(), QueueError> {
        let (path, draft) = (path_of(output), beside(output, ".failed.tmp"));
        fs::write(&draft, serde_json::to_vec(self).unwrap_or_default()).map_err(FormatError::io("write", &draft))?;
        Ok(fs::rename(&draft, &path).map_err(FormatError::io("rename", &draft))?)
    }

    /// Forgets those of this output; `false` where there were none.
    pub(super) fn forget(output: &Path) -> Result<bool, QueueError> {
        let path = path_of(output);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(FormatError::io("remove", &path)(error).into()),
        }
    }
}

fn path_of(output: &Path) -> PathBuf {
    beside(output, ".failed")
}

/// The file beside an output whose name has this at its end.
pub(super) fn beside(output: &Path, end: &str) -> PathBuf {
    let mut name = output.as_os_str().to_os_string();
    name.push(end);
    name.into()
}
