//! Softmax.

use super::LANES;
use super::exp::exp;

/// Of one row, in place. Its length is a multiple of [`LANES`]; what fills it up is −∞ and becomes next to nothing.
#[inline(always)]
pub(in crate::builtin) fn softmax<const FUSED: bool>(row: &mut [f32]) {
    let (chunks, _) = row.as_chunks_mut::<LANES>();
    let mut most = [f32::NEG_INFINITY; LANES];
    for chunk in &*chunks {
        most.iter_mut().zip(chunk).for_each(|(most, value)| *most = if *value > *most { *value } else { *most });
    }
    let most = most.iter().copied().fold(f32::NEG_INFINITY, |most, value| if value > most { value } else { most });
    let mut sums = [0f32; LANES];
    for chunk in &mut *chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *value = exp::<FUSED>(*value - most);
            *sum += *value;
        }
    }
    let inverse = 1.0 / sums.iter().sum::<f32>();
    for chunk in chunks {
        chunk.iter_mut().for_each(|value| *value *= inverse);
    }
}
