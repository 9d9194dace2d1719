//! Points of many shapes, and a plain spanning tree of them.

use embstore_cluster::{Metric, Options};

/// How points lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    Uniform,
    Blobs,
    FarBlobs,
    Copies,
    Lattice,
    Line,
    Equal,
    Sparse,
}

impl Shape {
    pub(crate) const ALL: &'static [Shape] = &[
        Shape::Uniform,
        Shape::Blobs,
        Shape::FarBlobs,
        Shape::Copies,
        Shape::Lattice,
        Shape::Line,
        Shape::Equal,
        Shape::Sparse,
    ];
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Row-major points of that shape.
pub(crate) fn points(shape: Shape, n: usize, dims: usize, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    let centres: Vec<f32> = (0..7 * dims).map(|_| random.normal()).collect();
    let mut values = Vec::with_capacity(n * dims);
    for row in 0..n {
        let group = random.below(7);
        for dim in 0..dims {
            values.push(match shape {
                Shape::Uniform => random.uniform(),
                Shape::Blobs => centres[group * dims + dim] * 3.0 + random.normal() * (0.1 + group as f32 / 5.0),
                Shape::FarBlobs => centres[group * dims + dim] * 1000.0 + random.normal(),
                Shape::Copies if row > 3 && group > 2 => values[random.below(row) / 2 * dims + dim],
                Shape::Copies => random.normal(),
                Shape::Lattice => random.below(3) as f32,
                Shape::Line => (row / 2 * (dim + 1)) as f32,
                Shape::Equal => 0.25,
                Shape::Sparse if random.below(4) > 0 => 0.0,
                Shape::Sparse => random.below(2) as f32 - 0.5,
            });
        }
    }
    if shape == Shape::Copies {
        // Whole rows are copied, not values of several.
        for row in 4..n {
            if random.below(2) == 0 {
                let from = random.below(row) * dims;
                values.copy_within(from..from + dims, row * dims);
            }
        }
    }
    values
}

/// The squared distance, with the sum in eight lanes: the order of additions is part of what "equal" means here.
fn squared(a: &[f32], b: &[f32], metric: Metric) -> f64 {
    if a == b {
        return 0.0;
    }
    let norm = |row: &[f32]| row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    let (alpha, beta) = match metric {
        Metric::Euclidean => (1.0, 1.0),
        Metric::Cosine => match (norm(a), norm(b)) {
            (0.0, _) | (_, 0.0) => return 2.0,
            (a, b) => (1.0 / a, 1.0 / b),
        },
    };
    let mut lanes = [0f64; 8];
    for (at, (&a, &b)) in a.iter().zip(b).enumerate() {
        let difference = f64::from(a) * alpha - f64::from(b) * beta;
        lanes[at % 8] += difference * difference;
    }
    lanes.iter().sum()
}

/// The edges of the minimum spanning tree: both ends, the lower one first, and the weight; the least edge first.
pub(crate) fn prim(values: &[f32], dims: usize, options: &Options) -> Vec<(u32, u32, f64)> {
    let n = values.len() / dims;
    let row = |at: usize| &values[at * dims..(at + 1) * dims];
    let all: Vec<f64> = (0..n * n).map(|at| squared(row(at / n), row(at % n), options.metric)).collect();
    let samples = options.min_samples.unwrap_or(options.min_cluster_size).min(n.max(1) - 1);
    let core = |at: usize| {
        let mut others: Vec<f64> = (0..n).filter(|&other| other != at).map(|other| all[at * n + other]).collect();
        others.sort_by(f64::total_cmp);
        if samples == 0 { 0.0 } else { others[samples - 1] }
    };
    let cores: Vec<f64> = (0..n).map(core).collect();
    type Key = (f64, f64, bool, u32, u32);
    let key = |a: usize, b: usize| -> Key {
        let squared = all[a * n + b];
        (squared.max(cores[a]).max(cores[b]), squared, row(a) != row(b), a.min(b) as u32, a.max(b) as u32)
    };
    let less = |a: &Key, b: &Key| a.partial_cmp(b).unwrap();
    let mut outside: Vec<(usize, Key)> = (1..n).map(|at| (at, key(0, at))).collect();
    let mut edges = Vec::new();
    while !outside.is_empty() {
        let next = (0..outside.len()).min_by(|&a, &b| less(&outside[a].1, &outside[b].1)).unwrap();
        let (new, edge) = outside.swap_remove(next);
        edges.push(edge);
        for (at, known) in &mut outside {
            let other = key(new, *at);
            if less(&other, known).is_lt() {
                *known = other;
            }
        }
    }
    edges.sort_by(less);
    let weight = |squared: f64| if options.metric == Metric::Cosine { squared / 2.0 } else { squared.sqrt() };
    edges.into_iter().map(|(squared, _, _, a, b)| (a, b, weight(squared))).collect()
}
