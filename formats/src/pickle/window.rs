//! A window that moves forward over a [`Source`]: small after a jump, larger while bytes are read in sequence.

use memchr::memchr;

use super::error::PickleError;
use super::source::Source;

/// First read after a jump: the opcodes around a payload are a few hundred bytes.
const SMALLEST: usize = 4 << 10;
/// Reads do not grow beyond this; larger ones were not faster.
const LARGEST: usize = 128 << 10;

pub(super) struct Window<'a> {
    source: &'a dyn Source,
    len: u64,
    buf: Vec<u8>,
    /// Offset of `buf[0]` in the source.
    start: u64,
    pos: usize,
    end: usize,
    next_read: usize,
}

impl<'a> Window<'a> {
    pub(super) fn new(source: &'a dyn Source, offset: u64) -> Self {
        Window { source, len: source.len(), buf: Vec::new(), start: offset, pos: 0, end: 0, next_read: SMALLEST }
    }

    /// Begins again at `offset`, with the buffer that is there.
    pub(super) fn jump(&mut self, offset: u64) {
        (self.start, self.pos, self.end, self.next_read) = (offset, 0, 0, SMALLEST);
    }

    /// Offset of the next byte.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.start + self.pos as u64
    }

    /// Bytes from here to the end of the source.
    #[inline]
    pub(super) fn left(&self) -> u64 {
        self.len - self.offset()
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, PickleError> {
        if self.pos == self.end {
            self.fill(1)?;
        }
        let byte = self.buf[self.pos];
        self.pos += 1;
        Ok(byte)
    }

    /// The next `n` bytes, for an `n` of at most a few hundred.
    #[inline]
    pub(super) fn take(&mut self, n: usize) -> Result<&[u8], PickleError> {
        if self.end - self.pos < n {
            self.fill(n)?;
        }
        let bytes = &self.buf[self.pos..self.pos + n];
        self.pos += n;
        Ok(bytes)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// The `n` bytes before the current position; they must be what was read last.
    #[inline]
    pub(super) fn behind(&self, n: usize) -> &[u8] {
        &self.buf[self.pos - n..self.pos]
    }

    /// Steps over `n` bytes, which the caller has checked to be there.
    pub(super) fn skip(&mut self, n: u64) {
        let here = (self.end - self.pos) as u64;
        if n <= here {
            self.pos += n as usize;
        } else {
            // A text that merely crosses the window's end is no jump: reading goes on in sequence.
            let size = if n - here > self.next_read as u64 { SMALLEST } else { self.next_read };
            self.jump(self.offset() + n);
            self.next_read = size;
        }
    }

    /// Steps over one line and its line feed; the length without the line feed.
    ///
    /// A line of up to `short` bytes is left in the window, for [`Window::behind`]; of a longer one, which may be a
    /// payload of protocol 0, only the last byte.
    pub(super) fn line(&mut self, short: usize) -> Result<u64, PickleError> {
        let ahead = self.left().clamp(1, short as u64 + 1) as usize;
        if self.end - self.pos < ahead {
            self.fill(ahead)?;
        }
        let begin = self.offset();
        loop {
            if let Some(i) = memchr(b'\n', &self.buf[self.pos..self.end]) {
                self.pos += i + 1;
                return Ok(self.offset() - begin - 1);
            }
            // One byte stays, so that whoever called can look at the line's last.
            self.pos = self.end - 1;
            self.fill(2)?;
        }
    }

    #[cold]
    fn fill(&mut self, n: usize) -> Result<(), PickleError> {
        let kept = self.end - self.pos;
        if self.left() < n as u64 {
            return Err(PickleError::Truncated { offset: self.len });
        }
        self.buf.copy_within(self.pos..self.end, 0);
        self.start += self.pos as u64;
        (self.pos, self.end) = (0, kept);
        let size = self.next_read.max(n);
        if self.buf.len() < size {
            self.buf.resize(size, 0);
        }
        while self.end < n {
            let offset = self.start + self.end as u64;
            let limit = self.len.min(self.start + size as u64) - self.start;
            let into = &mut self.buf[self.end..limit as usize];
            match self.source.read_at(offset, into) {
                // Shorter than it was when the scan began.
                Ok(0) => return Err(PickleError::Truncated { offset }),
                Ok(read) => self.end += read.min(into.len()),
                Err(source) => return Err(PickleError::Io { offset, source }),
            }
        }
        self.next_read = (self.next_read * 2).min(LARGEST);
        Ok(())
    }
}
