//! `config.json`: the network's family and sizes.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::ModelError;

/// The settings of the network, as `config.json` has them.
#[derive(Clone, Debug)]
pub struct Config {
    path: PathBuf,
    fields: Map<String, Value>,
}

impl Config {
    /// Reads `config.json`; `None` where there is none.
    pub(crate) fn read(path: PathBuf) -> Result<Option<Self>, ModelError> {
        Ok(read_json(&path)?.map(|fields| Config { path, fields }))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `model_type`, for example `bert`; empty where it is not stated.
    #[must_use]
    pub fn family(&self) -> &str {
        self.text("model_type").unwrap_or("")
    }

    /// Values per vector.
    #[must_use]
    pub fn hidden_size(&self) -> Option<usize> {
        self.count("hidden_size").or_else(|| self.count("dim"))
    }

    /// How many tokens the network takes, special ones included.
    #[must_use]
    pub fn positions(&self) -> Option<usize> {
        // RoBERTa and its kin count positions from the padding's id on and lose that many.
        let lost = match self.family() {
            "roberta" | "xlm-roberta" | "camembert" | "mpnet" => self.count("pad_token_id").unwrap_or(1) + 1,
            _ => 0,
        };
        self.count("max_position_embeddings").map(|positions| positions.saturating_sub(lost))
    }

    /// A field that counts something.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<usize> {
        self.fields.get(name)?.as_u64().and_then(|value| usize::try_from(value).ok())
    }

    /// A field that is a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<f64> {
        self.fields.get(name)?.as_f64()
    }

    /// A field that is on.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.fields.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A field that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }
}

/// Reads a file of JSON; `None` where there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ModelError> {
    match std::fs::read(path) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(source) => Err(ModelError::Json { path: path.into(), source }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ModelError::Read { path: path.into(), source }),
    }
}
