//! `embstore embed work`

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use embstore::embed::queue::worker_name;
use embstore::embed::{
    EmbedError, Embedder, EmbedderOptions, FailedFile, Job, Shard, WorkOptions, WorkReport, WorkSource, work,
};
use embstore::encoder::{Choice, Device};
use embstore::text::thousands;
use embstore::{Error, Observer};
use serde_json::{Value, json};

use super::libraries;
use super::queue::QueueArgs;
use crate::cli::output::{self, Output};
use crate::cli::progress::Reporter;
use crate::cli::{Failure, bound_threads};

/// A worker outlives a server that is started again, or a network that is down for a while.
const PATIENCE: Duration = Duration::from_secs(600);

/// Embed files of text: jobs of the queue as they come, or one file, or a share of all.
///
/// Every output holds the rows and columns of its input and emb_000, emb_001, … beside them. It appears under its name
/// when it is whole; one that is there and valid is skipped. Interrupted, the worker gives its job back.
#[derive(Args)]
#[command(after_help = "\
Examples:
  embstore embed work --queue redis://queue.example.com/ --model models/minilm
  embstore embed work --drain                        (no server: what is missing in embeddings/)
  embstore embed work --shard $SLURM_ARRAY_TASK_ID/8
  embstore embed work --input chains/00/Sub/a.parquet --output embeddings/00/Sub/a.parquet")]
pub(super) struct WorkArgs {
    /// End when no job waits or runs, in place of waiting for more
    #[arg(long)]
    drain: bool,
    /// Embed this file alone, without a queue
    #[arg(long, value_name = "FILE", requires = "output", conflicts_with_all = ["shard", "drain"])]
    input: Option<PathBuf>,
    /// Where the embeddings of --input go
    #[arg(long, value_name = "FILE", requires = "input")]
    output: Option<PathBuf>,
    /// Embed the share INDEX of COUNT of all files without embeddings, without a queue; INDEX counts from 0
    #[arg(long, value_name = "INDEX/COUNT", conflicts_with = "drain")]
    shard: Option<Shard>,
    /// Replace --output, whatever it holds
    #[arg(long, requires = "input")]
    force: bool,
    #[command(flatten)]
    queue: QueueArgs,
    #[command(flatten)]
    embedder: EmbedderArgs,
}

/// The model, what runs it, and how.
#[derive(Args)]
#[command(next_help_heading = "Model")]
struct EmbedderArgs {
    /// The folder of the model: as sentence-transformers has it, or model.onnx and tokenizer.json
    #[arg(long, value_name = "DIR", default_value = "models/minilm")]
    model: PathBuf,
    /// What runs it
    #[arg(long, value_enum, default_value_t = EngineName::Auto, value_name = "ENGINE")]
    engine: EngineName,
    /// Where it runs
    #[arg(long, value_enum, default_value_t = DeviceName::Auto, value_name = "DEVICE")]
    device: DeviceName,
    /// Threads of the processor [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// The column of text [default: text, body, content or chain, where one of them is there]
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,
    /// Tokens of a batch at the most [default: 2048, on a GPU 32768]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    batch_tokens: Option<u32>,
    /// Texts of a batch at the most [default: as many as --batch-tokens lets]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    batch_size: Option<u32>,
    /// Cut texts at so many tokens [default: what the model says, 256 for all-MiniLM-L6-v2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1 << 16))]
    max_tokens: Option<u32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum EngineName {
    /// On the processor the built-in one where it knows the model, else ONNX Runtime
    Auto,
    /// The built-in one, which reads safetensors: BERT models on the processor
    Builtin,
    /// ONNX Runtime: ORT_DYLIB_PATH, beside this program, or the Python package onnxruntime
    Onnx,
}

#[derive(Clone, Copy, ValueEnum)]
enum DeviceName {
    /// The Apple GPU, CUDA or the processor: the first that is there and agrees with the built-in engine
    Auto,
    /// The processor
    Cpu,
    /// NVIDIA, through ONNX Runtime
    Cuda,
    /// The Apple GPU, through CoreML in ONNX Runtime
    Mps,
    /// All of Apple's units, the neural engine among them, through CoreML in ONNX Runtime
    Coreml,
}

impl EmbedderArgs {
    fn load(&self) -> Result<(Embedder, Vec<String>), Error> {
        bound_threads(self.threads);
        let is_builtin = matches!(self.engine, EngineName::Builtin);
        let (libraries, errors) = if is_builtin { Default::default() } else { libraries::found() };
        let options = EmbedderOptions {
            model: self.model.clone(),
            engine: match self.engine {
                EngineName::Auto => Choice::Auto,
                EngineName::Builtin => Choice::Builtin,
                EngineName::Onnx => Choice::Onnx,
            },
            device: match self.device {
                DeviceName::Auto => Device::Auto,
                DeviceName::Cpu => Device::Cpu,
                DeviceName::Cuda => Device::Cuda,
                DeviceName::Mps => Device::Mps,
                DeviceName::Coreml => Device::CoreMl,
            },
            threads: self.threads.map(usize::from),
            libraries,
            max_tokens: self.max_tokens.map(|tokens| tokens as usize),
            batch_tokens: self.batch_tokens.map(|tokens| tokens as usize),
            batch_texts: self.batch_size.map(|texts| texts as usize),
            text_column: self.text_column.clone(),
        };
        let (embedder, mut notes) = Embedder::load(&options)?;
        // An interpreter without the package is news only where a library was wanted and none was found at all.
        let is_wanted = options.device != Device::Cpu || embedder.engine.identity().name != "builtin";
        if is_wanted && options.libraries.is_empty() && embedder.model.graph().is_some() {
            notes.extend(errors.iter().map(ToString::to_string));
        }
        Ok((embedder, notes))
    }
}

impl WorkArgs {
    pub(super) fn run(&self, output: Output, observer: Observer<'_>, reporter: &Reporter) -> Result<(), Failure> {
        let (embedder, notes) = self.embedder.load()?;
        if !output.quiet {
            notes.iter().for_each(|note| output::note(note));
        }
        let options = WorkOptions { source: self.source()?, force: self.force, worker: worker_name() };
        let report = work(&options, &embedder, observer).map_err(Error::from)?;
        reporter.clear();
        output.result(&report_json(&report, &embedder), |out| self.print(&report, out))?;
        for FailedFile { error, .. } in &report.failed {
            output::error(&error.to_string(), &error.hint());
        }
        match report {
            WorkReport { interrupted: true, .. } => {
                Err(Failure::Interrupted("run the same command to go on; the job at hand was given back"))
            }
            WorkReport { failed, .. } if !failed.is_empty() => Err(Failure::Unsound),
            _ => Ok(()),
        }
    }
}

impl WorkArgs {
    fn source(&self) -> Result<WorkSource, Failure> {
        if let (Some(input), Some(output)) = (&self.input, &self.output) {
            let job = Job::new(input, output).map_err(|error| Error::from(EmbedError::from(error)))?;
            return Ok(WorkSource::File(job));
        }
        let (address, options) = self.queue.options(PATIENCE)?;
        Ok(match self.shard {
            Some(shard) => WorkSource::Shard { shard, roots: options.roots },
            None => WorkSource::Queue { address, options, drain: self.drain },
        })
    }

