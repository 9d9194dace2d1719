//! Clusters against those of the other crates of exact HDBSCAN, on groups that are apart.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "common/agreement.rs"]
mod agreement;
#[allow(dead_code, reason = "shared with other tests")]
mod common;
#[path = "common/crates.rs"]
mod crates;

use agreement::adjusted_rand_index;
use common::{Shape, points};
use embstore_cluster::{Options, Points, Silent, cluster};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn groups_are_those_that_other_crates_find(
        n in 150usize..600,
        dims in 2usize..24,
        size in 4usize..12,
        samples in 2usize..12,
        seed in any::<u64>(),
    ) {
        let values = points(Shape::FarBlobs, n, dims, seed);
        let options = Options { min_cluster_size: size, min_samples: Some(samples), ..Options::default() };
        let (_, ours) = cluster(Points::new(&values, dims).unwrap(), &options, &Silent).unwrap();
        for (name, theirs) in [
            ("hdbscan", crates::hdbscan(&values, dims, &options)),
            ("petal-clustering", crates::petal(&values, dims, &options)),
        ] {
            let index = adjusted_rand_index(&ours.labels, &theirs);
            prop_assert!(index >= 0.99, "{name} agrees to {index}");
        }
    }
}
