//! Quality metrics: L2-norm statistics and NaN/Inf findings, measured while rows are copied.
//!
//! Sums of squares and statistics accumulate in f64. Every piece of fixed size is measured by itself (two passes over
//! its norms) and pieces merge in row order (Chan, Golub, LeVeque 1979), so the result depends neither on threads nor
//! on the order in which pieces finish. A difference of means keeps the variance of unit-norm rows, which the
//! textbook `E[x²] − E[x]²` loses to cancellation.

use embstore_formats::Dtype;
use multiversion::multiversion;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// How many rows of each kind of finding are named.
const NAMED_ROWS: usize = 10;
/// Independent f64 sums per row: enough for the widest vectors, and a fixed order of additions on every machine.
const LANES: usize = 16;

/// What was measured over a run of rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Norms of the rows without NaN or Inf.
    pub norms: Moments,
    /// Rows with a NaN.
    pub nan: Findings,
    /// Rows with an infinity.
    pub inf: Findings,
    /// Rows whose norm is zero.
    pub zero: Findings,
    /// Rows in which a finite value of a wider source became infinite.
    pub narrowed_to_inf: Findings,
}

/// Count, mean, sum of squared deviations, minimum and maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Number of values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Sum of squared deviations from the mean.
    pub m2: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

/// How many rows show something, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// All of them.
    pub count: u64,
    /// The first few, counted in the store.
    pub rows: Vec<u64>,
}

impl Moments {
    fn of(values: &[f64]) -> Self {
        if values.is_empty() {
            return Moments::default();
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let m2 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Moments { count: values.len() as u64, mean, m2, min, max }
    }

    fn merge(self, next: Moments) -> Moments {
        if self.count == 0 || next.count == 0 {
            return if self.count == 0 { next } else { self };
        }
        let count = self.count + next.count;
        let (n, share) = (self.count as f64, next.count as f64 / count as f64);
        let delta = next.mean - self.mean;
        Moments {
            count,
            mean: self.mean + delta * share,
            m2: self.m2 + next.m2 + delta * delta * n * share,
            min: self.min.min(next.min),
            max: self.max.max(next.max),
        }
    }

    /// Population standard deviation.
    #[must_use]
    pub fn std(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.m2 / self.count as f64).max(0.0).sqrt() }
    }
}

impl Findings {
    fn add(&mut self, row: u64) {
        self.count += 1;
        if self.rows.len() < NAMED_ROWS {
            self.rows.push(row);
        }
    }

    fn merge(&mut self, next: &Findings) {
        self.count += next.count;
        let room = NAMED_ROWS - self.rows.len();
        self.rows.extend(next.rows.iter().take(room));
    }
}

impl Quality {
    /// Appends what was measured over the rows that follow.
    pub fn merge(&mut self, next: &Quality) {
        self.norms = self.norms.merge(next.norms);
        self.nan.merge(&next.nan);
        self.inf.merge(&next.inf);
        self.zero.merge(&next.zero);
        self.narrowed_to_inf.merge(&next.narrowed_to_inf);
    }

    /// Whether any row holds a NaN or an infinity.
    #[must_use]
    pub fn has_non_finite(&self) -> bool {
        self.nan.count + self.inf.count > 0
    }

    /// The metrics as stores and results hold them. `name` tells which file a row is from.
    #[must_use]
    pub fn to_json(&self, shape: (u64, u64), dtype: Dtype, name: &dyn Fn(u64) -> Option<String>) -> Map<String, Value> {
        let named = |findings: &Findings| -> Vec<Value> {
            let entry = |&row| match name(row) {
                Some(file) => json!({"row": row, "file": file}),
                None => json!({"row": row}),
            };
            findings.rows.iter().map(entry).collect()
        };
        // Over no row at all there is no norm to report.
        let norm = |value: f64| if self.norms.count == 0 { Value::Null } else { json!(value) };
        let mut metrics = Map::new();
        let mut put = |key: &str, value: Value| metrics.insert(key.into(), value);
        put("shape", json!([shape.0, shape.1]));
        put("dtype", json!(dtype.name()));
        put("min_norm", norm(self.norms.min));
        put("max_norm", norm(self.norms.max));
        put("mean_norm", norm(self.norms.mean));
        put("std_norm", norm(self.norms.std()));
        put("has_nan", json!(self.nan.count > 0));
        put("has_inf", json!(self.inf.count > 0));
        put("nan_rows", json!(self.nan.count));
        put("inf_rows", json!(self.inf.count));
        put("zero_rows", json!(self.zero.count));
        put("narrowed_to_inf", json!(self.narrowed_to_inf.count));
        put("first_nan_rows", json!(named(&self.nan)));
        put("first_inf_rows", json!(named(&self.inf)));
        put("first_zero_rows", json!(named(&self.zero)));
        put("first_narrowed_rows", json!(named(&self.narrowed_to_inf)));
        metrics
    }
}

