//! What is planned from the first and last bytes of a file is what the complete file says, or nothing.

mod common;

use std::path::{Path, PathBuf};

use common::transit::preview;
use common::{Workshop, values};
use embstore::checkpoint::Checkpoint;
use embstore::formats::{LocateOptions, format_named};
use embstore::{ExportOptions, Identity, MergeOptions, Observer, export, merge};
use serde_json::json;

/// Bytes of head and tail.
const SIZES: [(usize, usize); 8] =
    [(0, 0), (100, 100), (512, 0), (512, 64), (600, 300), (1024, 1024), (4096, 512), (65536, 65536)];

fn files_under(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("listable") {
        let path = entry.expect("readable").path();
        if path.is_dir() { files_under(&path, found) } else { found.push(path) }
    }
}

/// How many previews of a file tell what it is; those that do must tell the truth.
fn told(path: &Path) -> usize {
    let content = std::fs::read(path).expect("readable");
    let (identity, options) = (Identity::at(path).expect("there"), LocateOptions::default());
    let mut told = 0;
    for (head, tail) in SIZES {
        let (file, absent) = preview(&content, head, tail);
        // The place where it will land is not looked at.
        let elsewhere = Path::new("/not/there").join(path.file_name().expect("a name"));
        let unseen = Checkpoint::preview(&file, absent.clone(), &elsewhere, identity, &options);
        let found = Checkpoint::preview(&file, absent, path, identity, &options);
        assert_eq!(unseen.is_some(), found.is_some(), "{}", path.display());
        if let Some(found) = found {
            let whole = Checkpoint::open(path, &options).expect("what was told");
            assert_eq!(format!("{found:?}"), format!("{whole:?}"), "from {head} and {tail} bytes");
            told += 1;
        }
    }
    told
}

#[test]
fn every_fixture_is_told_as_it_is_or_not_at_all() {
    let mut files = Vec::new();
    files_under(&Path::new(env!("CARGO_MANIFEST_DIR")).join("formats/tests/data"), &mut files);
    let told: usize = files.iter().map(|path| told(path)).sum();
    // Those that are smaller than head and tail are told as well.
    assert!(files.len() > 1600 && told > 1000, "{told} previews of {} files", files.len());
}

#[test]
fn raw_formats_are_told_and_others_are_not() {
    let workshop = Workshop::new();
    let fields = json!({"start_index": 0, "end_index": 1000, "model": "m"});
    let pickle = workshop.checkpoint("cluster1_gpu0.pkl", &values(1000, 16), 16, fields);
    let store = merge(&MergeOptions::new(workshop.checkpoints(), workshop.path("w.npy")), Observer::none());
    let store = store.expect("merged").store;
    let exported = |format: &str| {
        let mut options = ExportOptions::new(&store, format);
        options.output = Some(workshop.path(&format!("bare.{format}")));
        export(&options, Observer::none()).expect("exported").output
    };
    // A header of 4 KiB, and 64 KB of rows.
    assert_eq!(told(&pickle), 2);
    assert_eq!(told(&store), 2);
    // A header of 16 KiB, which only the largest head holds.
    assert_eq!(told(&exported("safetensors")), 1);
    let encoded = ["parquet", "arrow", "hdf5"].into_iter().filter(|format| format_named(format).is_some());
    for format in encoded {
        assert_eq!(told(&exported(format)), 0, "{format} cannot be located in an open file");
    }
}

#[test]
fn a_preview_that_lacks_a_byte_beside_the_payload_tells_nothing() {
    let workshop = Workshop::new();
    let fields = json!({"start_index": 0, "end_index": 1000});
    let path = workshop.checkpoint("cluster1_gpu0.pkl", &values(1000, 16), 16, fields);
    let content = std::fs::read(&path).expect("readable");
    let identity = Identity::at(&path).expect("there");
    let (file, _) = preview(&content, 4096, 4096);
    let payload = {
        let whole = Checkpoint::open(&path, &LocateOptions::default()).expect("valid");
        let embstore::formats::Payload::Raw(regions) = whole.payload else { panic!("raw") };
        regions.parts()[0].offset..regions.parts()[0].offset + 64_000
    };
    let told = |absent| Checkpoint::preview(&file, absent, &path, identity, &LocateOptions::default()).is_some();
    assert!(told(payload.clone()));
    assert!(!told(payload.start - 1..payload.end));
    assert!(!told(payload.start..payload.end + 1));
}
