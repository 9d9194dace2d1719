//! Products of matrices, in front of the `gemm` crate. The unsafe code of this crate.
#![allow(unsafe_code)]

/// `out += x · weight`: `x` is `[rows, from]`, `weight` is `[from, to]`, `out` is `[rows, to]`, all row-major.
///
/// On the caller's thread alone: a lane is a thread, and lanes are what runs side by side.
///
/// # Panics
///
/// Where a slice is not as long as its shape says.
pub(super) fn add_product(x: &[f32], weight: &[f32], out: &mut [f32], rows: usize, from: usize, to: usize) {
    assert_eq!(x.len(), rows * from, "x is [rows, from]");
    assert_eq!(weight.len(), from * to, "weight is [from, to]");
    assert_eq!(out.len(), rows * to, "out is [rows, to]");
    let stride = |columns: usize| columns as isize;
    // SAFETY: gemm reads `x[r * from + f]` and `weight[f * to + t]` and reads and writes `out[r * to + t]` for r < rows,
    // f < from, t < to. All of these are inside the slices, whose lengths were just compared with the shapes. `out` is
    // borrowed mutably, so it overlaps neither of the others. Strides fit an isize, because no slice has more than
    // isize::MAX bytes and each stride is at most the length of its slice, unless that is empty; then nothing is read.
    unsafe {
        gemm::gemm(
            rows,
            to,
            from,
            out.as_mut_ptr(),
            1,
            stride(to),
            true,
            x.as_ptr(),
            1,
            stride(from),
            weight.as_ptr(),
            1,
            stride(to),
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
