//! Against the functions in f64, and the plain version against the chosen one.

use super::*;

fn points() -> Vec<f32> {
    (-200_000..=200_000).map(|i| i as f32 * 5e-5).chain([-1e30, -87.0, -0.0, 0.0, 1e-30, 87.0, 1e30]).collect()
}

/// erf by its series, for |x| < 3; beyond that by the continued fraction of erfc.
fn erf64(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < 3.0 {
        let (mut term, mut sum) = (a, a);
        for n in 1..200 {
            term *= -a * a / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else if a < 20.0 {
        let fraction = (1..200).rev().fold(0.0, |below, n| f64::from(n) / 2.0 / (a + below));
        1.0 - (-a * a).exp() / (a + fraction) / std::f64::consts::PI.sqrt()
    } else {
        1.0
    };
    value.copysign(x)
}

fn worst(got: &[f32], expected: impl Fn(f64) -> f64) -> f64 {
    let errors = points().into_iter().zip(got).map(|(x, got)| {
        let expected = expected(f64::from(x));
        (f64::from(*got) - expected).abs() / expected.abs().max(1.0)
    });
    errors.fold(0.0, f64::max)
}

#[test]
fn gelu_is_that_of_the_error_function() {
    let mut values = points();
    gelu(&mut values);
    let worst = worst(&values, |x| 0.5 * x * (1.0 + erf64(x * std::f64::consts::FRAC_1_SQRT_2)));
    assert!(worst < 2e-7, "{worst}");
}

#[test]
fn gelu_tanh_is_that_of_tanh() {
    let mut values = points();
    gelu_tanh(&mut values);
    let root = (2.0 / std::f64::consts::PI).sqrt();
    let worst = worst(&values, |x| 0.5 * x * (1.0 + (root * (x + 0.044715 * x.powi(3))).tanh()));
    assert!(worst < 5e-7, "{worst}");
}

#[test]
fn every_width_agrees() {
    assert_plain_agrees(gelu, gelu_of::<false>);
    assert_plain_agrees(gelu_tanh, gelu_tanh_of::<false>);
}

fn assert_plain_agrees(chosen: fn(&mut [f32]), plain: fn(f32) -> f32) {
    let mut values = points();
    chosen(&mut values);
    for (x, got) in points().into_iter().zip(values) {
        let plain = plain(x);
        assert!((plain - got).abs() <= 3e-7 * plain.abs().max(1.0), "{x}: {plain} {got}");
    }
}
