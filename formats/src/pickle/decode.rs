//! Payloads that lie in the file in another spelling: protocols 0 to 2 know no bytes, only texts.
//!
//! | coding | opcode | written by |
//! |---|---|---|
//! | [`Coding::Raw`] | BINBYTES, BYTEARRAY8, BINSTRING | protocols 3 to 5; Python 2, protocols 1 and 2 |
//! | [`Coding::Utf8Latin1`] | BINUNICODE | Python 3, protocols 1 and 2 |
//! | [`Coding::RawUnicodeEscape`] | UNICODE | Python 3, protocol 0 |
//! | [`Coding::PythonRepr`] | STRING | Python 2, protocol 0 |
//!
//! Escapes follow CPython's `_PyUnicode_DecodeRawUnicodeEscapeStateful` and `_PyBytes_DecodeEscape`.

use std::io::{self, Read};

/// How the bytes of a payload are spelled in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As they are.
    Raw,
    /// UTF-8 of the Latin-1 text that has these bytes.
    Utf8Latin1,
    /// Latin-1, with some bytes as `\u00XX`.
    RawUnicodeEscape,
    /// Python's `repr` of a byte string, without its quotes.
    PythonRepr,
}

/// Where the bytes of an array lie in the file, and how they are spelled there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadSpan {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes in the file; as many as the array has where the coding is [`Coding::Raw`].
    pub encoded_len: u64,
    /// How they are spelled.
    pub coding: Coding,
}

impl PayloadSpan {
    /// Reads the array's bytes from `encoded`, which must stand at [`PayloadSpan::offset`] and end where the span does.
    pub fn decoder<R: Read>(&self, encoded: R) -> Decoder<R> {
        Decoder {
            encoded,
            coding: self.coding,
            offset: self.offset,
            left: self.encoded_len,
            buf: if self.coding == Coding::Raw { Vec::new() } else { vec![0; BUFFER] },
            pos: 0,
            end: 0,
        }
    }

    /// Number of bytes that the payload decodes to; reads all of `encoded` unless the coding is [`Coding::Raw`].
    ///
    /// # Errors
    /// As [`Decoder`]'s.
    pub fn decoded_len<R: Read>(&self, encoded: R) -> io::Result<u64> {
        match self.coding {
            Coding::Raw => Ok(self.encoded_len),
            _ => io::copy(&mut self.decoder(encoded), &mut io::sink()),
        }
    }
}

const BUFFER: usize = 64 << 10;

/// The bytes of a payload. A spelling that no byte has is [`io::ErrorKind::InvalidData`], with its place in the file.
#[derive(Debug)]
pub struct Decoder<R> {
    encoded: R,
    coding: Coding,
    /// Place in the file of `buf[pos]`.
    offset: u64,
    /// Encoded bytes that were not read yet.
    left: u64,
    buf: Vec<u8>,
    pos: usize,
    end: usize,
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.coding == Coding::Raw {
            let most = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let read = self.encoded.read(&mut out[..most])?;
            if read == 0 && most > 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.left -= read as u64;
            return Ok(read);
        }
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            let chunk = decode(self.coding, &self.buf[self.pos..self.end], self.left == 0, out);
            self.pos += chunk.read;
            self.offset += chunk.read as u64;
            if chunk.written > 0 {
                return Ok(chunk.written);
            }
            if chunk.bad {
                let message = format!("byte {} is no spelling of a byte in this payload", self.offset);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            if self.left == 0 {
                return Ok(0);
            }
            self.refill()?;
        }
    }
}

