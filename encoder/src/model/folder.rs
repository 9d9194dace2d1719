//! Which files a model folder holds.

use std::path::{Path, PathBuf};

use super::ModelError;

/// The files that hold the network.
pub(super) struct Network {
    /// `model.safetensors`.
    pub(super) weights: Option<PathBuf>,
    /// `model.onnx`, or `onnx/model.onnx`.
    pub(super) graph: Option<PathBuf>,
}

impl Network {
    /// Looks in the network's folder, and for the graph in the model's too.
    pub(super) fn find(folder: &Path, transformer: &Path) -> Result<Self, ModelError> {
        let weights = Some(transformer.join("model.safetensors")).filter(|path| path.is_file());
        let graph = [transformer, folder]
            .iter()
            .flat_map(|place| [place.join("model.onnx"), place.join("onnx/model.onnx")])
            .find(|path| path.is_file());
        if weights.is_none() && graph.is_none() {
            let pickle = transformer.join("pytorch_model.bin");
            return Err(if pickle.is_file() {
                ModelError::PickledWeights { path: pickle }
            } else {
                ModelError::NoWeights { folder: transformer.into() }
            });
        }
        Ok(Network { weights, graph })
    }
}
