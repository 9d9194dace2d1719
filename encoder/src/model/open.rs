//! Opening a model folder.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::config::read_json;
use super::folder::Network;
use super::hash::hash;
use super::modules::Modules;
use super::{Config, Length, ModelError, Pooling};
use crate::tokenizer::Tokenizer;

/// A model folder that was looked through: everything but the network itself is read.
#[derive(Debug)]
pub struct Model {
    folder: PathBuf,
    weights: Option<PathBuf>,
    graph: Option<PathBuf>,
    config: Option<Config>,
    tokenizer: Tokenizer,
    length: Length,
    pooling: Pooling,
    normalises: bool,
    hash: String,
}

/// `sentence_bert_config.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
    do_lower_case: bool,
}

impl Model {
    /// Opens a folder in the layout of sentence-transformers, or with `model.onnx` and `tokenizer.json` alone. Texts are
    /// cut at `max_tokens`, or at the model's own length.
    ///
    /// # Errors
    ///
    /// [`ModelError`]: a file is missing or broken, or the model has a part that is not computed here. Whether an engine
    /// can run the network is found out when that engine loads it.
    pub fn open(folder: &Path, max_tokens: Option<usize>) -> Result<Self, ModelError> {
        if !folder.is_dir() {
            return Err(ModelError::NoFolder { path: folder.into() });
        }
        let Modules { transformer, pooling, normalises } = Modules::read(folder)?;
        let Network { weights, graph } = Network::find(folder, &transformer)?;
        let config = Config::read(transformer.join("config.json"))?;
        let sentence: SentenceConfig = read_json(&transformer.join("sentence_bert_config.json"))?.unwrap_or_default();
        let length = Length::choose(folder, max_tokens, sentence.max_seq_length, config.as_ref())?;
        let tokens = transformer.join("tokenizer.json");
        if !tokens.is_file() {
            return Err(ModelError::NoTokenizer { path: tokens });
        }
        let tokenizer = Tokenizer::open(&tokens, length.tokens, sentence.do_lower_case)?;
        if tokenizer.special_tokens() >= length.tokens {
            let special = tokenizer.special_tokens();
            return Err(ModelError::TooFewTokens { folder: folder.into(), tokens: length.tokens, special });
        }
        let network = weights.as_ref().or(graph.as_ref()).ok_or(ModelError::NoWeights { folder: folder.into() })?;
        let config_path = config.as_ref().map(Config::path);
        let lowercases = sentence.do_lower_case;
        let hash = hash(network, config_path, &tokens, pooling, normalises, lowercases, length.tokens)?;
        Ok(Model { folder: folder.into(), weights, graph, config, tokenizer, length, pooling, normalises, hash })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Values per vector, where `config.json` says it; otherwise the engine knows, once it has the network.
    #[must_use]
    pub fn dim(&self) -> Option<usize> {
        self.config.as_ref().and_then(Config::hidden_size)
    }

    /// What makes tokens of texts.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// At how many tokens texts are cut, special ones included.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        self.length.tokens
    }

    /// The same, with who says so.
    #[must_use]
    pub fn length(&self) -> Length {
        self.length
    }

    /// How the vectors of a text's tokens become one.
    #[must_use]
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// Whether vectors are divided by their length.
    #[must_use]
    pub fn normalises(&self) -> bool {
        self.normalises
    }

    /// `model.safetensors`.
    #[must_use]
    pub fn weights(&self) -> Option<&Path> {
        self.weights.as_deref()
    }

    /// `model.onnx`.
    #[must_use]
    pub fn graph(&self) -> Option<&Path> {
        self.graph.as_deref()
    }

    /// `config.json`, where there is one.
    #[must_use]
    pub fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    /// SHA-256 in hex over all that determines the vectors: the weights (the graph, where there are none), `config.json`,
    /// the tokenizer, pooling, normalisation and length. A graph that lies beside weights is taken for the same network.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }
}
