//! The approximate tree against the exact one.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod common;
#[path = "common/monitors.rs"]
mod monitors;

use std::sync::atomic::AtomicIsize;

use common::{Shape, points};
use embstore_cluster::{
    Clustering, Error, Metric, Options, Points, Silent, SpanningTree, Stage, approximate_tree, spanning_tree,
};
use monitors::{Count, Stop};

/// More than are handed to the exact tree.
const MANY: usize = 12_000;

fn about(values: &[f32], dims: usize, options: &Options, seed: u64) -> SpanningTree {
    approximate_tree(Points::new(values, dims).unwrap(), options, seed, &Silent).unwrap()
}

/// Joins all points, or panics.
fn assert_spans(tree: &SpanningTree, n: usize) {
    let mut top: Vec<usize> = (0..n).collect();
    fn find(top: &mut [usize], mut at: usize) -> usize {
        while top[at] != at {
            top[at] = top[top[at]];
            at = top[at];
        }
        at
    }
    assert_eq!((tree.points(), tree.edges().len()), (n, n - 1));
    for edge in tree.edges() {
        let (a, b) = (find(&mut top, edge.a as usize), find(&mut top, edge.b as usize));
        assert_ne!(a, b);
        top[a] = b;
    }
}

#[test]
fn it_spans_all_points_and_weighs_hardly_more() {
    // The last number is how much heavier it may be.
    for (shape, dims, metric, bound) in [
        (Shape::Uniform, 2, Metric::Euclidean, 1e-5),
        (Shape::Uniform, 12, Metric::Euclidean, 1e-3),
        (Shape::Uniform, 40, Metric::Cosine, 2e-2),
        (Shape::Blobs, 3, Metric::Euclidean, 1e-3),
        (Shape::Blobs, 30, Metric::Cosine, 1e-2),
        (Shape::FarBlobs, 6, Metric::Euclidean, 1e-3),
        (Shape::FarBlobs, 20, Metric::Cosine, 1e-2),
        (Shape::Line, 2, Metric::Euclidean, 1e-4),
        (Shape::Sparse, 24, Metric::Euclidean, 1e-2),
        (Shape::Lattice, 10, Metric::Euclidean, 1e-2),
    ] {
        let values = points(shape, 2 * MANY, dims, 3);
        let options = Options { metric, ..Options::default() };
        let exact = spanning_tree(Points::new(&values, dims).unwrap(), &options, &Silent).unwrap();
        let tree = about(&values, dims, &options, 9);
        assert_spans(&tree, 2 * MANY);
        let more = tree.weight() / exact.weight() - 1.0;
        println!("{shape:?} {dims} {metric:?}: {more:.6}");
        assert!(more > -1e-12 && more < bound, "{shape:?} in {dims} dimensions by {metric:?}: {more}");
    }
}

#[test]
fn copies_count_as_often_as_they_come() {
    let mut values = points(Shape::Blobs, MANY, 5, 1);
    let half = values[..5 * 500].to_vec();
    values.extend(half);
    values.extend(std::iter::repeat_n(0.5, 5 * 4000));
    let n = values.len() / 5;
    let exact = spanning_tree(Points::new(&values, 5).unwrap(), &Options::default(), &Silent).unwrap();
    let tree = about(&values, 5, &Options::default(), 0);
    assert_spans(&tree, n);
    assert!((tree.weight() / exact.weight() - 1.0).abs() < 1e-4);
    let zeros = |tree: &SpanningTree| tree.edges().iter().filter(|edge| edge.weight == 0.0).count();
    assert_eq!(zeros(&tree), zeros(&exact));
    assert!(zeros(&tree) >= 3999);
}

#[test]
fn few_points_have_the_exact_tree() {
    for n in [0, 1, 2, 5, 700, 3000] {
        let values = points(Shape::Copies, n, 4, 8);
        let exact = spanning_tree(Points::new(&values, 4).unwrap(), &Options::default(), &Silent).unwrap();
        assert_eq!(about(&values, 4, &Options::default(), 1), exact);
    }
    // Many points too, if so many neighbours are asked for that there is nothing to spare.
    let values = points(Shape::Uniform, MANY, 2, 8);
    let options = Options { min_samples: Some(200), ..Options::default() };
    let exact = spanning_tree(Points::new(&values, 2).unwrap(), &options, &Silent).unwrap();
    assert_eq!(about(&values, 2, &options, 1), exact);
}

#[test]
fn runs_and_threads_do_not_matter_but_seeds_do() {
    let values = points(Shape::Uniform, MANY, 16, 2);
    let run = |threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| about(&values, 16, &Options::default(), seed))
    };
    let one = run(1, 5);
    for threads in [1, 2, 3, 7, 7] {
        assert_eq!(one, run(threads, 5), "{threads} threads");
    }
    assert_ne!(one, run(2, 6));
}

#[test]
fn groups_that_are_far_apart_are_found() {
    let values = points(Shape::FarBlobs, MANY, 10, 4);
    let options = Options { min_cluster_size: 50, ..Options::default() };
    let exact = spanning_tree(Points::new(&values, 10).unwrap(), &options, &Silent).unwrap();
    let exact = Clustering::new(&exact, &options).unwrap();
    let tree = Clustering::new(&about(&values, 10, &options, 0), &options).unwrap();
    assert_eq!(tree.labels, exact.labels);
    assert_eq!(tree.clusters.len(), 7);
}

#[test]
fn options_are_checked() {
    let points = Points::new(&[1.0, 2.0], 1).unwrap();
    let options = Options { min_samples: Some(0), ..Options::default() };
    assert_eq!(approximate_tree(points, &options, 0, &Silent), Err(Error::MinSamples));
}

#[test]
fn every_stage_goes_through_its_points_and_can_be_stopped() {
    let values = points(Shape::FarBlobs, MANY, 4, 4);
    let points = Points::new(&values, 4).unwrap();
    let count = Count::default();
    approximate_tree(points, &Options::default(), 0, &count).unwrap();
    let n = MANY as u64;
    assert_eq!(count.0.into_inner().unwrap(), [(Stage::Neighbours, n, n), (Stage::Bridges, n, n)]);
    let asked = Stop(AtomicIsize::new(isize::MAX));
    approximate_tree(points, &Options::default(), 0, &asked).unwrap();
    let often = isize::MAX - asked.0.into_inner();
    for times in [1, 2, often / 3, often / 2, often - 1, often] {
        let stop = Stop(AtomicIsize::new(times));
        let stopped = approximate_tree(points, &Options::default(), 0, &stop);
        assert_eq!(stopped, Err(Error::Cancelled), "asked {times} of {often} times");
    }
}
