//! Texts into tokens, with the Hugging Face `tokenizers` library.

use std::path::{Path, PathBuf};

use tokenizers::PostProcessor;

use crate::prefix::Prefixes;
use crate::tokens::Tokens;

/// Makes tokens of texts. Truncation and padding that tokenizer.json asks for are not done: the model's length is another,
/// and engines pad for themselves.
#[derive(Debug)]
pub struct Tokenizer {
    path: PathBuf,
    inner: tokenizers::Tokenizer,
    prefixes: Prefixes,
    max_tokens: usize,
    special_tokens: usize,
    /// What an empty text is made of where no special tokens are added: no network takes nothing.
    blank: u32,
    lowercases: bool,
}

/// A tokenizer that cannot be used, or a text it refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file is no tokenizer of a kind that is known.
    #[error("{}: {source}", path.display())]
    Load {
        /// `tokenizer.json`.
        path: PathBuf,
        /// What the library says.
        source: tokenizers::Error,
    },
    /// The library refuses a text.
    #[error("{}: the tokenizer refuses a text of {bytes} bytes: {source}", path.display())]
    Encode {
        /// `tokenizer.json`.
        path: PathBuf,
        /// The text's length.
        bytes: usize,
        /// What the library says.
        source: tokenizers::Error,
    },
}

impl TokenizerError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            TokenizerError::Load { .. } => {
                "the file is damaged or of a kind that is not known: fetch the model again, or name another: --model DIR"
            }
            TokenizerError::Encode { .. } => {
                "its vocabulary has no token for unknown words: fetch the model again, or name another: --model DIR"
            }
        }
        .into()
    }
}

impl Tokenizer {
    pub(crate) fn open(path: &Path, max_tokens: usize, lowercases: bool) -> Result<Self, TokenizerError> {
        let load = |source| TokenizerError::Load { path: path.into(), source };
        let mut inner = tokenizers::Tokenizer::from_file(path).map_err(load)?;
        let blank = inner.get_padding().map_or(0, |padding| padding.pad_id);
        inner.with_truncation(None).map_err(load)?.with_padding(None);
        let special_tokens = inner.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        let prefixes = Prefixes::of(&inner);
        Ok(Tokenizer { path: path.into(), inner, prefixes, max_tokens, special_tokens, blank, lowercases })
    }

    /// The tokens of a text, cut at the model's length. White space around it does not count, as in
    /// sentence-transformers.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Encode`] where the library refuses it.
    pub fn encode(&self, text: &str) -> Result<Tokens, TokenizerError> {
        let refuse = |source| TokenizerError::Encode { path: self.path.clone(), bytes: text.len(), source };
        let room = self.max_tokens - self.special_tokens;
        let mut encoding = self.content(text, room)?;
        let truncated = encoding.len() > room;
        encoding.truncate(room, 0, tokenizers::TruncationDirection::Right);
        let encoding = self.inner.post_process(encoding, None, true).map_err(refuse)?;
        let ids = if encoding.is_empty() { vec![self.blank] } else { encoding.get_ids().to_vec() };
        Ok(Tokens { ids, truncated })
    }

    /// How many tokens the whole text has, special ones included.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Encode`] where the library refuses it.
    pub fn count(&self, text: &str) -> Result<usize, TokenizerError> {
        Ok(self.content(text, usize::MAX)?.len() + self.special_tokens)
    }

    /// How many tokens are added to each text.
    #[must_use]
    pub fn special_tokens(&self) -> usize {
        self.special_tokens
    }

    /// The first tokens of a text without special ones: all of them, or more than `enough`.
    fn content(&self, text: &str, enough: usize) -> Result<tokenizers::Encoding, TokenizerError> {
        let lower;
        let whole = if self.lowercases {
            lower = text.to_lowercase();
            lower.trim()
        } else {
            text.trim()
        };
        let mut bytes = enough.saturating_mul(BYTES_PER_TOKEN);
        loop {
            let prefix = self.prefixes.cut(whole, bytes);
            let encoding = self.inner.encode_fast(prefix, false).map_err(|source| TokenizerError::Encode {
                path: self.path.clone(),
                bytes: text.len(),
                source,
            })?;
            if prefix.len() == whole.len() || encoding.len() > enough {
                return Ok(encoding);
            }
            bytes = prefix.len().saturating_mul(4);
        }
    }
}

/// How much of a long text is looked at first. English has between four and five bytes a token.
const BYTES_PER_TOKEN: usize = 8;
