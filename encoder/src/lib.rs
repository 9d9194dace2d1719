//! Sentence embeddings from a model folder: texts in, vectors out.
//!
//! A [`Model`] says what its folder holds: tokenizer, pooling, length. An [`Engine`] turns tokens into vectors; there is
//! one built in, which reads safetensors and needs no native library, and one over ONNX Runtime.
//!
//! ```text
//! text ──Tokenizer──▶ Tokens ──batches──▶ Engine::encode ──▶ [texts, dim] float32
//! ```

mod batch;
mod builtin;
mod choose;
mod engine;
mod model;
#[cfg(feature = "onnx")]
mod onnx;
mod pooling;
mod prefix;
mod tokenizer;
mod tokens;

pub use batch::batches;
pub use builtin::{Builtin, NetworkError};
pub use choose::{Choice, ChooseError, Chosen, Device, Request, Unfit, choose};
pub use engine::{Engine, EngineError, Identity};
pub use model::{Config, Length, LengthSource, Model, ModelError, Pooling};
#[cfg(feature = "onnx")]
pub use onnx::{Library, LibraryError, Onnx, OnnxError, Places, Provider, libraries, python_library};
pub use tokenizer::{Tokenizer, TokenizerError};
pub use tokens::Tokens;
