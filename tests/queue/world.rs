//! Folders with texts, and queues over them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use embstore::Cancel;
use embstore::embed::queue::{self, Claim, Done, QueueAddress, QueueError, QueueOptions, Roots};
use embstore::embed::{Job, Queue, scan};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tempfile::TempDir;

pub(crate) static NEVER: Cancel = Cancel::new();
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Texts, and the address of a queue over them.
pub(crate) struct World {
    pub(crate) roots: Roots,
    pub(crate) address: QueueAddress,
    pub(crate) lease: Duration,
    pub(crate) tries: u32,
    pub(crate) patience: Duration,
    _folder: TempDir,
}

impl World {
    pub(crate) fn new(address: &str, texts: usize) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let roots = Roots { chains: folder.path().join("chains"), embeddings: folder.path().join("embeddings") };
        for index in 0..texts {
            let text = roots.chains.join(format!("{:02}/chains_chunk_{index}.parquet", index % 10));
            fs::create_dir_all(text.parent().expect("has one")).expect("created");
            fs::write(text, "").expect("written");
        }
        let address = address.parse().expect("an address");
        World { roots, address, lease: LONG, tries: 3, patience: LONG, _folder: folder }
    }

    pub(crate) fn options(&self, worker: &str) -> QueueOptions {
        QueueOptions {
            lease: self.lease,
            tries: self.tries,
            worker: worker.into(),
            patience: self.patience,
            ..QueueOptions::new(self.roots.clone())
        }
    }

    pub(crate) fn open(&self, worker: &str) -> Box<dyn Queue> {
        self.try_open(worker).expect("opens")
    }

    pub(crate) fn try_open(&self, worker: &str) -> Result<Box<dyn Queue>, QueueError> {
        queue::open(&self.address, &self.options(worker), &NEVER)
    }

    /// What is to be done.
    pub(crate) fn jobs(&self) -> Vec<Job> {
        let folders = scan(&self.roots, &NEVER).expect("scanned");
        folders.iter().flat_map(|folder| folder.jobs(&self.roots)).collect::<Result<_, _>>().expect("UTF-8")
    }
}

/// A job comes within seconds: a folder is not looked through all the time, and leases run out when they do.
pub(crate) fn claim(queue: &dyn Queue) -> Claim {
    let began = Instant::now();
    loop {
        if let Some(claim) = queue.claim().expect("serves") {
            return claim;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "no job comes");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Does a job as a worker would.
pub(crate) fn complete(queue: &dyn Queue, claim: &Claim) -> bool {
    write_output(&claim.job);
    queue.finish(claim, &Done { rows: 10, texts: 9, seconds: 0.5 }).expect("serves")
}

pub(crate) fn write_output(job: &Job) {
    let output = Path::new(&job.output);
    fs::create_dir_all(output.parent().expect("has one")).expect("created");
    fs::write(output, parquet()).expect("written");
}

/// A Parquet file without rows.
fn parquet() -> Vec<u8> {
    let schema = parse_message_type("message output { required float emb_000; }").expect("a schema");
    let mut bytes = Vec::new();
    let writer = SerializedFileWriter::new(&mut bytes, schema.into(), Arc::default()).expect("begun");
    writer.close().expect("written");
    bytes
}

/// Renews a lease from another thread until it is told to stop.
pub(crate) fn beat(queue: &dyn Queue, claim: &Claim, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        assert!(queue.heartbeat(claim).expect("serves"));
        std::thread::sleep(Duration::from_millis(50));
    }
}