    fn print(&self, report: &WorkReport, out: &mut dyn Write) -> io::Result<()> {
        let totals = &report.totals;
        if report.embedded > 0 {
            let speed = totals.rows as f64 / totals.seconds.max(1e-3);
            let (files, rows) = (files(report.embedded), thousands(totals.rows));
            writeln!(out, "✓ {files} embedded: {rows} rows in {:.1} s ({speed:.0} rows/s)", totals.seconds)?;
        }
        if report.skipped > 0 {
            writeln!(out, "✓ {} had their embeddings", files(report.skipped))?;
        }
        if totals.empty > 0 {
            writeln!(out, "⚠ {} rows without text have the embedding of the empty text", thousands(totals.empty))?;
        }
        if totals.truncated > 0 {
            writeln!(out, "  {} texts were longer than the model takes and were cut", thousands(totals.truncated))?;
        }
        if report.embedded + report.skipped + report.failed.len() as u64 == 0 {
            writeln!(out, "✓ nothing to embed")?;
        }
        match &self.output {
            Some(output) if report.embedded > 0 => {
                writeln!(out, "  next: embstore merge {} -o STORE.npy", output.display())
            }
            _ => Ok(()),
        }
    }
}

fn report_json(report: &WorkReport, embedder: &Embedder) -> Value {
    let totals = &report.totals;
    let (model, engine) = (&embedder.model, embedder.engine.identity());
    let failure = |FailedFile { input, error }: &FailedFile| json!({"input": input, "error": error.to_string(), "hint": error.hint()});
    json!({
        "embedded": report.embedded,
        "skipped": report.skipped,
        "failed": report.failed.len(),
        "lost": report.lost,
        "rows": totals.rows,
        "texts": totals.texts(),
        "empty": totals.empty,
        "truncated": totals.truncated,
        "tokens": totals.tokens,
        "seconds": report.seconds,
        "rows_per_second": totals.rows as f64 / totals.seconds.max(1e-3),
        "model": model.folder().display().to_string(),
        "model_hash": model.hash(),
        "engine": engine.name,
        "engine_version": engine.version,
        "device": engine.device,
        "interrupted": report.interrupted,
        "failures": report.failed.iter().map(failure).collect::<Value>(),
    })
}

fn files(count: u64) -> String {
    if count == 1 { "1 file".into() } else { format!("{} files", thousands(count)) }
}
