//! Bytes that the system copies from file to file by itself: on file systems that can, by sharing blocks; on network file
//! systems that can, on the server.

use std::fs::File;

/// Copies `len` bytes between two files; `false` where the system cannot, or not all of them.
#[cfg(target_os = "linux")]
pub(super) fn transfer(from: &File, mut at: u64, to: &File, mut offset: u64, len: u64) -> bool {
    let mut left = usize::try_from(len).unwrap_or(usize::MAX);
    while left > 0 {
        match rustix::fs::copy_file_range(from, Some(&mut at), to, Some(&mut offset), left) {
            Ok(0) | Err(_) => return false,
            Ok(copied) => left -= copied,
        }
    }
    true
}

/// No such call here.
#[cfg(not(target_os = "linux"))]
pub(super) fn transfer(_from: &File, _at: u64, _to: &File, _offset: u64, _len: u64) -> bool {
    false
}
