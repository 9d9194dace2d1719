//! The tree against a plain one: Prim's algorithm over all pairs, in `f64`, with the same order of edges.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Shape, points, prim};
use embstore_cluster::{Metric, Options, Points, Silent, cluster, spanning_tree};
use proptest::prelude::*;

fn agree(values: &[f32], dims: usize, options: &Options) {
    let tree = spanning_tree(Points::new(values, dims).unwrap(), options, &Silent).unwrap();
    let expected = prim(values, dims, options);
    assert_eq!(tree.edges().len(), expected.len());
    for (at, (edge, expected)) in tree.edges().iter().zip(&expected).enumerate() {
        assert_eq!((edge.a, edge.b, edge.weight), *expected, "edge {at} of {}", expected_of(values.len(), dims));
    }
}

fn expected_of(values: usize, dims: usize) -> String {
    format!("{} points in {dims} dimensions", values / dims)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn trees_are_equal(
        shape in proptest::sample::select(Shape::ALL),
        n in 0usize..700,
        dims in 1usize..40,
        samples in 1usize..30,
        cosine in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let metric = if cosine { Metric::Cosine } else { Metric::Euclidean };
        let options = Options { metric, min_samples: Some(samples), ..Options::default() };
        agree(&points(shape, n, dims, seed), dims, &options);
    }

    #[test]
    fn threads_do_not_matter(shape in proptest::sample::select(Shape::ALL), n in 300usize..900, seed in any::<u64>()) {
        let values = points(shape, n, 5, seed);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| cluster(Points::new(&values, 5).unwrap(), &Options::default(), &Silent).unwrap())
        };
        let alone = run(1);
        prop_assert_eq!(&alone, &run(2));
        prop_assert_eq!(&alone, &run(5));
    }

    #[test]
    fn the_order_of_rows_does_not_matter(n in 20usize..400, seed in any::<u64>()) {
        let values = points(Shape::Blobs, n, 3, seed);
        let reversed: Vec<f32> = values.chunks(3).rev().flatten().copied().collect();
        let run = |values: &[f32]| cluster(Points::new(values, 3).unwrap(), &Options::default(), &Silent).unwrap();
        let ((tree, forth), (back_tree, back)) = (run(&values), run(&reversed));
        prop_assert_eq!(tree.weight(), back_tree.weight());
        // The same groups under other numbers.
        for (a, b) in (0..n).flat_map(|a| (0..a).map(move |b| (a, b))) {
            let same = |labels: &[i32], a: usize, b: usize| labels[a] == labels[b];
            prop_assert_eq!(same(&forth.labels, a, b), same(&back.labels, n - 1 - a, n - 1 - b));
        }
    }
}

#[test]
fn edge_cases_are_trees_too() {
    for metric in [Metric::Euclidean, Metric::Cosine] {
        let options = Options { metric, ..Options::default() };
        for values in [
            vec![],
            vec![1.0, 2.0],
            vec![1.0, 2.0, 2.0, 1.0],
            vec![1.0, 2.0, 1.0, 2.0],
            vec![0.0; 2 * 40],
            vec![7.5; 2 * 600],
            (0..700).flat_map(|i| [i as f32, 2.0 * i as f32]).collect(),
        ] {
            agree(&values, 2, &options);
        }
    }
}

#[test]
fn large_offsets_and_tiny_or_huge_values_cost_no_exactness() {
    let values = points(Shape::Blobs, 600, 8, 3);
    for (factor, offset) in [(1e-3, 1000.0), (1e-41, 0.0), (1e36, 0.0), (1e-20, 1e-19), (1.0, -3e5)] {
        let moved: Vec<f32> = values.iter().map(|x| x * factor + offset).collect();
        agree(&moved, 8, &Options::default());
    }
    // One row far from all others takes all the digits of their mean and scale.
    let mut far = values.clone();
    far[8 * 300..8 * 301].fill(1e30);
    agree(&far, 8, &Options::default());
}

#[test]
fn many_small_groups_far_from_each_other_are_bridged() {
    // More groups than a list of neighbours has places, each larger than that list.
    let (groups, size) = (60, 40);
    let mut values = Vec::new();
    for group in 0..groups {
        let near = points(Shape::Uniform, size, 3, group);
        let place = [(group % 8) as f32 * 50.0, (group / 8) as f32 * 70.0, (group * group % 7) as f32 * 90.0];
        values.extend(near.iter().enumerate().map(|(at, x)| x + place[at % 3]));
    }
    agree(&values, 3, &Options::default());
}
