//! One buffer of a record batch, read forward.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

/// The compressors of record batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Lz4,
    Zstd,
}

/// Where a buffer lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// Bytes of the file that are read at once.
const READ: usize = 256 << 10;

/// The bytes of a buffer, decompressed. A compressed one begins with its length (i64, -1 where it is not compressed).
pub(super) fn open(file: File, place: Place, codec: Option<Codec>) -> io::Result<Box<dyn Read + Send>> {
    let mut run = Run { file, offset: place.offset, left: place.len };
    let Some(codec) = codec.filter(|_| place.len > 0) else { return Ok(Box::new(BufReader::with_capacity(READ, run))) };
    let mut length = [0; 8];
    run.read_exact(&mut length)?;
    let run = BufReader::with_capacity(READ, run);
    Ok(match (u64::try_from(i64::from_le_bytes(length)), codec) {
        (Err(_), _) => Box::new(run),
        (Ok(length), Codec::Lz4) => Box::new(lz4_flex::frame::FrameDecoder::new(run).take(length)),
        (Ok(length), Codec::Zstd) => Box::new(zstd::stream::read::Decoder::with_buffer(run)?.take(length)),
    })
}

/// Drops bytes.
pub(super) fn skip(reader: &mut dyn Read, len: u64) -> io::Result<()> {
    match io::copy(&mut reader.take(len), &mut io::sink())? {
        skipped if skipped == len => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A run of bytes, read by position.
struct Run {
    file: File,
    offset: u64,
    left: u64,
}

impl Read for Run {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut out[..len], self.offset)?;
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}