/// Measures one piece, block after block.
#[derive(Debug)]
pub struct Meter {
    cols: usize,
    next_row: u64,
    /// Of the rows of one block.
    sums: Vec<f64>,
    norms: Vec<f64>,
    quality: Quality,
}

impl Meter {
    /// A meter for rows of `cols` values, of which the first is row `first_row` of the store.
    #[must_use]
    pub fn new(first_row: u64, cols: usize) -> Self {
        Meter { cols, next_row: first_row, sums: Vec::new(), norms: Vec::new(), quality: Quality::default() }
    }

    /// Measures the rows in `values`, which follow those before.
    pub fn measure(&mut self, values: &[f32]) {
        self.sums.clear();
        sums_of_squares(values, self.cols, &mut self.sums);
        for (row, &sum) in values.chunks_exact(self.cols).zip(&self.sums) {
            if sum.is_finite() {
                self.norms.push(sum.sqrt());
                if sum == 0.0 {
                    self.quality.zero.add(self.next_row);
                }
            } else if row.iter().any(|value| value.is_nan()) {
                // Squares of finite floats cannot overflow an f64, so there is a NaN or an infinity in the row.
                self.quality.nan.add(self.next_row);
                if row.iter().any(|value| value.is_infinite()) {
                    self.quality.inf.add(self.next_row);
                }
            } else {
                self.quality.inf.add(self.next_row);
            }
            self.next_row += 1;
        }
    }

    /// Notes a row in which narrowing to float32 made an infinity.
    pub fn note_narrowed(&mut self, row: u64) {
        self.quality.narrowed_to_inf.add(row);
    }

    /// What was measured.
    #[must_use]
    pub fn finish(mut self) -> Quality {
        self.quality.norms = Moments::of(&self.norms);
        self.quality
    }
}

/// Σ x² of every row, in f64, with the widest vectors that the processor has. The product of two floats is exact in
/// f64, so fused and separate multiply-add agree, and with a fixed number of lanes every width gives the same sum.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn sums_of_squares(values: &[f32], cols: usize, sums: &mut Vec<f64>) {
    for row in values.chunks_exact(cols) {
        sums.push(sum_of_squares(row));
    }
}

#[inline(always)]
fn sum_of_squares(row: &[f32]) -> f64 {
    let mut lanes = [0f64; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            let value = f64::from(*value);
            *lane += value * value;
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        let value = f64::from(*value);
        *lane += value * value;
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(values: &[f32], cols: usize, piece_rows: usize) -> Quality {
        let mut all = Quality::default();
        for (index, piece) in values.chunks(cols * piece_rows).enumerate() {
            let mut meter = Meter::new((index * piece_rows) as u64, cols);
            piece.chunks(cols * 3).for_each(|block| meter.measure(block));
            all.merge(&meter.finish());
        }
        all
    }

    #[test]
    fn pieces_merge_to_the_statistics_of_the_whole() {
        let values: Vec<f32> = (0..40 * 37).map(|i| (i as f32 * 0.7).sin()).collect();
        let norms: Vec<f64> =
            values.chunks(37).map(|r| r.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()).collect();
        let mean = norms.iter().sum::<f64>() / 40.0;
        let std = (norms.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / 40.0).sqrt();
        let got = measure(&values, 37, 7).norms;
        assert_eq!(got.count, 40);
        assert!((got.mean - mean).abs() < 1e-12 && (got.std() - std).abs() < 1e-12);
        assert_eq!(got.min, norms.iter().copied().fold(f64::INFINITY, f64::min));
    }

    #[test]
    fn the_spread_of_unit_norm_rows_survives() {
        // Norms 1 ± 1e-7: `E[x²] − E[x]²` would be all rounding.
        let values: Vec<f32> = (0..10_000).map(|i| if i % 2 == 0 { 1.000_000_1 } else { 0.999_999_9 }).collect();
        let std = measure(&values, 1, 64).norms.std();
        assert!((std - 1.1e-7).abs() < 1e-8, "{std}");
    }

    #[test]
    fn findings_are_where_they_are() {
        let mut values = vec![1f32; 30 * 4];
        values[5 * 4 + 1] = f32::NAN;
        values[17 * 4] = f32::INFINITY;
        values[18 * 4] = f32::NEG_INFINITY;
        values[18 * 4 + 1] = f32::NAN;
        values[29 * 4..].fill(0.0);
        values[2 * 4] = f32::MAX;
        let quality = measure(&values, 4, 8);
        assert_eq!(quality.nan.rows, [5, 18]);
        assert_eq!(quality.inf.rows, [17, 18], "a row can hold both");
        assert_eq!(quality.zero.rows, [29]);
        assert_eq!(quality.norms.count, 27);
        assert!(quality.norms.max > 3e38, "the largest float is no infinity");
    }
}
