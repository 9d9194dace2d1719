//! The beginnings of long texts: cut where that leaves the tokens before the cut as they are.
//!
//! A worker needs the first few hundred tokens of a text that may have megabytes, and the tokenizer's library takes some
//! forty bytes of memory for each byte. For the tokenizer of BERT (its normalizer, its pre-tokenizer, WordPiece) the tokens
//! of a text that is cut *after* any of these characters are the first tokens of the whole text:
//!
//! - white space, which ends a word and is dropped;
//! - ASCII punctuation, which is a word of its own;
//! - a CJK ideograph, where the normalizer sets it apart with spaces.
//!
//! Because: the normalizer works character by character but for canonical decomposition, which reorders marks and never
//! moves one across such a character (all of them are starters); the pre-tokenizer ends a word there; WordPiece sees one
//! word at a time. Added tokens are looked for before all that, in the text itself, so a character that is in one of
//! them is no place to cut.

use tokenizers::{ModelWrapper, NormalizerWrapper, PreTokenizerWrapper};

/// Where texts may be cut.
#[derive(Debug)]
pub(crate) enum Prefixes {
    /// Nowhere: it is not the tokenizer of BERT.
    Whole,
    /// After these characters.
    Bert {
        /// By code; white space and punctuation.
        ascii: [bool; 128],
        /// After CJK ideographs too.
        ideographs: bool,
    },
}

impl Prefixes {
    pub(crate) fn of(tokenizer: &tokenizers::Tokenizer) -> Self {
        let (
            Some(NormalizerWrapper::BertNormalizer(normalizer)),
            Some(PreTokenizerWrapper::BertPreTokenizer(_)),
            ModelWrapper::WordPiece(_),
        ) = (tokenizer.get_normalizer(), tokenizer.get_pre_tokenizer(), tokenizer.get_model())
        else {
            return Prefixes::Whole;
        };
        let mut ascii = [false; 128];
        for (code, cut) in (0u8..).zip(&mut ascii) {
            *cut = matches!(code, b' ' | b'\t' | b'\n' | b'\r') || code.is_ascii_punctuation();
        }
        for token in tokenizer.get_added_tokens_decoder().into_values() {
            if !token.content.is_ascii() || token.content.contains(char::is_whitespace) {
                return Prefixes::Whole;
            }
            token.content.bytes().for_each(|byte| ascii[usize::from(byte)] = false);
        }
        Prefixes::Bert { ascii, ideographs: normalizer.handle_chinese_chars }
    }

    /// The shortest beginning of `text` that may be cut off and has at least `bytes` bytes; all of it where there is none.
    pub(crate) fn cut<'a>(&self, text: &'a str, bytes: usize) -> &'a str {
        let Prefixes::Bert { ascii, ideographs } = self else { return text };
        if bytes >= text.len() {
            return text;
        }
        let from = text.floor_char_boundary(bytes);
        let mut rest = text[from..].char_indices();
        let end = rest.find(|&(_, c)| match ascii.get(c as usize) {
            Some(&cut) => cut,
            None => *ideographs && is_ideograph(c),
        });
        end.map_or(text, |(at, c)| &text[..from + at + c.len_utf8()])
    }
}

/// A part of what the normalizer sets apart, and the part that matters: the ideographs of the basic plane.
fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}')
}
