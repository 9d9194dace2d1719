//! Where a queue is.

use std::fmt;
use std::str::FromStr;

use ::redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::error::QueueError;

/// Where a queue is.
#[derive(Clone, Debug)]
pub enum QueueAddress {
    /// The folder of outputs itself: `dir`.
    Folder,
    /// A Redis server: `redis://`, `rediss://` (TLS) or `unix://`.
    Redis(RedisAddress),
}

/// A Redis server, a database of it, and how to log in. Shown without the password.
#[derive(Clone)]
pub struct RedisAddress(Box<ConnectionInfo>);

impl QueueAddress {
    /// A login for a server whose address has none; what the address has stays.
    #[must_use]
    pub fn or_login(self, username: Option<&str>, password: Option<&str>) -> Self {
        let QueueAddress::Redis(RedisAddress(info)) = self else { return self };
        let mut login = info.redis_settings().clone();
        if let (None, Some(password)) = (login.password(), password) {
            login = login.set_password(password);
            if let (None, Some(username)) = (login.username(), username) {
                login = login.set_username(username);
            }
        }
        QueueAddress::Redis(RedisAddress(Box::new(info.set_redis_settings(login))))
    }
}

impl RedisAddress {
    pub(super) fn info(&self) -> &ConnectionInfo {
        &self.0
    }

    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self.0.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// Host and port, or the socket.
    pub(super) fn server(&self) -> String {
        self.0.addr().to_string()
    }
}

impl FromStr for QueueAddress {
    type Err = QueueError;

    fn from_str(text: &str) -> Result<Self, QueueError> {
        let refused = |why: &str| QueueError::Address { address: without_password(text), why: why.into() };
        if text == "dir" {
            return Ok(QueueAddress::Folder);
        }
        if !["redis://", "rediss://", "unix://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(refused("it begins with none of redis://, rediss:// and unix://, and is not dir"));
        }
        let url = ::redis::parse_redis_url(text).ok_or_else(|| refused("it is not a URL"))?;
        // What the client says of a URL quotes nothing of it.
        let info = url.into_connection_info().map_err(|error| refused(&error.to_string()))?;
        Ok(QueueAddress::Redis(RedisAddress(Box::new(info))))
    }
}

/// The last `@` ends the login: a password may hold one that was not escaped, and too much hidden is better than too
/// little.
fn without_password(text: &str) -> String {
    let login = text.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1)));
    let shown = login.map_or_else(|| text.into(), |(scheme, host)| format!("{scheme}://***@{host}"));
    shown.split_once("pass=").map_or_else(|| shown.clone(), |(before, _)| format!("{before}pass=***"))
}

impl fmt::Display for QueueAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueueAddress::Folder => f.write_str("dir"),
            QueueAddress::Redis(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (server, database) = (self.server(), self.0.redis_settings().db());
        match self.0.addr() {
            ConnectionAddr::Unix(_) => write!(f, "unix://{server}?db={database}"),
            _ if self.is_encrypted() => write!(f, "rediss://{server}/{database}"),
            _ => write!(f, "redis://{server}/{database}"),
        }
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<QueueAddress, QueueError> {
        text.parse()
    }

    fn login(address: QueueAddress) -> (Option<String>, Option<String>) {
        let QueueAddress::Redis(address) = address else { panic!("{address}") };
        let login = address.info().redis_settings();
        (login.username().map(String::from), login.password().map(String::from))
    }

    #[test]
    fn addresses_are_shown_without_passwords() {
        for (text, shown) in [
            ("dir", "dir"),
            ("redis://h", "redis://h:6379/0"),
            ("redis://:secret@h:7000/2", "redis://h:7000/2"),
            ("rediss://me:secret@h", "rediss://h:6379/0"),
            ("unix:///run/redis.sock?db=3&pass=secret", "unix:///run/redis.sock?db=3"),
        ] {
            let address = address(text).unwrap();
            assert_eq!(address.to_string(), shown);
            assert!(!format!("{address:?}").contains("secret"), "{address:?}");
        }
    }

    #[test]
    fn a_bad_address_says_why_without_its_password() {
        for (text, why) in [
            ("localhost:6379", "begins with none of redis://"),
            ("http://h", "begins with none of redis://"),
            ("redis://", "hostname"),
            ("redis://me:secret/x@h:port", "not a URL"),
            ("redis://:secret@h/one", "database number"),
            ("unix:///s?pass=secret&db=x", "database number"),
        ] {
            let said = address(text).unwrap_err().to_string();
            assert!(said.contains(why) && !said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn a_login_fills_what_the_address_lacks() {
        let some = |text: &str| Some(text.to_string());
        let with = |text: &str| login(address(text).unwrap().or_login(Some("env"), Some("pw")));
        assert_eq!(with("redis://h"), (some("env"), some("pw")));
        assert_eq!(with("redis://me@h"), (some("me"), some("pw")));
        assert_eq!(with("redis://:own@h"), (None, some("own")));
        assert_eq!(with("redis://me:own@h"), (some("me"), some("own")));
        assert_eq!(login(address("redis://h").unwrap().or_login(Some("env"), None)), (None, None));
    }
}
