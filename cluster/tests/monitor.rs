//! What a caller hears, and how it stops the work.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "common/monitors.rs"]
mod monitors;

use std::sync::atomic::AtomicIsize;

use embstore_cluster::{Error, Options, Pca, Points, Silent, Stage, spanning_tree};
use monitors::{Count, Stop};

/// Three groups of 300 on a line, far apart.
fn groups() -> Vec<f32> {
    (0..900).map(|at| (at % 3 * 10_000) as f32 + (at * 7 % 997) as f32).collect()
}

#[test]
fn every_stage_goes_through_its_points() {
    let values = groups();
    let mut points = Points::new(&values, 1).unwrap();
    let count = Count::default();
    spanning_tree(points, &Options::default(), &count).unwrap();
    Pca::fit(&mut points, 1, 0, &count).unwrap();
    let stages = count.0.into_inner().unwrap();
    assert_eq!(stages, [(Stage::Neighbours, 900, 900), (Stage::Bridges, 900, 900), (Stage::Components, 900, 900)],);
}

#[test]
fn work_stops_when_asked() {
    let values = groups();
    let mut points = Points::new(&values, 1).unwrap();
    for times in [1, 2, 9] {
        let stop = || Stop(AtomicIsize::new(times));
        assert_eq!(spanning_tree(points, &Options::default(), &stop()), Err(Error::Cancelled), "asked {times} times");
    }
    let stop = Stop(AtomicIsize::new(1));
    assert_eq!(Pca::fit(&mut points, 1, 0, &stop), Err(Error::Cancelled));
    assert!(spanning_tree(points, &Options::default(), &Silent).is_ok());
}
