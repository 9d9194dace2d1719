//! How long it takes to cluster the rows of `.npy` files (float32, C order), and how much memory beyond them.
//!
//! ```text
//! cargo run --release -p embstore-cluster --example timing -- [--min-cluster-size N] [--min-samples N] [--pca N] \
//!     [--approximate | --crate hdbscan | --crate petal-clustering] [--labels FILE] FILE.npy …
//! ```
//!
//! Each file is a line of tab-separated fields: file, points, dimensions, seconds from the open file to the labels,
//! processor seconds, weight of the tree (empty where another crate has made it, as these do not tell it), clusters,
//! noise, and the bytes per point by which the memory of the process was larger at its peak than with the rows alone. The
//! labels of the last file are written as little-endian `i32`.
#![allow(clippy::print_stdout)]

#[path = "../../tests/common/crates.rs"]
mod crates;
mod process;

use std::collections::HashSet;
use std::fs;
use std::time::Instant;

use embstore_cluster::{Clustering, NOISE, Options, Pca, Points, Silent, approximate_tree, spanning_tree};
use process::{processor_seconds, reset_peak, status};

type Failure = Box<dyn std::error::Error>;

/// Who clusters.
#[derive(Clone, Copy, Default)]
enum Side {
    #[default]
    Exact,
    Approximate,
    Hdbscan,
    Petal,
}

#[derive(Default)]
struct Job {
    options: Options,
    components: Option<usize>,
    side: Side,
    labels: Option<String>,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut job = Job::default();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("a value is missing");
        match argument.as_str() {
            "--min-cluster-size" => job.options.min_cluster_size = value()?.parse()?,
            "--min-samples" => job.options.min_samples = Some(value()?.parse()?),
            "--pca" => job.components = Some(value()?.parse()?),
            "--approximate" => job.side = Side::Approximate,
            "--crate" => {
                job.side = match value()?.as_str() {
                    "hdbscan" => Side::Hdbscan,
                    "petal-clustering" => Side::Petal,
                    other => return Err(format!("{other} is not compared").into()),
                }
            }
            "--labels" => job.labels = Some(value()?),
            file => println!("{}", job.time(file)?),
        }
    }
    Ok(())
}

impl Job {
    fn time(&self, file: &str) -> Result<String, Failure> {
        let (start, cpu) = (Instant::now(), processor_seconds()?);
        let (mut values, mut dims) = read_npy(file)?;
        if let Some(components) = self.components {
            let pca = Pca::fit(&mut Points::new(&values, dims)?, components, 0, &Silent)?;
            let mut projected = Vec::new();
            pca.project(&values, &mut projected);
            (values, dims) = (projected, components);
        }
        reset_peak();
        let before = status("VmRSS")?;
        let (labels, weight) = self.cluster(&values, dims)?;
        let seconds = start.elapsed().as_secs_f64();
        let beyond = (status("VmHWM")? - before) / labels.len() as f64;
        let clusters: HashSet<i32> = labels.iter().copied().filter(|label| *label != NOISE).collect();
        let fields = [
            file.to_string(),
            labels.len().to_string(),
            dims.to_string(),
            format!("{seconds:.3}"),
            format!("{:.2}", processor_seconds()? - cpu),
            weight.map(|weight| format!("{weight:.9}")).unwrap_or_default(),
            clusters.len().to_string(),
            labels.iter().filter(|label| **label == NOISE).count().to_string(),
            format!("{beyond:.0}"),
        ];
        if let Some(path) = &self.labels {
            fs::write(path, labels.iter().flat_map(|label| label.to_le_bytes()).collect::<Vec<u8>>())?;
        }
        Ok(fields.join("\t"))
    }

    /// The labels, and the weight of the tree where it is known.
    fn cluster(&self, values: &[f32], dims: usize) -> Result<(Vec<i32>, Option<f64>), Failure> {
        let points = Points::new(values, dims)?;
        let tree = match self.side {
            Side::Exact => spanning_tree(points, &self.options, &Silent)?,
            Side::Approximate => approximate_tree(points, &self.options, 0, &Silent)?,
            Side::Hdbscan => return Ok((crates::hdbscan(values, dims, &self.options), None)),
            Side::Petal => return Ok((crates::petal(values, dims, &self.options), None)),
        };
        Ok((Clustering::new(&tree, &self.options)?.labels, Some(tree.weight())))
    }
}

/// The values and the width of an `.npy` file of version 1 to 3.
fn read_npy(file: &str) -> Result<(Vec<f32>, usize), Failure> {
    let bytes = fs::read(file)?;
    let wide = *bytes.get(6).ok_or("no .npy file")? > 1;
    let length =
        |at: usize, size: usize| bytes[at..at + size].iter().rev().fold(0, |all, &b| all << 8 | usize::from(b));
    let (start, length) = if wide { (12, length(8, 4)) } else { (10, length(8, 2)) };
    let header = std::str::from_utf8(&bytes[start..start + length])?;
    if !header.contains("'descr': '<f4'") || !header.contains("'fortran_order': False") {
        return Err(format!("{file}: is not little-endian float32 in C order: {header}").into());
    }
    let shape = header.split('(').nth(1).and_then(|rest| rest.split(')').next()).ok_or("no shape")?;
    let dims: usize = shape.split(',').nth(1).ok_or("no matrix")?.trim().parse()?;
    let values = bytes[start + length..].as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    Ok((values, dims))
}
