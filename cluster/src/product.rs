//! Products of blocks of rows, in front of the `gemm` crate. The unsafe code of this crate.
#![allow(unsafe_code)]

/// `out[i, j] = scale · Σ a[i, k] · b[j, k]`: `a` is `[m, depth]`, `b` is `[n, depth]`, `out` is `[m, n]`, all row-major.
///
/// On the caller's thread alone: blocks are what runs side by side.
///
/// # Panics
///
/// Where a slice is not as long as its shape says.
pub(crate) fn rows_by_rows(a: &[f32], b: &[f32], out: &mut [f32], (m, n, depth): (usize, usize, usize), scale: f32) {
    multiply((a, depth, 1), (b, 1, depth), out, (m, n, depth), scale);
}

/// `out[i, j] = Σ a[k, i] · b[k, j]`: `a` is `[depth, m]`, `b` is `[depth, n]`, `out` is `[m, n]`, all row-major.
///
/// # Panics
///
/// Where a slice is not as long as its shape says.
pub(crate) fn columns_by_columns(a: &[f32], b: &[f32], out: &mut [f32], (m, n, depth): (usize, usize, usize)) {
    multiply((a, 1, m), (b, n, 1), out, (m, n, depth), 1.0);
}

/// `out = scale · a · b` of `a`, which is `[m, depth]`, and `b`, which is `[depth, n]`, each with the distance in its
/// slice of one row from the next and of one column from the next.
fn multiply(
    (a, a_row, a_column): (&[f32], usize, usize),
    (b, b_row, b_column): (&[f32], usize, usize),
    out: &mut [f32],
    (m, n, depth): (usize, usize, usize),
    scale: f32,
) {
    assert!(
        m.checked_mul(depth) == Some(a.len()) && [(depth, 1), (1, m)].contains(&(a_row, a_column)),
        "a is [m, depth]"
    );
    assert!(
        n.checked_mul(depth) == Some(b.len()) && [(n, 1), (1, depth)].contains(&(b_row, b_column)),
        "b is [depth, n]"
    );
    assert!(m.checked_mul(n) == Some(out.len()), "out is [m, n]");
    // SAFETY: gemm reads `a[i * a_row + k * a_column]` and `b[k * b_row + j * b_column]` and writes `out[i * n + j]` for
    // i < m, j < n, k < depth, and reads nothing of `out`, as it is told so. The strides are those of dense matrices in
    // one order or the other, so all of these are inside the slices, whose lengths were just compared with the shapes.
    // `out` is borrowed mutably, so it overlaps neither of the others. The strides fit an isize: each is at most the
    // length of its slice, unless that is empty; then nothing is read.
    unsafe {
        gemm::gemm(
            m,
            n,
            depth,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.as_ptr(),
            a_column as isize,
            a_row as isize,
            b.as_ptr(),
            b_column as isize,
            b_row as isize,
            0.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_rows_is_multiplied() {
        for (m, n, depth) in [(0, 3, 2), (3, 0, 2), (1, 1, 1), (5, 7, 3), (33, 17, 40)] {
            let a: Vec<f32> = (0..m * depth).map(|i| (i % 13) as f32 - 6.0).collect();
            let b: Vec<f32> = (0..n * depth).map(|i| (i % 7) as f32 - 3.0).collect();
            let mut out = vec![f32::NAN; m * n];
            rows_by_rows(&a, &b, &mut out, (m, n, depth), -2.0);
            for i in 0..m {
                for j in 0..n {
                    let dot: f32 = (0..depth).map(|k| a[i * depth + k] * b[j * depth + k]).sum();
                    assert_eq!(out[i * n + j], -2.0 * dot);
                }
            }
            // The same numbers, read as matrices of `depth` rows.
            columns_by_columns(&a, &b, &mut out, (m, n, depth));
            for i in 0..m {
                for j in 0..n {
                    let dot: f32 = (0..depth).map(|k| a[k * m + i] * b[k * n + j]).sum();
                    assert_eq!(out[i * n + j], dot);
                }
            }
        }
    }
}
