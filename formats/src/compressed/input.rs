//! The compressed bytes, with their place in the file.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;

const BUFFER: usize = 64 << 10;

pub(super) struct Input<'a> {
    file: &'a File,
    buf: Vec<u8>,
    pos: usize,
    /// Place in the file of the byte after the buffer.
    end: u64,
    /// More was asked for where there is nothing more.
    pub(super) starved: bool,
}

impl<'a> Input<'a> {
    pub(super) fn new(file: &'a File) -> Self {
        Input { file, buf: Vec::new(), pos: 0, end: 0, starved: false }
    }

    /// Place in the file of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.end - (self.buf.len() - self.pos) as u64
    }

    /// The next bytes, at least `least` of them unless the file ends before.
    pub(super) fn peek(&mut self, least: usize) -> io::Result<&[u8]> {
        while self.buf.len() - self.pos < least {
            let kept = self.buf.len() - self.pos;
            self.buf.copy_within(self.pos.., 0);
            self.pos = 0;
            self.buf.resize(kept + BUFFER, 0);
            let read = loop {
                match self.file.read_at(&mut self.buf[kept..], self.end) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => break result,
                }
            };
            self.buf.truncate(kept + *read.as_ref().unwrap_or(&0));
            match read? {
                0 => break,
                read => self.end += read as u64,
            }
        }
        Ok(&self.buf[self.pos..])
    }

    /// Begins again after `len` bytes.
    pub(super) fn skip(&mut self, len: u64) {
        match usize::try_from(len) {
            Ok(len) if len <= self.buf.len() - self.pos => self.pos += len,
            _ => {
                self.end = self.offset().saturating_add(len);
                self.buf.clear();
                self.pos = 0;
            }
        }
    }
}

impl Read for Input<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let chunk = self.fill_buf()?;
        let n = chunk.len().min(out.len());
        out[..n].copy_from_slice(&chunk[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.starved |= self.peek(1)?.is_empty();
        Ok(&self.buf[self.pos..])
    }

    fn consume(&mut self, n: usize) {
        self.pos += n;
    }
}
