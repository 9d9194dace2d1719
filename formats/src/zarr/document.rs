//! The documents that embstore writes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::dtype::Dtype;
use crate::error::FormatError;
use crate::format::Fields;
use crate::target::{Codec, Compression};

/// Version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V2,
    V3,
}

/// An array to be described.
#[derive(Clone, Debug)]
pub(super) struct NewArray {
    pub(super) shape: Vec<u64>,
    /// Shape of what lies in one file.
    pub(super) file: Vec<u64>,
    /// Shape of a chunk within it, where it is a shard.
    pub(super) chunk: Option<Vec<u64>>,
    pub(super) dimensions: &'static [&'static str],
    pub(super) items: Items,
    pub(super) compression: Option<Compression>,
}

/// What an array is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Items {
    Floats(Dtype),
    Strings,
}

impl NewArray {
    /// The list of codecs, in the terms of version 3.
    pub(super) fn codecs(&self) -> Value {
        let mut codecs = vec![match self.items {
            Items::Floats(_) => json!({"name": "bytes", "configuration": {"endian": "little"}}),
            Items::Strings => json!({"name": "vlen-utf8"}),
        }];
        codecs.extend(self.compression.map(|compression| {
            let (name, configuration) = compressor(compression, self.items, Version::V3);
            json!({"name": name, "configuration": configuration})
        }));
        match &self.chunk {
            None => Value::Array(codecs),
            Some(chunk) => json!([{"name": "sharding_indexed", "configuration": {
                "chunk_shape": chunk,
                "codecs": codecs,
                "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
                "index_location": "end",
            }}]),
        }
    }

    /// Writes the document into the array's folder, which is there; in version 2 the attributes as well.
    pub(super) fn write(&self, folder: &Path, version: Version) -> Result<(), FormatError> {
        let (data_type, fill) = match (self.items, version) {
            (Items::Floats(dtype), Version::V3) => (dtype.name().to_string(), json!(0.0)),
            (Items::Floats(dtype), Version::V2) => (format!("<{}", dtype.numpy_code()), json!(0.0)),
            (Items::Strings, Version::V3) => ("string".into(), json!("")),
            (Items::Strings, Version::V2) => ("|O".into(), json!("")),
        };
        if version == Version::V3 {
            let document = json!({
                "shape": self.shape,
                "data_type": data_type,
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": self.file}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
                "fill_value": fill,
                "codecs": self.codecs(),
                "attributes": {},
                "dimension_names": self.dimensions,
                "zarr_format": 3,
                "node_type": "array",
                "storage_transformers": [],
            });
            return write(&folder.join("zarr.json"), &document);
        }
        let compressor = self.compression.map(|compression| {
            let (id, mut configuration) = compressor(compression, self.items, version);
            configuration["id"] = json!(id);
            configuration
        });
        let filters = (self.items == Items::Strings).then(|| json!([{"id": "vlen-utf8"}]));
        let document = json!({
            "shape": self.shape,
            "chunks": self.file,
            "dtype": data_type,
            "fill_value": fill,
            "order": "C",
            "filters": filters,
            "dimension_separator": ".",
            "compressor": compressor,
            "zarr_format": 2,
        });
        write(&folder.join(".zarray"), &document)?;
        // The names of the dimensions as xarray knows them.
        write(&folder.join(".zattrs"), &json!({"_ARRAY_DIMENSIONS": self.dimensions}))
    }
}

/// Name and settings of a compressor, with its own default level where none is asked for.
fn compressor(compression: Compression, items: Items, version: Version) -> (&'static str, Value) {
    let blosc = |cname: &str| {
        let level = compression.level.unwrap_or(5);
        let size = match items {
            Items::Floats(dtype) => dtype.size(),
            Items::Strings => 1,
        };
        match version {
            Version::V3 => {
                json!({"typesize": size, "cname": cname, "clevel": level, "shuffle": "bitshuffle", "blocksize": 0})
            }
            Version::V2 => json!({"cname": cname, "clevel": level, "shuffle": 2, "blocksize": 0}),
        }
    };
    match compression.codec {
        Codec::Zstd if version == Version::V3 => {
            ("zstd", json!({"level": compression.level.unwrap_or(3), "checksum": false}))
        }
        Codec::Zstd => ("zstd", json!({"level": compression.level.unwrap_or(3)})),
        Codec::Deflate => ("gzip", json!({"level": compression.level.unwrap_or(6)})),
        Codec::Lz4 => ("lz4", json!({"acceleration": 1})),
        Codec::BloscLz4 => ("blosc", blosc("lz4")),
        Codec::BloscZstd => ("blosc", blosc("zstd")),
    }
}

/// Writes the document of a group into its folder, which is there.
pub(super) fn write_group(folder: &Path, version: Version, attributes: &Fields) -> Result<(), FormatError> {
    match version {
        Version::V3 => {
            write(&folder.join("zarr.json"), &json!({"attributes": attributes, "zarr_format": 3, "node_type": "group"}))
        }
        Version::V2 => {
            write(&folder.join(".zgroup"), &json!({"zarr_format": 2}))?;
            write(&folder.join(".zattrs"), &json!(attributes))
        }
    }
}

/// Writes `.zmetadata`: all documents of a version 2 store in one, which its readers look for first.
pub(super) fn consolidate(root: &Path, folders: &[&str]) -> Result<(), FormatError> {
    let mut metadata = Fields::new();
    for folder in std::iter::once("").chain(folders.iter().copied()) {
        for name in [".zgroup", ".zarray", ".zattrs"] {
            let path = root.join(folder).join(name);
            let text = match fs::read(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(FormatError::io("read", &path)(error)),
            };
            let document: Value = serde_json::from_slice(&text)
                .map_err(|error| super::node::broken(&path, format!("is no JSON: {error}")))?;
            let key = PathBuf::from(folder).join(name).to_string_lossy().into_owned();
            metadata.insert(key, document);
        }
    }
    write(&root.join(".zmetadata"), &json!({"metadata": metadata, "zarr_consolidated_format": 1}))
}

fn write(path: &Path, document: &Value) -> Result<(), FormatError> {
    fs::write(path, format!("{document:#}\n")).map_err(FormatError::io("write", path))
}
