//! A new host goes on record.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{KnownHosts, Verdict, key_type, name};
use crate::sync::transport::ConnectError;

/// Appends the key of a host, unless the file has learnt of that host in the meantime: then the verdict is on what it
/// says by now.
///
/// # Errors
/// The file or its folder cannot be written, or no line could hold that name.
pub(crate) fn record(path: &Path, host: &str, port: u16, key: &[u8]) -> Result<Verdict, ConnectError> {
    let fail = |what: String| ConnectError::KnownHosts { path: path.into(), what };
    let (Some(kind), false) = (key_type(key), host.is_empty() || host.contains(unsuitable)) else {
        return Err(fail(format!("cannot record a host key under the name {host:?}")));
    };
    let name = name(host, port);
    append(path, |text| {
        let mut known = KnownHosts::default();
        known.add(path, text);
        let verdict = known.check(host, port, key);
        let line = (verdict == Verdict::Unknown).then(|| format!("{name} {kind} {}\n", STANDARD.encode(key)));
        (line, if verdict == Verdict::Unknown { Verdict::Known } else { verdict })
    })
    .map_err(|error| fail(format!("cannot record the host key of {name}: {error}")))
}

/// What would make a pattern, a list or a comment of a name.
fn unsuitable(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '*' | '?' | '!' | ',' | '|' | '#' | '@')
}

/// Hands the text to `line` under a lock, and appends the line that it gives.
fn append<T>(path: &Path, line: impl FnOnce(&[u8]) -> (Option<String>, T)) -> io::Result<T> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file = File::options().read(true).append(true).create(true).mode(0o600).open(path)?;
    file.lock()?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let (line, result) = line(&text);
    if let Some(mut line) = line {
        if text.last().is_some_and(|byte| *byte != b'\n') {
            line.insert(0, '\n');
        }
        file.write_all(line.as_bytes())?;
        file.sync_data()?;
    }
    Ok(result)
}
