//! Names that nobody else has.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A name for this process that no other one has, nor itself after a restart: `host:pid:random`.
#[must_use]
pub fn worker_name() -> String {
    format!("{}:{}:{:08x}", host(), std::process::id(), random() as u32)
}

/// A name for a lease.
pub(in crate::embed::queue) fn token() -> String {
    format!("{:016x}{:016x}", random(), random())
}

/// What this machine calls itself.
pub(in crate::embed::queue) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The standard library seeds every hasher with random keys.
pub(in crate::embed::queue) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ() {
        assert_ne!(worker_name(), worker_name());
        assert_ne!(token(), token());
        assert!(worker_name().starts_with(&format!("{}:{}:", host(), std::process::id())));
    }
}
