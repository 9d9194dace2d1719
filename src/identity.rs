//! Whether a file, or a folder that is one array container, is still the one it was.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use embstore_formats::{Checksum, FormatError};

/// Device, inode, size and modification time of a file; of a folder, the size of all files in it and when the newest was
/// modified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    device: u64,
    inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// Seconds and nanoseconds since 1970.
    modified: (i64, i64),
    /// Of a folder: names, sizes and times of everything in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contents: Option<u64>,
}

impl Identity {
    /// The identity of the file or folder at `path`, which must be one that can be opened.
    ///
    /// # Errors
    /// Where it cannot.
    pub fn at(path: &Path) -> Result<Self, FormatError> {
        let file = File::open(path).map_err(FormatError::io("open", path))?;
        let identity = Self::of(&file).map_err(FormatError::io("read", path))?;
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return identity.with_contents(path).map_err(FormatError::io("list", path));
        }
        Ok(identity)
    }

    /// The identity of an open file.
    ///
    /// # Errors
    /// Where the system cannot tell.
    pub fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|metadata| Identity::from(&metadata))
    }

    /// The identity that a file will have once it is complete: the one that is open now, with so many bytes and modified
    /// so many seconds after 1970. It may be renamed until then.
    ///
    /// # Errors
    /// Where the system cannot tell.
    pub fn expected(part: &File, size: u64, modified_seconds: i64) -> io::Result<Self> {
        Ok(Identity { size, modified: (modified_seconds, 0), ..Self::of(part)? })
    }

    /// The part of its modification time below a second.
    #[must_use]
    pub fn modified_nanoseconds(&self) -> i64 {
        self.modified.1
    }

    /// Whether it is that of a folder. What is in one is looked at by [`Identity::at`] alone.
    pub(crate) fn is_folder(&self) -> bool {
        self.contents.is_some()
    }

    /// Whether an open file is still the one it was; of a folder, whether it is the same folder.
    pub(crate) fn is_of(&self, file: &File) -> bool {
        Self::of(file).is_ok_and(|found| match self.contents {
            Some(_) => (found.device, found.inode) == (self.device, self.inode),
            None => found == *self,
        })
    }

    fn with_contents(mut self, root: &Path) -> io::Result<Self> {
        let (mut folders, mut sum) = (vec![root.to_path_buf()], 0u64);
        self.size = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                if metadata.is_dir() {
                    folders.push(entry.path());
                    continue;
                }
                let modified = (metadata.mtime(), metadata.mtime_nsec());
                let path = entry.path();
                let name = path.strip_prefix(root).unwrap_or(&path);
                let seen = format!("{} {} {modified:?}", name.display(), metadata.len());
                // In whatever order they are listed.
                sum = sum.wrapping_add(Checksum::of(seen.as_bytes()).value());
                self.size = self.size.saturating_add(metadata.len());
                self.modified = self.modified.max(modified);
            }
        }
        self.contents = Some(sum);
        Ok(self)
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
            contents: None,
        }
    }
}
