//! A second look at a server with which no key exchange came about. libssh2 says the same whether the server hung up or
//! has no algorithm in common.

use std::io::{self, BufRead, BufReader, Read, Write};

use super::dial;
use crate::sync::host::Host;

/// Number of the message in which a server lists its algorithms.
const KEXINIT: u8 = 20;
/// More than any server says before that.
const LARGEST: u64 = 64 * 1024;

/// Whether the server comes so far as to list its algorithms.
pub(super) fn lists_algorithms(host: &Host) -> bool {
    let Ok(mut socket) = dial(host) else { return false };
    let mut listen = || -> io::Result<bool> {
        socket.set_read_timeout(Some(host.timeout))?;
        socket.write_all(b"SSH-2.0-embstore\r\n")?;
        let mut reader = BufReader::new((&mut socket).take(LARGEST));
        let mut line = Vec::new();
        while !line.starts_with(b"SSH-") {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(false);
            }
        }
        // Length, padding, and what message it is.
        let mut head = [0; 6];
        reader.read_exact(&mut head)?;
        Ok(head[5] == KEXINIT)
    };
    listen().unwrap_or(false)
}
