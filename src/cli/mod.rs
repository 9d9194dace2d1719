//! The command line: flags become options, reports become text.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. A closed pipe is not an error.

#[cfg(feature = "cluster")]
mod cluster;
mod config;
#[cfg(feature = "embed")]
mod embed;
mod export;
mod info;
mod merge;
mod opening;
mod output;
mod progress;
mod run;
mod shell;
mod sync;
mod time;
mod verify;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::builder::PossibleValuesParser;
use clap::{Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use embstore::formats::{Compression, FORMATS, Layout, Writes};
use embstore::sync::{ASKPASS_FILE, answer};
use embstore::{BuildOptions, Cancel, Error, Observer, Settings};
use serde_json::json;

use config::Stop;
use output::Output;
use progress::Reporter;

/// Set by Ctrl-C and by SIGTERM; the work stops at the next piece.
static CANCEL: Cancel = Cancel::new();
const WRONG_USAGE: u8 = 2;
const INTERRUPTED: u8 = 130;

/// Merge the embedding checkpoints of many GPU workers into one memory-mapped store.
#[derive(Parser)]
#[command(name = "embstore", version, about, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    common: Common,
}

const AFTER_HELP: &str = "\
Examples:
  embstore run
  embstore sync --clusters tensor01 tensor02
  embstore merge embeddings/ -o wikipedia.npy --rows 250000 --articles wikipedia.pkl
  embstore export wikipedia.npy --format pickle -o wikipedia_merged.pkl
  embstore info embeddings/cluster1_gpu0.pkl
  embstore verify wikipedia.npy --checkpoints embeddings/
  embstore cluster wikipedia.npy -o clusters.parquet

Settings:
  Every flag can also be set in embstore.toml ([merge] rows = 250000) and in the environment
  (EMBSTORE_MERGE_ROWS=250000): flag over environment over file over default. A switch that is on
  there is turned off with --FLAG=false. embstore config show tells what holds and why.

Exit codes:
  0 done   1 failed   2 wrong usage   130 interrupted (run the same command to go on)";

#[derive(Subcommand)]
enum Verb {
    Run(run::RunArgs),
    Sync(sync::SyncArgs),
    Merge(merge::MergeArgs),
    Export(export::ExportArgs),
    Info(info::InfoArgs),
    Verify(verify::VerifyArgs),
    #[cfg(feature = "embed")]
    Embed(embed::EmbedArgs),
    #[cfg(feature = "cluster")]
    Cluster(cluster::ClusterArgs),
    Config(config::ConfigArgs),
    Completions(shell::CompletionsArgs),
    Man(shell::ManArgs),
}

