//! What is interrupted goes on, and ends as if it had not been; what changed meanwhile is noticed.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use common::Workshop;
use embstore::{
    Cancel, CopyError, Error, JournalError, Kind, MergeOptions, Observer, Phase, Progress, VerifyOptions, info, merge,
    verify,
};

const COLS: u64 = 1024;
/// Three pieces of 960 rows and a rest, twice.
const ROWS: u64 = 2 * 3500;

fn options(workshop: &Workshop, output: &str) -> MergeOptions {
    let mut options = MergeOptions::new(workshop.checkpoints(), workshop.path(output));
    options.timestamp = Some(SystemTime::UNIX_EPOCH);
    options.build.settings.threads = 1;
    options
}

/// Does something once a number of rows have been copied.
struct After<F: Fn() + Sync> {
    rows: u64,
    seen: AtomicU64,
    act: F,
}

impl<F: Fn() + Sync> Progress for After<F> {
    fn begin(&self, _phase: Phase, _rows: u64, _row_bytes: u64) {}

    fn advance(&self, rows: u64) {
        let before = self.seen.fetch_add(rows, Ordering::SeqCst);
        if before < self.rows && before + rows >= self.rows {
            (self.act)();
        }
    }
}

fn interrupted(options: &MergeOptions, rows: u64) -> Error {
    let cancel = Cancel::new();
    let progress = After { rows, seen: AtomicU64::new(0), act: || cancel.cancel() };
    merge(options, Observer { progress: &progress, cancel: &cancel }).expect_err("interrupted")
}

#[test]
fn an_interrupted_merge_goes_on_and_ends_the_same() {
    let workshop = Workshop::new();
    workshop.split(ROWS, COLS, 2);
    merge(&options(&workshop, "whole.npy"), Observer::none()).expect("merged");
    let whole = std::fs::read(workshop.path("whole.npy")).expect("there");
    let whole_metadata = std::fs::read(workshop.path("whole.meta.json")).expect("there");
    for after in [1, 1920, 3500, 6000] {
        let options = options(&workshop, "cut.npy");
        let error = interrupted(&options, after);
        assert!(error.is_cancelled(), "{error}");
        assert!(!options.output.exists() && workshop.path("cut.npy.partial").is_dir());
        let report = merge(&options, Observer::none()).expect("goes on");
        assert!(report.rows_resumed >= after && report.rows_resumed < ROWS, "{} after {after}", report.rows_resumed);
        assert!(std::fs::read(&options.output).expect("there") == whole, "after {after}");
        assert!(std::fs::read(workshop.path("cut.meta.json")).expect("there") == whole_metadata, "after {after}");
        assert!(!workshop.path("cut.npy.partial").exists());
        std::fs::remove_file(workshop.path("cut.npy")).expect("removed");
        std::fs::remove_file(workshop.path("cut.meta.json")).expect("removed");
    }
}

#[test]
fn a_torn_journal_line_does_not_count() {
    let workshop = Workshop::new();
    workshop.split(ROWS, COLS, 2);
    let options = options(&workshop, "w.npy");
    interrupted(&options, 3000);
    let journal = workshop.path("w.npy.partial/journal");
    let text = std::fs::read(&journal).expect("there");
    std::fs::write(&journal, &text[..text.len() - 10]).expect("writable");
    let report = merge(&options, Observer::none()).expect("goes on");
    assert_eq!(report.rows_resumed, 3 * 960, "of four pieces the last is copied again");
}

#[test]
fn another_job_does_not_touch_what_has_landed() {
    let workshop = Workshop::new();
    workshop.split(ROWS, COLS, 2);
    let mut options = options(&workshop, "w.npy");
    interrupted(&options, 3000);
    options.rows = Some("100".parse().expect("a number"));
    let error = merge(&options, Observer::none()).expect_err("another job");
    assert!(matches!(error, Error::Journal(JournalError::OtherJob { .. })), "{error}");
    assert!(error.hint().contains("--restart"), "{}", error.hint());
    assert!(workshop.path("w.npy.partial/w.npy").exists());
    options.build.restart = true;
    let report = merge(&options, Observer::none()).expect("restarted");
    assert_eq!((report.shape.0, report.rows_resumed), (100, 0));
}

