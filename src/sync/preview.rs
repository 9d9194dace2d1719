//! The head and tail of a file, so that it can be planned with before it is there.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::FetchError;
use super::fetch::Fetcher;
use super::part::open_part;
use super::remote::RemoteFile;
use super::sftp::Sftp;
use crate::identity::Identity;
use embstore_formats::FormatError;

/// The header of an array is a few hundred bytes; what follows it in a pickle, small values.
const HEAD: u64 = 64 * 1024;
const TAIL: u64 = 192 * 1024;

/// A file that is on its way.
#[derive(Debug)]
pub(crate) struct Preview {
    /// Its place when it is there.
    pub(crate) path: PathBuf,
    /// As long as the file, with its head and its tail.
    pub(crate) file: File,
    /// The bytes that are not in it.
    pub(crate) absent: Range<u64>,
    /// What the file will be known by when it is there.
    pub(crate) identity: Identity,
}

/// Looks at `file`; `None` where it can only be planned with when it is there.
pub(crate) fn preview(
    fetcher: &Fetcher<'_>,
    sftp: &mut Sftp,
    file: &RemoteFile,
    identity: Identity,
) -> Result<Option<Preview>, FetchError> {
    let path = fetcher.folder.join(&file.name);
    let sftp_failed = |source| FetchError::Sftp { address: fetcher.address.clone(), path: file.path.clone(), source };
    let size = file.version.size;
    // A preview of a small file is the whole of it.
    let absent = if size > HEAD + TAIL { HEAD..size - TAIL } else { HEAD.min(size)..HEAD.min(size) };
    let local = FormatError::io("write", &path);
    let sparse = sparse(fetcher, size).map_err(local)?;
    let pieces: Vec<Range<u64>> =
        [0..absent.start, absent.end..size].into_iter().filter(|piece| !piece.is_empty()).collect();
    // A file that has shrunk has no such tail; fetching it tells.
    let Some(found) = sftp.glimpse(&file.path, &pieces).map_err(sftp_failed)? else { return Ok(None) };
    for (piece, bytes) in pieces.iter().zip(found) {
        sparse.write_all_at(&bytes, piece.start).map_err(FormatError::io("write", &path))?;
    }
    Ok(Some(Preview { path, file: sparse, absent, identity }))
}

/// What `file` will be known by when it is there: the part becomes it, so its inode is known, and so is the time, which is
/// set before it gets its name. `None` where no part can be made; fetching the file tells why.
pub(crate) fn identity_to_be(folder: &Path, file: &RemoteFile) -> Option<Identity> {
    let part = open_part(folder, &file.name).ok()?;
    Identity::expected(&part, file.version.size, i64::from(file.version.modified)).ok()
}

fn sparse(fetcher: &Fetcher<'_>, size: u64) -> io::Result<File> {
    let file = tempfile::tempfile_in(fetcher.folder)?;
    file.set_len(size)?;
    Ok(file)
}
