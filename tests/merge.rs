//! Merging as a program does it: checkpoints valid and invalid, plans, quality, articles, and the whole workflow.

mod common;

use std::time::SystemTime;

use common::{Workshop, rows_of};
use embstore::checkpoint::{Checkpoint, CheckpointError};
use embstore::formats::{LocateOptions, articles};
use embstore::plan::PlanError;
use embstore::{
    Error, ExportOptions, MergeOptions, NonFinite, Observer, RowRange, VerifyOptions, export, merge, verify,
};
use serde_json::json;

fn options(workshop: &Workshop) -> MergeOptions {
    let mut options = MergeOptions::new(workshop.checkpoints(), workshop.path("w.npy"));
    options.timestamp = Some(SystemTime::UNIX_EPOCH);
    options
}

fn fails(workshop: &Workshop) -> Error {
    let error = merge(&options(workshop), Observer::none()).expect_err("refused");
    assert_eq!(workshop.names(), ["embeddings"], "nothing is left behind by: {error}");
    error
}

#[test]
fn checkpoint_valid() {
    let workshop = Workshop::new();
    let fields = json!({"start_index": 5, "end_index": 8, "cluster_id": 2, "model": "m"});
    let path = workshop.checkpoint("cluster1_gpu3.pkl", &[0.5; 6], 2, fields);
    let checkpoint = Checkpoint::open(&path, &LocateOptions::default()).expect("valid");
    assert_eq!(checkpoint.range, Some(5..8));
    assert_eq!(checkpoint.cluster_id, Some(2), "the dict decides");
    assert_eq!(checkpoint.gpu_id, Some(3), "the file name fills in");
    assert_eq!((checkpoint.array.rows(), checkpoint.array.cols()), (3, 2));
}

#[test]
fn checkpoint_invalid() {
    let workshop = Workshop::new();
    let open = |fields| {
        let path = workshop.checkpoint("cluster1_gpu0.pkl", &[0.5; 6], 2, fields);
        Checkpoint::open(&path, &LocateOptions::default()).expect_err("invalid")
    };
    let missing = open(json!({"start_index": 0}));
    assert!(matches!(missing, CheckpointError::MissingField { field: "end_index", .. }), "{missing}");
    let text = open(json!({"start_index": "0", "end_index": 3}));
    assert!(matches!(text, CheckpointError::NotAnIndex { field: "start_index", .. }), "{text}");
    let negative = open(json!({"start_index": -3, "end_index": 0}));
    assert!(matches!(negative, CheckpointError::NotAnIndex { .. }), "{negative}");
    let long = open(json!({"start_index": 0, "end_index": 4}));
    assert!(matches!(long, CheckpointError::RangeLength { start: 0, end: 4, rows: 3, .. }), "{long}");
    assert!(long.to_string().contains("span 4 rows") && long.to_string().contains("has 3"), "{long}");
}

#[test]
fn merge_valid() {
    let workshop = Workshop::new();
    let whole = workshop.split(1000, 7, 9);
    let report = merge(&options(&workshop), Observer::none()).expect("merged");
    assert_eq!((report.shape, report.rows_left_out, report.rows_resumed), ((1000, 7), 0, 0));
    assert_eq!(rows_of(&report.store), whole);
    let chunks = report.metadata["chunk_info"].as_array().expect("a list");
    assert_eq!(chunks.len(), 9);
    assert_eq!(chunks[8]["gpu_id"], 8);
    assert_eq!(report.bytes, std::fs::metadata(&report.store).expect("there").len() + metadata_len(&workshop));
}

fn metadata_len(workshop: &Workshop) -> u64 {
    std::fs::metadata(workshop.path("w.meta.json")).expect("there").len()
}

