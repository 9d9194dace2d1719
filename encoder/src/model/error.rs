//! What can be wrong with a model folder.

use std::io;
use std::path::PathBuf;

use crate::builtin::NetworkError;
use crate::tokenizer::TokenizerError;

/// A folder that is no usable model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// There is no such folder.
    #[error("{}: no such folder", path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The tokenizer is missing.
    #[error("{}: no such file: the tokenizer is missing", path.display())]
    NoTokenizer {
        /// Where it should be.
        path: PathBuf,
    },
    /// Neither weights nor a graph.
    #[error("{}: holds neither model.safetensors nor model.onnx", folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// Weights only as a pickle, which is not read.
    #[error("{}: the weights are a pickle, which can run code and is not read", path.display())]
    PickledWeights {
        /// The pickle.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's own error.
        source: io::Error,
    },
    /// A file of settings that is none.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        source: serde_json::Error,
    },
    /// `modules.json` does not begin with the network.
    #[error("{}: the first module is not a Transformer", path.display())]
    NoTransformer {
        /// `modules.json`.
        path: PathBuf,
    },
    /// A part of the model that is not computed here.
    #[error("{}: the module {name} is not supported", path.display())]
    Module {
        /// `modules.json`.
        path: PathBuf,
        /// The module's type.
        name: String,
    },
    /// A way of pooling that is not computed here.
    #[error("{}: pooling by {mode} is not supported", path.display())]
    PoolingMode {
        /// The pooling's settings.
        path: PathBuf,
        /// Its name.
        mode: String,
    },
    /// Several poolings, whose results would stand side by side.
    #[error("{}: several poolings at once are not supported: {}", path.display(), modes.join(", "))]
    SeveralPoolings {
        /// The pooling's settings.
        path: PathBuf,
        /// Their names.
        modes: Vec<String>,
    },
    /// A text that stands before every text.
    #[error("{}: the model puts the prompt {name:?} before every text, which is not supported", path.display())]
    Prompt {
        /// `config_sentence_transformers.json`.
        path: PathBuf,
        /// The prompt's name.
        name: String,
    },
    /// More tokens than the network has positions.
    #[error("{}: the model takes at most {positions} tokens, not {tokens}", folder.display())]
    TooManyTokens {
        /// The folder.
        folder: PathBuf,
        /// How many were asked for.
        tokens: usize,
        /// How many there can be.
        positions: usize,
    },
    /// Fewer tokens than the special ones and one of the text's.
    #[error("{}: {tokens} tokens leave no room for a text: {special} of them are the tokenizer's own", folder.display())]
    TooFewTokens {
        /// The folder.
        folder: PathBuf,
        /// How many were asked for, or stated in the folder.
        tokens: usize,
        /// The special tokens.
        special: usize,
    },
    /// The tokenizer cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The built-in engine cannot run the network.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl ModelError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        const ANOTHER: &str = "name another model folder: --model DIR";
        match self {
            ModelError::NoFolder { .. } => {
                "fetch all-MiniLM-L6-v2 with scripts/fetch_model.sh, or name a model folder: --model DIR".into()
            }
            ModelError::NoTokenizer { .. } | ModelError::NoWeights { .. } => {
                "complete the folder, fetch all-MiniLM-L6-v2 with scripts/fetch_model.sh, or name another: --model DIR"
                    .into()
            }
            ModelError::PickledWeights { path } => {
                let folder = path.parent().unwrap_or(path).display();
                format!(
                    "save them as safetensors, in Python: \
                     AutoModel.from_pretrained(\"{folder}\").save_pretrained(\"{folder}\", safe_serialization=True)"
                )
            }
            ModelError::Read { .. } => "make it readable for this user".into(),
            ModelError::Json { .. } | ModelError::NoTransformer { .. } => {
                "the file is damaged or no model's: fetch the model again".into()
            }
            ModelError::Module { .. } | ModelError::PoolingMode { .. } | ModelError::SeveralPoolings { .. } => {
                format!("vectors without it would be wrong; {ANOTHER}")
            }
            ModelError::Prompt { .. } => {
                "put the prompt before the texts yourself and set default_prompt_name to null in that file".into()
            }
            ModelError::TooManyTokens { positions, .. } => format!("ask for {positions} or fewer"),
            ModelError::TooFewTokens { special, .. } => format!("ask for {} or more", special + 1),
            ModelError::Tokenizer(source) => source.hint(),
            ModelError::Network(source) => source.hint(),
        }
    }
}
