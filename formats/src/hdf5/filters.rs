//! The filters of chunks, applied and undone on the caller's thread: the library has a lock, and lacks zstd and LZ4.
//!
//! ```text
//!     2 shuffle      first bytes of all elements │ second bytes │ …      parameter: bytes of an element
//!     1 deflate      a zlib stream                                       parameter: level
//!     3 fletcher32   the bytes │ checksum (u32, little-endian)
//! 32004 lz4          bytes (u64) │ bytes of a block (u32) │ { length (u32) │ LZ4 block, or raw where no shorter }…
//!                    all big-endian                                      parameter: bytes of a block
//! 32015 zstd         a frame                                             parameter: level
//! ```
//!
//! The first three are HDF5's own (<https://docs.hdfgroup.org/hdf5/v1_14/group___h5_z.html>), the others are registered
//! at <https://github.com/HDFGroup/hdf5_plugins/blob/master/docs/RegisteredFilterPlugins.md>. Whatever a chunk says of
//! its size, no more is decoded than the chunk has room for.

use std::borrow::Cow;
use std::io::{Read, Write};
use std::sync::{Mutex, PoisonError};

use flate2::Compression as Deflate;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use crate::target::{Codec, Compression};

const DEFLATE: i32 = 1;
const SHUFFLE: i32 = 2;
const FLETCHER32: i32 = 3;
const LZ4: i32 = 32004;
const ZSTD: i32 = 32015;

/// Levels where none is asked for: zlib's and zstd's own.
const DEFLATE_LEVEL: u8 = 6;
const ZSTD_LEVEL: u8 = 3;
/// Bytes of an LZ4 block, the plugin's default.
const LZ4_BLOCK: usize = 1 << 30;

/// Filters in the order in which they are applied: identifier and parameters.
pub(super) type Pipeline = Vec<(i32, Vec<u32>)>;

/// Names of the registered filters that are met most, for messages.
const NAMES: [(i32, &str); 14] = [
    (DEFLATE, "deflate"),
    (SHUFFLE, "shuffle"),
    (FLETCHER32, "fletcher32"),
    (4, "szip"),
    (5, "nbit"),
    (6, "scaleoffset"),
    (307, "bzip2"),
    (32000, "lzf"),
    (32001, "blosc"),
    (LZ4, "lz4"),
    (32008, "bitshuffle"),
    (32013, "zfp"),
    (ZSTD, "zstd"),
    (32026, "blosc2"),
];

/// The name of a filter; its identifier alone where it has none here.
pub(super) fn name(filter: i32) -> String {
    match NAMES.iter().find(|(id, _)| *id == filter) {
        Some((id, name)) => format!("{name} (filter {id})"),
        None => format!("filter {filter}"),
    }
}

/// The first filter that cannot be undone here.
pub(super) fn unknown(pipeline: &Pipeline) -> Option<i32> {
    let known = [DEFLATE, SHUFFLE, FLETCHER32, LZ4, ZSTD];
    pipeline.iter().map(|(filter, _)| *filter).find(|filter| !known.contains(filter))
}

/// The filters for a compressor, on elements of `size` bytes. Bytes are shuffled first: in floats only the exponents
/// repeat, and LZ4 finds nothing without it. `None` for Blosc.
pub(super) fn pipeline(compression: Compression, size: usize) -> Option<Pipeline> {
    let level = |default| vec![u32::from(compression.level.unwrap_or(default))];
    let compressor = match compression.codec {
        Codec::Zstd => (ZSTD, level(ZSTD_LEVEL)),
        Codec::Deflate => (DEFLATE, level(DEFLATE_LEVEL)),
        Codec::Lz4 => (LZ4, vec![LZ4_BLOCK as u32]),
        Codec::BloscLz4 | Codec::BloscZstd => return None,
    };
    Some(vec![(SHUFFLE, vec![size as u32]), compressor])
}

