//! Which engine encodes, on which device.
//!
//! ```text
//! --device auto   Apple's GPU ─▶ CUDA ─▶ the processor: the first that is there and passes the trial
//! --engine auto   on a GPU: ONNX Runtime; on the processor: the built-in engine where it knows the model, else ONNX Runtime
//! ```
//!
//! On the processor the built-in engine is the faster one and needs no library, so there the choice depends on the model's
//! folder alone.
//!
//! The trial is a batch of texts of all lengths, whose vectors must be those of the built-in engine: a device that is there
//! may still compute something else (TF32, half precision, a driver's fault), and a graph may be of another model.

mod error;
mod request;
mod search;
mod trial;

pub use error::{ChooseError, Unfit};
pub use request::{Choice, Device, Request};
pub use search::{Chosen, choose};

#[cfg(test)]
mod tests;
