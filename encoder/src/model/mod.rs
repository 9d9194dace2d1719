//! A model folder: what it holds, and what that means for the vectors.
//!
//! ```text
//! modules.json                 the parts: Transformer, Pooling, Normalize
//! sentence_bert_config.json    the length in tokens
//! config.json                  the network's sizes
//! tokenizer.json
//! model.safetensors            weights, for the built-in engine       (one of the two
//! model.onnx | onnx/model.onnx graph, for ONNX Runtime                 is enough)
//! 1_Pooling/config.json        how token vectors become one
//! ```
//!
//! That is the layout of [sentence-transformers](https://sbert.net). Without `modules.json` (a graph and a tokenizer
//! alone) the token vectors are averaged and normalised, which is what most such models expect.

mod config;
mod error;
mod folder;
mod hash;
mod length;
mod modules;
mod open;

pub use config::Config;
pub use error::ModelError;
pub use length::{Length, LengthSource};
pub use modules::Pooling;
pub use open::Model;
