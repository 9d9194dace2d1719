//! `embstore cluster`

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use embstore::cluster::{
    ClusterOptions, ClusterReport, ClusterRow, ClusterSource, FailedGroup, GroupReport, NonFiniteRows, PlannedGroup,
    cluster, dry_run_cluster,
};
use embstore::hdbscan::{Metric, Options, Selection};
use embstore::text::thousands;
use embstore::{Error, Observer};
use serde_json::{Value, json};

use super::Failure;
use super::output::{self, Output};
use super::progress::Reporter;

/// Clusters in the table at the end.
const TABLE: usize = 10;
/// Characters of a line of the table that are left for examples.
const EXAMPLE: usize = 72;

/// Group embeddings that are near each other: HDBSCAN over a store, or over every folder of Parquet files.
///
/// The result is a Parquet file with the columns label (-1 is noise), probability and outlier_score beside those of the
/// input, and clusters.json. A result that is up to date is skipped, one whose inputs or parameters changed is made
/// again. Sentences in hundreds of columns leave most points as noise: a smaller --min-samples and --cluster-selection
/// leaf find more clusters. --reduce pca:50 and --approximate take less time.
#[derive(Args)]
#[command(after_help = "\
Examples:
  embstore cluster wikipedia.npy -o clusters.parquet --min-cluster-size 25 --min-samples 3
  embstore cluster                                   (embeddings/**/*.parquet into clusters/)
  embstore cluster --embeddings embeddings/ --output-dir clusters/ --subreddit Rust

Then, in Python:
  pd.read_parquet(\"clusters.parquet\").groupby(\"label\").size()")]
pub(super) struct ClusterArgs {
    /// Stores, checkpoints or folders of them, whose rows are clustered together
    #[arg(value_name = "STORE", requires = "output", conflicts_with_all = ["embeddings", "output_dir", "subreddit"])]
    stores: Vec<PathBuf>,
    /// The Parquet file of the result; what is known of the clusters goes beside it as .json
    #[arg(long, short, value_name = "FILE", requires = "stores")]
    output: Option<PathBuf>,
    /// Without STORE: the folder whose folders of Parquet files are clustered, each by itself
    #[arg(long, value_name = "DIR", default_value = "embeddings/")]
    embeddings: PathBuf,
    /// Where clustered.parquet and clusters.json of each of these folders go
    #[arg(long, value_name = "DIR", default_value = "clusters/")]
    output_dir: PathBuf,
    /// Only the folder of this name
    #[arg(long, value_name = "NAME")]
    subreddit: Option<String>,
    /// Cluster the N directions of the largest variance in place of the columns
    #[arg(long, value_name = "pca:N", value_parser = components)]
    reduce: Option<usize>,
    /// For what is drawn at random
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Rows that hold NaN or infinities: an error, or left out (the result then has a column row)
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = NonFiniteName::Error)]
    non_finite: NonFiniteName,
    /// The array field, list column or prefix of columns that holds the embeddings
    #[arg(long, value_name = "NAME", default_value = "embeddings")]
    key: String,
    /// Keep the columns of embeddings of Parquet inputs as well
    #[arg(long)]
    keep_embeddings: bool,
    /// Write the condensed tree too (Parquet); of folders a bare name, beside each result
    #[arg(long, value_name = "FILE")]
    condensed_tree: Option<PathBuf>,
    /// The column of the example texts [default: text, body, content, chain or title, where one is there]
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Make results again that are up to date, and replace files of another origin
    #[arg(long)]
    force: bool,
    /// Say what would be clustered, write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    hdbscan: HdbscanArgs,
}

