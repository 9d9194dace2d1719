//! Which codec a file begins like.

use super::decoder::Decoder;
use crate::format::{Probe, recognise_unpacked};

/// A way to compress a whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Gzip,
    Zlib,
    Bzip2,
    Xz,
    Lzma,
    Zstd,
    Lz4,
}

const GZIP: &[u8] = b"\x1f\x8b\x08";
const BZIP2: &[u8] = b"BZh";
const XZ: &[u8] = b"\xfd7zXZ\0";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const LZ4: &[u8] = b"\x04\x22\x4d\x18";

impl Codec {
    /// The codec of a file with this beginning (some 512 bytes, or all of it).
    pub(super) fn of(head: &[u8]) -> Option<Codec> {
        match head {
            [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] if is_zlib(head) => Some(Codec::Zlib),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Some(Codec::Bzip2),
            // The length is known to be small or not known at all, and the first byte of the range coder is 0.
            &[0x5d, 0, 0, _, _, a, b, c, d, e, f, g, h, 0, ..] => lzma([a, b, c, d, e, f, g, h]),
            _ if head.starts_with(GZIP) => Some(Codec::Gzip),
            _ if head.starts_with(XZ) => Some(Codec::Xz),
            _ => after_skipped(head),
        }
    }

    /// The word for it in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Codec::Gzip => "gzip",
            Codec::Zlib => "zlib",
            Codec::Bzip2 => "bzip2",
            Codec::Xz => "xz",
            Codec::Lzma => "lzma",
            Codec::Zstd => "zstd",
            Codec::Lz4 => "lz4",
        }
    }

    /// Whether a further member, stream or frame may begin so.
    pub(super) fn continues(self, head: &[u8]) -> bool {
        match self {
            Codec::Gzip => head.starts_with(GZIP),
            Codec::Zlib => head.first() == Some(&0x78),
            Codec::Bzip2 => head.starts_with(BZIP2),
            Codec::Xz => head.starts_with(XZ),
            Codec::Lzma => false,
            Codec::Zstd => head.starts_with(ZSTD),
            Codec::Lz4 => head.starts_with(LZ4),
        }
    }

    /// Whether zeros may follow a member, as tapes and the xz tools leave them.
    pub(super) fn is_padded(self) -> bool {
        matches!(self, Codec::Gzip | Codec::Xz)
    }

    /// Bytes of the frame without content that a file goes on with, its head included.
    pub(super) fn skipped(self, head: &[u8]) -> Option<u64> {
        matches!(self, Codec::Zstd | Codec::Lz4).then(|| skippable(head)).flatten()
    }
}

fn lzma(len: [u8; 8]) -> Option<Codec> {
    let len = u64::from_le_bytes(len);
    (len == u64::MAX || len < 1 << 48).then_some(Codec::Lzma)
}

/// Length of a frame that zstd and lz4 skip, its head included.
fn skippable(head: &[u8]) -> Option<u64> {
    match *head {
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, ..] => Some(8 + u64::from(u32::from_le_bytes([a, b, c, d]))),
        _ => None,
    }
}

/// zstd or lz4 behind frames that both skip. Where those are longer than what is known, it is zstd: its tools write
/// them, lz4's do not.
fn after_skipped(head: &[u8]) -> Option<Codec> {
    let mut rest = head;
    while let Some(len) = skippable(rest) {
        match usize::try_from(len).ok().and_then(|len| rest.get(len..)) {
            Some(after) if after.len() >= 4 => rest = after,
            _ => return Some(Codec::Zstd),
        }
    }
    match rest {
        _ if rest.starts_with(ZSTD) => Some(Codec::Zstd),
        _ if rest.starts_with(LZ4) => Some(Codec::Lz4),
        _ => None,
    }
}

/// Two bytes are no magic number, so the beginning is inflated: it must be sound, and something that is known.
fn is_zlib(head: &[u8]) -> bool {
    let mut out = vec![0; 512];
    let Ok(mut decoder) = Decoder::new(Codec::Zlib, 0) else { return false };
    let Ok(step) = decoder.step(head, &mut out) else { return false };
    let whole = step.ended || step.read == head.len() || step.written == out.len();
    out.truncate(step.written);
    let probe = Probe { len: if step.ended { step.written as u64 } else { u64::MAX }, head: out, ..Probe::default() };
    whole && step.written > 0 && recognise_unpacked(&probe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_magic_numbers_are_looked_into() {
        let compress = |bytes: &[u8]| {
            let mut out = Vec::with_capacity(1000);
            let mut compress = flate2::Compress::new(flate2::Compression::fast(), true);
            compress.compress_vec(bytes, &mut out, flate2::FlushCompress::Finish).expect("compresses");
            out
        };
        assert_eq!(Codec::of(&compress(b"\x80\x04N.")), Some(Codec::Zlib));
        assert_eq!(Codec::of(&compress(b"\n {\"id\": 1}")), Some(Codec::Zlib));
        assert_eq!(Codec::of(&compress(b"just a text")), None);
        assert_eq!(Codec::of(&compress(&compress(b"\x80\x04N."))), None, "packed twice");
        assert_eq!(Codec::of(b"x^2 + y^2 = z^2"), None);
        assert_eq!(Codec::of(b"x\x9c"), None);
        assert_eq!(Codec::of(b"]q\x00(K\x01K\x02e."), None, "a pickled list is no lzma");
        assert_eq!(Codec::of(b"BZhello"), None);
    }

    #[test]
    fn frames_without_content_are_looked_past() {
        let skipped = b"\x51\x2a\x4d\x18\x02\0\0\0ab";
        assert_eq!(Codec::of(&[skipped, LZ4].concat()), Some(Codec::Lz4));
        assert_eq!(Codec::of(&[skipped, &skipped[..], ZSTD].concat()), Some(Codec::Zstd));
        assert_eq!(Codec::of(&[skipped, &b"abcd"[..]].concat()), None);
        assert_eq!(Codec::of(b"\x50\x2a\x4d\x18\xff\xff\xff\xff"), Some(Codec::Zstd));
    }
}
