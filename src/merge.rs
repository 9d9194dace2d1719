//! Merge: checkpoints into a store.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use embstore_formats::{
    Dtype, Fields, Format, Layout, LocateOptions, Writes, articles, format_for_extension, format_named,
};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::build::{Built, build as build_store};
use crate::checkpoint::file_name;
use crate::copy::{CopyError, Source, memory_per_thread, piece_rows};
use crate::error::Error;
use crate::identity::Identity;
use crate::inputs;
use crate::job::{ArticlesPart, BuildOptions, Job, layout_fields};
use crate::metadata::{Description, chunk_info, gather};
use crate::partial::folder_of;
use crate::plan::{Plan, RowRange};
use crate::preflight::check_target;
use crate::progress::{Observer, Phase};
use crate::ranges::Ranges;
use crate::text::{iso8601, thousands};
use crate::update::{Changes, Old, recorded};

/// What to do with rows that hold NaN or infinities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NonFinite {
    /// Keep them, and say so.
    #[default]
    Warn,
    /// Publish nothing.
    Error,
}

/// What to merge, and how.
#[derive(Clone, Debug)]
pub struct MergeOptions {
    /// Checkpoints, or folders of them.
    pub inputs: Vec<PathBuf>,
    /// Which files of a folder are meant; the workers' own names where absent.
    pub pattern: Option<String>,
    /// The store to write.
    pub output: PathBuf,
    /// Its format by name; by the extension of `output` where absent.
    pub format: Option<String>,
    /// First rows by file name, in JSON lines, for files that do not name their own.
    pub ranges: Option<PathBuf>,
    /// Rows to keep; all where absent.
    pub rows: Option<RowRange>,
    /// The width that every checkpoint must have.
    pub dim: Option<u64>,
    /// The field that holds the rows.
    pub key: String,
    /// Articles, one a row.
    pub articles: Option<PathBuf>,
    /// Name of the model; where absent, what the checkpoints agree on.
    pub model: Option<String>,
    /// What to do with NaN and infinities.
    pub non_finite: NonFinite,
    /// Whether a finished store is brought up to date: what has not changed is taken from it.
    pub update: bool,
    /// When the store was made; now where absent.
    pub timestamp: Option<SystemTime>,
    /// What to do about what is there already, and how the work is done.
    pub build: BuildOptions,
}

impl MergeOptions {
    /// Everything in `input` into `output`, with the defaults of the command line.
    pub fn new(input: impl Into<PathBuf>, output: impl Into<PathBuf>) -> Self {
        MergeOptions {
            inputs: vec![input.into()],
            pattern: None,
            output: output.into(),
            format: None,
            ranges: None,
            rows: None,
            dim: None,
            key: LocateOptions::default().key,
            articles: None,
            model: None,
            non_finite: NonFinite::Warn,
            update: false,
            timestamp: None,
            build: BuildOptions::default(),
        }
    }

    fn format(&self) -> Result<&'static dyn Format, Error> {
        match &self.format {
            Some(name) => format_named(name),
            None => format_for_extension(&self.output),
        }
        .ok_or_else(|| Error::Extension { path: self.output.clone() })
    }
}

/// What was merged.
#[derive(Clone, Debug)]
pub struct MergeReport {
    /// The store.
    pub store: PathBuf,
    /// Its format.
    pub format: &'static str,
    /// Rows and columns.
    pub shape: (u64, u64),
    /// Size of all its files.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Rows of the checkpoints that were not kept.
    pub rows_left_out: u64,
    /// Rows that an earlier try had copied.
    pub rows_resumed: u64,
    /// The store's metadata: quality metrics, chunk info and the rest.
    pub metadata: Fields,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What has changed since the store was merged last, where one was updated. Where nothing has, nothing was written.
    pub changes: Option<Changes>,
}

/// What a merge would do.
#[derive(Debug)]
pub struct DryRun {
    /// The plan.
    pub plan: Plan,
    /// What has changed since the store was merged last, where one would be updated.
    pub changes: Option<Changes>,
    /// Bytes that each thread would hold, beside some 10 MB for all.
    pub memory_per_thread: u64,
}

/// Finds, locates and verifies the checkpoints: what [`merge`] would copy. Writes nothing.
///
/// # Errors
/// Whatever keeps the checkpoints from being one matrix.
pub(crate) fn plan(options: &MergeOptions, observer: Observer<'_>) -> Result<Plan, Error> {
    observer.progress.begin(Phase::Plan, 0, 0);
    let scratch = folder_of(&options.output).to_path_buf();
    let locate = LocateOptions { key: options.key.clone(), scratch };
    let files = inputs::find(&options.inputs, options.pattern.as_deref(), &locate)?;
    let ranges = match &options.ranges {
        Some(path) => Ranges::read(path, &files.iter().map(|file| file.path.clone()).collect::<Vec<_>>())?,
        None => Ranges::default(),
    };
    let checkpoints = files
        .into_par_iter()
        .map(|file| {
            // A compressed file may take long.
            if observer.cancel.is_cancelled() {
                return Err(CopyError::Cancelled.into());
            }
            let start = ranges.start_of(&file.path);
            let checkpoint = file.open(&locate, start)?;
            checkpoint.check_payload()?;
            Ok(checkpoint)
        })
        .collect::<Vec<Result<_, Error>>>();
    // Not collected as one result: the first bad file is named in the order of the names, not of the threads.
    let checkpoints = checkpoints.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(Plan::verify(checkpoints, options.rows, options.dim)?)
}

