//! Ways of filling a store, against a plain copy of the same files, in bytes per second.
//!
//! * `positioned`: positioned reads into a block, measured there, positioned writes (what the library does)
//! * `into map`: positioned reads straight into the mapped store, measured there
//! * `from map`: the mapped source is measured, then written by position
//!
//! Each with two threads, to the page cache and through to the disk, the latter also with early write-back.
//!
//! `cargo bench --bench filling`; `FILLING_MIB=768` for the full size, `TMPDIR` for the disk.
#![allow(unsafe_code, missing_docs, clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use embstore::formats::Hasher;
use embstore::quality::Meter;
use memmap2::{Mmap, MmapMut, MmapOptions};

const COLS: usize = 768;
const FILES: usize = 16;
const THREADS: usize = 2;
const BLOCK: usize = 256 * COLS * 4;
/// Where the rows of a source begin: unaligned, as in a pickle.
const SOURCE_OFFSET: u64 = 165;
const STORE_OFFSET: u64 = 4096;

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Plain,
    Positioned,
    IntoMap,
    FromMap,
}

struct Bench {
    folder: tempfile::TempDir,
    sources: Vec<PathBuf>,
    bytes_each: usize,
}

impl Bench {
    fn new(mib: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bytes_each = (mib << 20) / FILES / BLOCK * BLOCK;
        let values: Vec<f32> = (0..bytes_each / 4).map(|i| (i as f32).sin()).collect();
        let sources = (0..FILES)
            .map(|index| {
                let path = folder.path().join(format!("{index}.pkl"));
                let file = File::create(&path).unwrap();
                file.write_all_at(bytemuck::cast_slice(&values), SOURCE_OFFSET).unwrap();
                path
            })
            .collect();
        Bench { folder, sources, bytes_each }
    }

    fn bytes(&self) -> usize {
        self.bytes_each * FILES
    }

    /// Fills a new store and says how long it took.
    fn run(&self, way: Way, sync: bool, early: bool) -> Duration {
        let path = self.folder.path().join("store");
        let _ = fs::remove_file(&path);
        let start = Instant::now();
        let store = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let mut map = None;
        if way != Way::Plain {
            let len = STORE_OFFSET + self.bytes() as u64;
            rustix::fs::fallocate(&store, rustix::fs::FallocateFlags::empty(), 0, len).unwrap();
        }
        if way == Way::IntoMap {
            // SAFETY: the file was made here, is fully allocated and nobody else opens it.
            let options = MmapOptions::new().offset(STORE_OFFSET).clone();
            map = Some(unsafe { options.map_mut(&store).unwrap() });
        }
        self.fill(way, &store, map.as_mut(), sync && early);
        if sync {
            store.sync_all().unwrap();
        }
        start.elapsed()
    }

    fn fill(&self, way: Way, store: &File, map: Option<&mut MmapMut>, early: bool) {
        let next = AtomicUsize::new(0);
        let mut parts: Vec<Option<&mut [u8]>> = (0..FILES).map(|_| None).collect();
        if let Some(map) = map {
            parts = map.chunks_mut(self.bytes_each).map(Some).collect();
        }
        let parts: Vec<_> = parts.into_iter().map(std::sync::Mutex::new).collect();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(source) = self.sources.get(index) else { break };
                        let at = STORE_OFFSET + (index * self.bytes_each) as u64;
                        let mut part = parts[index].lock().unwrap();
                        self.fill_one(way, source, store, at, part.as_deref_mut(), early);
                    }
                });
            }
        });
    }

    fn fill_one(&self, way: Way, source: &Path, store: &File, at: u64, part: Option<&mut [u8]>, early: bool) {
        let source = File::open(source).unwrap();
        let mut meter = Meter::new(0, COLS);
        let mut hasher = Hasher::default();
        let mut measure = |bytes: &[u8], aligned: &mut Vec<f32>| {
            if way == Way::FromMap {
                // A mapped pickle is unaligned: its floats are copied before they are measured.
                aligned.resize(bytes.len() / 4, 0.0);
                bytemuck::cast_slice_mut::<f32, u8>(aligned).copy_from_slice(bytes);
                meter.measure(aligned);
            } else {
                meter.measure(bytemuck::cast_slice(bytes));
            }
            hasher.update(bytes);
        };
        let mut aligned = Vec::new();
        let write_back = |offset: u64| {
            if early {
                // SAFETY: takes no pointer; the descriptor is open.
                unsafe { libc::sync_file_range(store.as_raw_fd(), offset as i64, BLOCK as i64, 2) };
            }
        };
        match (way, part) {
            (Way::IntoMap, Some(part)) => {
                for (index, block) in part.chunks_mut(BLOCK).enumerate() {
                    source.read_exact_at(block, SOURCE_OFFSET + (index * BLOCK) as u64).unwrap();
                    measure(block, &mut aligned);
                    write_back(at + (index * BLOCK) as u64);
                }
            }
            (Way::FromMap, _) => {
                // SAFETY: the file was made here and nobody truncates it.
                let map = unsafe { Mmap::map(&source).unwrap() };
                for (index, block) in map[SOURCE_OFFSET as usize..].chunks(BLOCK).enumerate() {
                    measure(block, &mut aligned);
                    store.write_all_at(block, at + (index * BLOCK) as u64).unwrap();
                    write_back(at + (index * BLOCK) as u64);
                }
            }
            _ => {
                let mut values = vec![0f32; BLOCK / 4];
                let block: &mut [u8] = bytemuck::cast_slice_mut(&mut values);
                for index in 0..self.bytes_each / BLOCK {
                    source.read_exact_at(block, SOURCE_OFFSET + (index * BLOCK) as u64).unwrap();
                    if way != Way::Plain {
                        measure(block, &mut aligned);
                    }
                    store.write_all_at(block, at + (index * BLOCK) as u64).unwrap();
                    write_back(at + (index * BLOCK) as u64);
                }
            }
        }
    }
}

fn filling(criterion: &mut Criterion) {
    let mib = std::env::var("FILLING_MIB").ok().and_then(|mib| mib.parse().ok()).unwrap_or(192);
    let bench = Bench::new(mib);
    for (place, sync, early) in [("page cache", false, false), ("disk", true, false), ("disk, early", true, true)] {
        let mut group = criterion.benchmark_group(place);
        group.throughput(Throughput::Bytes(bench.bytes() as u64)).sample_size(10);
        for (name, way) in [
            ("plain copy", Way::Plain),
            ("positioned", Way::Positioned),
            ("into map", Way::IntoMap),
            ("from map", Way::FromMap),
        ] {
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter_custom(|times| (0..times).map(|_| bench.run(way, sync, early)).sum());
            });
        }
        group.finish();
    }
}

criterion_group!(benches, filling);
criterion_main!(benches);