#[derive(Args)]
#[command(next_help_heading = "Output")]
struct Common {
    /// No progress and no notes; a result asked for with --json is still printed
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Print the result as one JSON object
    #[arg(long, global = true)]
    json: bool,
    /// How progress is shown on stderr
    #[arg(long, value_enum, default_value_t = ProgressMode::Auto, global = true, value_name = "MODE")]
    progress: ProgressMode,
    /// Settings, in place of embstore.toml in the working directory
    // Looked for in the arguments before clap gets them.
    #[arg(id = "config", long = "config", global = true, value_name = "FILE")]
    _config: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProgressMode {
    /// A bar on a terminal, plain lines elsewhere
    Auto,
    /// A bar
    Bar,
    /// A line from time to time
    Plain,
    /// A JSON object a line
    Json,
    /// Nothing
    None,
}

/// What merge and export share.
#[derive(Args)]
struct BuildArgs {
    /// Replace a finished target, at the end
    #[arg(long)]
    force: bool,
    /// Discard what an unfinished run has copied
    #[arg(long)]
    restart: bool,
    /// Rows of a chunk, for Zarr, compressed HDF5, Parquet and Arrow [default: 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    chunk_rows: Option<u64>,
    /// Rows of a shard, a file of many chunks (Zarr version 3)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    shard_rows: Option<u64>,
    /// Compress the chunks (Zarr, HDF5, Parquet): zstd, deflate, lz4, blosc-lz4 or blosc-zstd
    #[arg(long, value_name = "NAME[:LEVEL]")]
    compression: Option<Compression>,
    /// Version of the Zarr format [default: 3]
    #[arg(long, value_name = "2|3", value_parser = clap::value_parser!(u8).range(2..=3))]
    zarr_version: Option<u8>,
    /// Threads that copy [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Do not wait for the disk: for benchmarks and scratch disks, a power cut may lose the result
    #[arg(long)]
    no_sync: bool,
}

impl BuildArgs {
    fn options(&self) -> BuildOptions {
        let layout = Layout {
            chunk_rows: self.chunk_rows,
            shard_rows: self.shard_rows,
            compression: self.compression,
            zarr_version: self.zarr_version,
            ..Layout::default()
        };
        let settings = Settings { threads: self.threads.map_or(0, usize::from), sync: !self.no_sync };
        BuildOptions { force: self.force, restart: self.restart, layout, settings }
    }
}

/// The names of the formats that can be written, for `--format`.
fn written_formats(which: impl Fn(Writes) -> bool) -> PossibleValuesParser {
    let names: Vec<&str> = FORMATS.iter().filter(|format| which(format.writes())).map(|format| format.name()).collect();
    PossibleValuesParser::new(names)
}

/// Why a command ends without its result.
enum Failure {
    /// The work failed; the store, where one was being built, tells where its partial lies.
    Work(Error, Option<PathBuf>),
    /// What was asked for does not exist, and what does.
    Usage(String, String),
    /// It was asked to stop; what was done until then has been printed. And what becomes of the rest.
    #[cfg(any(feature = "cluster", feature = "embed"))]
    Interrupted(&'static str),
    /// A store is not sound, or not every file has arrived; the findings have been printed.
    Unsound,
    /// The result cannot be printed.
    Output(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Work(error, None)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

/// The command line, with the defaults of each verb.
fn command() -> Command {
    Cli::command().mut_subcommand("run", |verb| {
        run::DEFAULTS.iter().fold(verb, |verb, (flag, value)| verb.mut_arg(flag, |arg| arg.default_value(value)))
    })
}

pub(crate) fn main() -> ExitCode {
    if let Some(file) = std::env::var_os(ASKPASS_FILE) {
        return askpass(Path::new(&file));
    }
    let args: Vec<OsString> = std::env::args_os().collect();
    let plain = command();
    let parsed = config::parse(&plain, &args).and_then(|(matches, settings)| {
        let cli = Cli::from_arg_matches(&matches);
        cli.map(|cli| (cli, settings)).map_err(|error| Stop::Usage(error.format(&mut plain.clone())))
    });
    let (cli, settings) = match parsed {
        Ok(parsed) => parsed,
        Err(Stop::Settings(message, hint)) => {
            output::error(&message, &hint);
            return ExitCode::from(WRONG_USAGE);
        }
        Err(Stop::Usage(error)) => {
            // Help and version go to stdout with code 0, wrong usage to stderr with code 2; a closed pipe is no error.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    allow_open_files();
    watch_signals();
    let output = Output { json: cli.common.json, quiet: cli.common.quiet };
    let reporter = Reporter::new(if cli.common.quiet { ProgressMode::None } else { cli.common.progress });
    let observer = Observer { progress: &reporter, cancel: &CANCEL };
    let result = match &cli.verb {
        Verb::Run(args) => args.run(output, observer, &reporter),
        Verb::Sync(args) => args.run(output, observer, &reporter),
        Verb::Merge(args) => args.run(output, observer, &reporter),
        Verb::Export(args) => args.run(output, observer, &reporter),
        Verb::Info(args) => args.run(output),
        Verb::Verify(args) => args.run(output, observer, &reporter),
        #[cfg(feature = "embed")]
        Verb::Embed(args) => args.run(output, observer, &reporter),
        #[cfg(feature = "cluster")]
        Verb::Cluster(args) => args.run(output, observer, &reporter),
        Verb::Config(args) => args.run(&plain, &settings, output),
        Verb::Completions(args) => args.run(),
        Verb::Man(args) => args.run(),
    };
    reporter.clear();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(failure, output),
    }
}

/// The system's ssh asks this very program for a password: its question is the first argument.
fn askpass(file: &Path) -> ExitCode {
    let prompt = std::env::args().nth(1).unwrap_or_default();
    match answer(file, &prompt) {
        Ok(Some(secret)) if writeln!(io::stdout(), "{}", &*secret).is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Bounds what would take all cores. There is one pool a process, and nothing has used it yet.
#[cfg(any(feature = "cluster", feature = "embed"))]
fn bound_threads(threads: Option<u16>) {
    if let Some(threads) = threads {
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global();
    }
}

fn report(failure: Failure, output: Output) -> ExitCode {
    match failure {
        #[cfg(any(feature = "cluster", feature = "embed"))]
        Failure::Interrupted(hint) => {
            output::error("interrupted", hint);
            ExitCode::from(INTERRUPTED)
        }
        Failure::Unsound => ExitCode::FAILURE,
        Failure::Usage(message, hint) => {
            output::error(&message, &hint);
            ExitCode::from(WRONG_USAGE)
        }
        Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Failure::Output(error) => {
            output::error(&format!("cannot write the result: {error}"), "check where stdout goes");
            ExitCode::FAILURE
        }
        Failure::Work(error, target) => {
            let partial = target.map(|target| embstore::partial_folder(&target)).filter(|folder| folder.exists());
            let mut message = error.to_string();
            if let Some(folder) = partial.filter(|_| error.is_cancelled()) {
                message.push_str(&format!("\n  what has landed is kept in {}", folder.display()));
            }
            output::error(&message, &error.hint());
            if output.json {
                let result = json!({"error": message, "hint": error.hint()});
                // Nothing is left to do about a closed pipe here.
                let _ = output.result(&result, |_| Ok(()));
            }
            match error {
                error if error.is_cancelled() => ExitCode::from(INTERRUPTED),
                Error::Extension { .. } => ExitCode::from(WRONG_USAGE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// The first signal asks the work to stop at the next piece, a second one ends the process at once.
fn watch_signals() {
    let handler = || {
        if CANCEL.is_cancelled() {
            std::process::exit(i32::from(INTERRUPTED));
        }
        CANCEL.cancel();
    };
    // Without a handler the signal ends the process, and the journal still makes the work resumable.
    let _ = ctrlc::set_handler(handler);
}

/// As many open files as this process may have: a compressed input keeps one open.
fn allow_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // A system that refuses leaves the limit as it is; too many files are then an error of their own.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// `SOURCE_DATE_EPOCH`: the time that reproducible builds put in place of now.
fn source_date_epoch() -> Option<SystemTime> {
    let seconds = std::env::var("SOURCE_DATE_EPOCH").ok()?.parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
