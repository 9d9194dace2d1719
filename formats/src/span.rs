//! The bytes of one span of a file, as a stream of their own.

use std::borrow::Borrow;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// `left` bytes from byte `at` on, by positioned reads: the file's own cursor may be shared.
pub(crate) struct FileSpan<F> {
    file: F,
    at: u64,
    left: u64,
}

impl<F: Borrow<File>> FileSpan<F> {
    pub(crate) fn new(file: F, at: u64, len: u64) -> Self {
        FileSpan { file, at, left: len }
    }
}

impl<F: Borrow<File>> Read for FileSpan<F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.borrow().read_at(&mut out[..len], self.at)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}