/// The parameters of HDBSCAN.
#[derive(Args)]
#[command(next_help_heading = "HDBSCAN")]
struct HdbscanArgs {
    /// How far two points are from each other
    #[arg(long, value_enum, value_name = "METRIC", default_value_t = MetricName::Euclidean)]
    metric: MetricName,
    /// The smallest group of points that counts as a cluster
    #[arg(long, value_name = "N", default_value_t = 5)]
    min_cluster_size: usize,
    /// Neighbours that a dense point has near it, itself not counted [default: the smallest cluster]
    #[arg(long, value_name = "N")]
    min_samples: Option<usize>,
    /// Which clusters of the tree are taken
    #[arg(long, value_enum, value_name = "HOW", default_value_t = SelectionName::Eom)]
    cluster_selection: SelectionName,
    /// Clusters that part at a distance below this stay together
    #[arg(long, value_name = "DISTANCE", default_value_t = 0.0)]
    cluster_selection_epsilon: f64,
    /// The largest cluster that eom takes [default: any]
    #[arg(long, value_name = "N")]
    max_cluster_size: Option<usize>,
    /// All points may be one cluster
    #[arg(long)]
    allow_single_cluster: bool,
    /// For many points: find a tree that weighs about 0.1 % more than the least one, in a fraction of the time
    #[arg(long)]
    approximate: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum MetricName {
    /// The length of the straight line
    Euclidean,
    /// One minus the cosine of the angle
    Cosine,
}

#[derive(Clone, Copy, ValueEnum)]
enum SelectionName {
    /// Excess of mass: those that persist longest
    Eom,
    /// The leaves: many small ones of even size
    Leaf,
}

#[derive(Clone, Copy, ValueEnum)]
enum NonFiniteName {
    /// An error that names file and row
    Error,
    /// Left out
    Drop,
}

/// `pca:50`
fn components(text: &str) -> Result<usize, String> {
    let number = text.strip_prefix("pca:").and_then(|number| number.parse().ok()).filter(|number| *number > 0);
    number.ok_or_else(|| format!("{text:?} is no reduction; use pca:N, for example pca:50"))
}

impl ClusterArgs {
    pub(super) fn run(&self, output: Output, observer: Observer<'_>, reporter: &Reporter) -> Result<(), Failure> {
        super::bound_threads(self.threads);
        let options = self.options();
        if self.dry_run {
            let planned = dry_run_cluster(&options, observer).map_err(Error::from)?;
            reporter.clear();
            let result = json!({"groups": planned.iter().map(planned_json).collect::<Value>()});
            return Ok(output.result(&result, |out| print_plan(&planned, out))?);
        }
        let report = cluster(&options, observer).map_err(Error::from)?;
        reporter.clear();
        output.result(&self.json(&report), |out| print(&report, out))?;
        for failed in &report.failed {
            output::error(&failed.to_string(), &failed.error.hint());
        }
        match report {
            ClusterReport { interrupted: true, .. } => {
                Err(Failure::Interrupted("run the same command to go on; what is finished is kept"))
            }
            ClusterReport { failed, .. } if !failed.is_empty() => Err(Failure::Unsound),
            _ => Ok(()),
        }
    }

    fn options(&self) -> ClusterOptions {
        let source = match &self.output {
            Some(output) => ClusterSource::Rows { inputs: self.stores.clone(), output: output.clone() },
            None => ClusterSource::Tree {
                embeddings: self.embeddings.clone(),
                output: self.output_dir.clone(),
                subreddit: self.subreddit.clone(),
            },
        };
        ClusterOptions {
            hdbscan: self.hdbscan.options(),
            reduce: self.reduce,
            approximate: self.hdbscan.approximate,
            seed: self.seed,
            non_finite: match self.non_finite {
                NonFiniteName::Error => NonFiniteRows::Error,
                NonFiniteName::Drop => NonFiniteRows::Drop,
            },
            key: self.key.clone(),
            keep_embeddings: self.keep_embeddings,
            condensed_tree: self.condensed_tree.clone(),
            text_column: self.text_column.clone(),
            force: self.force,
            ..ClusterOptions::new(source)
        }
    }

