//! What encodes batches of tokens.

use crate::tokens::Tokens;

/// An engine with its model, ready to encode. Called from several threads.
pub trait Engine: Send + Sync {
    /// What it is.
    fn identity(&self) -> &Identity;

    /// Values per vector.
    fn dim(&self) -> usize;

    /// How many batches it encodes at a time, each on a thread of the caller's. More callers wait.
    fn lanes(&self) -> usize;

    /// Encodes a batch: row `i` of `out`, which is row-major `[batch.len(), dim]`, is the pooled (and, where the model
    /// says so, normalised) vector of `batch[i]`. A vector does not depend on the others of its batch beyond float32
    /// rounding.
    ///
    /// # Errors
    ///
    /// [`EngineError`] where the runtime or the device fails; `out` is then undefined.
    fn encode(&self, batch: &[&Tokens], out: &mut [f32]) -> Result<(), EngineError>;
}

/// What an engine is, for people and for the metadata of what it made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `builtin` or `onnx`.
    pub name: &'static str,
    /// Its version: of embstore, of ONNX Runtime.
    pub version: String,
    /// `cpu`, `cuda`, `mps` or `coreml`.
    pub device: &'static str,
    /// The instruction set, or the device's name.
    pub detail: String,
}

/// An engine that fails at work.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The runtime refuses.
    #[error("{engine} cannot encode on {device}: {what}")]
    Encode {
        /// Which engine.
        engine: &'static str,
        /// On which device.
        device: &'static str,
        /// What it says.
        what: String,
    },
    /// The room for the vectors is not as large as they are.
    #[error("{expected} values for the vectors of the batch, not {got}")]
    Output {
        /// Texts times width.
        expected: usize,
        /// What was given.
        got: usize,
    },
    /// A text without a token, or with more than the model has positions.
    #[error("text {text} of the batch has {tokens} tokens; the model takes 1 to {most}")]
    Tokens {
        /// Its place in the batch.
        text: usize,
        /// How many it has.
        tokens: usize,
        /// How many there can be.
        most: usize,
    },
    /// A token that the model does not know.
    #[error("text {text} of the batch has the token {id}; the model has {vocabulary}")]
    Vocabulary {
        /// Its place in the batch.
        text: usize,
        /// The token.
        id: u32,
        /// How many tokens the model has.
        vocabulary: usize,
    },
}
