//! A deflated member, unpacked from its start and checked at its end.

use std::borrow::Borrow;
use std::fs::File;
use std::io::{self, BufReader, Read};

use crc_fast::{CrcAlgorithm, Digest};
use flate2::bufread::DeflateDecoder;

use super::Member;
use crate::span::FileSpan;

/// The unpacked bytes of a member. With the last of them come its length and its CRC-32 to be checked, so that whoever
/// reads them all has them right. What is wrong is [`io::ErrorKind::InvalidData`].
pub(crate) struct Inflate<F> {
    decoder: DeflateDecoder<BufReader<FileSpan<F>>>,
    digest: Digest,
    crc: u32,
    size: u64,
    left: u64,
}

impl<F: Borrow<File>> Inflate<F> {
    /// Of a member whose packed bytes begin at byte `data` of `file`.
    pub(crate) fn new(file: F, data: u64, member: &Member) -> Self {
        let packed = BufReader::with_capacity(64 << 10, FileSpan::new(file, data, member.packed));
        Inflate {
            decoder: DeflateDecoder::new(packed),
            digest: Digest::new(CrcAlgorithm::Crc32IsoHdlc),
            crc: member.crc,
            size: member.size,
            left: member.size,
        }
    }

    fn check_end(&mut self) -> io::Result<()> {
        if self.unpack(&mut [0])? > 0 {
            return Err(invalid(format!("a deflated member has more than its {} bytes", self.size)));
        }
        let crc = self.digest.finalize() as u32;
        if crc != self.crc {
            let told = self.crc;
            return Err(invalid(format!("a deflated member has the CRC-32 {crc:08x}, its directory says {told:08x}")));
        }
        Ok(())
    }

    fn unpack(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(out).map_err(|error| match error.kind() {
            // A stream that ends early is as broken as any other.
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                invalid(format!("a deflated member cannot be unpacked: {error}"))
            }
            _ => error,
        })
    }
}

impl<F: Borrow<File>> Read for Inflate<F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let read = self.unpack(&mut out[..most])?;
        if read == 0 {
            let have = self.size - self.left;
            return Err(invalid(format!("a deflated member ends after {have} of its {} bytes", self.size)));
        }
        self.digest.update(&out[..read]);
        self.left -= read as u64;
        if self.left == 0 {
            self.check_end()?;
        }
        Ok(read)
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
