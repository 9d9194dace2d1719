//! A merge of files that are still on their way makes what a merge of them makes once they are there.

mod common;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use common::Workshop;
use common::transit::Transit;
use embstore::checkpoint::Checkpoint;
use embstore::formats::format_for_extension;
use embstore::{
    Arrivals, Cancel, CopyError, Error, MergeOptions, MergeReport, Observer, Phase, Progress, merge, merge_arriving,
    plan_arriving,
};
use proptest::prelude::*;
use serde_json::json;

const COLS: u64 = 256;
const FILES: u64 = 6;
/// A piece has 3,840 rows: every file has one and a rest.
const ROWS: u64 = FILES * 4000;

fn options(workshop: &Workshop, output: &str) -> MergeOptions {
    let mut options = MergeOptions::new(workshop.checkpoints(), workshop.path(output));
    options.timestamp = Some(SystemTime::UNIX_EPOCH);
    options.build.settings.sync = false;
    options
}

/// The checkpoints with these numbers are taken away and on their way.
fn depart(workshop: &Workshop, files: impl IntoIterator<Item = u64>) -> Vec<Transit> {
    files.into_iter().map(|file| Transit::of(&checkpoint(workshop, file))).collect()
}

fn checkpoint(workshop: &Workshop, file: u64) -> PathBuf {
    workshop.checkpoints().join(format!("cluster1_gpu{file}.pkl"))
}

fn coming(transits: &[Transit]) -> Vec<Checkpoint> {
    transits.iter().map(Transit::coming).collect()
}

/// Hears when the copy begins, and how many rows are done.
#[derive(Default)]
struct Heard {
    begun: AtomicU64,
    rows: AtomicU64,
}

impl Progress for Heard {
    fn begin(&self, phase: Phase, _rows: u64, _row_bytes: u64) {
        self.begun.fetch_add(u64::from(phase == Phase::Copy), Ordering::SeqCst);
    }

    fn advance(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::SeqCst);
    }
}

/// Merges, and does `meanwhile` once the copy has begun.
fn merge_while(
    options: &MergeOptions,
    coming: &[Checkpoint],
    cancel: &Cancel,
    meanwhile: impl FnOnce(&Arrivals, &Heard) + Send,
) -> Result<MergeReport, Error> {
    let (arrivals, heard) = (Arrivals::new(), Heard::default());
    std::thread::scope(|scope| {
        let merging = scope.spawn(|| merge_arriving(options, coming, &arrivals, Observer { progress: &heard, cancel }));
        until(|| heard.begun.load(Ordering::SeqCst) > 0 || merging.is_finished());
        meanwhile(&arrivals, &heard);
        merging.join().expect("no panic")
    })
}

fn until(done: impl Fn() -> bool) {
    while !done() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Every file of a store, by its path, with its bytes.
fn snapshot(workshop: &Workshop) -> Vec<(PathBuf, Vec<u8>)> {
    fn gather(path: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).expect("listable");
            entries.for_each(|entry| gather(&entry.expect("readable").path(), found));
        } else {
            found.push((path.to_path_buf(), std::fs::read(path).expect("readable")));
        }
    }
    let mut found = Vec::new();
    for name in workshop.names().into_iter().filter(|name| name != "embeddings") {
        gather(&workshop.path(&name), &mut found);
    }
    found.sort();
    found
}

