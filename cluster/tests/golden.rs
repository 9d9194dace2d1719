//! Clusters against those of python's hdbscan and scikit-learn, as `scripts/reference_clusters.py` has written them down.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "common/agreement.rs"]
mod agreement;

use std::fs;
use std::path::PathBuf;

use agreement::adjusted_rand_index;
use embstore_cluster::{Clustering, Metric, Options, Points, Selection, Silent, SpanningTree, cluster};

/// What the references say of a case.
struct Golden {
    labels: Vec<i32>,
    hdbscan_labels: Vec<i32>,
    sklearn_labels: Vec<i32>,
    probabilities: Vec<f64>,
    outlier_scores: Vec<f64>,
    exemplars: Vec<Vec<u32>>,
}

struct Case {
    name: String,
    ours: (SpanningTree, Clustering),
    golden: Golden,
    separated: bool,
    tree_weight: f64,
    persistence: Vec<f64>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn cases() -> Vec<Case> {
    let table = fs::read_to_string(folder().join("cases.tsv")).unwrap();
    let mut lines = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let names = lines.next().unwrap();
    let cases: Vec<Case> = lines
        .map(|values| {
            let value = |name: &str| values[names.iter().position(|&other| other == name).unwrap()];
            case(&value)
        })
        .collect();
    assert!(cases.len() > 40);
    cases
}

fn case<'a>(value: &dyn Fn(&str) -> &'a str) -> Case {
    let dims = value("dims").parse().unwrap();
    let values: Vec<f32> = read(&format!("{}.f32", value("points")))
        .as_chunks()
        .0
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect();
    let options = Options {
        metric: match value("metric") {
            "euclidean" => Metric::Euclidean,
            "cosine" => Metric::Cosine,
            other => panic!("{other} is no metric"),
        },
        min_cluster_size: value("min_cluster_size").parse().unwrap(),
        min_samples: value("min_samples").parse().ok(),
        selection: if value("cluster_selection_method") == "leaf" { Selection::Leaf } else { Selection::Eom },
        epsilon: value("cluster_selection_epsilon").parse().unwrap(),
        max_cluster_size: Some(value("max_cluster_size").parse().unwrap()).filter(|&size| size > 0),
        allow_single_cluster: value("allow_single_cluster") == "True",
    };
    let persistence = value("persistence").split(',').filter(|text| !text.is_empty());
    Case {
        name: format!("{} ({})", value("case"), value("points")),
        golden: golden(&read(&format!("{}.bin", value("case"))), values.len() / dims),
        ours: cluster(Points::new(&values, dims).unwrap(), &options, &Silent).unwrap(),
        separated: value("separated") == "True",
        tree_weight: value("tree_weight").parse().unwrap(),
        persistence: persistence.map(|text| text.parse().unwrap()).collect(),
    }
}

fn read(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap()
}

fn golden(bytes: &[u8], n: usize) -> Golden {
    let small = |bytes: &[u8]| -> Vec<i32> {
        bytes.as_chunks().0.iter().map(|&bytes| i32::from(i16::from_le_bytes(bytes))).collect()
    };
    let real = |bytes: &[u8]| -> Vec<f64> {
        bytes.as_chunks().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect()
    };
    let labels = small(&bytes[..2 * n]);
    let clusters = (labels.iter().max().unwrap() + 1) as usize;
    let mut rest = small(&bytes[14 * n..]);
    let mut members = rest.split_off(clusters).into_iter();
    Golden {
        hdbscan_labels: small(&bytes[2 * n..4 * n]),
        sklearn_labels: small(&bytes[4 * n..6 * n]),
        probabilities: real(&bytes[6 * n..10 * n]),
        outlier_scores: real(&bytes[10 * n..14 * n]),
        exemplars: rest
            .iter()
            .map(|&count| members.by_ref().take(count as usize).map(|id| id as u32).collect())
            .collect(),
        labels,
    }
}

fn farthest(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn trees_weigh_the_same() {
    for Case { name, ours, tree_weight, .. } in cases() {
        let off = (ours.0.weight() / tree_weight - 1.0).abs();
        assert!(off < 1e-12, "case {name}: {} instead of {tree_weight}", ours.0.weight());
    }
}

#[test]
fn labels_are_equal_where_ties_are_broken_alike() {
    for Case { name, ours, golden, .. } in cases() {
        assert_eq!(ours.1.labels, golden.labels, "case {name}");
    }
}

#[test]
fn groups_that_are_far_apart_are_those_of_both_references() {
    let mut compared = 0;
    for Case { name, ours, golden, .. } in cases().iter().filter(|case| case.separated) {
        for other in [&golden.hdbscan_labels, &golden.sklearn_labels] {
            let index = adjusted_rand_index(&ours.1.labels, other);
            assert!(index >= 0.99, "case {name}: agrees to {index}");
            compared += 1;
        }
    }
    assert!(compared >= 20);
}

#[test]
fn probabilities_and_outlier_scores_are_those_of_hdbscan() {
    for Case { name, ours, golden, .. } in cases() {
        let off = farthest(&ours.1.probabilities, &golden.probabilities);
        assert!(off < 1e-5, "case {name}: a probability is off by {off}");
        let off = farthest(&ours.1.outlier_scores, &golden.outlier_scores);
        assert!(off < 1e-5, "case {name}: an outlier score is off by {off}");
    }
}

#[test]
fn clusters_are_those_of_hdbscan() {
    for Case { name, ours, golden, persistence, .. } in cases() {
        let ours = &ours.1.clusters;
        let own: Vec<f64> = ours.iter().map(|cluster| cluster.persistence).collect();
        let off = farthest(&own, &persistence);
        assert!(off < 1e-6, "case {name}: a persistence is off by {off}");
        let size = |label: usize| golden.labels.iter().filter(|&&other| other == label as i32).count();
        let exemplars: Vec<&[u32]> = ours.iter().map(|cluster| &cluster.exemplars[..]).collect();
        assert_eq!(exemplars, golden.exemplars, "case {name}");
        assert!(ours.iter().enumerate().all(|(label, cluster)| cluster.size == size(label)), "case {name}");
    }
}
