//! `embstore sync`

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use embstore::inputs::CHECKPOINT_PATTERN;
use embstore::sync::{FileReport, FileStatus, TransportChoice, Verify};
use embstore::text::{megabytes, thousands};
use embstore::{Error, Observer, SyncOptions, SyncReport, dry_run_sync, sync};
use serde_json::{Value, json};

use super::Failure;
use super::output::{self, Output};
use super::progress::Reporter;
use super::time::parse_time;

/// Fetch checkpoints from clusters over SSH.
///
/// Compares every cluster with the download folder and fetches what is missing or has changed, over several connections
/// at once. Interrupted, the same command goes on in the middle of each file. A second run transfers nothing.
#[derive(Args)]
#[command(after_help = "\
Credentials are JSON in .credentials/<cluster>.credentials, which only you can read (chmod 600):
  {\"address\": \"tensor01.example.com\", \"username\": \"me\", \"password\": \"…\"}
and may have port, identity_file, passphrase and remote_dir. Without a password the SSH agent and your keys are tried.

Examples:
  embstore sync
  embstore sync --clusters tensor01 -o embeddings/ --remote-dir /data/embeddings
  embstore sync --dry-run
  embstore sync --accept-new --jobs 8 --limit-rate 50M")]
pub(super) struct SyncArgs {
    /// The download folder
    #[arg(long, short, value_name = "DIR", default_value = "embeddings/")]
    output: PathBuf,
    /// Which files are meant
    #[arg(long, value_name = "GLOB", default_value = CHECKPOINT_PATTERN)]
    pattern: String,
    /// Print what would be fetched and stop
    #[arg(long, short = 'n')]
    dry_run: bool,
    #[command(flatten)]
    source: SourceArgs,
}

/// Where checkpoints are fetched from, and how: what sync and run share.
#[derive(Args)]
#[command(next_help_heading = "Clusters")]
pub(super) struct SourceArgs {
    /// Names of the clusters, as several words or as one string of words
    #[arg(long, value_name = "NAME", num_args = 1.., default_values = ["tensor01", "tensor02"])]
    clusters: Vec<String>,
    /// The folder of <cluster>.credentials
    #[arg(long, value_name = "DIR", default_value = ".credentials/")]
    credentials: PathBuf,
    /// Take credentials that others can read
    #[arg(long)]
    insecure_credentials: bool,
    /// The folder on the clusters [default: that of the credentials, else /home/<username>/mapper_embeddings/embeddings]
    #[arg(long, value_name = "DIR")]
    remote_dir: Option<String>,
    /// Connections a cluster [default: one a core, from 2 to 4; 8 where a round trip takes more than 10 ms]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: Option<u16>,
    /// The way to the clusters
    #[arg(long, value_enum, default_value_t = Transport::Auto, value_name = "WAY")]
    transport: Transport,
    /// Whether the clusters' own SHA-256 is compared
    #[arg(long, value_enum, default_value_t = WhenToVerify::Auto, value_name = "WHEN")]
    verify: WhenToVerify,
    /// Record the key of a host that is not known; a key that has changed is refused all the same
    #[arg(long)]
    accept_new: bool,
    /// The file of known hosts [default: ~/.ssh/known_hosts, and those of ~/.ssh/config]
    #[arg(long, value_name = "FILE")]
    known_hosts: Option<PathBuf>,
    /// Another file than ~/.ssh/config
    #[arg(long, value_name = "FILE")]
    ssh_config: Option<PathBuf>,
    /// Seconds of silence after which a connection is lost (a login through the system's ssh has twice that, and 30 at least)
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_time)]
    timeout: Duration,
    /// Bytes a second, of all connections together: 500k, 20M, 1G
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    limit_rate: Option<u64>,
    /// Further tries of a file whose connection is lost, where none of them moves it on
    #[arg(long, value_name = "N", default_value_t = 5)]
    retries: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Transport {
    /// The system's ssh where there is one, else libssh2
    Auto,
    /// libssh2, built in
    Ssh2,
    /// The system's ssh: jump hosts, hardware keys, Kerberos
    Openssh,
}

#[derive(Clone, Copy, ValueEnum)]
enum WhenToVerify {
    /// Where the cluster runs sha256sum; where it does not, that is said
    Auto,
    /// A file that cannot be verified is a failure
    Always,
    /// Not at all
    Never,
}

impl SourceArgs {
    /// What to fetch into `output`, and how.
    pub(super) fn options(&self, output: PathBuf, pattern: String) -> SyncOptions {
        let home = std::env::home_dir().unwrap_or_default();
        let clusters = self.clusters.iter().flat_map(|names| names.split([' ', ','])).filter(|name| !name.is_empty());
        SyncOptions {
            credentials: self.credentials.clone(),
            insecure_credentials: self.insecure_credentials,
            remote_dir: self.remote_dir.clone(),
            pattern,
            jobs: self.jobs.map(usize::from),
            transport: match self.transport {
                Transport::Auto => TransportChoice::Auto,
                Transport::Ssh2 => TransportChoice::Ssh2,
                Transport::Openssh => TransportChoice::OpenSsh,
            },
            verify: match self.verify {
                WhenToVerify::Auto => Verify::Auto,
                WhenToVerify::Always => Verify::Always,
                WhenToVerify::Never => Verify::Never,
            },
            accept_new: self.accept_new,
            known_hosts: self.known_hosts.clone(),
            ssh_config: self.ssh_config.clone(),
            timeout: self.timeout,
            limit_rate: self.limit_rate,
            retries: self.retries,
            // This program itself: see `askpass` in main.
            askpass: std::env::current_exe().ok(),
            ..SyncOptions::new(clusters.map(String::from).collect(), output, home)
        }
    }
}