/// The store that is there must be the one that a plain merge makes now.
fn assert_as_merged(workshop: &Workshop, options: &MergeOptions) {
    let arrived = snapshot(workshop);
    let mut options = options.clone();
    options.build.force = true;
    options.update = false;
    merge(&options, Observer::none()).expect("merged");
    let merged = snapshot(workshop);
    let names = |files: &[(PathBuf, Vec<u8>)]| files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    assert_eq!(names(&arrived), names(&merged));
    for ((path, arrived), (_, merged)) in arrived.iter().zip(&merged) {
        assert!(arrived == merged, "{} differs", path.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn files_land_in_any_order_in_stores_of_any_kind(
        order in Just((0..FILES).collect::<Vec<_>>()).prop_shuffle(),
        there in 0..FILES as usize,
        threads in prop_oneof![Just(1usize), Just(8)],
    ) {
        for (output, compression) in
            [("w.npy", None), ("w.pkl", None), ("raw.zarr", None), ("w.zarr", Some("zstd")), ("w.h5", Some("deflate"))]
        {
            if format_for_extension(Path::new(output)).is_none() {
                continue;
            }
            let workshop = Workshop::new();
            workshop.split(1200, COLS, FILES);
            let mut options = options(&workshop, output);
            options.build.settings.threads = threads;
            options.build.layout.compression = compression.map(|text| text.parse().expect("known"));
            // Chunks that begin in one file and end in another.
            options.build.layout.chunk_rows = compression.map(|_| 70);
            let transits = depart(&workshop, order[there..].iter().copied());
            let report = merge_while(&options, &coming(&transits), &Cancel::new(), |arrivals, _| {
                transits.iter().for_each(|transit| transit.land(arrivals));
            });
            prop_assert_eq!(report.expect("merged").shape, (1200, COLS));
            assert_as_merged(&workshop, &options);
        }
    }
}

#[test]
fn what_has_landed_is_merged_while_the_rest_is_on_its_way() {
    for threads in [1, 8] {
        let workshop = Workshop::new();
        workshop.split(ROWS, COLS, FILES);
        let mut options = options(&workshop, "w.npy");
        options.build.settings.threads = threads;
        let transits = depart(&workshop, 0..FILES);
        let report = merge_while(&options, &coming(&transits), &Cancel::new(), |arrivals, heard| {
            for (landed, transit) in transits.iter().rev().enumerate() {
                until(|| heard.rows.load(Ordering::SeqCst) == landed as u64 * 4000);
                transit.land(arrivals);
            }
        });
        assert_eq!(report.expect("merged").shape, (ROWS, COLS));
        assert_as_merged(&workshop, &options);
    }
}

#[test]
fn a_file_that_fails_ends_the_merge_and_what_has_landed_is_kept() {
    let outputs = ["w.npy", "w.zarr", "w.h5"].into_iter();
    for output in outputs.filter(|output| format_for_extension(Path::new(output)).is_some()) {
        let workshop = Workshop::new();
        workshop.split(FILES * 500, COLS, FILES);
        let mut options = options(&workshop, output);
        options.build.settings.threads = 2;
        if output != "w.npy" {
            options.build.layout.compression = Some("deflate".parse().expect("known"));
            options.build.layout.chunk_rows = Some(100);
        }
        let transits = depart(&workshop, [1, 4]);
        let error = merge_while(&options, &coming(&transits), &Cancel::new(), |arrivals, heard| {
            // The first file at least, also where rows are stored in their order. Each thread may hold one more chunk.
            until(|| heard.rows.load(Ordering::SeqCst) >= 500);
            arrivals.fail(transits[1].path());
        });
        let error = error.expect_err("one is missing");
        assert!(matches!(&error, Error::Copy(CopyError::NotArrived { path }) if path == transits[1].path()), "{error}");
        assert!(error.to_string().ends_with("cluster1_gpu4.pkl: did not arrive"), "{error}");
        assert!(error.hint().contains("same command"), "{}", error.hint());
        assert!(!options.output.exists());
        transits.iter().for_each(|transit| transit.land(&Arrivals::new()));
        let report = merge(&options, Observer::none()).expect("goes on");
        assert!(report.rows_resumed >= 300, "{output}: {} rows were kept", report.rows_resumed);
        assert_as_merged(&workshop, &options);
    }
}

#[test]
fn an_arriving_merge_that_waits_can_be_stopped_and_goes_on() {
    for threads in [1, 8] {
        let workshop = Workshop::new();
        workshop.split(ROWS, COLS, FILES);
        let mut options = options(&workshop, "w.npy");
        options.build.settings.threads = threads;
        let (transits, cancel) = (depart(&workshop, [5]), Cancel::new());
        let stopped = merge_while(&options, &coming(&transits), &cancel, |_, heard| {
            until(|| heard.rows.load(Ordering::SeqCst) == 5 * 4000);
            cancel.cancel();
        });
        assert!(stopped.expect_err("stopped while it waited").is_cancelled());
        let landing = |arrivals: &Arrivals, _: &Heard| transits[0].land(arrivals);
        let report = merge_while(&options, &coming(&transits), &Cancel::new(), landing);
        assert_eq!(report.expect("goes on").rows_resumed, 5 * 4000);
        assert_as_merged(&workshop, &options);
    }
}

/// Stops the work at the first rows that are done.
struct Stop<'a>(&'a Cancel);

impl Progress for Stop<'_> {
    fn begin(&self, _phase: Phase, _rows: u64, _row_bytes: u64) {}

    fn advance(&self, rows: u64) {
        if rows > 0 {
            self.0.cancel();
        }
    }
}

