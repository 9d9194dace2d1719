//! The engine over ONNX Runtime, which is loaded at run time.
//!
//! ```text
//!             texts of a batch, padded: [texts, tokens]
//! input_ids, attention_mask, token_type_ids ─▶ model.onnx ─▶ last_hidden_state [texts, tokens, dim] ─▶ pooling ─▶ [texts, dim]
//!                                                        └─▶ or sentence_embedding [texts, dim], taken as it is
//! ```
//!
//! A process can have one library of ONNX Runtime; see [`Library`]. Binding: <https://ort.pyke.io>.

mod cuda;
mod engine;
mod error;
mod feed;
mod graph;
mod library;
mod provider;
mod runtime;

pub use engine::Onnx;
pub use error::OnnxError;
pub use library::{Library, LibraryError, Places, libraries, python_library};
pub use provider::Provider;
