//! Why no engine can be had.

use super::request::Device;
use crate::engine::EngineError;
use crate::model::ModelError;
#[cfg(feature = "onnx")]
use crate::onnx::OnnxError;
use crate::tokenizer::TokenizerError;

/// Why none of the engines that were asked for encodes this model here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChooseError {
    /// The built-in engine cannot load the model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// ONNX Runtime cannot load the model.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The program was built without ONNX Runtime.
    #[error("this embstore was built without ONNX Runtime")]
    NotBuilt,
    /// An engine that does not know the device.
    #[error("the built-in engine computes on the processor, not on {}", device.name())]
    BuiltinDevice {
        /// The device that was asked for.
        device: Device,
    },
    /// The engine is there, but its vectors are wrong or there are none.
    #[error("{engine} on {device}: {source}")]
    Trial {
        /// The engine.
        engine: &'static str,
        /// The device.
        device: &'static str,
        /// What the trial found.
        source: Unfit,
    },
    /// Nothing runs the model: only a graph, and nothing for it, or the like.
    #[error("no engine runs this model: {}", reasons.join("; "))]
    NoEngine {
        /// Why each was not taken.
        reasons: Vec<String>,
        /// What mends the last of them.
        hint: String,
    },
}

impl ChooseError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            ChooseError::Model(source) => source.hint(),
            #[cfg(feature = "onnx")]
            ChooseError::Onnx(source) => source.hint(),
            ChooseError::NotBuilt => "use another: --device cpu --engine builtin".into(),
            ChooseError::BuiltinDevice { device } => {
                format!("--device cpu, or ONNX Runtime: --device {} --engine onnx", device.name())
            }
            ChooseError::Trial { engine, source, .. } => source.hint(engine),
            ChooseError::NoEngine { hint, .. } => hint.clone(),
        }
    }
}

/// What the trial finds wrong with an engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// The tokenizer refuses the texts of the trial.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// It fails.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Something else than numbers.
    #[error("the vector of the trial's text {text} holds NaN or infinities")]
    NotFinite {
        /// Its place in the batch.
        text: usize,
    },
    /// Vectors of another width.
    #[error("gives vectors of {got} columns, where those of the {by} have {expected}")]
    Dim {
        /// Columns of the other engine.
        expected: usize,
        /// Columns.
        got: usize,
        /// The other engine.
        by: &'static str,
    },
    /// Other vectors.
    #[error("its vectors are not those of the {by}: the cosine is {cosine:.6} for the trial's text {text}")]
    Disagrees {
        /// The text's place in the batch.
        text: usize,
        /// The smallest cosine.
        cosine: f64,
        /// The other engine.
        by: &'static str,
    },
}

impl Unfit {
    fn hint(&self, engine: &str) -> String {
        match self {
            Unfit::Tokenizer(source) => source.hint(),
            Unfit::Engine(_) | Unfit::NotFinite { .. } if engine == "builtin" => {
                "the weights are damaged: fetch the model again".into()
            }
            Unfit::Engine(_) | Unfit::NotFinite { .. } => "use another: --device cpu --engine builtin".into(),
            Unfit::Dim { .. } | Unfit::Disagrees { .. } => {
                "is model.onnx that of the weights beside it? export it again with scripts/export_onnx.py, or use \
                 --device cpu --engine builtin"
                    .into()
            }
        }
    }
}
