//! Principal components of rows whose components are known.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use embstore_cluster::{Error, Pca, Points, RowBlocks, Silent};

/// Rows with the variances `spreads²` along directions that are known, and a mean far from zero.
fn rows(n: usize, spreads: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let dims = spreads.len();
    // Reflected by a vector, the axes become other directions at right angles.
    let mirror: Vec<f32> = (0..dims).map(|i| 1.0 + (i % 5) as f32).collect();
    let square: f32 = mirror.iter().map(|x| x * x).sum();
    let reflect = |row: &[f32]| -> Vec<f32> {
        let along: f32 = row.iter().zip(&mirror).map(|(a, b)| a * b).sum();
        row.iter().zip(&mirror).map(|(x, m)| x - 2.0 * along / square * m).collect()
    };
    let noise = noise(n * dims);
    let values = noise.chunks(dims).flat_map(|row| {
        let scaled: Vec<f32> = row.iter().zip(spreads).map(|(x, s)| x * s).collect();
        reflect(&scaled).into_iter().map(|x| x + 100.0)
    });
    let axes = (0..dims).flat_map(|at| reflect(&(0..dims).map(|i| f32::from(u8::from(i == at))).collect::<Vec<_>>()));
    (values.collect(), axes.collect())
}

/// Values of mean 0 and variance 1, not correlated.
fn noise(count: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..count).map(|_| (next() - 0.5) * 12f32.sqrt()).collect()
}

#[test]
fn known_directions_and_variances_are_found() {
    let mut spreads = vec![0.01; 60];
    spreads[..5].copy_from_slice(&[3.0, 9.0, 5.0, 1.0, 2.0]);
    let (values, axes) = rows(20_000, &spreads);
    let mut view = Points::new(&values, 60).unwrap();
    let pca = Pca::fit(&mut view, 5, 1, &Silent).unwrap();
    let total: f32 = spreads.iter().map(|s| s * s).sum();
    for (at, axis) in [1, 2, 0, 4, 3].into_iter().enumerate() {
        let component = &pca.components()[at * 60..(at + 1) * 60];
        let along: f32 = component.iter().zip(&axes[axis * 60..(axis + 1) * 60]).map(|(a, b)| a * b).sum();
        assert!(along.abs() > 0.999, "component {at}: {along}");
        let ratio = pca.explained_variance_ratio()[at];
        assert!((ratio / f64::from(spreads[axis] * spreads[axis] / total) - 1.0).abs() < 0.03, "{ratio}");
        let largest = component.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
        assert!(largest > 0.0);
    }
    assert!(pca.mean().iter().all(|mean| (mean - 100.0).abs() < 0.5));
    let mut projected = Vec::new();
    pca.project(&values, &mut projected);
    assert_eq!(projected.len(), 20_000 * 5);
    let variance = projected.iter().step_by(5).map(|&x| f64::from(x).powi(2)).sum::<f64>() / 20_000.0;
    assert!((variance / 81.0 - 1.0).abs() < 0.03, "{variance}");
}

#[test]
fn the_randomised_subspace_holds_what_the_whole_one_does() {
    // Variances that fall slowly, as those of embeddings do.
    let spreads: Vec<f32> = (0..96).map(|at| 1.0 / (1.0 + at as f32 / 10.0)).collect();
    let (values, _) = rows(6000, &spreads);
    let fit = |components| Pca::fit(&mut Points::new(&values, 96).unwrap(), components, 7, &Silent).unwrap();
    let (some, all) = (fit(12), fit(96));
    assert!((all.explained_variance_ratio().iter().sum::<f64>() - 1.0).abs() < 1e-5);
    let sum = |pca: &Pca| pca.explained_variance_ratio()[..12].iter().sum::<f64>();
    assert!(sum(&some) > 0.999 * sum(&all) && sum(&some) < 1.000_001 * sum(&all), "{} {}", sum(&some), sum(&all));
}

#[test]
fn threads_do_not_matter_and_seeds_hardly() {
    let (values, _) = rows(3000, &[4.0, 3.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.1]);
    let run = |threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Pca::fit(&mut Points::new(&values, 8).unwrap(), 2, seed, &Silent).unwrap())
    };
    assert_eq!(run(1, 1), run(4, 1));
    let (one, other) = (run(2, 1), run(2, 2));
    assert!(one.components().iter().zip(other.components()).all(|(a, b)| (a - b).abs() < 1e-4));
}

#[test]
fn rows_without_variance_have_components_all_the_same() {
    for values in [vec![3.0; 40 * 6], (0..40 * 6).map(|at| (at / 6 * (at % 6)) as f32).collect(), vec![0.0; 40 * 6]] {
        let pca = Pca::fit(&mut Points::new(&values, 6).unwrap(), 4, 1, &Silent).unwrap();
        assert_eq!((pca.len(), pca.dims(), pca.components().len()), (4, 6, 24));
        assert!(pca.components().iter().all(|x| x.is_finite()));
        assert!(pca.explained_variance_ratio()[1..].iter().all(|&ratio| ratio < 1e-6));
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let values = vec![1.0; 12];
    for (components, dims) in [(0, 3), (4, 3), (3, 6)] {
        let error = Pca::fit(&mut Points::new(&values, dims).unwrap(), components, 1, &Silent).unwrap_err();
        assert_eq!(error, Error::Components { components, rows: 12 / dims, dims });
    }
}

/// Rows in blocks that may fail, as those of a file.
struct Blocks(Vec<Vec<f32>>);

#[derive(Debug, PartialEq)]
enum ReadError {
    Broken,
    Rows(Error),
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        ReadError::Rows(error)
    }
}

impl RowBlocks for Blocks {
    type Error = ReadError;

    fn rows(&self) -> usize {
        self.0.iter().map(|block| block.len() / 2).sum()
    }

    fn dims(&self) -> usize {
        2
    }

    fn for_each(&mut self, visit: &mut dyn FnMut(&[f32]) -> Result<(), Error>) -> Result<(), ReadError> {
        for block in &self.0 {
            if block.is_empty() {
                return Err(ReadError::Broken);
            }
            visit(block)?;
        }
        Ok(())
    }
}

#[test]
fn errors_of_reading_and_of_rows_come_through() {
    let fit = |blocks: &[&[f32]]| {
        Pca::fit(&mut Blocks(blocks.iter().map(|block| block.to_vec()).collect()), 1, 1, &Silent).unwrap_err()
    };
    assert_eq!(fit(&[&[1.0, 2.0], &[]]), ReadError::Broken);
    let error = fit(&[&[1.0, 2.0], &[3.0, 4.0, 5.0, f32::INFINITY]]);
    assert_eq!(error, ReadError::Rows(Error::NonFinite { row: 2, column: 1, value: f32::INFINITY }));
}
