//! Layer normalisation, Ba, Kiros and Hinton 2016, <https://arxiv.org/abs/1607.06450>.

use multiversion::{multiversion, target::target_cfg_f};

use super::{LANES, multiply_add};

/// Every row of `scale.len()` values gets mean 0 and variance 1, then times `scale` plus `shift`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+fma", "x86_64+avx2+fma"))]
pub(in crate::builtin) fn layer_norm(rows: &mut [f32], scale: &[f32], shift: &[f32], epsilon: f32) {
    if target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64")) {
        layer_norm_with::<true>(rows, scale, shift, epsilon);
    } else {
        layer_norm_with::<false>(rows, scale, shift, epsilon);
    }
}

#[inline(always)]
fn layer_norm_with<const FUSED: bool>(rows: &mut [f32], scale: &[f32], shift: &[f32], epsilon: f32) {
    let columns = scale.len() as f32;
    for row in rows.chunks_exact_mut(scale.len()) {
        let mean = sum(row, |value| value) / columns;
        let variance = sum(row, |value| (value - mean) * (value - mean)) / columns;
        let inverse = 1.0 / (variance + epsilon).sqrt();
        for ((value, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
            *value = multiply_add::<FUSED>((*value - mean) * inverse, *scale, *shift);
        }
    }
}

#[inline(always)]
fn sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += of(*value));
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, value)| *lane += of(*value));
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_the_mean_and_variance_asked_for_at_every_width() {
        for columns in [1, 5, 16, 24, 384] {
            let rows: Vec<f32> = (0..columns * 3).map(|i| (i * 7919 % 101) as f32 / 10.0 + 100.0).collect();
            let scale: Vec<f32> = (0..columns).map(|i| 1.0 + i as f32 / 100.0).collect();
            let shift: Vec<f32> = (0..columns).map(|i| i as f32 / 7.0).collect();
            let (mut chosen, mut plain) = (rows.clone(), rows.clone());
            layer_norm(&mut chosen, &scale, &shift, 1e-5);
            layer_norm_with::<false>(&mut plain, &scale, &shift, 1e-5);
            for (index, row) in rows.chunks(columns).enumerate() {
                let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / columns as f64;
                let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / columns as f64;
                for (column, &x) in row.iter().enumerate() {
                    let normal = (f64::from(x) - mean) / (variance + 1e-5).sqrt();
                    let expected = normal * f64::from(scale[column]) + f64::from(shift[column]);
                    for got in [chosen[index * columns + column], plain[index * columns + column]] {
                        assert!((f64::from(got) - expected).abs() < 1e-4, "{columns} columns: {expected} {got}");
                    }
                }
            }
        }
    }
}