#[test]
fn an_arriving_merge_goes_on_where_a_plain_one_was_stopped() {
    let workshop = Workshop::new();
    workshop.split(ROWS, COLS, FILES);
    let mut options = options(&workshop, "w.npy");
    options.build.settings.threads = 1;
    let cancel = Cancel::new();
    let stopped = merge(&options, Observer { progress: &Stop(&cancel), cancel: &cancel });
    assert!(stopped.expect_err("stopped").is_cancelled());
    let transits = depart(&workshop, [1, 2]);
    let report = merge_while(&options, &coming(&transits), &Cancel::new(), |arrivals, _| {
        transits.iter().rev().for_each(|transit| transit.land(arrivals));
    });
    assert_eq!(report.expect("goes on").rows_resumed, 3840, "the one piece that the plain merge has copied");
    assert_as_merged(&workshop, &options);
}

#[test]
fn a_file_that_lands_as_another_one_is_refused() {
    type Change = fn(&Transit) -> (Vec<u8>, i64);
    let changes: [Change; 3] = [
        |transit| (transit.content().to_vec(), 1_700_000_001),
        |transit| (transit.content()[1..].to_vec(), 1_700_000_000),
        // The sender has written it again within the second, with the same size: the type of its rows is another one.
        |transit| {
            let mut content = transit.content().to_vec();
            let at = content.windows(2).position(|bytes| bytes == b"f4").expect("a dtype");
            content[at + 1] = b'2';
            (content, 1_700_000_000)
        },
    ];
    for change in changes {
        let workshop = Workshop::new();
        workshop.split(ROWS, COLS, 2);
        let options = options(&workshop, "w.npy");
        let transits = depart(&workshop, [1]);
        let (content, modified) = change(&transits[0]);
        let error = merge_while(&options, &coming(&transits), &Cancel::new(), |arrivals, _| {
            transits[0].land_as(&content, modified, arrivals);
        });
        let error = error.expect_err("another file");
        assert!(
            matches!(&error, Error::Copy(CopyError::SourceChanged { path, rows }) if path == transits[0].path()
            && *rows == (ROWS / 2, ROWS)),
            "{error}"
        );
        assert!(!options.output.exists());
    }
}

#[test]
fn what_is_left_out_is_not_waited_for() {
    let workshop = Workshop::new();
    workshop.split(ROWS, COLS, FILES);
    let mut options = options(&workshop, "w.npy");
    options.rows = Some("8000".parse().expect("rows"));
    let transits = depart(&workshop, [1, 5]);
    let report = merge_while(&options, &coming(&transits), &Cancel::new(), |arrivals, _| transits[0].land(arrivals));
    assert_eq!(report.expect("merged").rows_left_out, ROWS - 8000);
    transits[1].land(&Arrivals::new());
    assert_as_merged(&workshop, &options);
}

#[test]
fn an_update_waits_for_what_is_new() {
    let workshop = Workshop::new();
    workshop.split(ROWS, COLS, FILES);
    let mut options = options(&workshop, "w.npy");
    // Two that the store is going to hold as they will land again, and one that is going to change.
    let first = depart(&workshop, [1, 2, 3]);
    first.iter().for_each(|transit| transit.land(&Arrivals::new()));
    merge(&options, Observer::none()).expect("merged");
    workshop.checkpoint(
        "cluster1_gpu3.pkl",
        &common::values(4000, COLS),
        COLS,
        json!({"start_index": 12_000, "end_index": 16_000, "model": "newer"}),
    );
    let transits = depart(&workshop, [1, 3]);
    options.update = true;
    let report = merge_while(&options, &coming(&transits), &Cancel::new(), |arrivals, heard| {
        until(|| heard.rows.load(Ordering::SeqCst) == ROWS - 4000);
        transits.iter().rev().for_each(|transit| transit.land(arrivals));
    });
    let changes = report.expect("updated").changes.expect("an update");
    assert_eq!((changes.unchanged.len(), changes.changed), (5, vec!["cluster1_gpu3.pkl".to_string()]));
    assert_as_merged(&workshop, &options);
}

