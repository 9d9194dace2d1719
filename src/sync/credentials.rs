//! How to log in to a cluster: `.credentials/<cluster>.credentials`.

/// A password or passphrase: never shown, wiped from memory when it is dropped.
pub(crate) type Secret = secrecy::SecretString;
