//! Attention of one text's tokens to one another: softmax(Q Kᵀ / √d) V, head by head.
//!
//! Texts are short, so a general matrix product would spend its time on setting up. Here the keys and values of a head are
//! laid out in panels of 16 columns; a few queries at a time go over all keys, through softmax and over all values, while
//! their scores stay in the nearest cache.
//!
//! ```text
//! keys:   [keys / 16][d][16]      a panel has 16 keys, value by value
//! values: [d / 16][keys][16]      a panel has 16 columns, value by value
//! ```

use multiversion::{multiversion, target::target_cfg_f};

use super::kernels::{LANES, multiply_add, softmax};

/// Queries at a time: with [`LANES`] columns, their sums fill half the vector registers of AVX2.
const ROWS: usize = 4;

/// Work space.
#[derive(Debug, Default)]
pub(super) struct Panels {
    /// `[queries, d]`, scaled, filled up to a multiple of `ROWS`.
    queries: Vec<f32>,
    keys: Vec<[f32; LANES]>,
    values: Vec<[f32; LANES]>,
    /// `[ROWS, keys]`, filled up to a multiple of `LANES`.
    scores: Vec<f32>,
}

/// `qkv` is row-major `[tokens, 3 hidden]`: queries, keys and values, each head by head. `context` is `[tokens, hidden]`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+fma", "x86_64+avx2+fma"))]
pub(super) fn attend(qkv: &[f32], hidden: usize, heads: usize, context: &mut [f32], panels: &mut Panels) {
    if target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64")) {
        attend_with::<true>(qkv, hidden, heads, context, panels);
    } else {
        attend_with::<false>(qkv, hidden, heads, context, panels);
    }
}

#[inline(always)]
fn attend_with<const FUSED: bool>(qkv: &[f32], hidden: usize, heads: usize, context: &mut [f32], panels: &mut Panels) {
    let (tokens, d) = (context.len() / hidden, hidden / heads);
    for head in 0..heads {
        panels.lay_out(qkv, hidden, head * d, d);
        let Panels { queries, keys, values, scores } = &mut *panels;
        let padded = scores.len() / ROWS;
        for (queries, first) in queries.chunks_exact(ROWS * d).zip((0..tokens).step_by(ROWS)) {
            for (index, panel) in keys.chunks_exact(d).enumerate() {
                let products = multiply::<FUSED>(queries, d, panel);
                for (row, product) in scores.chunks_exact_mut(padded).zip(products) {
                    row[index * LANES..][..LANES].copy_from_slice(&product);
                }
            }
            for row in scores.chunks_exact_mut(padded) {
                row[tokens..].fill(f32::NEG_INFINITY);
                softmax::<FUSED>(row);
            }
            for (index, panel) in values.chunks_exact(tokens).enumerate() {
                let products = multiply::<FUSED>(scores, padded, panel);
                let columns = LANES.min(d - index * LANES);
                let rows = context.chunks_exact_mut(hidden).skip(first);
                for (row, product) in rows.zip(products) {
                    row[head * d + index * LANES..][..columns].copy_from_slice(&product[..columns]);
                }
            }
        }
    }
}

/// The product of `ROWS` rows, `stride` apart, and a panel: their first values times its rows, summed.
#[inline(always)]
fn multiply<const FUSED: bool>(rows: &[f32], stride: usize, panel: &[[f32; LANES]]) -> [[f32; LANES]; ROWS] {
    let rows: [&[f32]; ROWS] = std::array::from_fn(|row| &rows[row * stride..][..panel.len()]);
    let mut sums = [[0f32; LANES]; ROWS];
    for (index, columns) in panel.iter().enumerate() {
        for (sums, row) in sums.iter_mut().zip(rows) {
            let value = row[index];
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum = multiply_add::<FUSED>(value, *column, *sum);
            }
        }
    }
    sums
}

impl Panels {
    /// Takes the head whose columns are `from..from + d`.
    #[inline(always)]
    fn lay_out(&mut self, qkv: &[f32], hidden: usize, from: usize, d: usize) {
        let tokens = qkv.len() / (3 * hidden);
        let scale = 1.0 / (d as f32).sqrt();
        // What is filled up must be finite; old values are.
        self.queries.resize(tokens.next_multiple_of(ROWS) * d, 0.0);
        self.keys.resize(tokens.div_ceil(LANES) * d, [0.0; LANES]);
        self.values.resize(d.div_ceil(LANES) * tokens, [0.0; LANES]);
        self.scores.resize(ROWS * tokens.next_multiple_of(LANES), 0.0);
        for (token, row) in qkv.chunks_exact(3 * hidden).enumerate() {
            let [query, key, value] = [0, hidden, 2 * hidden].map(|part| &row[part + from..][..d]);
            let queries = &mut self.queries[token * d..][..d];
            queries.iter_mut().zip(query).for_each(|(to, query)| *to = scale * query);
            let panel = &mut self.keys[token / LANES * d..][..d];
            panel.iter_mut().zip(key).for_each(|(to, key)| to[token % LANES] = *key);
            for (panel, columns) in value.chunks(LANES).enumerate() {
                self.values[panel * tokens + token][..columns.len()].copy_from_slice(columns);
            }
        }
    }
}

#[cfg(test)]
mod tests;
