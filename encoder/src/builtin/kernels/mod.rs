//! What is done to every value between the products.
//!
//! Each function is compiled several times, for the widest vectors of each kind of processor, and the best one is chosen at
//! run time. The code is the same for all: loops over arrays of 16 that the compiler turns into vectors. Results differ
//! between processors only by float32 rounding (fused multiply-add where there is one).

mod exp;
mod gelu;
mod layer_norm;
mod softmax;

use multiversion::{multiversion, target::match_target};

pub(super) use gelu::{gelu, gelu_tanh};
pub(super) use layer_norm::layer_norm;
pub(super) use softmax::softmax;

/// Values that are worked on together: one vector of AVX-512, two of AVX2, four of NEON.
pub(super) const LANES: usize = 16;

/// The instruction set that the functions here are chosen for.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+fma", "x86_64+avx2+fma"))]
pub(super) fn instruction_set() -> &'static str {
    match_target! {
        "x86_64+avx512f+avx512vl+avx512dq+fma" => "avx512",
        "x86_64+avx2+fma" => "avx2",
        "aarch64+neon" => "neon",
        _ => "plain",
    }
}

/// `a b + c`, fused where the processor does that in one instruction; where it does not, fusing would be a call.
#[inline(always)]
pub(super) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}
