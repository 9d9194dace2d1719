//! How to log in to a cluster: `.credentials/<cluster>.credentials`.

mod error;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use error::CredentialsError;
use secrecy::ExposeSecret;
use serde_json::error::Category;
use serde_json::{Map, Value};

/// A password or passphrase: never shown, wiped from memory when it is dropped.
pub(crate) type Secret = secrecy::SecretString;

/// More than any such file holds.
const LARGEST: u64 = 64 * 1024;

const FIELDS: [&str; 7] = ["address", "username", "password", "port", "identity_file", "passphrase", "remote_dir"];

/// Whether a file that others can read is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permissions {
    /// Only one that its owner alone can read.
    Private,
    /// Any.
    Any,
}

/// Where a cluster is and how to log in, as the file has it.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    /// Host name, IP address, or a name that `~/.ssh/config` knows.
    pub(crate) address: String,
    pub(crate) username: String,
    pub(crate) password: Option<Secret>,
    pub(crate) port: Option<u16>,
    /// As written: a leading `~/` is not yet expanded.
    pub(crate) identity_file: Option<PathBuf>,
    pub(crate) passphrase: Option<Secret>,
    pub(crate) remote_dir: Option<String>,
}

impl Credentials {
    /// Reads `<folder>/<cluster>.credentials`.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(crate) fn read(folder: &Path, cluster: &str, permissions: Permissions) -> Result<Self, CredentialsError> {
        if !is_name(cluster) {
            return Err(CredentialsError::Cluster { cluster: cluster.into() });
        }
        let path = folder.join(format!("{cluster}.credentials"));
        let text = text(&path, cluster, permissions)?;
        let value = serde_json::from_str(text.expose_secret()).map_err(|error| CredentialsError::Json {
            path: path.clone(),
            line: error.line(),
            column: error.column(),
            // serde_json's own message may quote what it has read.
            what: match error.classify() {
                Category::Eof => "it ends too early",
                _ => "this cannot stand here",
            },
        })?;
        let Value::Object(fields) = value else {
            return Err(CredentialsError::WrongType { path, field: "the file", expected: "one JSON object" });
        };
        Fields { path, fields }.credentials()
    }
}

/// Whether a cluster can be called so: its files are named after it, and lie nowhere else.
pub(crate) fn is_name(cluster: &str) -> bool {
    let is_plain = !cluster.is_empty() && cluster != "." && cluster != "..";
    is_plain && !cluster.chars().any(|c| matches!(c, '/' | '\\') || c.is_control())
}

/// What the file holds. Permissions are those of the file that is read, whatever its name leads to by then.
fn text(path: &Path, cluster: &str, permissions: Permissions) -> Result<Secret, CredentialsError> {
    let unreadable = |reason: String| CredentialsError::Unreadable { path: path.into(), reason };
    // A pipe would be waited for without end.
    let file = match File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(CredentialsError::Missing { path: path.into(), cluster: cluster.into() });
        }
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let metadata = file.metadata().map_err(|error| unreadable(error.to_string()))?;
    if !metadata.is_file() {
        return Err(unreadable("it is no regular file".into()));
    }
    if permissions == Permissions::Private {
        let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if owner != user && owner != 0 {
            return Err(CredentialsError::ForeignOwner { path: path.into(), owner, user });
        }
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(CredentialsError::Exposed { path: path.into(), mode });
        }
    }
    if metadata.len() > LARGEST {
        return Err(unreadable(format!("it is larger than {LARGEST} bytes")));
    }
    // Reserved at once, so that no copy of a secret is left behind by growing.
    let mut text = String::with_capacity(LARGEST as usize + 1);
    file.take(LARGEST).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    Ok(Secret::from(text))
}

struct Fields {
    path: PathBuf,
    fields: Map<String, Value>,
}

