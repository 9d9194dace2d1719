//! Which checkpoints a cluster has. Names, kinds and sizes are a stranger's word and are checked before they are used.

use std::time::{Duration, SystemTime};

use super::sftp::{Attributes, Entry, Kind, Sftp, SftpError, printable};

/// A checkpoint on a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteFile {
    /// One plain component of a path, printable.
    pub(crate) name: String,
    /// Its path on the cluster.
    pub(crate) path: String,
    pub(crate) version: Version,
}

/// What tells one version of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Version {
    /// Bytes.
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) modified: u32,
}

impl Version {
    /// The modification time.
    pub(crate) fn time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.modified.into())
    }
}

/// What a folder on a cluster holds.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// In the order of their names.
    pub(crate) files: Vec<RemoteFile>,
    /// What matches the pattern and is refused: the name, for people, and why.
    pub(crate) refused: Vec<(String, &'static str)>,
}

/// Lists what matches `pattern` in `folder`.
pub(crate) fn list(sftp: &mut Sftp, folder: &str, pattern: &glob::Pattern) -> Result<Listing, SftpError> {
    let mut listing = Listing::default();
    for Entry { name, attributes } in sftp.list(folder)? {
        if !pattern.matches(&String::from_utf8_lossy(&name)) {
            continue;
        }
        let Some(name) = plain(&name) else {
            listing.refused.push((printable(&name), "is no plain file name"));
            continue;
        };
        if is_our_own(name) {
            listing.refused.push((name.into(), "has a name that sync uses for files of its own"));
            continue;
        }
        let path = format!("{}/{name}", folder.trim_end_matches('/'));
        // Not every server tells all of it in a listing.
        let attributes = if is_complete(&attributes) { attributes } else { sftp.stat(&path)? };
        match version(&attributes) {
            Ok(version) => listing.files.push(RemoteFile { name: name.into(), path, version }),
            Err(why) => listing.refused.push((name.into(), why)),
        }
    }
    listing.files.sort_by(|a, b| crate::text::natural_order(&a.name, &b.name));
    listing.files.dedup_by(|a, b| a.name == b.name);
    Ok(listing)
}

/// The version of a regular file; else why it is none.
pub(crate) fn version(attributes: &Attributes) -> Result<Version, &'static str> {
    match attributes.kind() {
        Some(Kind::File) | None => {}
        Some(Kind::Link) => return Err("is a link, not a file"),
        Some(Kind::Folder) => return Err("is a folder, not a file"),
        Some(Kind::Other) => return Err("is no regular file"),
    }
    let size = attributes.size.ok_or("has no size")?;
    // Sizes of files are signed everywhere.
    if i64::try_from(size).is_err() {
        return Err("claims a size that no disk could hold");
    }
    Ok(Version { size, modified: attributes.modified.ok_or("has no modification time")? })
}

fn is_complete(attributes: &Attributes) -> bool {
    attributes.size.is_some() && attributes.kind().is_some() && attributes.modified.is_some()
}

/// A name that is one component of a path and says nothing to a terminal.
fn plain(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    let is_plain = !name.is_empty()
        && name.len() <= 255
        && !matches!(name, "." | "..")
        && !name.chars().any(|c| c == '/' || c == '\\' || c.is_control() || is_deceptive(c));
    is_plain.then_some(name)
}

/// What sync itself keeps in the download folder, which a wide pattern would let a server replace.
fn is_our_own(name: &str) -> bool {
    [".part", ".part.json", super::manifest::MANIFEST_SUFFIX].iter().any(|end| name.ends_with(end))
}

/// Characters that show a name as another one: marks of direction, spaces of no width.
fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        assert_eq!(plain(b"cluster1_gpu0.pkl"), Some("cluster1_gpu0.pkl"));
        assert_eq!(plain("clusteré_gpu0.pkl".as_bytes()), Some("clusteré_gpu0.pkl"));
        for bad in [
            &b""[..],
            b".",
            b"..",
            b"../cluster1_gpu0.pkl",
            b"cluster1_gpu0.pkl/../../x",
            b"cluster1\\gpu0.pkl",
            b"cluster1_gpu0.pkl\n",
            b"cluster1_\x1b[31mgpu0.pkl",
            b"cluster1_gpu\xff.pkl",
            "cluster1_\u{202e}gpu0.pkl".as_bytes(),
        ] {
            assert_eq!(plain(bad), None, "{bad:?}");
        }
        assert_eq!(plain(&[b'a'; 256]), None);
    }

    #[test]
    fn only_regular_files_of_possible_size_have_a_version() {
        let attributes = |permissions, size| Attributes { size: Some(size), permissions, modified: Some(7) };
        assert_eq!(version(&attributes(Some(0o100_644), 5)), Ok(Version { size: 5, modified: 7 }));
        assert_eq!(version(&attributes(None, 5)), Ok(Version { size: 5, modified: 7 }));
        assert!(version(&attributes(Some(0o120_777), 5)).is_err(), "a link");
        assert!(version(&attributes(Some(0o040_755), 5)).is_err(), "a folder");
        assert!(version(&attributes(Some(0o010_644), 5)).is_err(), "a pipe");
        assert!(version(&attributes(Some(0o100_644), 1 << 63)).is_err(), "past any disk");
        assert!(version(&Attributes { size: None, ..attributes(Some(0o100_644), 5) }).is_err());
    }
}