/// What [`merge`] would do: the plan, with the articles counted. Writes nothing.
///
/// # Errors
/// Whatever would keep the merge from beginning, a target in the way aside.
pub fn dry_run(options: &MergeOptions, observer: Observer<'_>) -> Result<DryRun, Error> {
    let format = options.format()?;
    let plan = plan(options, observer)?;
    if let Some(part) = articles_part(options, &plan, None)? {
        observer.progress.begin(Phase::Articles, 0, 0);
        let scratch = folder_of(&options.output);
        part.check_count(articles::read(&part.path, scratch, &mut |_| ControlFlow::Continue(()))?)?;
    }
    let changes = old_store(options, &plan)?.map(|old| old.changes);
    let readers = plan.parts().iter().map(|part| part.checkpoint.payload.memory()).max().unwrap_or(0);
    let chunks = format.check_layout(&options.output, &plan.array(), &options.build.layout)?;
    let memory_per_thread = memory_per_thread(plan.array().cols()) + readers + chunks;
    Ok(DryRun { plan, changes, memory_per_thread })
}

/// The store that is to be updated, compared with the plan.
fn old_store(options: &MergeOptions, plan: &Plan) -> Result<Option<Old>, Error> {
    if options.update { Old::open(&options.output, plan) } else { Ok(None) }
}

/// Merges checkpoints into a store.
///
/// Nothing is written before the plan is verified; nothing is published before everything is on disk and read back.
/// What an interrupted merge has copied is kept beside the target, and the same options continue from there.
///
/// # Errors
/// See [`Error`]; none of them leaves a target that lies.
///
/// ```no_run
/// use embstore::{MergeOptions, Observer, RowRange, merge};
///
/// let mut options = MergeOptions::new("embeddings/", "wikipedia.npy");
/// options.rows = Some(RowRange { start: 0, end: 250_000 });
/// options.articles = Some("wikipedia.pkl".into());
/// let report = merge(&options, Observer::none())?;
/// println!("{:?} in {:.1} s", report.shape, report.seconds);
/// # Ok::<(), embstore::Error>(())
/// ```
pub fn merge(options: &MergeOptions, observer: Observer<'_>) -> Result<MergeReport, Error> {
    let started = Instant::now();
    let format = options.format()?;
    check_target(&options.output, format, options.build.force || options.update)?;
    let plan = plan(options, observer)?;
    let old = old_store(options, &plan)?;
    let articles = articles_part(options, &plan, old.as_ref())?;
    let model = options.model.clone().map_or_else(|| common_model(&plan), Value::String);
    let report = |built: Built| MergeReport {
        store: options.output.clone(),
        format: format.name(),
        shape: (plan.array().rows(), plan.array().cols()),
        bytes: built.bytes,
        seconds: started.elapsed().as_secs_f64(),
        rows_left_out: plan.rows_left_out(),
        rows_resumed: built.rows_resumed,
        warnings: warnings(&plan, &built.metadata),
        metadata: built.metadata,
        changes: old.as_ref().map(|old| old.changes.clone()),
    };
    let mut build = options.build;
    if let Some(old) = old.as_ref().filter(|_| build.layout == Layout::default()) {
        build.layout = old.layout();
    }
    if let Some(metadata) = old.as_ref().and_then(|old| old.up_to_date(&plan, &model, &build.layout, articles.as_ref()))
    {
        return Ok(report(Built::standing(&format.store_files(&options.output), metadata)));
    }
    let legacy = format.writes() == Writes::Legacy;
    let mut sources = sources(&plan);
    if let Some(old) = &old {
        old.redirect(&mut sources);
    }
    let articles_source = articles.as_ref().and_then(|part| part.source.clone());
    let job = Job {
        target: &options.output,
        format,
        array: plan.array(),
        sources,
        articles,
        updates: old.is_some(),
        identity: identity(options, &build.layout, format, &plan),
        options: build,
    };
    let timestamp = iso8601(options.timestamp.unwrap_or_else(SystemTime::now));
    let built = build_store(
        &job,
        &|measured| {
            let landed = &measured.landed;
            if let Some(old) = &old {
                old.check(&plan, landed)?;
            }
            let (quality, checksum) = gather(landed, 0..u64::MAX);
            let shape = (job.array.rows(), job.array.cols());
            let quality_metrics = quality.to_json(shape, Dtype::Float32, &|row| plan.file_of(row));
            if options.non_finite == NonFinite::Error && quality.has_non_finite() {
                return Err(non_finite(&quality_metrics));
            }
            let chunk_info = chunk_info(&plan, landed);
            let description = Description {
                array: job.array,
                model: model.clone(),
                timestamp: timestamp.clone(),
                quality_metrics,
                chunk_info,
                checksum,
                header: measured.header,
                row_range: row_range(options, &plan),
                layout: build.layout,
                articles_source: articles_source.clone(),
            };
            Ok(description.to_fields(measured.articles.as_ref(), legacy))
        },
        observer,
    )?;
    Ok(report(built))
}

