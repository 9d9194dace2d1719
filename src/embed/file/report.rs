//! What was done with a file.

use std::ops::AddAssign;

/// Counts of one file, or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FileReport {
    /// Rows, each with an embedding.
    pub rows: u64,
    /// Rows whose text is null or empty; they have the embedding of the empty text.
    pub empty: u64,
    /// Texts that were longer than the model takes, and were cut.
    pub truncated: u64,
    /// Tokens that were encoded, special ones included.
    pub tokens: u64,
    /// Seconds from opening the input to the output in its place.
    pub seconds: f64,
}

impl FileReport {
    /// Rows that have a text.
    #[must_use]
    pub fn texts(&self) -> u64 {
        self.rows - self.empty
    }
}

impl AddAssign for FileReport {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.empty += other.empty;
        self.truncated += other.truncated;
        self.tokens += other.tokens;
        self.seconds += other.seconds;
    }
}
