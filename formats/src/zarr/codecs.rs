//! How a chunk is encoded, and its way back to rows.
//!
//! ```text
//! write:  rows ─▶ transpose? ─▶ bytes (their order) ─▶ compressor ─▶ … ─▶ file, or part of a shard
//! ```
//!
//! Decoded are `transpose`, `bytes`, `zstd`, `gzip`, `zlib`, `lz4`, `blosc`, `crc32c` and one layer of
//! `sharding_indexed`. A decoder is told how much may come out: a chunk that claims more is an error before any memory is
//! taken for it.

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;

use crc_fast::{CrcAlgorithm, checksum};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use serde_json::{Map, Value, json};
use zarrs::array::codec::CodecChain;
use zarrs::array::{BytesRepresentation, BytesToBytesCodecTraits, CodecOptions};
use zarrs::metadata::v3::MetadataV3;

use crate::dtype::ByteOrder;

use super::grid::{named, numbers};

/// The codecs of one chunk.
#[derive(Clone, Debug)]
pub(super) struct Codecs {
    pub(super) byte_order: ByteOrder,
    /// Whether columns follow each other.
    transposed: bool,
    /// In the order in which they encode.
    packed: Vec<Packed>,
}

/// The codecs of a chunk of strings: `vlen-utf8` (a count, then every length and its bytes, in u32), then compressors.
#[derive(Clone, Debug)]
pub(super) struct StringCodecs(Vec<Packed>);

/// One step from bytes to bytes.
#[derive(Clone, Debug)]
enum Packed {
    Zstd,
    Gzip,
    Zlib,
    /// As numcodecs has it: the length in four bytes, then one block.
    Lz4,
    Crc32c,
    Blosc(Arc<dyn BytesToBytesCodecTraits>),
}

/// Many chunks in one file, with an index of offset and length (two u64 each) at its start or end.
#[derive(Clone, Debug)]
pub(super) struct Sharding {
    /// Rows and columns of a chunk.
    pub(super) chunk: [u64; 2],
    pub(super) index_at_end: bool,
    pub(super) index_order: ByteOrder,
    /// Whether a CRC-32C follows the index.
    pub(super) index_checked: bool,
}

/// Why codecs cannot be used.
#[derive(Debug)]
pub(super) enum Refused {
    /// The document is broken.
    Broken(String),
    /// They are not among those that are decoded.
    Unknown(String),
}

fn unknown(name: &str) -> Refused {
    Refused::Unknown(format!("its codec {name:?} is not one that embstore decodes"))
}

impl Codecs {
    /// Of the list `codecs` in version 3.
    pub(super) fn v3(codecs: &[Value]) -> Result<(Self, Option<Sharding>), Refused> {
        if let [only] = codecs
            && let Some(("sharding_indexed", Some(configuration))) = named(Some(only))
        {
            let (codecs, sharding) = sharded(configuration)?;
            return Ok((codecs, Some(sharding)));
        }
        Ok((Self::chain(codecs)?, None))
    }

    fn chain(codecs: &[Value]) -> Result<Self, Refused> {
        let (mut byte_order, mut transposed, mut packed) = (None, false, Vec::new());
        for codec in codecs {
            let broken = |name: &str| Refused::Broken(format!("the codec {name:?} is malformed or out of place"));
            let (name, configuration) = named(Some(codec)).ok_or_else(|| broken("?"))?;
            match (name, byte_order) {
                ("transpose", None) => {
                    let order = numbers(configuration.and_then(|c| c.get("order")));
                    transposed ^= match order.as_deref() {
                        Some([0, 1]) => false,
                        Some([1, 0]) => true,
                        _ => return Err(broken(name)),
                    };
                }
                ("bytes", None) => {
                    byte_order = Some(byte_order_of(configuration).ok_or_else(|| broken(name))?);
                }
                ("sharding_indexed", _) => {
                    let what = "its shards lie in shards, or behind other codecs, which embstore does not decode";
                    return Err(Refused::Unknown(what.into()));
                }
                (_, Some(_)) => packed.push(Packed::named(name)?),
                (name, None) => return Err(unknown(name)),
            }
        }
        let byte_order = byte_order.ok_or_else(|| Refused::Broken("the codec \"bytes\" is missing".into()))?;
        Ok(Codecs { byte_order, transposed, packed })
    }

