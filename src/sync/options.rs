//! What to fetch, and how.

use std::path::PathBuf;
use std::time::Duration;

use crate::inputs::CHECKPOINT_PATTERN;

/// The way to the clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransportChoice {
    /// The system's OpenSSH client where there is one, else libssh2.
    #[default]
    Auto,
    /// libssh2, within this process.
    Ssh2,
    /// The system's OpenSSH client.
    OpenSsh,
}

/// Whether checksums of the cluster are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Where the cluster tells them; where it does not, that is said.
    #[default]
    Auto,
    /// A file that cannot be verified is a failure.
    Always,
    /// Not at all.
    Never,
}

/// What to fetch, and how.
#[derive(Clone, Debug)]
pub struct SyncOptions {
    /// The clusters; each has its credentials.
    pub clusters: Vec<String>,
    /// The download folder.
    pub output: PathBuf,
    /// The folder of `<cluster>.credentials`.
    pub credentials: PathBuf,
    /// Whether credentials are taken that others can read.
    pub insecure_credentials: bool,
    /// The folder on the clusters; where absent, that of the credentials, else
    /// `/home/<username>/mapper_embeddings/embeddings`.
    pub remote_dir: Option<String>,
    /// Which files are meant.
    pub pattern: String,
    /// Connections a cluster; where absent one a core from 2 to 4, or 8 where a round trip takes more than 10 ms.
    pub jobs: Option<usize>,
    /// The way to the clusters.
    pub transport: TransportChoice,
    /// Whether checksums of the cluster are compared.
    pub verify: Verify,
    /// Whether the keys of unknown hosts are recorded.
    pub accept_new: bool,
    /// The file of known hosts; those of the system where absent.
    pub known_hosts: Option<PathBuf>,
    /// Another file than `~/.ssh/config`.
    pub ssh_config: Option<PathBuf>,
    /// How long nothing may be heard.
    pub timeout: Duration,
    /// Bytes a second, of all connections together.
    pub limit_rate: Option<u64>,
    /// Tries after the first that may fail one after another without a byte between them.
    pub retries: u32,
    /// The user's home folder, for keys and known hosts.
    pub home: PathBuf,
    /// The program that hands passwords to the system's ssh: it calls [`answer`](super::answer) and prints the result.
    /// Without it, passwords are for libssh2 alone.
    pub askpass: Option<PathBuf>,
}

impl SyncOptions {
    /// The defaults of the command line, for these clusters and a user with this home folder.
    pub fn new(clusters: Vec<String>, output: impl Into<PathBuf>, home: impl Into<PathBuf>) -> Self {
        SyncOptions {
            clusters,
            output: output.into(),
            credentials: ".credentials".into(),
            insecure_credentials: false,
            remote_dir: None,
            pattern: CHECKPOINT_PATTERN.into(),
            jobs: None,
            transport: TransportChoice::Auto,
            verify: Verify::Auto,
            accept_new: false,
            known_hosts: None,
            ssh_config: None,
            timeout: Duration::from_secs(30),
            limit_rate: None,
            retries: 5,
            home: home.into(),
            askpass: None,
        }
    }
}
