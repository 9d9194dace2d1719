//! From the vectors of a text's tokens to one.

use crate::model::Pooling;

/// `tokens` is row-major `[tokens, out.len()]` and not empty.
pub(crate) fn pool(pooling: Pooling, tokens: &[f32], out: &mut [f32]) {
    let mut rows = tokens.chunks_exact(out.len());
    if let Some(first) = rows.next() {
        out.copy_from_slice(first);
    }
    match pooling {
        Pooling::Cls => {}
        Pooling::Max => rows.for_each(|row| combine(out, row, f32::max)),
        Pooling::Mean => {
            let count = rows.len() + 1;
            rows.for_each(|row| combine(out, row, |sum, value| sum + value));
            out.iter_mut().for_each(|sum| *sum /= count as f32);
        }
    }
}

fn combine(out: &mut [f32], row: &[f32], with: impl Fn(f32, f32) -> f32) {
    out.iter_mut().zip(row).for_each(|(out, value)| *out = with(*out, *value));
}

/// Divides a vector by its length; one of length zero stays as it is.
pub(crate) fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
    vector.iter_mut().for_each(|value| *value /= length);
}
