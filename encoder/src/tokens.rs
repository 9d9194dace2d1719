//! What an engine takes.

/// The token ids of one text, special tokens included, cut at the model's length. Never padded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Ids in the model's vocabulary.
    pub ids: Vec<u32>,
    /// Whether the text had more tokens than the model takes.
    pub truncated: bool,
}
