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
use super::sftp::{Sftp, Stopped};
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
    // Small files are there as soon as their preview would be; a preview of one is the whole of it.
    let absent = if size > HEAD + TAIL { HEAD..size - TAIL } else { size..size };
    let local = FormatError::io("write", &path);
    let sparse = sparse(fetcher, size).map_err(local)?;
    let handle = sftp.open(&file.path).map_err(sftp_failed)?;
    for range in [0..absent.start, absent.end..size] {
        let mut at = range.start;
        let end = sftp.read(&handle, range.clone(), fetcher.window, |bytes| {
            sparse.write_all_at(bytes, at).map_err(FormatError::io("write", &path))?;
            at += bytes.len() as u64;
            Ok::<(), FormatError>(())
        });
        match end {
            Ok(end) if end == range.end => {}
            // It has shrunk; fetching it tells.
            Ok(_) => return Ok(None),
            Err(Stopped::Sftp(source)) => return Err(sftp_failed(source)),
            Err(Stopped::Taker(error)) => return Err(error.into()),
        }
    }
    sftp.close(&handle).map_err(sftp_failed)?;
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