/// Buffers that are used again: to have the system clear megabytes for every chunk takes longer than to fill them.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(super) fn give(&self, buffer: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// Applies the filters to a whole chunk, which is filled up to `len` bytes with zeros.
///
/// # Errors
/// What a filter says.
pub(super) fn encode(pipeline: &Pipeline, bytes: &[u8], len: usize, pool: &Pool) -> Result<Vec<u8>, String> {
    let mut bytes = Cow::Borrowed(bytes);
    if bytes.len() < len {
        bytes.to_mut().resize(len, 0);
    }
    for (filter, parameters) in pipeline {
        let parameter = parameters.first().copied().unwrap_or(0);
        let mut out = pool.take();
        match *filter {
            SHUFFLE => shuffle(&bytes, parameter as usize, &mut out),
            DEFLATE => {
                out.clear();
                let mut encoder = ZlibEncoder::new(out, Deflate::new(parameter));
                out = encoder.write_all(&bytes).and_then(|()| encoder.finish()).map_err(|error| error.to_string())?;
            }
            ZSTD => {
                out.clear();
                out.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
                let mut encoder = zstd::bulk::Compressor::new(parameter as i32).map_err(|error| error.to_string())?;
                encoder.compress_to_buffer(&bytes, &mut out).map_err(|error| error.to_string())?;
            }
            LZ4 => out = lz4_encode(&bytes, parameter as usize),
            other => return Err(format!("{} is not written", name(other))),
        }
        if let Cow::Owned(used) = std::mem::replace(&mut bytes, Cow::Owned(out)) {
            pool.give(used);
        }
    }
    Ok(match bytes {
        Cow::Owned(encoded) => encoded,
        Cow::Borrowed(plain) => {
            let mut out = pool.take();
            out.clear();
            out.extend_from_slice(plain);
            out
        }
    })
}

/// Undoes the filters whose bit in `mask` is not set: `len` bytes come out.
///
/// # Errors
/// What is wrong with the chunk.
pub(super) fn decode(pipeline: &Pipeline, mask: u32, mut bytes: Vec<u8>, len: usize) -> Result<Vec<u8>, String> {
    // A checksum may lie between two filters.
    let room = len + 64;
    for (index, (filter, parameters)) in pipeline.iter().enumerate().rev() {
        if index < 32 && mask & (1 << index) != 0 {
            continue;
        }
        bytes = match *filter {
            SHUFFLE => unshuffle(&bytes, parameters.first().copied().unwrap_or(0) as usize),
            FLETCHER32 => checked(bytes)?,
            DEFLATE => {
                let mut out = Vec::with_capacity(len);
                let read = ZlibDecoder::new(bytes.as_slice()).take(room as u64 + 1).read_to_end(&mut out);
                read.map_err(|error| format!("is no zlib stream: {error}"))?;
                out
            }
            ZSTD => zstd::bulk::decompress(&bytes, room).map_err(|error| format!("is no zstd frame: {error}"))?,
            LZ4 => lz4_decode(&bytes, room)?,
            other => return Err(format!("needs {}", name(other))),
        };
        if bytes.len() > room {
            return Err(format!("decodes to more than the {len} bytes it has room for"));
        }
    }
    match bytes.len() {
        got if got == len => Ok(bytes),
        got => Err(format!("decodes to {got} bytes in place of {len}")),
    }
}

/// Elements of `size` bytes to planes of bytes; what is left over stays behind them.
fn shuffle(bytes: &[u8], size: usize, out: &mut Vec<u8>) {
    // What a used buffer holds is overwritten.
    out.resize(bytes.len(), 0);
    let count = bytes.len() / size.max(1);
    let (planes, rest) = out.split_at_mut(count * size);
    for (plane, out) in planes.chunks_exact_mut(count.max(1)).enumerate() {
        for (element, byte) in bytes.chunks_exact(size).zip(out) {
            *byte = element[plane];
        }
    }
    rest.copy_from_slice(&bytes[count * size..]);
}

/// The way back.
fn unshuffle(bytes: &[u8], size: usize) -> Vec<u8> {
    if size <= 1 {
        return bytes.to_vec();
    }
    let count = bytes.len() / size;
    let mut out = vec![0; bytes.len()];
    for (plane, bytes) in bytes[..count * size].chunks_exact(count.max(1)).enumerate() {
        for (element, byte) in out.chunks_exact_mut(size).zip(bytes) {
            element[plane] = *byte;
        }
    }
    out[count * size..].copy_from_slice(&bytes[count * size..]);
    out
}

/// Takes the checksum off, if it is right.
fn checked(mut bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let Some((data, stored)) = bytes.split_last_chunk::<4>() else {
        return Err("is too short for its checksum".into());
    };
    let measured = fletcher32(data);
    // HDF5 before 1.6.3 swapped the bytes of each half, and HDF5 still accepts that.
    let [a, b, c, d] = *stored;
    if ![u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([b, a, d, c])].contains(&measured) {
        return Err("does not have its checksum".into());
    }
    bytes.truncate(bytes.len() - 4);
    Ok(bytes)
}

/// HDF5's Fletcher checksum: of big-endian 16-bit words, an odd byte at the end being the upper half of one.
fn fletcher32(bytes: &[u8]) -> u32 {
    let fold = |sum: u32| (sum & 0xffff) + (sum >> 16);
    let (mut first, mut second) = (0u32, 0u32);
    let (words, odd) = bytes.as_chunks::<2>();
    // As many words as cannot overflow.
    for words in words.chunks(360) {
        for word in words {
            first += u32::from(u16::from_be_bytes(*word));
            second += first;
        }
        (first, second) = (fold(first), fold(second));
    }
    if let [odd] = odd {
        first += u32::from(*odd) << 8;
        second += first;
        (first, second) = (fold(first), fold(second));
    }
    fold(second) << 16 | fold(first)
}

