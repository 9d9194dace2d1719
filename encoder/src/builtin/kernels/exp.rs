//! The exponential function, in code that vectorises.

use super::multiply_add;

/// eˣ with a relative error under 2e-7, for x ≤ 88; below −87 it is that of −87, some 1e-38.
///
/// x = n ln 2 + r with |r| ≤ ln 2 / 2, and a polynomial for eʳ: Cephes' `expf`, <https://netlib.org/cephes>.
#[inline(always)]
pub(super) fn exp<const FUSED: bool>(x: f32) -> f32 {
    /// 1.5 × 2²³: added to a small number, it leaves that number, rounded, in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts; the first has few bits, so that n times it is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = multiply_add::<FUSED>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = multiply_add::<FUSED>(n, -LN2_HIGH, x);
    let r = multiply_add::<FUSED>(n, -LN2_LOW, r);
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_6e-1, 5e-1, 1.0, 1.0] {
        p = multiply_add::<FUSED>(p, r, coefficient);
    }
    // 2ⁿ: the exponent's bits are n + 127.
    let power = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    p * power
}
