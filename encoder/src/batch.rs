//! Which texts are encoded together.

/// Cuts texts of `lengths` tokens into batches and returns their indices, the longest first. Every index is in exactly one
/// batch.
///
/// Texts of like length share a batch, and a batch holds at most `max_tokens` tokens counted as padded: its longest
/// text times their number. For an engine that pads, that is its work and its memory. One that does not has a little
/// less than that, because lengths within a batch are nearly equal once they are sorted; so both kinds make the same
/// batches. A text longer than `max_tokens` is a batch of its own. `max_texts` bounds the number of texts in a batch, where
/// it is given.
///
/// ```
/// assert_eq!(embstore_encoder::batches(&[3, 9, 4, 2], 10, None), [vec![1], vec![2, 0], vec![3]]);
/// ```
#[must_use]
pub fn batches(lengths: &[usize], max_tokens: usize, max_texts: Option<usize>) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    // Stable: texts of one length stay in their order, so the same texts make the same batches.
    order.sort_by_key(|&index| std::cmp::Reverse(lengths[index]));
    let mut batches = Vec::new();
    let mut rest = order.as_slice();
    while let Some(&longest) = rest.first() {
        let fit = max_tokens / lengths[longest].max(1);
        let texts = fit.min(max_texts.unwrap_or(usize::MAX)).clamp(1, rest.len());
        let (batch, after) = rest.split_at(texts);
        batches.push(batch.to_vec());
        rest = after;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_in_one_batch_and_none_exceeds_the_budget() {
        let lengths: Vec<usize> = (0..1000).map(|i| 2 + (i * 7919) % 255).collect();
        for (max_tokens, max_texts) in [(2048, None), (2048, Some(32)), (256, None), (1, None), (usize::MAX, Some(7))] {
            let batches = batches(&lengths, max_tokens, max_texts);
            let mut seen: Vec<usize> = batches.concat();
            seen.sort_unstable();
            assert_eq!(seen, (0..1000).collect::<Vec<_>>());
            for batch in &batches {
                let longest = batch.iter().map(|&i| lengths[i]).max().unwrap();
                assert!(batch.len() == 1 || longest * batch.len() <= max_tokens);
                assert!(batch.len() <= max_texts.unwrap_or(usize::MAX));
            }
        }
    }

    #[test]
    fn no_text_is_no_batch_and_a_text_without_tokens_is_one() {
        assert!(batches(&[], 2048, None).is_empty());
        assert_eq!(batches(&[0, 0], 1, None), [[0], [1]]);
    }

    #[test]
    fn a_limit_of_no_texts_still_moves_on() {
        assert_eq!(batches(&[5, 5], 100, Some(0)), [[0], [1]]);
    }
}