fn lz4_encode(bytes: &[u8], block: usize) -> Vec<u8> {
    let block = block.clamp(1, LZ4_BLOCK).min(bytes.len().max(1));
    let mut out = (bytes.len() as u64).to_be_bytes().to_vec();
    out.extend_from_slice(&(block as u32).to_be_bytes());
    for part in bytes.chunks(block) {
        let packed = lz4_flex::block::compress(part);
        // A block that is as long as its bytes is taken for the bytes themselves.
        let stored = if packed.len() < part.len() { &packed } else { part };
        out.extend_from_slice(&(stored.len() as u32).to_be_bytes());
        out.extend_from_slice(stored);
    }
    out
}

fn lz4_decode(mut bytes: &[u8], room: usize) -> Result<Vec<u8>, String> {
    let short = || String::from("ends inside its LZ4 data");
    let len = u64::from_be_bytes(*bytes.split_off(..8).and_then(|head| head.first_chunk()).ok_or_else(short)?);
    let block = u32::from_be_bytes(*bytes.split_off(..4).and_then(|head| head.first_chunk()).ok_or_else(short)?);
    let len = usize::try_from(len).ok().filter(|len| *len <= room).ok_or("is larger than its LZ4 header may say")?;
    if block == 0 && len > 0 {
        return Err("has LZ4 blocks without a length".into());
    }
    let mut out = vec![0; len];
    for part in out.chunks_mut((block as usize).max(1)) {
        let stored = u32::from_be_bytes(*bytes.split_off(..4).and_then(|head| head.first_chunk()).ok_or_else(short)?);
        let packed = bytes.split_off(..stored as usize).ok_or_else(short)?;
        if packed.len() == part.len() {
            part.copy_from_slice(packed);
            continue;
        }
        match lz4_flex::block::decompress_into(packed, part) {
            Ok(got) if got == part.len() => {}
            Ok(got) => return Err(format!("has an LZ4 block of {got} bytes in place of {}", part.len())),
            Err(error) => return Err(format!("is no LZ4 data: {error}")),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pipeline_comes_back() {
        let bytes: Vec<u8> = (0..10_007u32).flat_map(|i| (i as f32).sin().to_le_bytes()).collect();
        for codec in [Codec::Zstd, Codec::Deflate, Codec::Lz4] {
            let pipeline = pipeline(Compression { codec, level: None }, 4).expect("a pipeline");
            let encoded = encode(&pipeline, &bytes, bytes.len(), &Pool::default()).expect("encodes");
            assert!(encoded.len() < bytes.len(), "{codec:?}: {}", encoded.len());
            assert_eq!(decode(&pipeline, 0, encoded.clone(), bytes.len()).as_ref(), Ok(&bytes), "{codec:?}");
            for cut in [0, 3, 11, encoded.len() / 2, encoded.len() - 1] {
                assert!(decode(&pipeline, 0, encoded[..cut].to_vec(), bytes.len()).is_err(), "{codec:?} at {cut}");
            }
            assert!(decode(&pipeline, 0, encoded, bytes.len() - 100).is_err(), "{codec:?}: too much");
            assert_eq!(decode(&pipeline, 3, bytes.clone(), bytes.len()).as_ref(), Ok(&bytes), "both masked out");
        }
    }

    #[test]
    fn blocks_of_lz4_and_odd_ends() {
        let bytes: Vec<u8> = (0..1003u32).map(|i| (i % 7) as u8).collect();
        for block in [1, 4, 100, 5000] {
            assert_eq!(lz4_decode(&lz4_encode(&bytes, block), 1003).as_ref(), Ok(&bytes), "{block}");
        }
        let shuffled = |bytes: &[u8], size| {
            let mut out = vec![7; 3];
            shuffle(bytes, size, &mut out);
            out
        };
        assert_eq!(unshuffle(&shuffled(&bytes, 4), 4), bytes);
        assert_eq!(shuffled(&[1, 2, 3, 4, 5], 2), [1, 3, 2, 4, 5]);
        assert_eq!(shuffled(&[1, 2], 4), [1, 2]);
        let mut wrong = bytes.clone();
        wrong.extend_from_slice(&fletcher32(&bytes).to_le_bytes());
        assert_eq!(checked(wrong.clone()).as_ref(), Ok(&bytes));
        wrong[5] ^= 1;
        assert!(checked(wrong).is_err());
    }
}
