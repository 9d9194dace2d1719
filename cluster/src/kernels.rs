//! Loops over rows, with the widest vectors that the processor has.
//!
//! Sums have a fixed number of lanes and multiply before they add, so that every width gives the same result.

use multiversion::multiversion;

/// Sums that run side by side.
const LANES: usize = 8;
/// Bounds that are looked at together.
const GLANCE: usize = 16;

/// Σ (a − b)².
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    sum_of_squares(a, b, |a, b| f64::from(a) - f64::from(b))
}

/// Σ (a·α − b·β)².
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(crate) fn squared_scaled_distance(a: &[f32], alpha: f64, b: &[f32], beta: f64) -> f64 {
    sum_of_squares(a, b, |a, b| f64::from(a) * alpha - f64::from(b) * beta)
}

#[inline(always)]
fn sum_of_squares(a: &[f32], b: &[f32], difference: impl Fn(f32, f32) -> f64) -> f64 {
    let mut lanes = [0f64; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            let difference = difference(a[lane], b[lane]);
            lanes[lane] += difference * difference;
        }
    }
    for (lane, (&a, &b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        let difference = difference(a, b);
        *lane += difference * difference;
    }
    lanes.iter().sum()
}

/// Σ g², where g is how far the intervals of two boxes are apart in a dimension.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(crate) fn squared_gap((a_low, a_high): (&[f32], &[f32]), (b_low, b_high): (&[f32], &[f32])) -> f64 {
    let gap = |(al, ah): (&f32, &f32), (bl, bh): (&f32, &f32)| {
        let (before, after) = (f64::from(*bl) - f64::from(*ah), f64::from(*al) - f64::from(*bh));
        let gap = if before > after { before } else { after };
        if gap > 0.0 { gap * gap } else { 0.0 }
    };
    a_low.iter().zip(a_high).zip(b_low.iter().zip(b_high)).map(|(a, b)| gap(a, b)).sum()
}

/// Σ a·b, roughly.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; GLANCE];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<GLANCE>(), b.as_chunks::<GLANCE>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..GLANCE {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// Appends (x − centre)·scale.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(crate) fn shift(row: &[f32], centre: &[f32], scale: f32, out: &mut Vec<f32>) {
    // Scaled by a power of two, which is exact, before the difference could overflow.
    out.extend(row.iter().zip(centre).map(|(x, centre)| x * scale - centre * scale));
}

/// Appends (x·factor − centre)·scale.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(crate) fn scale_and_shift(row: &[f32], factor: f64, centre: &[f32], scale: f64, out: &mut Vec<f32>) {
    out.extend(row.iter().zip(centre).map(|(&x, &c)| ((f64::from(x) * factor - f64::from(c)) * scale) as f32));
}

/// Appends x − centre, adds it to the sums, and returns Σ (x − centre)².
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(crate) fn shift_and_sum(row: &[f32], centre: &[f64], sums: &mut [f64], out: &mut Vec<f32>) -> f64 {
    out.extend(row.iter().zip(centre).map(|(&x, centre)| (f64::from(x) - centre) as f32));
    for ((&x, centre), sum) in row.iter().zip(centre).zip(sums) {
        *sum += f64::from(x) - centre;
    }
    let mut lanes = [0f64; LANES];
    let ((row, row_rest), (centre, centre_rest)) = (row.as_chunks::<LANES>(), centre.as_chunks::<LANES>());
    for (row, centre) in row.iter().zip(centre) {
        for lane in 0..LANES {
            let x = f64::from(row[lane]) - centre[lane];
            lanes[lane] += x * x;
        }
    }
    for (lane, (&x, centre)) in lanes.iter_mut().zip(row_rest.iter().zip(centre_rest)) {
        let x = f64::from(x) - centre;
        *lane += x * x;
    }
    lanes.iter().sum()
}

/// Appends the columns of a row of bounds (`products[j] + lows[j] + low`) that are within the limit of the row or of
/// the column.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
pub(crate) fn within(products: &[f32], lows: &[f32], limits: &[f32], low: f32, limit: f32, found: &mut Vec<u32>) {
    let is_within = |product: f32, column_low: f32, column_limit: f32| {
        let limit = if limit > column_limit { limit } else { column_limit };
        product + (column_low + low) <= limit
    };
    let (chunks, _) = products.as_chunks::<GLANCE>();
    let ((low_chunks, _), (limit_chunks, _)) = (lows.as_chunks::<GLANCE>(), limits.as_chunks::<GLANCE>());
    for (chunk, ((products, lows), limits)) in chunks.iter().zip(low_chunks).zip(limit_chunks).enumerate() {
        let mut any = false;
        for lane in 0..GLANCE {
            any |= is_within(products[lane], lows[lane], limits[lane]);
        }
        if any {
            let hits = (0..GLANCE).filter(|&lane| is_within(products[lane], lows[lane], limits[lane]));
            found.extend(hits.map(|lane| (chunk * GLANCE + lane) as u32));
        }
    }
    let rest = chunks.len() * GLANCE..products.len();
    found.extend(rest.filter(|&at| is_within(products[at], lows[at], limits[at])).map(|at| at as u32));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_plain_formula() {
        for dims in [1, 7, 8, 9, 40] {
            let a: Vec<f32> = (0..dims).map(|i| (i * i % 11) as f32).collect();
            let b: Vec<f32> = (0..dims).map(|i| (i * 5 % 7) as f32).collect();
            let plain = |alpha: f64, beta: f64| -> f64 {
                a.iter().zip(&b).map(|(&a, &b)| (f64::from(a) * alpha - f64::from(b) * beta).powi(2)).sum()
            };
            assert_eq!(squared_distance(&a, &b), plain(1.0, 1.0));
            assert_eq!(squared_scaled_distance(&a, 0.5, &b, 2.0), plain(0.5, 2.0));
        }
    }

    #[test]
    fn columns_within_either_limit_are_found() {
        let n = 53;
        let products: Vec<f32> = (0..n).map(|i| (i * 17 % 29) as f32).collect();
        let lows: Vec<f32> = (0..n).map(|i| (i % 3) as f32).collect();
        let limits: Vec<f32> = (0..n).map(|i| if i % 5 == 0 { 12.0 } else { f32::NEG_INFINITY }).collect();
        for limit in [f32::NEG_INFINITY, 4.0, f32::INFINITY] {
            let mut found = Vec::new();
            within(&products, &lows, &limits, 1.0, limit, &mut found);
            let plain: Vec<u32> =
                (0..n).filter(|&i| products[i] + lows[i] + 1.0 <= limit.max(limits[i])).map(|i| i as u32).collect();
            assert_eq!(found, plain);
            assert!(limit < f32::INFINITY || found.len() == n);
        }
    }
}