impl<R: Read> Decoder<R> {
    fn refill(&mut self) -> io::Result<()> {
        self.buf.copy_within(self.pos..self.end, 0);
        (self.pos, self.end) = (0, self.end - self.pos);
        let most = (self.buf.len() - self.end).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = loop {
            match self.encoded.read(&mut self.buf[self.end..self.end + most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.end += read;
        self.left -= read as u64;
        Ok(())
    }
}

/// How far one step of decoding got.
struct Chunk {
    read: usize,
    written: usize,
    /// What stands at `read` is no spelling of a byte.
    bad: bool,
}

/// Decodes a short payload at once; `None` where it is malformed.
pub(super) fn decode_all(coding: Coding, encoded: &[u8]) -> Option<Vec<u8>> {
    // No spelling is shorter than the byte it spells.
    let mut out = vec![0; encoded.len()];
    let chunk = decode(coding, encoded, true, &mut out);
    out.truncate(chunk.written);
    (!chunk.bad).then_some(out)
}

/// Decodes as much of `encoded` as fits; a spelling that is cut off by the end is bad only if it is the `last` piece.
fn decode(coding: Coding, encoded: &[u8], last: bool, out: &mut [u8]) -> Chunk {
    match coding {
        Coding::Raw => {
            let n = encoded.len().min(out.len());
            out[..n].copy_from_slice(&encoded[..n]);
            Chunk { read: n, written: n, bad: false }
        }
        Coding::Utf8Latin1 => decode_utf8(encoded, last, out),
        Coding::RawUnicodeEscape => decode_escapes(encoded, last, out, unicode_escape),
        Coding::PythonRepr => decode_escapes(encoded, last, out, repr_escape),
    }
}

/// Half of the bytes of random floats take two bytes here, in no order that a branch predictor could learn; so both
/// cases are computed and one is taken.
fn decode_utf8(encoded: &[u8], last: bool, out: &mut [u8]) -> Chunk {
    let (mut read, mut written) = (0, 0);
    while written < out.len() {
        let Some(&[first, second]) = encoded.get(read..).and_then(|rest| rest.first_chunk()) else { break };
        let wide = first >> 7;
        // Two-byte forms of U+0080 to U+00FF begin with C2 or C3.
        let valid = first & 0xfe == 0xc2 && second & 0xc0 == 0x80;
        if wide == 1 && !valid {
            return Chunk { read, written, bad: true };
        }
        out[written] = if wide == 1 { first << 6 | second & 0x3f } else { first };
        written += 1;
        read += 1 + usize::from(wide);
    }
    if written < out.len()
        && let [only] = encoded[read..]
    {
        if only < 0x80 {
            out[written] = only;
            (read, written) = (read + 1, written + 1);
        } else if last {
            return Chunk { read, written, bad: true };
        }
    }
    Chunk { read, written, bad: false }
}

/// What an escape at the start of the bytes means.
enum Escape {
    /// Its length, and the byte it stands for.
    Byte(usize, u8),
    /// The bytes end within it.
    Cut,
    Bad,
}

fn decode_escapes(encoded: &[u8], last: bool, out: &mut [u8], escape: fn(&[u8]) -> Escape) -> Chunk {
    let (mut read, mut written) = (0, 0);
    while read < encoded.len() && written < out.len() {
        let rest = &encoded[read..];
        let most = rest.len().min(out.len() - written);
        let plain = memchr::memchr(b'\\', &rest[..most]).unwrap_or(most);
        out[written..written + plain].copy_from_slice(&rest[..plain]);
        (read, written) = (read + plain, written + plain);
        if plain == most {
            continue;
        }
        match escape(&rest[plain..]) {
            Escape::Byte(len, byte) => {
                out[written] = byte;
                (read, written) = (read + len, written + 1);
            }
            Escape::Cut if !last => break,
            Escape::Cut | Escape::Bad => return Chunk { read, written, bad: true },
        }
    }
    Chunk { read, written, bad: false }
}

/// `\uXXXX` and `\UXXXXXXXX` up to U+00FF. Python's writers escape the backslash itself in the same way.
fn unicode_escape(at: &[u8]) -> Escape {
    let digits = match at.get(1) {
        Some(b'u') => 4,
        Some(b'U') => 8,
        Some(_) => return Escape::Bad,
        None => return Escape::Cut,
    };
    let Some(digits) = at.get(2..2 + digits) else { return Escape::Cut };
    match hex(digits).map(u8::try_from) {
        Some(Ok(byte)) => Escape::Byte(2 + digits.len(), byte),
        _ => Escape::Bad,
    }
}

/// The escapes that `repr` writes. It writes no octal ones, and none that stand for themselves.
fn repr_escape(at: &[u8]) -> Escape {
    let Some(&kind) = at.get(1) else { return Escape::Cut };
    let byte = match kind {
        b'x' => {
            let Some(digits) = at.get(2..4) else { return Escape::Cut };
            return match hex(digits).map(u8::try_from) {
                Some(Ok(byte)) => Escape::Byte(4, byte),
                _ => Escape::Bad,
            };
        }
        b'\\' | b'\'' | b'"' => kind,
        b't' => b'\t',
        b'n' => b'\n',
        b'r' => b'\r',
        _ => return Escape::Bad,
    };
    Escape::Byte(2, byte)
}

pub(super) fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte value, and runs that cross each other.
    fn bytes() -> Vec<u8> {
        (0..=255).chain((0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)).collect()
    }

    fn spelled(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        match coding {
            Coding::Raw => bytes.to_vec(),
            Coding::Utf8Latin1 => bytes.iter().copied().map(char::from).collect::<String>().into_bytes(),
            Coding::RawUnicodeEscape => bytes
                .iter()
                .flat_map(|byte| match byte {
                    b'\n' | b'\\' | 0 | 13 => format!("\\u{byte:04x}").into_bytes(),
                    b'z' => b"\\U0000007a".to_vec(),
                    byte => vec![*byte],
                })
                .collect(),
            Coding::PythonRepr => bytes
                .iter()
                .flat_map(|byte| match byte {
                    b'\\' | b'\'' => vec![b'\\', *byte],
                    b'\n' => b"\\n".to_vec(),
                    b'\r' => b"\\r".to_vec(),
                    b'\t' => b"\\t".to_vec(),
                    b' '..=b'~' => vec![*byte],
                    byte => format!("\\x{byte:02x}").into_bytes(),
                })
                .collect(),
        }
    }

    /// Gives one byte at a time, so that every spelling is cut everywhere.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let n = out.len().min(1);
            self.0.read(&mut out[..n])
        }
    }

