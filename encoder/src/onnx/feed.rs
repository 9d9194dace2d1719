//! A batch as a graph takes it: texts of one length, filled up at the end.

use ort::session::SessionInputValue;
use ort::value::Tensor;

use super::graph::{Content, Input};
use crate::tokens::Tokens;

/// A batch, padded; both row-major `[texts, tokens]`.
pub(super) struct Padded {
    pub(super) texts: usize,
    /// Of the longest text.
    pub(super) tokens: usize,
    pub(super) ids: Vec<i64>,
    /// 1 for a token of the text, 0 for padding.
    pub(super) mask: Vec<i64>,
}

impl Padded {
    pub(super) fn new(batch: &[&Tokens], pad: u32) -> Self {
        let (texts, tokens) = (batch.len(), batch.iter().map(|text| text.ids.len()).max().unwrap_or(0));
        let (mut ids, mut mask) = (vec![i64::from(pad); texts * tokens], vec![0; texts * tokens]);
        // Where no text has a token, there is no row to fill.
        let rows = ids.chunks_exact_mut(tokens.max(1)).zip(mask.chunks_exact_mut(tokens.max(1)));
        for (text, (ids, mask)) in batch.iter().zip(rows) {
            ids.iter_mut().zip(&text.ids).for_each(|(place, &id)| *place = i64::from(id));
            mask[..text.ids.len()].fill(1);
        }
        Padded { texts, tokens, ids, mask }
    }
}

/// The inputs by their names.
pub(super) fn feed<'a>(
    inputs: &'a [Input],
    padded: &Padded,
) -> ort::Result<Vec<(&'a str, SessionInputValue<'static>)>> {
    inputs.iter().map(|input| Ok((input.name.as_str(), value(input, padded)?))).collect()
}

fn value(input: &Input, padded: &Padded) -> ort::Result<SessionInputValue<'static>> {
    let shape = [padded.texts, padded.tokens];
    let values = match input.content {
        Content::Ids => padded.ids.clone(),
        Content::Mask => padded.mask.clone(),
        // There is one text in a row, so all of it is of the first type.
        Content::Types => vec![0; padded.ids.len()],
    };
    Ok(match input.is_narrow {
        // Ids are far below: the vocabulary was checked.
        true => Tensor::from_array((shape, values.into_iter().map(|value| value as i32).collect::<Vec<_>>()))?.into(),
        false => Tensor::from_array((shape, values))?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(ids: &[u32]) -> Tokens {
        Tokens { ids: ids.into(), truncated: false }
    }

    #[test]
    fn shorter_texts_are_filled_up_at_the_end() {
        let (long, short) = (tokens(&[7, 8, 9]), tokens(&[5]));
        let padded = Padded::new(&[&long, &short], 1);
        assert_eq!((padded.texts, padded.tokens), (2, 3));
        assert_eq!(padded.ids, [7, 8, 9, 5, 1, 1]);
        assert_eq!(padded.mask, [1, 1, 1, 1, 0, 0]);
    }

    #[test]
    fn nothing() {
        let padded = Padded::new(&[], 0);
        assert_eq!((padded.texts, padded.tokens, padded.ids.len()), (0, 0, 0));
        assert_eq!(Padded::new(&[&tokens(&[])], 0).tokens, 0);
    }
}
