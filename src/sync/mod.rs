//! Sync: checkpoints from the clusters into a local folder, over SSH.
//!
//! ```text
//! credentials ─▶ host ─▶ transport ─▶ sftp ─▶ survey: what is there, what is missing here
//!                                               └─▶ crew: connections that take files from one queue
//!                                                     └─▶ fetch: part ─▶ checked ─▶ its name, and a line in the manifest
//! ```
//!
//! A server is trusted in nothing: names, kinds, sizes and every packet are checked before they are used.

mod breakers;
mod checksum;
mod credentials;
mod crew;
mod error;
mod fetch;
mod host;
#[cfg(feature = "ssh2")]
mod known_hosts;
mod manifest;
mod options;
mod pace;
mod part;
mod preview;
mod remote;
mod report;
mod sftp;
mod survey;
#[cfg(feature = "ssh2")]
#[cfg(test)]
mod test_server;
mod transport;
mod verb;

pub use credentials::CredentialsError;
pub(crate) use crew::Audience;
pub use error::{FetchError, SyncError};
pub use host::HostError;
pub use options::{SyncOptions, TransportChoice, Verify};
pub(crate) use preview::Preview;
pub(crate) use remote::RemoteFile;
pub use report::{FileReport, FileStatus, SyncReport};
pub use sftp::SftpError;
pub(crate) use survey::Survey;
pub use transport::{ASKPASS_FILE, ConnectError, answer};
pub use verb::{dry_run_sync, sync};
pub(crate) use verb::{prepare, transfer};
