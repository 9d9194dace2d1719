//! The nameless file that a compressed one is unpacked into.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes between two looks at the free space, at most.
const LOOK_EVERY: u64 = 16 << 20;
/// Free space that is left alone: a twentieth of the disk, but no more than this.
const MOST_RESERVED: u64 = 64 << 20;

pub(super) struct Spool {
    file: File,
    len: u64,
    /// Bytes that may be written before the next look.
    granted: u64,
}

/// Why nothing more can be written.
pub(super) enum Full {
    /// The disk has only these bytes left.
    Space(u64),
    Failed(io::Error),
}

impl Spool {
    /// The file has no name from the start where the system can do that, and loses it at once elsewhere.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        Ok(Spool { file: tempfile::tempfile_in(folder)?, len: 0, granted: 0 })
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn into_file(self) -> File {
        self.file
    }

    /// Forgets what was written.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        (self.len, self.granted) = (0, 0);
        self.file.set_len(0)
    }

    /// Positioned, so that the file's cursor stays at its start.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Full> {
        while !bytes.is_empty() {
            if self.granted == 0 {
                self.granted = self.look()?;
            }
            let n = bytes.len().min(usize::try_from(self.granted).unwrap_or(usize::MAX));
            self.file.write_all_at(&bytes[..n], self.len).map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Full::Space(0),
                _ => Full::Failed(error),
            })?;
            self.len += n as u64;
            self.granted -= n as u64;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    fn look(&self) -> Result<u64, Full> {
        let Ok(stat) = rustix::fs::fstatvfs(&self.file) else { return Ok(LOOK_EVERY) };
        let total = stat.f_blocks.saturating_mul(stat.f_frsize);
        if total == 0 {
            // A file system without a size of its own.
            return Ok(LOOK_EVERY);
        }
        let available = stat.f_bavail.saturating_mul(stat.f_frsize);
        match available.saturating_sub((total / 20).min(MOST_RESERVED)) {
            0 => Err(Full::Space(available)),
            granted => Ok(granted.min(LOOK_EVERY)),
        }
    }
}
