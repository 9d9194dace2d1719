//! The other crates of exact HDBSCAN. They count the point itself among its samples.

use embstore_cluster::{NOISE, Options};
use hdbscan::{Hdbscan, HdbscanHyperParams};
use ndarray::ArrayView2;
use petal_clustering::{Fit, HDbscan};

/// Labels by the crate `hdbscan`, with all cores.
pub(crate) fn hdbscan(values: &[f32], dims: usize, options: &Options) -> Vec<i32> {
    let rows: Vec<Vec<f32>> = values.chunks(dims).map(<[f32]>::to_vec).collect();
    let parameters = HdbscanHyperParams::builder()
        .min_cluster_size(options.min_cluster_size)
        .min_samples(options.samples() + 1)
        .build();
    Hdbscan::new(&rows, parameters).cluster_par().expect("finite rows of one width")
}

/// Labels by the crate `petal-clustering`.
pub(crate) fn petal(values: &[f32], dims: usize, options: &Options) -> Vec<i32> {
    let rows = ArrayView2::from_shape((values.len() / dims, dims), values).expect("a matrix");
    let mut clusterer = HDbscan {
        min_samples: options.samples() + 1,
        min_cluster_size: options.min_cluster_size,
        ..HDbscan::default()
    };
    let (clusters, _, _) = clusterer.fit(&rows, None);
    let mut labels = vec![NOISE; rows.nrows()];
    for (label, points) in clusters.into_values().enumerate() {
        points.into_iter().for_each(|point| labels[point] = label as i32);
    }
    labels
}
