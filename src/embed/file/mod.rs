//! One job: a Parquet file of text becomes the same file with its embeddings.
//!
//! ```text
//! rows ─reader─▶ window: rows and their tokens ─encode─▶ [rows, dim] ─writer─▶ <output>.tmp.<worker> ─rename─▶ <output>
//!                sorted by length, cut into batches, a batch a lane
//! ```
//!
//! The three stages run side by side, each on a window of its own, so that memory does not grow with the file: a window
//! is at most 8,192 rows and about 32 MiB of what was read.

mod encode;
mod error;
mod existing;
mod job;
mod provenance;
mod reader;
mod report;
mod stop;
#[cfg(test)]
mod tests;
mod text_column;
mod window;
mod writer;

pub(super) use error::Fault;
pub use error::FileError;
pub(super) use existing::is_whole;
pub(super) use job::{Audience, FileJob, Outcome};
pub use report::FileReport;
pub(super) use stop::Stop;