impl SyncArgs {
    pub(super) fn run(&self, output: Output, observer: Observer<'_>, reporter: &Reporter) -> Result<(), Failure> {
        let options = self.source.options(self.output.clone(), self.pattern.clone());
        let work = if self.dry_run { dry_run_sync } else { sync };
        let report = work(&options, observer).map_err(Error::from)?;
        reporter.clear();
        let json = if self.dry_run { dry_run_json(&report) } else { report_json(&report) };
        output.result(
            &json,
            |out| {
                if self.dry_run { print_dry_run(&report, out) } else { print_report(&report, out) }
            },
        )?;
        print_failures(&report);
        if report.is_complete() { Ok(()) } else { Err(Failure::Unsound) }
    }
}

/// The result of a sync as JSON.
pub(super) fn report_json(report: &SyncReport) -> Value {
    let file = |file: &FileReport| {
        json!({
            "file": file.file,
            "cluster": file.cluster,
            "path": file.remote_path,
            "bytes": file.bytes,
            "status": file.status.name(),
            "sha256": file.sha256,
            "verified": file.verified,
            "resumed_from": file.resumed_from,
            "error": file.error.as_ref().map(ToString::to_string),
            "hint": file.error.as_ref().map(|error| error.hint()),
        })
    };
    json!({
        "output": report.output.display().to_string(),
        "transferred": report.count(FileStatus::Transferred),
        "skipped": report.count(FileStatus::Skipped),
        "failed": report.count(FileStatus::Failed),
        "bytes": report.bytes,
        "seconds": report.seconds,
        "verified": report.verified(),
        "files": report.files.iter().map(file).collect::<Value>(),
        "warnings": report.warnings(),
    })
}

/// What would be fetched, as JSON.
pub(super) fn dry_run_json(report: &SyncReport) -> Value {
    let mut json = report_json(report);
    json["dry_run"] = json!(true);
    json["missing"] = json!(report.count(FileStatus::Missing));
    json
}

/// What would be fetched, for people.
pub(super) fn print_dry_run(report: &SyncReport, out: &mut dyn Write) -> io::Result<()> {
    let missing: Vec<&FileReport> = report.files.iter().filter(|file| file.status == FileStatus::Missing).collect();
    for file in &missing {
        let name = file.file.as_deref().unwrap_or_default();
        writeln!(out, "  {name}  {}  {}", file.cluster, megabytes(file.bytes))?;
    }
    if missing.is_empty() && report.count(FileStatus::Skipped) == 0 {
        return Ok(());
    }
    let bytes = missing.iter().map(|file| file.bytes).sum();
    let (count, skipped) = (files(missing.len()), files(report.count(FileStatus::Skipped)));
    writeln!(out, "✓ {count} to be fetched, {}; {skipped} up to date", megabytes(bytes))?;
    writeln!(out, "  nothing was written; run it without --dry-run to fetch")
}

fn print_report(report: &SyncReport, out: &mut dyn Write) -> io::Result<()> {
    print_summary(report, out)?;
    if report.is_complete() {
        let output = report.output.display();
        writeln!(out, "  next: embstore merge {output} -o STORE.npy")?;
    }
    Ok(())
}

/// What was fetched, for people.
pub(super) fn print_summary(report: &SyncReport, out: &mut dyn Write) -> io::Result<()> {
    let (transferred, skipped) = (report.count(FileStatus::Transferred), report.count(FileStatus::Skipped));
    let speed = megabytes((report.bytes as f64 / report.seconds.max(1e-3)) as u64);
    let bytes = megabytes(report.bytes);
    if transferred > 0 {
        writeln!(out, "✓ {} fetched: {bytes} in {:.2} s ({speed}/s)", files(transferred), report.seconds)?;
    }
    if skipped > 0 {
        writeln!(out, "✓ {} up to date", files(skipped))?;
    }
    let there = transferred + skipped;
    if there > 0 && report.verified() == there {
        writeln!(out, "  all of them have the SHA-256 that the clusters tell")?;
    }
    for warning in report.warnings().iter().skip(report.count(FileStatus::Failed)) {
        writeln!(out, "⚠ {warning}")?;
    }
    if report.is_complete() {
        writeln!(out, "✓ {} in {}", files(there), report.output.display())?;
    }
    Ok(())
}

/// Every file and cluster that failed, each with its remedy.
pub(super) fn print_failures(report: &SyncReport) {
    for file in &report.files {
        if let Some(error) = &file.error {
            output::error(&format!("{}: {error}", file.cluster), &error.hint());
        }
    }
}

fn files(count: usize) -> String {
    if count == 1 { "1 file".into() } else { format!("{} files", thousands(count as u64)) }
}

fn parse_rate(text: &str) -> Result<u64, String> {
    let expected = || "bytes a second are expected, such as 500k, 20M or 1G".to_string();
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text[..text.len() - rest.len()].parse().map_err(|_| expected())?;
    let unit = rest.trim().trim_end_matches("/s").trim_end_matches(['B', 'b']).to_ascii_lowercase();
    let factor = match unit.as_str() {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        "ki" => 1024.0,
        "mi" => 1024.0 * 1024.0,
        "gi" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(expected()),
    };
    let rate = number * factor;
    if (1.0..1e15).contains(&rate) { Ok(rate as u64) } else { Err(expected()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        assert_eq!(parse_rate("500k"), Ok(500_000));
        assert_eq!(parse_rate("20M"), Ok(20_000_000));
        assert_eq!(parse_rate("1.5MB/s"), Ok(1_500_000));
        assert_eq!(parse_rate("1 GiB/s"), Ok(1 << 30));
        assert_eq!(parse_rate("1000"), Ok(1000));
        for bad in ["", "M", "fast", "0", "-5M", "1X", "1e99"] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
    }
}