pub(crate) fn sources(plan: &Plan) -> Vec<Source<'_>> {
    plan.parts()
        .iter()
        .map(|part| Source {
            path: part.checkpoint.path.clone(),
            identity: part.checkpoint.identity,
            payload: &part.checkpoint.payload,
            first: part.first,
            rows: part.rows,
            store_row: part.store_row,
            in_kernel: false,
        })
        .collect()
}

fn row_range(options: &MergeOptions, plan: &Plan) -> RowRange {
    options.rows.unwrap_or(RowRange { start: 0, end: plan.rows() })
}

/// The articles that are given, or those of the store that is updated.
fn articles_part(options: &MergeOptions, plan: &Plan, old: Option<&Old>) -> Result<Option<ArticlesPart>, Error> {
    let Some(path) = options.articles.clone() else { return old.map_or(Ok(None), |old| old.articles(plan)) };
    let mut source = recorded(Identity::at(&path)?);
    source["file"] = json!(file_name(&path));
    Ok(Some(ArticlesPart {
        path,
        source: Some(source),
        skip: 0,
        total: plan.array().rows(),
        fit: Some(RowRange { end: plan.rows(), ..row_range(options, plan) }),
    }))
}

/// Everything that decides which bytes land where. Sources may change: their pieces tell by themselves.
fn identity(options: &MergeOptions, layout: &Layout, format: &dyn Format, plan: &Plan) -> Value {
    let part = |part: &crate::plan::Part| {
        json!([part.checkpoint.path, part.range.start, part.range.end, part.first, part.rows, part.store_row])
    };
    json!({
        "embstore_version": env!("CARGO_PKG_VERSION"),
        "verb": "merge",
        "format": format.name(),
        "shape": [plan.array().rows(), plan.array().cols()],
        "piece_rows": piece_rows(plan.array().cols()),
        "layout": layout_fields(layout),
        "key": options.key,
        "model": options.model,
        "articles": options.articles,
        "parts": plan.parts().iter().map(part).collect::<Value>(),
    })
}

/// The `model` that every checkpoint names, or none.
fn common_model(plan: &Plan) -> Value {
    let mut models = plan.parts().iter().map(|part| part.checkpoint.fields.get("model"));
    match models.next().flatten() {
        Some(first @ Value::String(_)) if models.all(|model| model == Some(first)) => first.clone(),
        _ => Value::Null,
    }
}

fn non_finite(metrics: &Fields) -> Error {
    let count = |key: &str| metrics[key].as_u64().unwrap_or(0);
    let mut first = String::new();
    for (key, what) in [("first_nan_rows", "NaN"), ("first_inf_rows", "infinity")] {
        for entry in metrics[key].as_array().into_iter().flatten() {
            let (row, file) = (entry["row"].as_u64().unwrap_or(0), entry["file"].as_str().unwrap_or("?"));
            first.push_str(&format!("\n  {what} in row {} ({file})", thousands(row)));
        }
    }
    Error::NonFinite { nan_rows: count("nan_rows"), inf_rows: count("inf_rows"), first }
}

fn warnings(plan: &Plan, metadata: &Fields) -> Vec<String> {
    let mut warnings = Vec::new();
    for part in plan.parts() {
        let checkpoint = &part.checkpoint;
        warnings.extend(checkpoint.notes.iter().map(|note| format!("{}: {note}", checkpoint.name())));
        if checkpoint.array.dtype != Dtype::Float32 {
            warnings.push(format!("{}: {} was converted to float32", checkpoint.name(), checkpoint.array.dtype));
        }
    }
    for (count, what) in [
        ("nan_rows", "hold NaN"),
        ("inf_rows", "hold infinities"),
        ("zero_rows", "are all zero"),
        ("narrowed_to_inf", "became infinite in float32"),
    ] {
        let count = metadata["quality_metrics"][count].as_u64().unwrap_or(0);
        if count > 0 {
            warnings.push(format!("{} rows {what}", thousands(count)));
        }
    }
    warnings
}
