//! A file from end to end with an engine that counts, fails or stops on demand.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow_array::{Array, Float32Array, Int64Array, RecordBatch, StringArray};
use embstore_encoder::{Engine, EngineError, Identity, Model, Tokens};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rustix::fs::{FlockOperation, flock};

use super::job::Audience;
use super::{FileError, FileJob, Outcome, Stop, is_whole};
use crate::embed::embedder::{Batching, Embedder};
use crate::embed::job::Job;
use crate::progress::Cancel;

const TOKENIZER: &str = r#"{"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"},
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "one": 1, "two": 2}, "unk_token": "[UNK]"}}"#;

/// The vector of a text is the number of its tokens and their sum.
struct Counting {
    identity: Identity,
    /// Texts that were encoded.
    texts: AtomicU64,
    trouble: Trouble,
}

enum Trouble {
    None,
    /// Fails once so many texts were encoded.
    Fails(u64),
    /// Makes NaN of texts of so many tokens.
    NotANumber(usize),
    /// Sets a flag once so many texts were encoded.
    Sets(u64, &'static AtomicBool),
}

impl Engine for Counting {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn dim(&self) -> usize {
        2
    }

    fn lanes(&self) -> usize {
        3
    }

    fn encode(&self, batch: &[&Tokens], out: &mut [f32]) -> Result<(), EngineError> {
        let done = self.texts.fetch_add(batch.len() as u64, Ordering::Relaxed);
        match self.trouble {
            Trouble::Fails(after) if done >= after => {
                return Err(EngineError::Encode {
                    engine: "counting",
                    device: "cpu",
                    what: "the device is gone".into(),
                });
            }
            Trouble::Sets(after, flag) if done >= after => flag.store(true, Ordering::Relaxed),
            _ => {}
        }
        for (tokens, vector) in batch.iter().zip(out.chunks_exact_mut(2)) {
            vector[0] = tokens.ids.len() as f32;
            vector[1] = tokens.ids.iter().sum::<u32>() as f32;
            if matches!(self.trouble, Trouble::NotANumber(length) if length == tokens.ids.len()) {
                vector[1] = f32::NAN;
            }
        }
        Ok(())
    }
}

struct Nobody;

impl Audience for Nobody {
    fn begin(&self, _rows: u64) {}
    fn advance(&self, _rows: u64) {}
    fn note(&self, _text: &str) {}
}

struct Bench {
    folder: tempfile::TempDir,
    embedder: Embedder,
}

impl Bench {
    /// A file of `rows` texts of 0 to 6 words.
    fn new(rows: usize, trouble: Trouble) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let model = folder.path().join("model");
        fs::create_dir(&model).expect("made");
        fs::write(model.join("tokenizer.json"), TOKENIZER).expect("written");
        fs::write(model.join("model.onnx"), "not looked into").expect("written");
        let identity = Identity { name: "counting", version: "1".into(), device: "cpu", detail: String::new() };
        let embedder = Embedder {
            model: Model::open(&model, None).expect("a model"),
            engine: Box::new(Counting { identity, texts: AtomicU64::new(0), trouble }),
            batching: Batching { tokens: 64, texts: None },
            text_column: None,
        };
        let texts: StringArray = (0..rows).map(|row| Some(vec!["one two"; row % 7 / 2].join(" ") + " two")).collect();
        let ids: Int64Array = (0..rows as i64).map(Some).collect();
        let batch =
            RecordBatch::try_from_iter([("id", Arc::new(ids) as _), ("text", Arc::new(texts) as _)]).expect("rows");
        let file = fs::File::create(folder.path().join("in.parquet")).expect("created");
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
        Bench { folder, embedder }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("out/deep/out.parquet")
    }

    fn input_bytes(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("in.parquet")).expect("there")
    }

    fn run(&self, stop: Stop<'_>) -> Result<Outcome, FileError> {
        let input = self.folder.path().join("in.parquet");
        let job = FileJob { input: &input, output: &self.output(), force: false, worker: "me" };
        job.run(&self.embedder, stop, &Nobody)
    }

    fn run_undisturbed(&self) -> Result<Outcome, FileError> {
        self.run(Stop { cancel: &Cancel::new(), lost: &AtomicBool::new(false) })
    }

    /// Names in the folder of the output.
    fn written(&self) -> Vec<String> {
        let output = self.output();
        let entries = fs::read_dir(output.parent().expect("has one")).expect("a folder");
        entries.map(|entry| entry.expect("listed").file_name().into_string().expect("UTF-8")).collect()
    }
}

fn rows_of(path: &Path) -> Vec<(i64, f32, f32)> {
    let file = fs::File::open(path).expect("there");
    let batches = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("readable");
    let mut rows = Vec::new();
    for batch in batches {
        let batch = batch.expect("decoded");
        let ids = batch["id"].as_any().downcast_ref::<Int64Array>().expect("integers").clone();
        let floats = |name: &str| batch[name].as_any().downcast_ref::<Float32Array>().expect("floats").clone();
        let (first, second) = (floats("emb_000"), floats("emb_001"));
        rows.extend((0..batch.num_rows()).map(|row| (ids.value(row), first.value(row), second.value(row))));
    }
    rows
}

