//! What an output says of how it was made: values of its footer.

use embstore_encoder::{Engine, Model};
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};

use crate::table::foreign_pairs;

/// The key of [`Provenance`] as JSON. Other than that of exports, it does not make the file a store.
const KEY: &str = "embstore.embeddings";
/// The model's name as plain text, which a merge hands on.
const MODEL_KEY: &str = "model";

/// What made the embeddings of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Provenance {
    pub(super) model: String,
    /// SHA-256 of what determines the vectors.
    pub(super) model_hash: String,
    engine: String,
    engine_version: String,
    device: String,
    max_tokens: usize,
    pooling: String,
    normalised: bool,
    dim: usize,
    dtype: String,
    text_column: String,
    /// Length of the input in bytes.
    pub(super) input_bytes: u64,
    embstore_version: String,
}

impl Provenance {
    pub(super) fn new(model: &Model, engine: &dyn Engine, text_column: &str, input_bytes: u64) -> Self {
        let identity = engine.identity();
        let folder = model.folder();
        let name = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
        Provenance {
            model: name.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            model_hash: model.hash().into(),
            engine: identity.name.into(),
            engine_version: identity.version.clone(),
            device: identity.device.into(),
            max_tokens: model.max_tokens(),
            pooling: model.pooling().name().into(),
            normalised: model.normalises(),
            dim: engine.dim(),
            dtype: "float32".into(),
            text_column: text_column.into(),
            input_bytes,
            embstore_version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// The footer's values: those of the input, and these.
    pub(super) fn beside(&self, input: &[KeyValue]) -> Result<Vec<KeyValue>, serde_json::Error> {
        let own = [(MODEL_KEY, self.model.clone()), (KEY, serde_json::to_string(self)?)];
        let mut pairs = foreign_pairs(input, &[MODEL_KEY, KEY]);
        pairs.extend(own.into_iter().map(|(key, value)| KeyValue::new(key.into(), value)));
        Ok(pairs)
    }

    /// What a footer tells; `None` for files of other programs.
    pub(super) fn of(pairs: Option<&Vec<KeyValue>>) -> Option<Self> {
        let pair = pairs?.iter().find(|pair| pair.key == KEY)?;
        serde_json::from_str(pair.value.as_deref()?).ok()
    }

    /// The model, for messages.
    pub(super) fn model_name(&self) -> String {
        format!("{} {}", self.model, self.model_hash.get(..12).unwrap_or(&self.model_hash))
    }
}