    /// Of order, filters and compressor in version 2.
    pub(super) fn v2(document: &Map<String, Value>, byte_order: ByteOrder) -> Result<Self, Refused> {
        let transposed = match document.get("order").and_then(Value::as_str) {
            Some("C") | None => false,
            Some("F") => true,
            Some(_) => return Err(Refused::Broken("order is neither C nor F".into())),
        };
        let id = |codec: &Value| codec.get("id").and_then(Value::as_str).map(String::from);
        if let Some(filter) = document.get("filters").and_then(Value::as_array).and_then(|filters| filters.first()) {
            return Err(unknown(&id(filter).unwrap_or_default()));
        }
        let packed = match document.get("compressor") {
            None | Some(Value::Null) => Vec::new(),
            Some(codec) => {
                let id = id(codec).ok_or_else(|| Refused::Broken("the compressor has no id".into()))?;
                vec![Packed::named(&id)?]
            }
        };
        Ok(Codecs { byte_order, transposed, packed })
    }

    /// Whether a chunk is its rows and nothing else.
    pub(super) fn is_raw(&self) -> bool {
        !self.transposed && self.packed.is_empty()
    }

    /// The elements of a chunk of `rows` × `cols`, row after row, from its bytes in the file.
    pub(super) fn decode(&self, encoded: Vec<u8>, [rows, cols]: [usize; 2], size: usize) -> Result<Vec<u8>, String> {
        let expected = rows * cols * size;
        // What lies between two compressors may be a little longer than the rows.
        let between = expected.saturating_add(expected / 8).saturating_add(1 << 16);
        let mut bytes = encoded;
        for (index, packed) in self.packed.iter().enumerate().rev() {
            bytes = packed.unpack(bytes, if index == 0 { expected } else { between })?;
        }
        if bytes.len() != expected {
            return Err(format!("decodes to {} bytes, its shape needs {expected}", bytes.len()));
        }
        Ok(if self.transposed { transpose(&bytes, [rows, cols], size) } else { bytes })
    }
}

/// Most bytes of a chunk of strings.
const STRINGS_LIMIT: usize = 2 << 30;

impl StringCodecs {
    /// Of an array's document, in either version.
    pub(super) fn of(document: &Map<String, Value>) -> Result<Self, Refused> {
        let list = |key| document.get(key).and_then(Value::as_array);
        let id = |codec: &Value| codec.get("id").and_then(Value::as_str).map(String::from);
        let (first, rest): (_, Vec<String>) = match list("codecs") {
            Some(codecs) => {
                let mut names = codecs.iter().map(|codec| named(Some(codec)).unwrap_or_default().0.to_string());
                (names.next(), names.collect())
            }
            None => (
                list("filters").and_then(|filters| id(filters.first()?)),
                document.get("compressor").and_then(id).into_iter().collect(),
            ),
        };
        match first.as_deref() {
            Some("vlen-utf8") => {
                Ok(StringCodecs(rest.iter().map(|name| Packed::named(name)).collect::<Result<_, _>>()?))
            }
            other => Err(unknown(other.unwrap_or_default())),
        }
    }

    /// The `vlen-utf8` bytes of a chunk.
    pub(super) fn decode(&self, encoded: Vec<u8>) -> Result<Vec<u8>, String> {
        self.0.iter().rev().try_fold(encoded, |bytes, packed| packed.unpack(bytes, STRINGS_LIMIT))
    }
}

impl Packed {
    fn named(name: &str) -> Result<Self, Refused> {
        Ok(match name.strip_prefix("numcodecs.").unwrap_or(name) {
            "zstd" => Packed::Zstd,
            "gzip" => Packed::Gzip,
            "zlib" => Packed::Zlib,
            "lz4" => Packed::Lz4,
            "crc32c" => Packed::Crc32c,
            "blosc" => Packed::Blosc(blosc_decoder()?),
            other => return Err(unknown(other)),
        })
    }

