use super::*;
use crate::monitor::Silent;
use crate::options::Metric;
use crate::random::Random;

fn blobs(groups: usize, size: usize, dims: usize, spread: f64) -> Vec<f32> {
    let mut random = Random::new(5);
    let mut normal = || (0..12).map(|_| random.uniform()).sum::<f64>() - 6.0;
    let centres: Vec<f64> = (0..groups * dims).map(|_| normal()).collect();
    let value = |at: usize| (centres[at / dims % groups * dims + at % dims] + spread * normal()) as f32;
    (0..groups * size * dims).map(value).collect()
}

/// Both trees, without the shortcut for few points: how much heavier the rough one is, and whether it spans the points.
fn compare(values: &[f32], dims: usize, options: &Options) -> (SpanningTree, f64) {
    let points = Points::new(values, dims).unwrap();
    let distinct = Distinct::of(points);
    let exact = tree::exact(points, &distinct, options, &Silent).unwrap();
    let about = rough(points, &distinct, options, 1, &Silent).unwrap();
    assert_eq!(about.points(), points.len());
    assert_eq!(about.edges().len(), points.len() - 1);
    let mut forest = Forest::new(points.len());
    assert!(about.edges().iter().all(|edge| edge.a < edge.b && forest.join(edge.a, edge.b)));
    let more = about.weight() / exact.weight().max(f64::MIN_POSITIVE) - 1.0;
    assert!(more > -1e-12, "{more}");
    (about, more)
}

#[test]
fn points_of_one_group_have_the_exact_tree() {
    for metric in [Metric::Euclidean, Metric::Cosine] {
        for n in [2, 3, 5, 11, 17, 60, 380] {
            let values = blobs(1, n, 7, 1.0);
            for samples in [1, 4, 30] {
                let options = Options { metric, min_samples: Some(samples), ..Options::default() };
                let (about, _) = compare(&values, 7, &options);
                let exact = crate::spanning_tree(Points::new(&values, 7).unwrap(), &options, &Silent).unwrap();
                assert_eq!(about, exact, "{n} points, {samples} samples");
            }
        }
    }
}

#[test]
fn lines_copies_and_parallel_rows_are_spanned() {
    let line: Vec<f32> = (0..2000).flat_map(|at| [at as f32, 2.0 * at as f32]).collect();
    let (_, more) = compare(&line, 2, &Options::default());
    assert!(more < 1e-3, "{more}");
    let mut copies = blobs(3, 500, 2, 1.0);
    copies.copy_within(0..1000, 1000);
    copies[2000..2400].fill(1.0);
    let (_, more) = compare(&copies, 2, &Options::default());
    assert!(more < 1e-3, "{more}");
    let parallel: Vec<f32> = (1..1500).flat_map(|at| [at as f32, (at % 3) as f32 * at as f32]).collect();
    compare(&parallel, 2, &Options { metric: Metric::Cosine, ..Options::default() });
    // Corners of a cube, each as far from very many others.
    let corners: Vec<f32> = (0..4096 * 12).map(|at| ((at / 12) >> (at % 12) & 1) as f32).collect();
    let (_, more) = compare(&corners, 12, &Options::default());
    assert!(more < 0.1, "{more}");
}

#[test]
fn groups_far_apart_are_joined_where_they_are_near() {
    // Larger than a list of neighbours, and smaller, and such that rounding of the whole hides the distances inside.
    for (groups, size, spread) in [(60, 900, 0.01), (9, 300, 0.01), (70, 40, 0.02), (300, 9, 0.01), (5, 600, 1e-6)] {
        let values = blobs(groups, size, 4, spread);
        let (_, more) = compare(&values, 4, &Options::default());
        assert!(more < 5e-4, "{groups} groups of {size}: {more}");
    }
}

#[test]
fn many_samples_and_a_row_of_zeros_are_no_matter() {
    let mut values = blobs(4, 400, 10, 0.7);
    values[500..510].fill(0.0);
    for metric in [Metric::Euclidean, Metric::Cosine] {
        let options = Options { metric, min_samples: Some(90), ..Options::default() };
        let (_, more) = compare(&values, 10, &options);
        assert!(more < 1e-3, "{more}");
    }
}

#[test]
fn rows_without_a_digit_to_tell_them_apart_are_spanned() {
    let mut values = blobs(3, 700, 4, 1.0);
    values[400..404].fill(1e30);
    compare(&values, 4, &Options::default());
    // A thousand parallel rows are at no distance from each other.
    let parallel: Vec<f32> = (0..3000).flat_map(|at| [1.0 + at as f32, (at % 3 / 2 * (at + 1)) as f32]).collect();
    compare(&parallel, 2, &Options { metric: Metric::Cosine, ..Options::default() });
}
