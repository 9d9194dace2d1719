//! Why a sync cannot begin, and why a file does not arrive.

use std::path::PathBuf;

use embstore_formats::FormatError;

use super::credentials::CredentialsError;
use super::host::HostError;
use super::sftp::SftpError;
use super::transport::ConnectError;
use crate::text::megabytes;

/// Why nothing can be fetched at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The pattern is malformed.
    #[error("the pattern {pattern:?} is malformed: {source}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Where it goes wrong.
        source: glob::PatternError,
    },
    /// No cluster is named.
    #[error("no cluster is named")]
    NoCluster,
    /// A cluster is named twice.
    #[error("cluster {cluster} is named twice")]
    Twice {
        /// The cluster.
        cluster: String,
    },
    /// Another process syncs from this cluster.
    #[error("another embstore is fetching from {cluster} into {}", folder.display())]
    Locked {
        /// The cluster.
        cluster: String,
        /// The download folder.
        folder: PathBuf,
    },
    /// The disk is too full.
    #[error(
        "not enough space in {}: {} are to be fetched, available {}",
        folder.display(), megabytes(*needed), megabytes(*available)
    )]
    NoSpace {
        /// The download folder.
        folder: PathBuf,
        /// Bytes that are to be fetched.
        needed: u64,
        /// Bytes that are there.
        available: u64,
    },
    /// The operating system refused.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The caller asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl SyncError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            SyncError::Pattern { .. } => format!("a pattern looks like {:?}", crate::inputs::CHECKPOINT_PATTERN),
            SyncError::NoCluster => "name one: --clusters tensor01".into(),
            SyncError::Twice { .. } => "name every cluster once".into(),
            SyncError::Locked { .. } => "wait until it is done".into(),
            SyncError::NoSpace { .. } => "free some space, or fetch into another folder with -o".into(),
            SyncError::Format(source) => source.hint(),
            SyncError::Cancelled => "run the same command to go on; what has landed is kept".into(),
        }
    }
}

/// Why a file, or all files of a cluster, did not arrive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// There are no usable credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// It cannot be told where the cluster is.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The cluster cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The remote folder is missing.
    #[error("{address}: no such folder: {folder}")]
    NoFolder {
        /// Host and port.
        address: String,
        /// The remote folder.
        folder: String,
    },
    /// Nothing in the remote folder is a checkpoint.
    #[error("{address}: no file in {folder} matches {pattern:?}")]
    NoFile {
        /// Host and port.
        address: String,
        /// The remote folder.
        folder: String,
        /// The pattern.
        pattern: String,
    },
    /// The server's answer is an error, or none.
    #[error("{address}: {path}: {source}")]
    Sftp {
        /// Host and port.
        address: String,
        /// The remote file or folder.
        path: String,
        /// What went wrong.
        source: SftpError,
    },
    /// A name, a kind of file or a size that is not taken.
    #[error("{address}: {name:?} {why}")]
    NotTaken {
        /// Host and port.
        address: String,
        /// What the server calls it.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// Another cluster has a file of the same name.
    #[error("{address}: {name} would replace the file of that name from {other}")]
    Collision {
        /// Host and port.
        address: String,
        /// The name.
        name: String,
        /// The other cluster.
        other: String,
    },
    /// The cluster was lost before this file's turn.
    #[error("{address}: {path}: not fetched: the cluster cannot be reached any more")]
    GivenUp {
        /// Host and port.
        address: String,
        /// The remote file.
        path: String,
    },
    /// The file kept changing.
    #[error("{address}: {path}: changed while it was read, {times} times")]
    Changed {
        /// Host and port.
        address: String,
        /// The remote file.
        path: String,
        /// How often.
        times: u32,
    },
    /// What arrived is not what the cluster has.
    #[error("{address}: {path}: has SHA-256 {remote} there, but {local} as it arrived")]
    Mismatch {
        /// Host and port.
        address: String,
        /// The remote file.
        path: String,
        /// Checksum on the cluster.
        remote: String,
        /// Checksum as it arrived.
        local: String,
    },
    /// The cluster does not tell a checksum.
    #[error("{address}: {path}: cannot be verified: {why}")]
    NotVerifiable {
        /// Host and port.
        address: String,
        /// The remote file.
        path: String,
        /// Why not.
        why: String,
    },
    /// The local side failed.
    #[error(transparent)]
    Local(#[from] FormatError),
    /// The caller asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl FetchError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            FetchError::Credentials(source) => source.hint(),
            FetchError::Host(source) => source.hint(),
            FetchError::Connect(source) => source.hint(),
            FetchError::NoFolder { .. } => {
                "name the folder that holds the checkpoints: --remote-dir, or remote_dir in the credentials".into()
            }
            FetchError::NoFile { .. } => {
                "the workers have not finished, or call their files otherwise: --pattern GLOB".into()
            }
            FetchError::Sftp { source: SftpError::Lost(_), .. } | FetchError::GivenUp { .. } => {
                "run the same command to go on where it stopped; what has landed is kept".into()
            }
            FetchError::Sftp { source: SftpError::Denied, .. } => "let the user read it: chmod on the cluster".into(),
            FetchError::Sftp { source: SftpError::NotFound, .. } => {
                "it was there when the folder was listed: run the same command again".into()
            }
            FetchError::Sftp { .. } => "ask who runs the server; other files are not affected".into(),
            FetchError::NotTaken { .. } => "rename or remove it on the cluster, or leave it out: --pattern GLOB".into(),
            FetchError::Collision { .. } => "fetch each cluster into a folder of its own with -o".into(),
            FetchError::Changed { .. } => "a worker still writes to it: let it finish, then run it again".into(),
            FetchError::Mismatch { .. } => {
                "run the same command again; should it happen twice, check the disks and memory of both machines".into()
            }
            FetchError::NotVerifiable { .. } => "take it unverified: --verify auto".into(),
            FetchError::Local(source) => source.hint(),
            FetchError::Cancelled => SyncError::Cancelled.hint(),
        }
    }

    /// Whether another try on a new connection may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            FetchError::Connect(error) => error.is_transient(),
            FetchError::Sftp { source: SftpError::Lost(_), .. } => true,
            _ => false,
        }
    }

    /// Whether the connection cannot be used any more.
    pub(crate) fn breaks_connection(&self) -> bool {
        match self {
            FetchError::Connect(_) | FetchError::Local(_) | FetchError::Cancelled => true,
            FetchError::Sftp { source, .. } => matches!(source, SftpError::Lost(_) | SftpError::Protocol(_)),
            _ => false,
        }
    }
}