#[test]
fn files_that_are_coming_count_as_those_that_are_there() {
    let workshop = Workshop::new();
    workshop.split(40, 16, 4);
    let mut options = options(&workshop, "w.npy");
    let files = |options: &MergeOptions, coming: &[Checkpoint]| {
        let plan = plan_arriving(options, coming, Observer::none()).map_err(|error| error.to_string())?;
        Ok::<_, String>(plan.parts().iter().map(|part| part.checkpoint.name()).collect::<Vec<_>>().join(" "))
    };
    let transits = depart(&workshop, 0..4);
    let coming = coming(&transits);
    let all = "cluster1_gpu0.pkl cluster1_gpu1.pkl cluster1_gpu2.pkl cluster1_gpu3.pkl";
    assert_eq!(files(&options, &coming).as_deref(), Ok(all), "in a folder that is empty but for them");
    assert!(files(&options, &coming[..3]).is_ok(), "each by itself");
    assert!(files(&options, &coming[1..]).expect_err("a gap").contains("the first checkpoint is missing"));
    std::fs::write(checkpoint(&workshop, 2), "an older one").expect("written");
    assert_eq!(files(&options, &coming).as_deref(), Ok(all), "in place of one that is there");
    options.pattern = Some("*gpu[01].pkl".into());
    assert_eq!(files(&options, &coming).as_deref(), Ok("cluster1_gpu0.pkl cluster1_gpu1.pkl"));
    options.inputs = vec![transits[0].path().into(), transits[1].path().into()];
    assert_eq!(files(&options, &coming).as_deref(), Ok("cluster1_gpu0.pkl cluster1_gpu1.pkl"), "named one by one");
    options.inputs = vec![transits[0].path().into(), workshop.checkpoints()];
    assert!(files(&options, &coming).expect_err("twice").contains("given twice"));
    options.inputs = vec![workshop.checkpoints()];
    options.output = transits[0].path().into();
    options.format = Some("pickle".into());
    let refused = merge_arriving(&options, &coming, &Arrivals::new(), Observer::none()).expect_err("an input");
    assert!(matches!(refused, Error::TargetIsSource { .. }), "{refused}");
}

#[test]
fn ranges_beside_the_files_go_for_those_that_are_coming() {
    let workshop = Workshop::new();
    std::fs::create_dir(workshop.checkpoints()).expect("created");
    let whole = common::values(2000, 16);
    for (name, rows) in [("b.npy", 0..1000), ("a.npy", 1000..2000)] {
        workshop.checkpoint(
            "one.pkl",
            &whole[rows.start * 16..rows.end * 16],
            16,
            json!({"start_index": 0, "end_index": 1000}),
        );
        let store = merge(&MergeOptions::new(workshop.checkpoints(), workshop.path(name)), Observer::none());
        let store = store.expect("merged").store;
        std::fs::remove_file(store.with_extension("meta.json")).expect("removed");
        std::fs::remove_file(workshop.checkpoints().join("one.pkl")).expect("removed");
    }
    for name in ["a.npy", "b.npy"] {
        std::fs::rename(workshop.path(name), workshop.checkpoints().join(name)).expect("renamed");
    }
    let ranges = workshop.path("ranges.jsonl");
    let lines = "{\"file\": \"b.npy\", \"start_index\": 0}\n{\"file\": \"a.npy\", \"start_index\": 1000}\n";
    std::fs::write(&ranges, lines).expect("written");
    let mut options = options(&workshop, "w.npy");
    options.ranges = Some(ranges);
    let transits = [Transit::of(&workshop.checkpoints().join("b.npy"))];
    let report = merge_while(&options, &coming(&transits), &Cancel::new(), |arrivals, _| transits[0].land(arrivals));
    assert!(common::rows_of(&report.expect("merged").store) == whole);
    assert_as_merged(&workshop, &options);
}
