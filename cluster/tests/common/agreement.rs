//! How far two labellings agree.

use std::collections::HashMap;

/// How far two labellings agree, by pairs and corrected for chance (Hubert, Arabie 1985).
pub(crate) fn adjusted_rand_index(a: &[i32], b: &[i32]) -> f64 {
    let pairs = |count: f64| count * (count - 1.0) / 2.0;
    let (mut both, mut of_a, mut of_b) = (HashMap::new(), HashMap::new(), HashMap::new());
    for (&a, &b) in a.iter().zip(b) {
        *both.entry((a, b)).or_insert(0.0) += 1.0;
        *of_a.entry(a).or_insert(0.0) += 1.0;
        *of_b.entry(b).or_insert(0.0) += 1.0;
    }
    let together: f64 = both.values().map(|&count| pairs(count)).sum();
    let (in_a, in_b): (f64, f64) =
        (of_a.values().map(|&count| pairs(count)).sum(), of_b.values().map(|&count| pairs(count)).sum());
    let chance = in_a * in_b / pairs(a.len() as f64);
    let most = f64::midpoint(in_a, in_b);
    if most == chance { 1.0 } else { (together - chance) / (most - chance) }
}

#[test]
fn it_is_that_of_the_pairs() {
    assert_eq!(adjusted_rand_index(&[0, 0, 1, 1], &[5, 5, -1, -1]), 1.0);
    // By hand: of 2 and 1 pairs, 1 is in common, and 2 · 1 / 6 are by chance.
    let index = adjusted_rand_index(&[0, 0, 1, 1], &[0, 0, 1, 2]);
    assert!((index - (1.0 - 1.0 / 3.0) / (1.5 - 1.0 / 3.0)).abs() < 1e-12);
}
