//! How many tokens of a text the model takes.

use std::path::Path;

use super::{Config, ModelError};

/// Where nothing states a length: that of the MiniLM models of sentence-transformers.
const USUAL: usize = 256;

/// At how many tokens texts are cut, special ones included, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Tokens.
    pub tokens: usize,
    /// Who says so.
    pub source: LengthSource,
}

/// Who says at how many tokens texts are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthSource {
    /// The caller.
    Caller,
    /// `sentence_bert_config.json`.
    SentenceTransformers,
    /// The network has no more positions than that: `config.json`.
    Positions,
    /// Nobody: the usual 256.
    Usual,
}

impl Length {
    /// The caller's wish goes before the folder's statement, and that before the usual. tokenizer.json states a length
    /// too, and that one is not asked: in all-MiniLM-L6-v2 it is 128, where the model was trained and is used with 256.
    pub(super) fn choose(
        folder: &Path,
        asked: Option<usize>,
        stated: Option<usize>,
        config: Option<&Config>,
    ) -> Result<Self, ModelError> {
        let positions = config.and_then(Config::positions);
        if let (Some(tokens), Some(positions)) = (asked, positions)
            && tokens > positions
        {
            return Err(ModelError::TooManyTokens { folder: folder.into(), tokens, positions });
        }
        let length = match (asked, stated) {
            (Some(tokens), _) => Length { tokens, source: LengthSource::Caller },
            (None, Some(tokens)) => Length { tokens, source: LengthSource::SentenceTransformers },
            (None, None) => Length { tokens: USUAL, source: LengthSource::Usual },
        };
        Ok(match positions {
            Some(tokens) if tokens < length.tokens => Length { tokens, source: LengthSource::Positions },
            _ => length,
        })
    }
}
