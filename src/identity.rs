//! Whether a file is still the one it was.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use embstore_formats::FormatError;

/// Device, inode, size and modification time of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    device: u64,
    inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// Seconds and nanoseconds since 1970.
    modified: (i64, i64),
}

impl Identity {
    /// The identity of the file at `path`, which must be one that can be opened.
    ///
    /// # Errors
    /// Where it cannot.
    pub fn at(path: &Path) -> Result<Self, FormatError> {
        let file = File::open(path).map_err(FormatError::io("open", path))?;
        Self::of(&file).map_err(FormatError::io("read", path))
    }

    /// The identity of an open file.
    ///
    /// # Errors
    /// Where the system cannot tell.
    pub fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|metadata| Identity::from(&metadata))
    }

    /// The part of its modification time below a second.
    #[must_use]
    pub fn modified_nanoseconds(&self) -> i64 {
        self.modified.1
    }

    /// When it was modified last.
    #[must_use]
    pub fn modified(&self) -> SystemTime {
        let seconds = Duration::from_secs(self.modified.0.unsigned_abs());
        let whole =
            if self.modified.0 < 0 { SystemTime::UNIX_EPOCH - seconds } else { SystemTime::UNIX_EPOCH + seconds };
        whole + Duration::from_nanos(self.modified.1.unsigned_abs())
    }
}

impl From<&Metadata> for Identity {
    fn from(metadata: &Metadata) -> Self {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}
