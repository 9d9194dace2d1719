//! Against the formula in f64, and the plain version against the chosen one.

use super::*;

fn qkv(tokens: usize, hidden: usize) -> Vec<f32> {
    (0..tokens * 3 * hidden).map(|i| ((i * 7919 % 1013) as f32 / 500.0 - 1.0) * 2.0).collect()
}

fn formula(qkv: &[f32], hidden: usize, heads: usize) -> Vec<f32> {
    let (tokens, d) = (qkv.len() / 3 / hidden, hidden / heads);
    let at = |token: usize, part: usize, column: usize| f64::from(qkv[token * 3 * hidden + part * hidden + column]);
    let mut context = vec![0f32; tokens * hidden];
    for head in 0..heads {
        for query in 0..tokens {
            let score = |key: usize| (0..d).map(|i| at(query, 0, head * d + i) * at(key, 1, head * d + i)).sum::<f64>();
            let weights: Vec<f64> = (0..tokens).map(|key| (score(key) / (d as f64).sqrt()).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for column in head * d..(head + 1) * d {
                let value: f64 = (0..tokens).map(|key| weights[key] * at(key, 2, column)).sum();
                context[query * hidden + column] = (value / sum) as f32;
            }
        }
    }
    context
}

#[test]
fn it_is_the_formula_for_every_length_and_width_of_a_head() {
    let mut panels = Panels::default();
    for (hidden, heads) in [(64, 2), (24, 2), (40, 1), (3, 3)] {
        // Down as well as up: work space is left over from longer texts.
        for tokens in (1..40).chain([100, 7, 1]) {
            let qkv = qkv(tokens, hidden);
            let expected = formula(&qkv, hidden, heads);
            let (mut chosen, mut plain) = (vec![0.0; expected.len()], vec![0.0; expected.len()]);
            attend(&qkv, hidden, heads, &mut chosen, &mut panels);
            attend_with::<false>(&qkv, hidden, heads, &mut plain, &mut panels);
            for ((expected, chosen), plain) in expected.iter().zip(&chosen).zip(&plain) {
                assert!((expected - chosen).abs() < 3e-6, "{tokens} tokens: {expected} {chosen}");
                assert!((expected - plain).abs() < 3e-6, "{tokens} tokens: {expected} {plain}");
            }
        }
    }
}
