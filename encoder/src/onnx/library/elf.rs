//! Whether a file is a whole shared library for this machine, by its ELF header.
//!
//! ```text
//! 0  7f 'E' 'L' 'F' class(2: 64 bit) order(1: little)      16 u16 type(3: shared)   18 u16 machine
//! 32 u64 offset of the program headers      54 u16 size of one      56 u16 how many
//! program header: 8 u64 offset, 32 u64 bytes in the file
//! ```
//!
//! <https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html>. The dynamic linker maps what the headers say; where
//! the file ends before, touching that part kills the process, so it is checked here. Elsewhere than on Linux the system's
//! own loader does all this.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::LibraryError;

/// The machine that this program is for; 0 where its number is not known here.
const MACHINE: u16 = if cfg!(target_arch = "x86_64") {
    62
} else if cfg!(target_arch = "aarch64") {
    183
} else {
    0
};

pub(super) fn check(path: &Path) -> Result<(), LibraryError> {
    let reading = |source| LibraryError::reading(path, source);
    let file = File::open(path).map_err(reading)?;
    let metadata = file.metadata().map_err(reading)?;
    if !metadata.is_file() {
        return Err(LibraryError::NotALibrary { path: path.into() });
    }
    if cfg!(target_os = "linux") { header(path, &file, metadata.len()) } else { Ok(()) }
}

fn header(path: &Path, file: &File, bytes: u64) -> Result<(), LibraryError> {
    let not_a_library = || LibraryError::NotALibrary { path: path.into() };
    let truncated = |expected| LibraryError::Truncated { path: path.into(), expected, got: bytes };
    let read = |buffer: &mut [u8], at: u64| {
        let end = at.saturating_add(buffer.len() as u64);
        if end > bytes {
            return Err(truncated(end));
        }
        file.read_exact_at(buffer, at).map_err(|source| LibraryError::reading(path, source))
    };
    let mut magic = [0; 4];
    if bytes < 4 || read(&mut magic, 0).is_err() || magic != *b"\x7fELF" {
        return Err(not_a_library());
    }
    let mut head = [0; 64];
    read(&mut head, 0)?;
    let wrong = |got: String| LibraryError::Architecture { path: path.into(), got, expected: std::env::consts::ARCH };
    if head[4] != 2 || head[5] != 1 {
        return Err(wrong("machines of 32 bits or of the other byte order".into()));
    }
    let machine = u16_at(&head, 18);
    if MACHINE != 0 && machine != MACHINE {
        return Err(wrong(name(machine)));
    }
    if u16_at(&head, 16) != 3 {
        return Err(not_a_library());
    }
    let (first, size, count) = (u64_at(&head, 32), u64::from(u16_at(&head, 54)), u64::from(u16_at(&head, 56)));
    for index in 0..count {
        let mut segment = [0; 56];
        read(&mut segment, first.saturating_add(index * size))?;
        let end = u64_at(&segment, 8).saturating_add(u64_at(&segment, 32));
        if end > bytes {
            return Err(truncated(end));
        }
    }
    Ok(())
}

fn name(machine: u16) -> String {
    match machine {
        3 => "x86".into(),
        40 => "arm".into(),
        62 => "x86_64".into(),
        183 => "aarch64".into(),
        243 => "riscv64".into(),
        other => format!("the machine with the number {other}"),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}
