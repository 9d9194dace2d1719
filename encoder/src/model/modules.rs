//! The parts of a sentence-transformers model: `modules.json`, pooling, prompts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::ModelError;
use super::config::read_json;

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean, special tokens included.
    Mean,
    /// That of the first token.
    Cls,
    /// The largest value of each column.
    Max,
}

impl Pooling {
    /// Its name in the metadata of what was made.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Pooling::Mean => "mean",
            Pooling::Cls => "cls",
            Pooling::Max => "max",
        }
    }
}

/// What the folder says about the way from tokens to one vector.
pub(super) struct Modules {
    /// Where network and tokenizer lie.
    pub(super) transformer: PathBuf,
    pub(super) pooling: Pooling,
    pub(super) normalises: bool,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Prompts {
    #[serde(default)]
    prompts: BTreeMap<String, String>,
    default_prompt_name: Option<String>,
}

impl Modules {
    pub(super) fn read(folder: &Path) -> Result<Self, ModelError> {
        refuse_prompt(&folder.join("config_sentence_transformers.json"))?;
        let path = folder.join("modules.json");
        let Some(modules) = read_json::<Vec<Module>>(&path)? else {
            let pooling = read_pooling(&folder.join("1_Pooling/config.json"))?;
            return Ok(Modules { transformer: folder.into(), pooling, normalises: true });
        };
        let mut modules = modules.iter();
        let transformer = match modules.next() {
            Some(module) if module.name() == "Transformer" => folder.join(&module.path),
            _ => return Err(ModelError::NoTransformer { path }),
        };
        // Without a module for it, sentence-transformers would return nothing that can be compared: mean it is.
        let mut found = Modules { transformer, pooling: Pooling::Mean, normalises: false };
        let mut pooled = false;
        for module in modules {
            match module.name() {
                "Pooling" if !pooled && !found.normalises => {
                    found.pooling = read_pooling(&folder.join(&module.path).join("config.json"))?;
                    pooled = true;
                }
                "Normalize" => found.normalises = true,
                _ => return Err(ModelError::Module { path, name: module.kind.clone() }),
            }
        }
        Ok(found)
    }
}

impl Module {
    /// The class's name, without its packages.
    fn name(&self) -> &str {
        self.kind.rsplit('.').next().unwrap_or(&self.kind)
    }
}

/// The one pooling that is switched on in the file.
fn read_pooling(path: &Path) -> Result<Pooling, ModelError> {
    let fields: Map<String, Value> = read_json(path)?.unwrap_or_default();
    let switched = fields.iter().filter(|(_, value)| **value == Value::Bool(true));
    let mut modes: Vec<String> =
        switched.filter_map(|(name, _)| name.strip_prefix("pooling_mode_")).map(str::to_owned).collect();
    match fields.get("pooling_mode") {
        Some(Value::String(mode)) => modes.push(mode.clone()),
        Some(Value::Array(several)) => modes.extend(several.iter().filter_map(Value::as_str).map(str::to_owned)),
        _ => {}
    }
    match modes.as_slice() {
        [] => Ok(Pooling::Mean),
        [mode] => match mode.as_str() {
            "mean_tokens" | "mean" => Ok(Pooling::Mean),
            "cls_token" | "cls" => Ok(Pooling::Cls),
            "max_tokens" | "max" => Ok(Pooling::Max),
            _ => Err(ModelError::PoolingMode { path: path.into(), mode: mode.clone() }),
        },
        _ => Err(ModelError::SeveralPoolings { path: path.into(), modes }),
    }
}

/// A prompt that goes before every text changes every vector; named ones that are only used on request do not matter.
fn refuse_prompt(path: &Path) -> Result<(), ModelError> {
    let Some(Prompts { prompts, default_prompt_name: Some(name) }) = read_json(path)? else {
        return Ok(());
    };
    match prompts.get(&name) {
        Some(prompt) if !prompt.is_empty() => Err(ModelError::Prompt { path: path.into(), name }),
        _ => Ok(()),
    }
}
