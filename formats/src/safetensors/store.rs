//! An export as safetensors: the matrix, two sidecars, and in the header as much of the metadata as fits.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::header::LENGTH;
use crate::array::ArrayMeta;
use crate::articles::{ArticleSink, ArticlesWritten};
use crate::dtype::Dtype;
use crate::error::FormatError;
use crate::format::Fields;
use crate::region::{Region, Regions, allocate};
use crate::target::{Parts, Sidecars, Target};

/// Byte at which the rows start: whole pages, with room for the metadata that a reader of tensors may want.
const PAYLOAD: u64 = 16 << 10;

/// The keys of the metadata that go into the header; the first ones first, as long as there is room.
const KEYS: [&str; 9] = [
    "model",
    "timestamp",
    "total_articles",
    "embedding_dim",
    "shape",
    "row_range",
    "store_id",
    "embstore_version",
    "quality_metrics",
];

pub(super) struct SafetensorsStore {
    path: PathBuf,
    regions: Regions,
    sidecars: Sidecars,
}

impl SafetensorsStore {
    pub(super) fn create(path: &Path, array: ArrayMeta) -> Result<Self, FormatError> {
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(FormatError::io("create", path))?;
        allocate(&file, PAYLOAD + array.payload_bytes()).map_err(FormatError::io("allocate", path))?;
        let region = Region { path: path.to_path_buf(), offset: PAYLOAD, array };
        let store = SafetensorsStore { path: path.to_path_buf(), regions: region.into(), sidecars: Sidecars::of(path) };
        store.write_header(&file, &Fields::new())?;
        Ok(store)
    }

    fn write_header(&self, file: &File, metadata: &Fields) -> Result<(), FormatError> {
        let header = header(self.regions.array(), metadata);
        file.write_all_at(&header, 0).map_err(FormatError::io("write", &self.path))
    }
}

impl Target for SafetensorsStore {
    fn parts(&self) -> Parts<'_> {
        Parts::Regions(&self.regions)
    }

    fn articles(&self) -> Result<Box<dyn ArticleSink>, FormatError> {
        self.sidecars.articles()
    }

    fn finish(&self, metadata: &Fields, _articles: Option<&ArticlesWritten>) -> Result<(), FormatError> {
        let file = File::options().write(true).open(&self.path).map_err(FormatError::io("open", &self.path))?;
        self.write_header(&file, metadata)?;
        self.sidecars.finish(metadata)
    }
}

/// The first [`PAYLOAD`] bytes. What does not fit is left out; the sidecar has all of it.
fn header(array: &ArrayMeta, metadata: &Fields) -> Vec<u8> {
    let mut texts = Map::from_iter([("format".to_string(), Value::from("embstore"))]);
    let mut text = to_json(array, &texts);
    for key in KEYS {
        let value = match metadata.get(key) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        texts.insert(key.into(), value.into());
        let longer = to_json(array, &texts);
        if longer.len() as u64 <= PAYLOAD - LENGTH {
            text = longer;
        } else {
            texts.shift_remove(key);
        }
    }
    let mut bytes = [&(PAYLOAD - LENGTH).to_le_bytes(), text.as_bytes()].concat();
    bytes.resize(PAYLOAD as usize, b' ');
    bytes
}

fn to_json(array: &ArrayMeta, texts: &Map<String, Value>) -> String {
    let dtype = match array.dtype {
        Dtype::Float16 => "F16",
        Dtype::Bfloat16 => "BF16",
        Dtype::Float32 => "F32",
        Dtype::Float64 => "F64",
    };
    let (shape, offsets) = ([array.rows(), array.cols()], [0, array.payload_bytes()]);
    let tensor = json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
    json!({ "__metadata__": texts, "embeddings": tensor }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    #[test]
    fn metadata_that_does_not_fit_is_left_out_and_the_rest_is_read() {
        let array = ArrayMeta::stored(0, 3).expect("fits");
        let long = "x".repeat(PAYLOAD as usize);
        let fields = json!({ "model": "m\"\u{1F600}", "timestamp": long, "shape": [0, 3], "row_range": null });
        let Value::Object(fields) = fields else { panic!("an object") };
        let bytes = header(&array, &fields);
        assert_eq!(bytes.len() as u64, PAYLOAD);
        let (_, read) = SafeTensors::read_metadata(&bytes).expect("the reference reads it");
        let texts = read.metadata().as_ref().expect("texts");
        assert_eq!((texts["format"].as_str(), texts["model"].as_str()), ("embstore", "m\"\u{1F600}"));
        assert_eq!((texts["shape"].as_str(), texts.len()), ("[0,3]", 3));
        assert_eq!(read.info("embeddings").map(|info| info.shape.clone()), Some(vec![0, 3]));
    }
}