#[test]
fn every_row_gets_its_own_vector_over_many_windows_and_lanes() {
    let bench = Bench::new(20_000, Trouble::None);
    let Outcome::Embedded(report) = bench.run_undisturbed().expect("embedded") else { panic!("skipped") };
    assert_eq!((report.rows, report.empty, report.truncated), (20_000, 0, 0));
    let rows = rows_of(&bench.output());
    assert_eq!(rows.len(), 20_000);
    for (row, (id, tokens, sum)) in rows.into_iter().enumerate() {
        let pairs = (row % 7 / 2) as f32;
        assert_eq!((id, tokens, sum), (row as i64, 2.0 * pairs + 1.0, 3.0 * pairs + 2.0), "row {row}");
    }
    assert!(matches!(bench.run_undisturbed(), Ok(Outcome::Skipped)));
}

#[test]
fn what_is_not_whole_is_never_taken_for_valid_and_the_other_way_round() {
    let bench = Bench::new(50, Trouble::None);
    let (input, output) = (bench.folder.path().join("in.parquet"), bench.output());
    let job = Job::new(&input, &output).expect("UTF-8");
    bench.run_undisturbed().expect("embedded");
    let bytes = fs::read(&output).expect("there");
    assert!(is_whole(&job) && matches!(bench.run_undisturbed(), Ok(Outcome::Skipped)));

    let damages: [(&str, &dyn Fn()); 4] = [
        ("cut off", &|| fs::write(&output, &bytes[..bytes.len() - 1]).expect("written")),
        ("half", &|| fs::write(&output, &bytes[..bytes.len() / 2]).expect("written")),
        ("other", &|| fs::write(&output, "no Parquet at all").expect("written")),
        ("another input", &|| fs::write(&input, Bench::new(60, Trouble::None).input_bytes()).expect("written")),
    ];
    for (name, damage) in damages {
        damage();
        assert!(!is_whole(&job), "{name}");
        assert!(matches!(bench.run_undisturbed(), Ok(Outcome::Embedded(_))), "{name}");
        assert!(is_whole(&job), "{name}");
    }

    // Of another program: its rows are compared with the input's, and an input that cannot be read changes nothing.
    for (rows, whole) in [(60, true), (61, false)] {
        fs::write(&output, Bench::new(rows, Trouble::None).input_bytes()).expect("written");
        assert_eq!(is_whole(&job), whole, "{rows} rows");
    }
    fs::write(&input, "no Parquet at all").expect("written");
    assert!(is_whole(&job));
}

#[test]
fn an_engine_that_fails_leaves_nothing() {
    for after in [0, 5_000, 15_000] {
        let bench = Bench::new(20_000, Trouble::Fails(after));
        let error = bench.run_undisturbed().err().expect("fails");
        assert!(matches!(&error, FileError::Engine { .. }), "{error}");
        assert_eq!(bench.written(), [""; 0], "after {after}");
    }
}

#[test]
fn a_vector_that_is_no_number_is_told_with_its_row() {
    let bench = Bench::new(20, Trouble::NotANumber(7));
    let error = bench.run_undisturbed().err().expect("fails");
    assert!(matches!(error, FileError::NonFinite { row: 6 | 13, .. }), "{error}");
}

#[test]
fn a_lost_lease_and_a_stop_end_the_work_and_leave_nothing() {
    static LOST: AtomicBool = AtomicBool::new(false);
    let bench = Bench::new(20_000, Trouble::Sets(5_000, &LOST));
    let error = bench.run(Stop { cancel: &Cancel::new(), lost: &LOST }).err().expect("stops");
    assert!(matches!(error, FileError::LeaseLost { .. }), "{error}");
    assert_eq!(bench.written(), [""; 0]);

    let stopped = Cancel::new();
    stopped.cancel();
    let error = bench.run(Stop { cancel: &stopped, lost: &AtomicBool::new(false) }).err().expect("stops");
    assert!(matches!(error, FileError::Cancelled), "{error}");
    assert_eq!(bench.written(), [""; 0]);
}

#[test]
fn what_dead_workers_left_is_removed_and_what_living_ones_write_is_not() {
    let bench = Bench::new(10, Trouble::None);
    let folder = bench.output().parent().expect("has one").to_path_buf();
    fs::create_dir_all(&folder).expect("made");
    fs::write(folder.join("out.parquet.tmp.dead"), "half").expect("written");
    let living = fs::File::create(folder.join("out.parquet.tmp.living")).expect("created");
    flock(&living, FlockOperation::LockExclusive).expect("locked");
    bench.run_undisturbed().expect("embedded");
    let mut written = bench.written();
    written.sort();
    assert_eq!(written, ["out.parquet", "out.parquet.tmp.living"]);
}
