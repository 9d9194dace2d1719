//! GELU, Hendrycks and Gimpel 2016, <https://arxiv.org/abs/1606.08415>.

use multiversion::{multiversion, target::target_cfg_f};

use super::exp::exp;
use super::multiply_add;

/// x ↦ x (1 + erf(x / √2)) / 2.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+fma", "x86_64+avx2+fma"))]
pub(in crate::builtin) fn gelu(values: &mut [f32]) {
    if target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64")) {
        values.iter_mut().for_each(|x| *x = gelu_of::<true>(*x));
    } else {
        values.iter_mut().for_each(|x| *x = gelu_of::<false>(*x));
    }
}

/// x ↦ x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, which `gelu_new` stands for.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+fma", "x86_64+avx2+fma"))]
pub(in crate::builtin) fn gelu_tanh(values: &mut [f32]) {
    if target_cfg_f!(any(target_feature = "fma", target_arch = "aarch64")) {
        values.iter_mut().for_each(|x| *x = gelu_tanh_of::<true>(*x));
    } else {
        values.iter_mut().for_each(|x| *x = gelu_tanh_of::<false>(*x));
    }
}

/// max(x, 0) − g(|x|), with g(a) = a erfc(a / √2) / 2: what is approximated is small wherever x is large, so nothing cancels.
/// As in Abramowitz and Stegun 7.1.26, g(a) = a e^(−a²/2) p(t) with t = 1 / (1 + 0.4 a); the polynomial has one term more and
/// is fitted to g itself, to 7e-9.
#[inline(always)]
fn gelu_of<const FUSED: bool>(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / multiply_add::<FUSED>(0.4, a, 1.0);
    let mut p = 0.057_431_334;
    for coefficient in [-0.258_483_94, 0.345_139_1, 0.009_346_86, 0.190_045_8, 0.156_521_29] {
        p = multiply_add::<FUSED>(p, t, coefficient);
    }
    x.max(0.0) - a * (p * t) * exp::<FUSED>(-0.5 * a * a)
}

#[inline(always)]
fn gelu_tanh_of<const FUSED: bool>(x: f32) -> f32 {
    let inner = 0.797_884_6 * multiply_add::<FUSED>(0.044_715 * x * x, x, x);
    // (1 + tanh u) / 2 = 1 / (1 + e^(−2u))
    x / (1.0 + exp::<FUSED>(-2.0 * inner))
}

#[cfg(test)]
mod tests;