    #[test]
    fn what_was_spelled_is_decoded_in_any_pieces() {
        let bytes = bytes();
        for coding in [Coding::Raw, Coding::Utf8Latin1, Coding::RawUnicodeEscape, Coding::PythonRepr] {
            let encoded = spelled(coding, &bytes);
            let span = PayloadSpan { offset: 7, encoded_len: encoded.len() as u64, coding };
            for piece in [1, 3, 4096, 1 << 20] {
                let (mut out, mut at) = (vec![0; bytes.len() + 1], 0);
                let mut decoder = span.decoder(Drip(&encoded));
                loop {
                    let end = out.len().min(at + piece);
                    match decoder.read(&mut out[at..end]).unwrap() {
                        0 => break,
                        n => at += n,
                    }
                }
                assert!(out[..at] == bytes, "{coding:?} in pieces of {piece}");
            }
            assert_eq!(span.decoded_len(encoded.as_slice()).unwrap(), bytes.len() as u64);
        }
    }

    #[test]
    fn a_spelling_of_no_byte_is_an_error_with_its_place() {
        for (coding, encoded, place) in [
            (Coding::Utf8Latin1, &b"abc\xc4\x80d"[..], 103),
            (Coding::Utf8Latin1, b"abc\xc3", 103),
            (Coding::Utf8Latin1, b"\x80", 100),
            (Coding::RawUnicodeEscape, b"a\\u0100", 101),
            (Coding::RawUnicodeEscape, b"a\\u00", 101),
            (Coding::RawUnicodeEscape, b"\\q", 100),
            (Coding::PythonRepr, b"ab\\xg0", 102),
            (Coding::PythonRepr, b"ab\\", 102),
        ] {
            let span = PayloadSpan { offset: 100, encoded_len: encoded.len() as u64, coding };
            let error = io::copy(&mut span.decoder(encoded), &mut io::sink()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().starts_with(&format!("byte {place} ")), "{error}");
        }
        let cut = PayloadSpan { offset: 0, encoded_len: 5, coding: Coding::Raw };
        let error = io::copy(&mut cut.decoder(&b"abc"[..]), &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