#[test]
fn pieces_of_a_source_that_changed_meanwhile_are_copied_again() {
    let workshop = Workshop::new();
    let mut whole = workshop.split(ROWS, COLS, 2);
    let options = options(&workshop, "w.npy");
    interrupted(&options, ROWS - 1);
    let first = workshop.checkpoints().join("cluster1_gpu0.pkl");
    overwrite(&first, 4096, &[9.0]);
    whole[0] = 9.0;
    let report = merge(&options, Observer::none()).expect("goes on");
    assert_eq!(report.rows_resumed, ROWS / 2, "only the unchanged source counts");
    assert!(common::rows_of(&report.store) == whole);
}

fn overwrite(path: &Path, offset: u64, values: &[f32]) {
    let file = File::options().write(true).open(path).expect("opened");
    file.write_all_at(bytemuck::cast_slice(values), offset).expect("written");
    file.set_modified(SystemTime::now() + Duration::from_secs(5)).expect("touched");
}

#[test]
fn a_source_that_changes_or_shrinks_during_the_copy_is_an_error() {
    for shrink in [false, true] {
        let workshop = Workshop::new();
        workshop.split(ROWS, COLS, 2);
        let last = workshop.checkpoints().join("cluster1_gpu1.pkl");
        let act = || {
            if shrink {
                File::options().write(true).open(&last).and_then(|file| file.set_len(5000)).expect("truncated");
            } else {
                overwrite(&last, 4096, &[9.0]);
            }
        };
        let progress = After { rows: 960, seen: AtomicU64::new(0), act };
        let cancel = Cancel::new();
        let options = options(&workshop, "w.npy");
        let error = merge(&options, Observer { progress: &progress, cancel: &cancel }).expect_err("noticed");
        assert!(matches!(&error, Error::Copy(CopyError::SourceChanged { path, .. }) if *path == last), "{error}");
        assert!(!options.output.exists());
    }
}

#[test]
fn a_damaged_partial_matrix_is_not_trusted() {
    let workshop = Workshop::new();
    let whole = workshop.split(ROWS, COLS, 2);
    let options = options(&workshop, "w.npy");
    interrupted(&options, 3000);
    std::fs::remove_file(workshop.path("w.npy.partial/w.npy")).expect("removed");
    let report = merge(&options, Observer::none()).expect("starts again");
    assert_eq!(report.rows_resumed, 0);
    assert!(common::rows_of(&report.store) == whole);
}

/// Puts a finished store back to the moment before its first rename.
fn unpublish(workshop: &Workshop, store: &str, files: &[&str]) {
    let partial = workshop.path(&format!("{store}.partial"));
    std::fs::create_dir(&partial).expect("created");
    for file in files {
        std::fs::rename(workshop.path(file), partial.join(file)).expect("renamed");
    }
    let list = serde_json::json!({"files": files, "metadata": null, "stale": []});
    std::fs::write(partial.join("publish"), list.to_string()).expect("written");
}

#[test]
fn whatever_looks_at_a_store_first_completes_its_publication() {
    let workshop = Workshop::new();
    workshop.split(ROWS, COLS, 2);
    let store = merge(&options(&workshop, "w.npy"), Observer::none()).expect("merged").store;
    unpublish(&workshop, "w.npy", &["w.npy", "w.meta.json"]);
    assert_eq!(info(&store, "embeddings").expect("completed").kind, Kind::Store);
    unpublish(&workshop, "w.npy", &["w.npy", "w.meta.json"]);
    let options = VerifyOptions { store, checkpoints: None, settings: Default::default() };
    assert_eq!(verify(&options, Observer::none()).expect("completed").problems, Vec::<String>::new());
    assert_eq!(workshop.names(), ["embeddings", "w.meta.json", "w.npy"]);
}