    /// Of a store its result; of folders the sums, and each.
    fn json(&self, report: &ClusterReport) -> Value {
        if let (Some(_), [group]) = (&self.output, &report.groups[..]) {
            return group_json(group);
        }
        let sum = |value: fn(&GroupReport) -> u64| report.groups.iter().map(value).sum::<u64>();
        let failure = |failed: &FailedGroup| json!({"name": failed.name, "error": failed.error.to_string(), "hint": failed.error.hint()});
        json!({
            "points": sum(|group| group.record.points),
            "clusters": sum(|group| group.record.clusters),
            "noise": sum(|group| group.record.noise),
            "tree_weight": report.groups.iter().map(|group| group.record.tree_weight).sum::<f64>(),
            "seconds": report.seconds,
            "clustered": report.groups.iter().filter(|group| !group.skipped).count(),
            "skipped": report.groups.iter().filter(|group| group.skipped).count(),
            "failed": report.failed.len(),
            "interrupted": report.interrupted,
            "groups": report.groups.iter().map(group_json).collect::<Value>(),
            "failures": report.failed.iter().map(failure).collect::<Value>(),
        })
    }
}

impl HdbscanArgs {
    fn options(&self) -> Options {
        Options {
            metric: match self.metric {
                MetricName::Euclidean => Metric::Euclidean,
                MetricName::Cosine => Metric::Cosine,
            },
            min_cluster_size: self.min_cluster_size,
            min_samples: self.min_samples,
            selection: match self.cluster_selection {
                SelectionName::Eom => Selection::Eom,
                SelectionName::Leaf => Selection::Leaf,
            },
            epsilon: self.cluster_selection_epsilon,
            max_cluster_size: self.max_cluster_size,
            allow_single_cluster: self.allow_single_cluster,
        }
    }
}

fn group_json(group: &GroupReport) -> Value {
    let record = &group.record;
    let row = |row: &ClusterRow| json!({"label": row.label, "size": row.size, "persistence": row.persistence, "examples": row.examples});
    json!({
        "name": group.name,
        "output": group.output.display().to_string(),
        "points": record.points,
        "dims": record.dims,
        "clusters": record.clusters,
        "noise": record.noise,
        "dropped": record.dropped,
        "tree_weight": record.tree_weight,
        "explained_variance": record.explained_variance,
        "input_hash": record.input_hash,
        "skipped": group.skipped,
        "seconds": group.seconds,
        "largest": group.largest.iter().map(row).collect::<Value>(),
    })
}

fn planned_json(group: &PlannedGroup) -> Value {
    json!({
        "name": group.name,
        "output": group.output.display().to_string(),
        "points": group.points,
        "dims": group.dims,
        "done": group.is_done,
    })
}

fn print_plan(planned: &[PlannedGroup], out: &mut dyn Write) -> io::Result<()> {
    for group in planned {
        let (points, dims) = (thousands(group.points), group.dims);
        let done = if group.is_done { ", up to date" } else { "" };
        writeln!(out, "  {}: {points} points × {dims} columns → {}{done}", group.name, group.output.display())?;
    }
    let waiting: Vec<&PlannedGroup> = planned.iter().filter(|group| !group.is_done).collect();
    let points = waiting.iter().map(|group| group.points).sum();
    writeln!(out, "✓ would cluster {} of {}: {} points", waiting.len(), groups(planned.len()), thousands(points))
}

fn print(report: &ClusterReport, out: &mut dyn Write) -> io::Result<()> {
    let is_one = report.groups.len() + report.failed.len() == 1;
    let made: Vec<&GroupReport> = report.groups.iter().filter(|group| !group.skipped).collect();
    print_largest(&made, is_one, out)?;
    let skipped = report.groups.len() - made.len();
    if let (true, [group]) = (is_one, &report.groups[..]) {
        return print_group(group, report.seconds, out);
    }
    if report.groups.is_empty() {
        return Ok(());
    }
    if skipped > 0 {
        writeln!(out, "✓ {} were up to date", groups(skipped))?;
    }
    let sum = |value: fn(&GroupReport) -> u64| thousands(made.iter().map(|group| value(group)).sum());
    let (points, clusters) = (sum(|group| group.record.points), sum(|group| group.record.clusters));
    let noise = sum(|group| group.record.noise);
    let counts = format!("{points} points in {clusters} clusters, {noise} of them noise");
    writeln!(out, "✓ {} clustered in {:.1} s: {counts}", groups(made.len()), report.seconds)
}

fn print_group(group: &GroupReport, seconds: f64, out: &mut dyn Write) -> io::Result<()> {
    let record = &group.record;
    let (points, noise) = (record.points, record.noise);
    for warning in record.warnings() {
        writeln!(out, "⚠ {warning}")?;
    }
    if let Some(explained) = record.explained_variance {
        writeln!(out, "  the principal components hold {:.1} % of the variance", 100.0 * explained)?;
    }
    let percent = 100.0 * noise as f64 / points.max(1) as f64;
    let counts = format!("{} points in {} clusters", thousands(points), thousands(record.clusters));
    let did = if group.skipped { "was up to date".into() } else { format!("in {seconds:.2} s") };
    writeln!(out, "✓ {counts}, {} noise ({percent:.0} %), {did}", thousands(noise))?;
    writeln!(out, "✓ {}", group.output.display())?;
    writeln!(out, "  next: pd.read_parquet({:?}).groupby(\"label\").size()", group.output.display().to_string())
}

/// The largest clusters of all groups, with texts.
fn print_largest(made: &[&GroupReport], is_one: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut rows: Vec<(&GroupReport, &ClusterRow)> =
        made.iter().flat_map(|group| group.largest.iter().map(move |row| (*group, row))).collect();
    rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.size));
    rows.truncate(TABLE);
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "{:>7}  {:>9}  {:>11}  examples", "cluster", "points", "persistence")?;
    for (group, row) in rows {
        let place = if is_one { String::new() } else { format!("{}: ", group.name) };
        let mut texts = row.examples.iter();
        let first = format!("{place}{}", texts.next().map_or("", String::as_str));
        let size = thousands(row.size as u64);
        writeln!(out, "{:>7}  {size:>9}  {:>11.3}  {}", row.label, row.persistence, cut(&first))?;
        for text in texts {
            writeln!(out, "{:>33}{}", "", cut(text))?;
        }
    }
    Ok(())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(EXAMPLE) {
        Some((at, _)) => format!("{}…", text[..at].trim_end()),
        None => text.to_string(),
    }
}

fn groups(count: usize) -> String {
    if count == 1 { "1 folder".into() } else { format!("{} folders", thousands(count as u64)) }
}
