//! Why credentials cannot be used, each reason with its remedy.

use std::path::PathBuf;

/// Why credentials cannot be used. No message holds anything of a secret, nor of a broken file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The name of the cluster would lead elsewhere.
    #[error("{cluster:?} is no name of a cluster")]
    Cluster {
        /// The name.
        cluster: String,
    },
    /// There is no such file.
    #[error("{}: there are no credentials for {cluster}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The cluster.
        cluster: String,
    },
    /// It cannot be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Others can read it.
    #[error("{}: others on this machine can read it (mode {mode:03o})", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It belongs to another user.
    #[error("{}: belongs to another user (uid {owner})", path.display())]
    ForeignOwner {
        /// The file.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who should.
        user: u32,
    },
    /// It is no JSON.
    #[error("{} line {line} column {column}: broken JSON: {what}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1; 0 at the very start of a line.
        column: usize,
        /// What kind of breach.
        what: &'static str,
    },
    /// A field that must be there is not.
    #[error("{}: the field {field} is missing", path.display())]
    MissingField {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
    },
    /// A field that nobody knows.
    #[error("{}: unknown field {field:?}", path.display())]
    UnknownField {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
    },
    /// A field of another type.
    #[error("{}: {field} must be {expected}", path.display())]
    WrongType {
        /// The file.
        path: PathBuf,
        /// The field, or what holds them all.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A field that holds nothing.
    #[error("{}: {field} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
    },
    /// A field whose value cannot be meant.
    #[error("{}: {field} {what}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl CredentialsError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            CredentialsError::Cluster { .. } => {
                "name a cluster as its credentials file is named, without the extension: tensor01".into()
            }
            CredentialsError::Missing { path, .. } => {
                let path = path.display();
                format!(
                    "write {{\"address\": \"HOST\", \"username\": \"USER\", \"password\": \"PASSWORD\"}} into {path}, \
                     then: chmod 600 {path}"
                )
            }
            CredentialsError::Unreadable { path, .. } => format!("look at it: ls -l {}", path.display()),
            CredentialsError::Exposed { path, .. } => {
                format!("chmod 600 {} (or, at your own risk, --insecure-credentials)", path.display())
            }
            CredentialsError::ForeignOwner { path, user, .. } => {
                format!("chown {user} {} (or, at your own risk, --insecure-credentials)", path.display())
            }
            CredentialsError::Json { .. } => {
                "mend the file there: quotes around names and texts, commas between".into()
            }
            CredentialsError::UnknownField { .. } | CredentialsError::MissingField { .. } => {
                format!("the fields are address and username, and as needed {}", super::FIELDS[2..].join(", "))
            }
            CredentialsError::WrongType { .. } | CredentialsError::Empty { .. } | CredentialsError::Value { .. } => {
                "correct that field; one that is not needed can be left out".into()
            }
        }
    }
}
