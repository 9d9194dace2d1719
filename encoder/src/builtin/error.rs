//! Why the built-in engine cannot run a network.

use std::path::PathBuf;

/// A network that the built-in engine cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// There are no weights that it reads.
    #[error("{}: no such file: the weights for the built-in engine are missing", path.display())]
    NoWeights {
        /// Where they should be.
        path: PathBuf,
    },
    /// There is no description of the network.
    #[error("{}: no such file: the network's sizes are missing", path.display())]
    NoConfig {
        /// Where it should be.
        path: PathBuf,
    },
    /// A size is missing, or none that a network can have.
    #[error("{}: {field} is missing or out of range", path.display())]
    Field {
        /// `config.json`.
        path: PathBuf,
        /// The field.
        field: &'static str,
    },
    /// Heads that do not divide the width.
    #[error("{}: {heads} attention heads do not divide {hidden} columns", path.display())]
    Heads {
        /// `config.json`.
        path: PathBuf,
        /// The heads.
        heads: usize,
        /// The width.
        hidden: usize,
    },
    /// A network of another kind.
    #[error("{}: {field} is {value:?}, which the built-in engine does not compute", path.display())]
    Unsupported {
        /// `config.json`.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// The file of the weights is damaged.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// `model.safetensors`.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A weight is missing.
    #[error("{}: has no tensor {name}", path.display())]
    NoTensor {
        /// `model.safetensors`.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A weight has another shape than `config.json` says.
    #[error("{}: the tensor {name} has the shape {got:?}, where config.json says {expected:?}", path.display())]
    TensorShape {
        /// `model.safetensors`.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The shape by `config.json`.
        expected: Vec<usize>,
        /// The shape that it has.
        got: Vec<usize>,
    },
    /// A weight of a type that is not read.
    #[error("{}: the tensor {name} is {dtype}, where F32, F16 or BF16 is read", path.display())]
    TensorType {
        /// `model.safetensors`.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// The operating system refused.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's own error.
        source: std::io::Error,
    },
}

impl NetworkError {
    /// Whether nothing is wrong with the network but that the built-in engine does not compute it.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(
            self,
            NetworkError::NoWeights { .. }
                | NetworkError::NoConfig { .. }
                | NetworkError::Unsupported { .. }
                | NetworkError::TensorType { .. }
        )
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            NetworkError::NoWeights { .. } => {
                "put model.safetensors there, or run the graph with ONNX Runtime (pip install onnxruntime)"
            }
            NetworkError::NoConfig { .. } | NetworkError::Field { .. } | NetworkError::Heads { .. } => {
                "take config.json from where the weights come from"
            }
            NetworkError::Unsupported { .. } => {
                "export the model as model.onnx for ONNX Runtime (pip install onnxruntime), or name another: --model DIR"
            }
            NetworkError::Damaged { .. } | NetworkError::NoTensor { .. } | NetworkError::TensorShape { .. } => {
                "weights and config.json do not belong together, or the download broke off: fetch the model again"
            }
            NetworkError::TensorType { .. } => "save the weights as float32, or name another model: --model DIR",
            NetworkError::Read { .. } => "make it readable for this user",
        }
        .into()
    }
}
