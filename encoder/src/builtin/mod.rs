//! The engine that is built in: the encoder of BERT on the processor, from safetensors, without a native library.
//!
//! Devlin et al. 2018, <https://arxiv.org/abs/1810.04805>; names and defaults as in Hugging Face transformers.
//!
//! ```text
//!             tokens of many texts, one after another: [tokens, hidden], no padding
//! embeddings ─▶ ( query, key, value in one product ─▶ attention, text by text ─▶ + ─▶ norm
//!                 ─▶ intermediate ─▶ GELU ─▶ output ─▶ + ─▶ norm ) × layers ─▶ pooling ─▶ [texts, hidden]
//! ```
//!
//! A batch is worked on in pieces of a few hundred tokens, so memory does not grow with it. Products are those of the
//! `gemm` crate; what lies between them is in `kernels`, compiled for AVX-512, AVX2 and NEON and chosen at run time.

mod activation;
mod attention;
mod engine;
mod error;
mod file;
mod kernels;
mod lanes;
mod matmul;
mod network;
mod shape;

pub use engine::Builtin;
pub use error::NetworkError;
