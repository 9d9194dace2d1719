//! A bounded run of rows on its way through the stages.

use arrow_array::RecordBatch;
use embstore_encoder::Tokens;

/// Rows in file order, and the tokens of their texts.
pub(super) struct Window {
    /// The first row's number in the file.
    pub(super) start: u64,
    pub(super) batches: Vec<RecordBatch>,
    pub(super) tokens: Vec<Tokens>,
    /// Texts that are null or empty.
    pub(super) empty: u64,
}

/// A window with its embeddings, row-major `[rows, dim]`.
pub(super) struct Embedded {
    pub(super) batches: Vec<RecordBatch>,
    pub(super) embeddings: Vec<f32>,
}
