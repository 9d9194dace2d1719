//! SHA-256 as the clusters themselves tell it, many files at a time: what takes a round trip each would hold up the end.

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use super::remote::RemoteFile;
use super::transport::Transport;

/// At least as fast as any machine reads for its checksums, in bytes a second.
const SLOWEST: u64 = 20_000_000;
const TOO_LONG: &str = "sha256sum on the cluster takes too long";
/// Stands for the checksum of a file that has none.
const NONE: &str = "none";

/// Asks one cluster.
pub(crate) struct Checksums<'a> {
    transport: &'a dyn Transport,
    timeout: Duration,
    /// Why the cluster tells none, once that is known: it is not asked again.
    refused: OnceLock<String>,
}

impl<'a> Checksums<'a> {
    pub(crate) fn new(transport: &'a dyn Transport, timeout: Duration) -> Self {
        Checksums { transport, timeout, refused: OnceLock::new() }
    }

    /// Logs in ahead of the first question, which then takes no longer than any other.
    pub(crate) fn warm_up(&self) {
        match self.transport.execute(":", self.timeout) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => drop(self.refused.set(TOO_LONG.into())),
            // Whatever else keeps it from answering is told when it is asked.
            _ => {}
        }
    }

    /// The checksums of `files`, in hexadecimal digits; for each that has none, why not.
    pub(crate) fn of(&self, files: &[&RemoteFile]) -> Vec<Result<String, String>> {
        if let Some(why) = self.refused.get() {
            return vec![Err(why.clone()); files.len()];
        }
        let bytes = files.iter().map(|file| file.version.size).fold(0, u64::saturating_add);
        let patience = self.timeout.saturating_add(Duration::from_secs(bytes / SLOWEST));
        let command = files.iter().map(|file| command(&file.path)).collect::<Vec<_>>().join("\n");
        let why = match self.transport.execute(&command, patience) {
            Ok(done) => {
                let mut told = done.stdout.split(|&byte| byte == b'\n').filter_map(checksum_in);
                let sums: Vec<_> = told.by_ref().take(files.len()).collect();
                if done.status == Some(0) && sums.len() == files.len() {
                    let none = || "the cluster has no sha256sum, or it cannot read the file".to_string();
                    return sums.into_iter().map(|sum| sum.ok_or_else(none)).collect();
                }
                let status = done.status.map_or_else(|| "none".into(), |status| status.to_string());
                format!("the cluster does not run sha256sum for this user (exit status {status})")
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => TOO_LONG.into(),
            // The connection may be back for the next file.
            Err(error) => return vec![Err(format!("sha256sum on the cluster: {error}")); files.len()],
        };
        vec![Err(self.refused.get_or_init(|| why).clone()); files.len()]
    }
}

/// Prints one line for a file. OpenSSL has the processor's instructions for it, which coreutils often lack: three times
/// as fast.
fn command(path: &str) -> String {
    let path = shell_quoted(path);
    format!("openssl dgst -sha256 -r < {path} 2>/dev/null || sha256sum < {path} 2>/dev/null || echo {NONE}")
}

/// A word for a POSIX shell.
fn shell_quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The checksum out of `0123…cdef  -`, or that there is none; nothing out of any other line.
fn checksum_in(line: &[u8]) -> Option<Option<String>> {
    let word = line.split(u8::is_ascii_whitespace).next()?;
    if word == NONE.as_bytes() {
        return Some(None);
    }
    let is_sum = word.len() == 64 && word.iter().all(u8::is_ascii_hexdigit);
    is_sum.then(|| Some(String::from_utf8_lossy(word).to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_read_and_words_are_quoted() {
        let sum = "bef57ec7f53a6d40beb640a780a639c83bc29ac8a9816f1fc6c5c6dcd93c4721";
        assert_eq!(checksum_in(format!("{sum}  -").as_bytes()), Some(Some(sum.to_string())));
        assert_eq!(checksum_in(format!("{sum} *stdin").as_bytes()), Some(Some(sum.to_string())));
        assert_eq!(checksum_in(b"none"), Some(None));
        assert_eq!(checksum_in(b"This account is currently not available."), None);
        assert_eq!(checksum_in(b""), None);
        assert_eq!(shell_quoted("/home/o'brien/a b"), r"'/home/o'\''brien/a b'");
    }
}