#[test]
fn order_is_by_range_and_not_by_name() {
    let workshop = Workshop::new();
    workshop.checkpoint("cluster1_gpu0.pkl", &[3.0, 4.0], 1, json!({"start_index": 2, "end_index": 4}));
    workshop.checkpoint("cluster1_gpu1.pkl", &[1.0, 2.0], 1, json!({"start_index": 0, "end_index": 2}));
    let report = merge(&options(&workshop), Observer::none()).expect("merged");
    assert_eq!(rows_of(&report.store), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn merge_gaps() {
    let workshop = Workshop::new();
    workshop.checkpoint("cluster1_gpu0.pkl", &[0.5; 10], 1, json!({"start_index": 0, "end_index": 10}));
    workshop.checkpoint("cluster1_gpu1.pkl", &[0.5; 5], 1, json!({"start_index": 12, "end_index": 17}));
    let error = fails(&workshop);
    assert!(matches!(error, Error::Plan(PlanError::Gap { expected: 10, got: 12, .. })), "{error}");
    let message = error.to_string();
    assert!(message.contains("cluster1_gpu0.pkl") && message.contains("cluster1_gpu1.pkl"), "{message}");
}

#[test]
fn merge_overlaps() {
    let workshop = Workshop::new();
    workshop.checkpoint("cluster1_gpu0.pkl", &[0.5; 10], 1, json!({"start_index": 0, "end_index": 10}));
    workshop.checkpoint("cluster1_gpu1.pkl", &[0.5; 5], 1, json!({"start_index": 8, "end_index": 13}));
    let error = fails(&workshop);
    assert!(matches!(error, Error::Plan(PlanError::Overlap { expected: 10, got: 8, .. })), "{error}");
    assert!(error.to_string().contains("rows 8..10"), "{error}");
}

#[test]
fn merge_duplicates_and_missing_start() {
    let workshop = Workshop::new();
    let range = json!({"start_index": 3, "end_index": 5});
    workshop.checkpoint("cluster1_gpu0.pkl", &[0.5; 2], 1, range.clone());
    let error = fails(&workshop);
    assert!(matches!(error, Error::Plan(PlanError::MissingStart { got: 3, .. })), "{error}");
    workshop.checkpoint("cluster1_gpu0.pkl", &[0.5; 3], 1, json!({"start_index": 0, "end_index": 3}));
    workshop.checkpoint("cluster1_gpu1.pkl", &[0.5; 2], 1, range.clone());
    workshop.checkpoint("cluster1_gpu2.pkl", &[0.5; 2], 1, range);
    let error = fails(&workshop);
    assert!(matches!(&error, Error::Plan(PlanError::Duplicate { range, .. }) if *range == (3..5)), "{error}");
}

#[test]
fn widths_must_agree() {
    let workshop = Workshop::new();
    workshop.checkpoint("cluster1_gpu0.pkl", &[0.5; 6], 2, json!({"start_index": 0, "end_index": 3}));
    workshop.checkpoint("cluster1_gpu1.pkl", &[0.5; 6], 3, json!({"start_index": 3, "end_index": 5}));
    let error = fails(&workshop);
    assert!(matches!(error, Error::Plan(PlanError::Width { expected: 2, got: 3, .. })), "{error}");
    let mut narrow = options(&workshop);
    narrow.dim = Some(768);
    let error = merge(&narrow, Observer::none()).expect_err("refused");
    assert!(matches!(error, Error::Plan(PlanError::Dim { expected: 768, got: 2, .. })), "{error}");
}

#[test]
fn rows_keeps_a_range() {
    let workshop = Workshop::new();
    let whole = workshop.split(100, 3, 4);
    for (text, start, end) in [("90", 0, 90), ("40:60", 40, 60), ("30:31", 30, 31)] {
        let mut options = options(&workshop);
        options.rows = Some(text.parse().expect("a range"));
        options.build.force = true;
        let report = merge(&options, Observer::none()).expect("merged");
        assert_eq!(report.rows_left_out, 100 - (end - start) as u64);
        assert_eq!(rows_of(&report.store), whole[start * 3..end * 3], "--rows {text}");
    }
    let mut options = options(&workshop);
    options.build.force = true;
    options.rows = Some(RowRange { start: 0, end: 101 });
    let error = merge(&options, Observer::none()).expect_err("refused");
    assert!(error.hint().contains("--rows 100"), "{}", error.hint());
}

#[test]
fn quality_names_rows_and_files() {
    let workshop = Workshop::new();
    let mut whole = common::values(60, 4);
    whole[10 * 4 + 2] = f32::NAN;
    whole[41 * 4] = f32::INFINITY;
    whole[59 * 4..].fill(0.0);
    workshop.checkpoint("cluster1_gpu0.pkl", &whole[..40 * 4], 4, json!({"start_index": 0, "end_index": 40}));
    workshop.checkpoint("cluster1_gpu1.pkl", &whole[40 * 4..], 4, json!({"start_index": 40, "end_index": 60}));
    let report = merge(&options(&workshop), Observer::none()).expect("merged");
    let metrics = &report.metadata["quality_metrics"];
    assert_eq!(metrics["first_nan_rows"], json!([{"row": 10, "file": "cluster1_gpu0.pkl"}]));
    assert_eq!(metrics["first_inf_rows"], json!([{"row": 41, "file": "cluster1_gpu1.pkl"}]));
    assert_eq!(metrics["first_zero_rows"], json!([{"row": 59, "file": "cluster1_gpu1.pkl"}]));
    assert_eq!((metrics["has_nan"].as_bool(), metrics["has_inf"].as_bool()), (Some(true), Some(true)));
    assert_eq!(report.warnings.len(), 3);

    let mut strict = options(&workshop);
    strict.output = workshop.path("strict.npy");
    strict.non_finite = NonFinite::Error;
    let error = merge(&strict, Observer::none()).expect_err("refused");
    assert!(error.to_string().contains("NaN in row 10 (cluster1_gpu0.pkl)"), "{error}");
    assert!(!strict.output.exists() && !workshop.path("strict.npy.partial").exists());
}

#[test]
fn threads_do_not_change_a_byte() {
    let workshop = Workshop::new();
    workshop.split(30_000, 96, 5);
    let mut bytes = Vec::new();
    for threads in [1, 2, 7] {
        let mut options = options(&workshop);
        options.build.force = true;
        options.build.settings.threads = threads;
        merge(&options, Observer::none()).expect("merged");
        bytes.push(workshop.contents());
    }
    assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_finished_store_is_replaced_only_when_told_to() {
    let workshop = Workshop::new();
    workshop.split(10, 2, 2);
    let mut options = options(&workshop);
    merge(&options, Observer::none()).expect("merged");
    let before = workshop.contents();
    let error = merge(&options, Observer::none()).expect_err("in the way");
    assert!(error.hint().contains("--force"), "{}", error.hint());
    assert_eq!(workshop.contents(), before);
    options.build.force = true;
    merge(&options, Observer::none()).expect("replaced");
    assert_eq!(workshop.contents(), before);
}

fn write_articles(workshop: &Workshop, count: usize) -> std::path::PathBuf {
    let path = workshop.path("articles.jsonl");
    let lines =
        (0..count).map(|i| format!("{{\"id\": {i}, \"title\": \"Năe {i}\", \"url\": \"u/{i}\", \"text\": \"…\"}}\n"));
    std::fs::write(&path, lines.collect::<String>()).expect("writable");
    path
}

#[test]
fn articles_go_along() {
    let workshop = Workshop::new();
    workshop.split(40_000, 2, 3);
    let mut options = options(&workshop);
    options.articles = Some(write_articles(&workshop, 40_000));
    let report = merge(&options, Observer::none()).expect("merged");
    let mut seen = Vec::new();
    let read = articles::read(&workshop.path("w.articles.parquet"), &std::env::temp_dir(), &mut |article| {
        seen.push((article.id.to_string(), article.title.to_string(), article.url.to_string()));
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(read.expect("read"), 40_000);
    assert_eq!(seen[39_999], ("39999".into(), "Năe 39999".into(), "u/39999".into()));
    assert_eq!(report.metadata["total_articles"], 40_000);
}

#[test]
fn articles_must_match_the_rows() {
    let workshop = Workshop::new();
    workshop.split(100, 2, 3);
    let mut options = options(&workshop);
    options.articles = Some(write_articles(&workshop, 90));
    let error = merge(&options, Observer::none()).expect_err("refused");
    assert!(matches!(error, Error::ArticlesCount { articles: 90, rows: 100, .. }), "{error}");
    assert!(error.hint().contains("--rows 90"), "{}", error.hint());
    assert_eq!(workshop.names(), ["articles.jsonl", "embeddings"]);
}

#[test]
fn whole_workflow() {
    let workshop = Workshop::new();
    let whole = workshop.split(250, 16, 16);
    let mut options = options(&workshop);
    options.rows = Some(RowRange { start: 0, end: 240 });
    options.articles = Some(write_articles(&workshop, 240));
    options.model = Some("google/embeddinggemma-300m".into());
    let merged = merge(&options, Observer::none()).expect("merged");

    let pickle = export(&ExportOptions::new(&merged.store, "pickle"), Observer::none()).expect("exported");
    assert_eq!(pickle.output, workshop.path("w.pkl"));
    let mut back = ExportOptions::new(&pickle.output, "npy");
    back.output = Some(workshop.path("back.npy"));
    let back = export(&back, Observer::none()).expect("exported back");
    assert_eq!(rows_of(&back.output), whole[..240 * 16]);
    // The legacy dict has no room for where the articles came from; of all else nothing is lost.
    let mut expected = merged.metadata.clone();
    expected["articles"].as_object_mut().expect("some").shift_remove("source");
    expected["metadata_checksum"] = back.metadata["metadata_checksum"].clone();
    assert_eq!(back.metadata, expected, "a store survives the way through the legacy dict");

    for store in [&merged.store, &pickle.output, &back.output] {
        let checkpoints = Some(workshop.checkpoints());
        let options = VerifyOptions { store: store.clone(), checkpoints, settings: Default::default() };
        let report = verify(&options, Observer::none()).expect("read");
        assert_eq!(report.problems, Vec::<String>::new(), "{}", store.display());
    }

    // The pickle that merge writes is the one that export writes.
    options.output = workshop.path("direct.pkl");
    merge(&options, Observer::none()).expect("merged");
    assert!(std::fs::read(&options.output).expect("there") == std::fs::read(&pickle.output).expect("there"));
}

#[test]
fn more_checkpoints_than_a_scanner_keeps_of_a_list() {
    let workshop = Workshop::new();
    workshop.split(1200, 2, 1200);
    let merged = merge(&options(&workshop), Observer::none()).expect("merged");
    let pickle = export(&ExportOptions::new(&merged.store, "pickle"), Observer::none()).expect("exported");
    let mut back = ExportOptions::new(&pickle.output, "npy");
    back.output = Some(workshop.path("back.npy"));
    let back = export(&back, Observer::none()).expect("exported back");
    assert_eq!(back.metadata, merged.metadata);
}
