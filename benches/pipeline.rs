//! Locate, copy with quality, articles and export, in bytes per second beside a plain memory copy of the same size.
//!
//! `cargo bench --bench pipeline`. Syncs are off: this measures the cores; `benches/side_by_side.py` measures the disk.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fmt::Write as _;
use std::hint::black_box;
use std::ops::ControlFlow;

use common::Workshop;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use embstore::formats::articles::{ArticleSink, ParquetArticles, read};
use embstore::formats::{LocateOptions, detect, format_for_extension};
use embstore::{ExportOptions, MergeOptions, Observer, export, merge};

const COLS: u64 = 768;
const ROWS: u64 = 62_500;
const BYTES: u64 = ROWS * COLS * 4;
const ARTICLES: u64 = 50_000;
/// What is merged into: a name for it, the file, and the compression. Formats that are not built in are left out.
const TARGETS: [(&str, &str, Option<&str>); 6] = [
    ("npy", "w.npy", None),
    ("HDF5", "w.h5", None),
    ("Zarr", "w.zarr", None),
    ("HDF5, zstd:1", "z.h5", Some("zstd:1")),
    ("Zarr, zstd:1", "z.zarr", Some("zstd:1")),
    ("Zarr, blosc-lz4", "b.zarr", Some("blosc-lz4")),
];

fn pipeline(criterion: &mut Criterion) {
    let workshop = Workshop::new();
    workshop.split(ROWS, COLS, 4);
    let mut group = criterion.benchmark_group("192 MB of rows");
    group.throughput(Throughput::Bytes(BYTES)).sample_size(10);
    let from = vec![1u8; BYTES as usize];
    let mut to = vec![0u8; BYTES as usize];
    group.bench_function("memory copy", |bencher| bencher.iter(|| to.copy_from_slice(black_box(&from))));
    for (what, name, compression) in TARGETS {
        if format_for_extension(name.as_ref()).is_none() {
            continue;
        }
        let mut options = MergeOptions::new(workshop.checkpoints(), workshop.path(name));
        options.build.settings.sync = false;
        options.build.force = true;
        options.build.layout.compression = compression.map(|text| text.parse().unwrap());
        group.bench_function(format!("merge to {what}"), |bencher| {
            bencher.iter(|| merge(&options, Observer::none()).unwrap());
        });
    }
    let mut options = ExportOptions::new(workshop.path("w.npy"), "pickle");
    options.build.settings.sync = false;
    options.build.force = true;
    group.bench_function("export to pickle", |bencher| {
        bencher.iter(|| export(&options, Observer::none()).unwrap());
    });
    group.finish();

    let checkpoint = workshop.checkpoints().join("cluster1_gpu0.pkl");
    criterion.bench_function("locate in 48 MB", |bencher| {
        bencher.iter(|| detect(&checkpoint).unwrap().locate(&checkpoint, &LocateOptions::default()).unwrap());
    });
    articles(criterion, &workshop);
}

/// JSON lines here, which can be made without Python; `benches/side_by_side.py` has the pickled list.
fn articles(criterion: &mut Criterion, workshop: &Workshop) {
    let (path, output) = (workshop.path("articles.jsonl"), workshop.path("articles.parquet"));
    let text = "words ".repeat(300);
    let lines = (0..ARTICLES).fold(String::new(), |mut lines, i| {
        writeln!(lines, r#"{{"id": "{i}", "title": "Title {i}", "url": "https://example.org/{i}", "text": "{text}"}}"#)
            .unwrap();
        lines
    });
    std::fs::write(&path, &lines).unwrap();
    let mut group = criterion.benchmark_group("articles");
    group.throughput(Throughput::Bytes(lines.len() as u64)).sample_size(10);
    let mut copy = vec![0u8; lines.len()];
    group.bench_function("memory copy", |bencher| bencher.iter(|| copy.copy_from_slice(black_box(lines.as_bytes()))));
    group.bench_function("JSON lines to Parquet", |bencher| {
        bencher.iter(|| {
            let mut sink = Box::new(ParquetArticles::create(&output).unwrap());
            read(&path, &std::env::temp_dir(), &mut |article| {
                sink.push(article).unwrap();
                ControlFlow::Continue(())
            })
            .unwrap();
            sink.finish().unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