    /// Decodes; more than `limit` bytes are an error.
    fn unpack(&self, bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>, String> {
        match self {
            Packed::Zstd => unpack_zstd(&bytes, limit),
            Packed::Gzip => inflate(MultiGzDecoder::new(bytes.as_slice()), limit),
            Packed::Zlib => inflate(ZlibDecoder::new(bytes.as_slice()), limit),
            Packed::Lz4 => {
                let (len, block) = bytes.split_first_chunk().ok_or("lz4: ends in its length")?;
                let len = u32::from_le_bytes(*len) as usize;
                if len > limit {
                    return Err(format!("lz4: claims {len} bytes, its shape needs {limit}"));
                }
                lz4_flex::block::decompress(block, len).map_err(|error| format!("lz4: {error}"))
            }
            Packed::Crc32c => {
                let (body, told) = bytes.split_last_chunk().ok_or("crc32c: ends in the checksum")?;
                if crc32c(body) != u32::from_le_bytes(*told) {
                    return Err("crc32c: the checksum is another".into());
                }
                Ok(body.to_vec())
            }
            Packed::Blosc(codec) => {
                // Version, flags and so on, then the decoded length.
                let claimed = bytes.get(4..8).and_then(|len| len.try_into().ok()).map(u32::from_le_bytes);
                match claimed {
                    Some(len) if len as usize <= limit => {}
                    Some(len) => return Err(format!("blosc: claims {len} bytes, its shape needs {limit}")),
                    None => return Err("blosc: ends in its header".into()),
                }
                let decoded = codec.decode(Cow::Owned(bytes), &BytesRepresentation::UnboundedSize, &one_thread());
                decoded.map(Cow::into_owned).map_err(|error| format!("blosc: {error}"))
            }
        }
    }
}

/// No codec starts threads of its own.
pub(super) fn one_thread() -> CodecOptions {
    CodecOptions::default().with_concurrent_target(1).with_chunk_concurrent_minimum(1)
}

/// CRC-32C, as `crc32c` and the index of a shard have it.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// A chain of zarrs from its list in a document.
pub(super) fn chain(codecs: &Value) -> Result<CodecChain, String> {
    let codecs: Vec<MetadataV3> = serde_json::from_value(codecs.clone()).map_err(|error| error.to_string())?;
    CodecChain::from_metadata(&codecs).map_err(|error| error.to_string())
}

/// Blosc's chunks say themselves how they are encoded: any configuration decodes them.
fn blosc_decoder() -> Result<Arc<dyn BytesToBytesCodecTraits>, Refused> {
    let configuration = json!({"cname": "lz4", "clevel": 5, "shuffle": "noshuffle", "blocksize": 0});
    let chain = chain(&json!([{"name": "bytes"}, {"name": "blosc", "configuration": configuration}]));
    let codec = chain.ok().and_then(|chain| chain.bytes_to_bytes_codecs().first().cloned());
    codec.ok_or_else(|| unknown("blosc"))
}

/// A frame mostly tells how long its content is; one that does not is decoded piece by piece.
fn unpack_zstd(bytes: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let failed = |error| format!("zstd: {error}");
    match zstd::zstd_safe::get_frame_content_size(bytes) {
        Ok(Some(len)) if len > limit as u64 => Err(format!("zstd: claims {len} bytes, its shape needs {limit}")),
        Ok(Some(len)) => zstd::bulk::decompress(bytes, len as usize).map_err(failed),
        Ok(None) => {
            let mut out = Vec::new();
            let decoder = zstd::stream::read::Decoder::new(bytes).map_err(failed)?;
            decoder.take(limit as u64 + 1).read_to_end(&mut out).map_err(failed)?;
            Ok(out)
        }
        Err(_) => Err("zstd: no frame begins here".into()),
    }
}

fn inflate(decoder: impl Read, limit: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    decoder.take(limit as u64 + 1).read_to_end(&mut out).map_err(|error| format!("deflate: {error}"))?;
    if out.len() > limit {
        return Err(format!("deflate: more than {limit} bytes come out"));
    }
    Ok(out)
}

fn byte_order_of(configuration: Option<&Map<String, Value>>) -> Option<ByteOrder> {
    match configuration.and_then(|c| c.get("endian")).map(Value::as_str) {
        None | Some(Some("little")) => Some(ByteOrder::Little),
        Some(Some("big")) => Some(ByteOrder::Big),
        Some(_) => None,
    }
}

fn sharded(configuration: &Map<String, Value>) -> Result<(Codecs, Sharding), Refused> {
    let broken = |what: &str| Refused::Broken(format!("{what} of the codec \"sharding_indexed\" is malformed"));
    let chunk = numbers(configuration.get("chunk_shape"))
        .and_then(|chunk| <[u64; 2]>::try_from(chunk).ok())
        .filter(|chunk| !chunk.contains(&0))
        .ok_or_else(|| broken("chunk_shape"))?;
    let list = |key| configuration.get(key).and_then(Value::as_array);
    let codecs = Codecs::chain(list("codecs").ok_or_else(|| broken("codecs"))?)?;
    let index = Codecs::chain(list("index_codecs").ok_or_else(|| broken("index_codecs"))?)?;
    let index_checked = match index.packed.as_slice() {
        [] => false,
        [Packed::Crc32c] => true,
        _ => return Err(Refused::Unknown("the index of its shards is compressed".into())),
    };
    let index_at_end = match configuration.get("index_location").map(Value::as_str) {
        None | Some(Some("end")) => true,
        Some(Some("start")) => false,
        Some(_) => return Err(broken("index_location")),
    };
    Ok((codecs, Sharding { chunk, index_at_end, index_order: index.byte_order, index_checked }))
}

/// Rows from columns.
fn transpose(bytes: &[u8], [rows, cols]: [usize; 2], size: usize) -> Vec<u8> {
    let mut out = vec![0; bytes.len()];
    for (col, column) in bytes.chunks_exact((rows * size).max(1)).enumerate() {
        for (row, element) in column.chunks_exact(size).enumerate() {
            let at = (row * cols + col) * size;
            out[at..at + size].copy_from_slice(element);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codecs(list: &Value) -> Codecs {
        Codecs::v3(list.as_array().expect("list")).expect("known").0
    }

    #[test]
    fn columns_become_rows() {
        let codecs = codecs(&json!([{"name": "transpose", "configuration": {"order": [1, 0]}}, {"name": "bytes"}]));
        assert_eq!(
            codecs.decode(vec![1, 1, 4, 4, 2, 2, 5, 5, 3, 3, 6, 6], [2, 3], 2).expect("decoded"),
            [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
        );
    }

    #[test]
    fn nothing_decodes_to_more_than_its_shape() {
        let big = vec![0u8; 1 << 20];
        let pack = |name: &str| -> Vec<u8> {
            match name {
                "zstd" => zstd::bulk::compress(&big, 1).expect("compressed"),
                "lz4" => lz4_flex::block::compress_prepend_size(&big),
                _ => {
                    let mut out = Vec::new();
                    let mut encoder = flate2::bufread::GzEncoder::new(big.as_slice(), flate2::Compression::fast());
                    encoder.read_to_end(&mut out).expect("compressed");
                    out
                }
            }
        };
        for name in ["zstd", "gzip", "lz4"] {
            let codecs = codecs(&json!(["bytes", name]));
            assert!(codecs.decode(pack(name), [4, 4], 4).is_err(), "{name}");
            assert_eq!(codecs.decode(pack(name), [1 << 9, 1 << 9], 4).expect("decoded"), big, "{name}");
            for cut in [0, 1, 5, 12] {
                assert!(codecs.decode(pack(name)[..cut].to_vec(), [1 << 9, 1 << 9], 4).is_err(), "{name} {cut}");
            }
        }
        let mut blosc = vec![0u8; 32];
        blosc[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(codecs(&json!(["bytes", "blosc"])).decode(blosc, [4, 4], 4).expect_err("refused").contains("claims"));
    }

    #[test]
    fn unknown_codecs_are_named() {
        let refused = |list: Value| match Codecs::v3(list.as_array().expect("list")) {
            Err(Refused::Unknown(what) | Refused::Broken(what)) => what,
            Ok(_) => "accepted".into(),
        };
        assert!(refused(json!(["bytes", "numcodecs.lzma"])).contains("lzma"));
        assert!(refused(json!(["packbits"])).contains("packbits"));
        assert!(refused(json!(["zstd"])).contains("zstd"));
        assert!(refused(json!([])).contains("missing"));
    }
}
