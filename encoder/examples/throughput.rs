//! Texts per second of the built-in engine.
//!
//! ```text
//! scripts/fetch_model.sh
//! cargo run --release -p embstore-encoder --example throughput -- models/minilm TEXTS.json [THREADS]
//! ```
//!
//! `TEXTS.json` is an array of strings. Texts are sorted by length and batched; loading the model is not counted, making
//! tokens is. CPU seconds are those of all threads, and the figure to compare on a busy machine.
#![allow(clippy::print_stdout, reason = "a program of its own")]

use std::error::Error;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use embstore_encoder::{Builtin, Engine, Model, Tokens, batches};

/// Padded tokens in a batch.
const BATCH_TOKENS: usize = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(folder), Some(texts)) = (arguments.first(), arguments.get(1)) else {
        return Err("usage: throughput MODEL TEXTS.json [THREADS]".into());
    };
    let threads = arguments.get(2).map_or(Ok(1), |threads| threads.parse())?;
    let texts: Vec<String> = serde_json::from_slice(&std::fs::read(texts)?)?;
    let model = Model::open(Path::new(folder), None)?;
    let engine = Builtin::load(&model, threads)?;
    println!("{:?}, {} texts, {threads} threads", engine.identity(), texts.len());

    let (start, used) = (Instant::now(), cpu_time()?);
    let tokens = texts.iter().map(|text| model.tokenizer().encode(text)).collect::<Result<Vec<Tokens>, _>>()?;
    let lengths: Vec<usize> = tokens.iter().map(|tokens| tokens.ids.len()).collect();
    let tokenized = start.elapsed();
    let vectors = encode(&engine, &tokens, &batches(&lengths, BATCH_TOKENS, None))?;
    let (wall, cpu) = (start.elapsed(), cpu_time()? - used);

    let rate = |time: Duration| texts.len() as f64 / time.as_secs_f64();
    println!("{} tokens, {:.2} s to make them", lengths.iter().sum::<usize>(), tokenized.as_secs_f64());
    println!("{:.2} s, {:.1} texts/s", wall.as_secs_f64(), rate(wall));
    println!("{:.2} CPU seconds, {:.1} texts per CPU second", cpu.as_secs_f64(), rate(cpu));
    println!("first values: {:?}", &vectors[0][..3]);
    Ok(())
}

/// Every batch on the next free thread, the longest first.
fn encode(engine: &Builtin, tokens: &[Tokens], batches: &[Vec<usize>]) -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
    let waiting = Mutex::new(batches.iter());
    let done = Mutex::new(vec![Vec::new(); tokens.len()]);
    std::thread::scope(|scope| {
        let work = || -> Result<(), String> {
            loop {
                let Some(batch) = waiting.lock().map_err(|error| error.to_string())?.next() else { return Ok(()) };
                let texts: Vec<&Tokens> = batch.iter().map(|&index| &tokens[index]).collect();
                let mut out = vec![0.0; texts.len() * engine.dim()];
                engine.encode(&texts, &mut out).map_err(|error| error.to_string())?;
                let mut done = done.lock().map_err(|error| error.to_string())?;
                for (&index, vector) in batch.iter().zip(out.chunks(engine.dim())) {
                    done[index] = vector.to_vec();
                }
            }
        };
        let threads: Vec<_> = (0..engine.lanes()).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?)
    })?;
    Ok(done.into_inner()?)
}

/// User and system time of this process: Linux counts them in hundredths of a second.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks: u64 =
        fields.get(11..13).ok_or("no times in /proc/self/stat")?.iter().flat_map(|f| f.parse::<u64>()).sum();
    Ok(Duration::from_millis(ticks * 10))
}