impl Fields {
    fn credentials(mut self) -> Result<Credentials, CredentialsError> {
        if let Some(field) = self.fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
            return Err(CredentialsError::UnknownField { path: self.path, field: field.clone() });
        }
        let address = self.required("address")?;
        self.single_word("address", &address)?;
        if address.contains(['@', '/']) {
            return Err(self.value("address", "must be a host name or IP address alone; the user goes into username"));
        }
        let username = self.required("username")?;
        self.single_word("username", &username)?;
        Ok(Credentials {
            port: self.port()?,
            password: self.string("password")?.map(Secret::from),
            identity_file: self.path("identity_file")?.map(PathBuf::from),
            passphrase: self.string("passphrase")?.map(Secret::from),
            remote_dir: self.path("remote_dir")?,
            address,
            username,
        })
    }

    /// What goes onto a command line of ssh: one word that is no option.
    fn single_word(&self, field: &'static str, value: &str) -> Result<(), CredentialsError> {
        if value.starts_with('-') {
            return Err(self.value(field, "may not begin with a hyphen"));
        }
        if value.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(self.value(field, "may not hold blanks or control characters"));
        }
        Ok(())
    }

    fn required(&mut self, field: &'static str) -> Result<String, CredentialsError> {
        self.string(field)?.ok_or_else(|| CredentialsError::MissingField { path: self.path.clone(), field })
    }

    fn path(&mut self, field: &'static str) -> Result<Option<String>, CredentialsError> {
        let value = self.string(field)?;
        if value.as_ref().is_some_and(|value| value.contains(char::is_control)) {
            return Err(self.value(field, "may not hold control characters"));
        }
        Ok(value)
    }

    /// A `null` is a field that is not there.
    fn string(&mut self, field: &'static str) -> Result<Option<String>, CredentialsError> {
        match self.fields.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(value)) if value.is_empty() => {
                Err(CredentialsError::Empty { path: self.path.clone(), field })
            }
            Some(Value::String(value)) => Ok(Some(value)),
            Some(_) => Err(CredentialsError::WrongType { path: self.path.clone(), field, expected: "a string" }),
        }
    }

    fn port(&self) -> Result<Option<u16>, CredentialsError> {
        let port = match self.fields.get("port") {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(port)) => port.as_u64().and_then(|port| u16::try_from(port).ok()),
            Some(_) => {
                let expected = "a number, without quotes";
                return Err(CredentialsError::WrongType { path: self.path.clone(), field: "port", expected });
            }
        };
        let port = port.filter(|port| *port != 0);
        port.map(Some).ok_or_else(|| self.value("port", "must be a whole number from 1 to 65535"))
    }

    fn value(&self, field: &'static str, what: &'static str) -> CredentialsError {
        CredentialsError::Value { path: self.path.clone(), field, what }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write(folder: &Path, text: &str, mode: u32) {
        let path = folder.join("one.credentials");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn read(text: &str) -> Result<Credentials, CredentialsError> {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), text, 0o600);
        Credentials::read(folder.path(), "one", Permissions::Private)
    }

    /// Without the folder's name.
    fn message(text: &str) -> String {
        let error = read(text).unwrap_err();
        assert!(!format!("{error} {error:?} {}", error.hint()).contains("hunter2"), "{error:?}");
        error.to_string().split_once("one.credentials").unwrap().1.to_owned()
    }

    #[test]
    fn every_field_arrives_and_secrets_stay_hidden() {
        let read = read(
            r#"{"address": "10.0.0.1", "username": "ada", "password": "hunter2", "port": 2222,
                "identity_file": "~/.ssh/key", "passphrase": "swordfish", "remote_dir": "/data"}"#,
        )
        .unwrap();
        assert_eq!((read.address.as_str(), read.username.as_str(), read.port), ("10.0.0.1", "ada", Some(2222)));
        assert_eq!(read.password.as_ref().unwrap().expose_secret(), "hunter2");
        assert_eq!(read.passphrase.as_ref().unwrap().expose_secret(), "swordfish");
        assert_eq!(read.identity_file.as_deref(), Some(Path::new("~/.ssh/key")));
        assert_eq!(read.remote_dir.as_deref(), Some("/data"));
        let shown = format!("{read:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("swordfish"), "{shown}");
    }

    #[test]
    fn a_password_is_optional() {
        let read = read(r#"{"address": "a", "username": "b", "password": null}"#).unwrap();
        assert!(read.password.is_none() && read.port.is_none() && read.remote_dir.is_none());
    }

    #[test]
    fn each_fault_has_its_own_message() {
        for (text, expected) in [
            ("{\n \"password\": \"hunter2\" \"x\"}", " line 2 column 24: broken JSON: this cannot stand here"),
            ("{\"password\": \"hunter2\"", " line 1 column 22: broken JSON: it ends too early"),
            ("\"hunter2\"", ": the file must be one JSON object"),
            (r#"{"username": "b", "password": "hunter2"}"#, ": the field address is missing"),
            (r#"{"address": "a", "password": "hunter2"}"#, ": the field username is missing"),
            (r#"{"address": "a", "username": "b", "pasword": "hunter2"}"#, ": unknown field \"pasword\""),
            (r#"{"address": "a", "username": "b", "password": ["hunter2"]}"#, ": password must be a string"),
            (r#"{"address": "a", "username": "b", "password": ""}"#, ": password is empty"),
            (r#"{"address": "", "username": "b"}"#, ": address is empty"),
            (r#"{"address": "a", "username": "b", "port": "22"}"#, ": port must be a number, without quotes"),
            (r#"{"address": "a", "username": "b", "port": 0}"#, ": port must be a whole number from 1 to 65535"),
            (r#"{"address": "a", "username": "b", "port": 65536}"#, ": port must be a whole number from 1 to 65535"),
            (r#"{"address": "-oProxyCommand=x", "username": "b"}"#, ": address may not begin with a hyphen"),
            (r#"{"address": "a", "username": "b c"}"#, ": username may not hold blanks or control characters"),
            (r#"{"address": "a\u0007", "username": "b"}"#, ": address may not hold blanks or control characters"),
            (
                r#"{"address": "b@a", "username": "b"}"#,
                ": address must be a host name or IP address alone; the user goes into username",
            ),
            (
                r#"{"address": "a", "username": "b", "remote_dir": "/a\nb"}"#,
                ": remote_dir may not hold control characters",
            ),
        ] {
            assert_eq!(message(text), expected, "{text}");
        }
    }

    #[test]
    fn a_missing_file_says_what_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let error = Credentials::read(folder.path(), "two", Permissions::Private).unwrap_err();
        assert!(matches!(&error, CredentialsError::Missing { cluster, .. } if cluster == "two"), "{error:?}");
        let path = folder.path().join("two.credentials");
        assert!(error.hint().starts_with("write {\"address\": \"HOST\", "), "{}", error.hint());
        assert!(error.hint().ends_with(&format!("chmod 600 {}", path.display())), "{}", error.hint());
    }

    #[test]
    fn a_name_of_a_cluster_leads_nowhere_else() {
        for cluster in ["", ".", "..", "../one", "a/b", "a\\b", "a\n"] {
            let error = Credentials::read(Path::new("/nowhere"), cluster, Permissions::Private).unwrap_err();
            assert!(matches!(error, CredentialsError::Cluster { .. }), "{cluster:?}: {error:?}");
        }
    }

    #[test]
    fn what_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o640, 0o604, 0o660, 0o777] {
            write(folder.path(), r#"{"address": "a", "username": "b"}"#, mode);
            let error = Credentials::read(folder.path(), "one", Permissions::Private).unwrap_err();
            assert!(matches!(error, CredentialsError::Exposed { mode: found, .. } if found == mode), "{error:?}");
            let path = folder.path().join("one.credentials");
            assert!(error.hint().starts_with(&format!("chmod 600 {}", path.display())), "{}", error.hint());
            assert!(Credentials::read(folder.path(), "one", Permissions::Any).is_ok());
        }
    }

    #[test]
    fn what_another_user_owns_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can give a file away");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), r#"{"address": "a", "username": "b"}"#, 0o600);
        std::os::unix::fs::chown(folder.path().join("one.credentials"), Some(12345), None).unwrap();
        let error = Credentials::read(folder.path(), "one", Permissions::Private).unwrap_err();
        assert!(matches!(error, CredentialsError::ForeignOwner { owner: 12345, user: 0, .. }), "{error:?}");
        assert!(Credentials::read(folder.path(), "one", Permissions::Any).is_ok());
    }

    #[test]
    fn a_pipe_or_folder_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("one.credentials")).unwrap();
        let error = Credentials::read(folder.path(), "one", Permissions::Private).unwrap_err();
        assert!(error.to_string().ends_with("it is no regular file"), "{error}");
    }
}
