//! A model, what runs it, and how texts are batched.

use std::path::PathBuf;

use embstore_encoder::{Choice, Chosen, Device, Engine, Model, Request, choose};

use super::error::EmbedError;

/// Tokens of a batch where nothing else is asked for: enough to keep a processor at its best, and few enough for its
/// caches; a GPU needs more to be busy.
const BATCH_TOKENS: usize = 2048;
const BATCH_TOKENS_GPU: usize = 32_768;

/// A model with the engine that runs it. It serves any number of files.
pub struct Embedder {
    /// The model.
    pub model: Model,
    /// What runs it.
    pub engine: Box<dyn Engine>,
    /// How many texts go together.
    pub batching: Batching,
    /// The text column, where it is not found by its name.
    pub text_column: Option<String>,
}

/// How many texts go together.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    /// Tokens of a batch at the most; a text that has more is a batch of its own.
    pub tokens: usize,
    /// Texts of a batch at the most.
    pub texts: Option<usize>,
}

/// Which model, and how it is run.
#[derive(Clone, Debug)]
pub struct EmbedderOptions {
    /// The folder of the model.
    pub model: PathBuf,
    /// What runs it.
    pub engine: Choice,
    /// Where.
    pub device: Device,
    /// Threads of the processor; as many as there are cores where absent.
    pub threads: Option<usize>,
    /// Where ONNX Runtime may be, in this order.
    pub libraries: Vec<PathBuf>,
    /// Where texts are cut, in place of what the model says.
    pub max_tokens: Option<usize>,
    /// Tokens of a batch.
    pub batch_tokens: Option<usize>,
    /// Texts of a batch.
    pub batch_texts: Option<usize>,
    /// The text column.
    pub text_column: Option<String>,
}

impl Embedder {
    /// Opens the model and chooses what runs it. The notes say what was chosen, and why nothing better was.
    ///
    /// # Errors
    /// Where the model is not there, or not what can be run; where what was asked for is not on this machine.
    pub fn load(options: &EmbedderOptions) -> Result<(Self, Vec<String>), EmbedError> {
        let model = Model::open(&options.model, options.max_tokens)?;
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let request = Request {
            device: options.device,
            engine: options.engine,
            threads: options.threads.unwrap_or_else(cores),
            libraries: options.libraries.clone(),
        };
        let Chosen { engine, notes } = choose(&model, &request)?;
        let usual = if engine.identity().device == "cpu" { BATCH_TOKENS } else { BATCH_TOKENS_GPU };
        let tokens = match (options.batch_tokens, options.batch_texts) {
            (Some(tokens), _) => tokens,
            // Who counts texts does not want them counted otherwise.
            (None, Some(texts)) => texts.saturating_mul(model.max_tokens()),
            (None, None) => usual,
        };
        let batching = Batching { tokens, texts: options.batch_texts };
        Ok((Embedder { model, engine, batching, text_column: options.text_column.clone() }, notes))
    }
}
