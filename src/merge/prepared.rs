//! A merge that is ready to begin, and its building.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use embstore_formats::{Dtype, Fields, Format, FormatError, Layout, Writes};
use serde_json::{Value, json};

use crate::build::{Built, build as build_store};
use crate::checkpoint::{Checkpoint, file_name};
use crate::copy::{Awaited, piece_rows};
use crate::error::Error;
use crate::identity::Identity;
use crate::job::{ArticlesPart, BuildOptions, Job, Measured, layout_fields};
use crate::metadata::{Description, chunk_info, gather};
use crate::plan::{Part, Plan, RowRange};
use crate::preflight::check_target;
use crate::progress::Observer;
use crate::text::iso8601;
use crate::update::{Old, recorded};

use super::report::{non_finite, warnings};
use super::{MergeOptions, MergeReport, NonFinite, plan_arriving, sources};

/// A merge whose plan is verified and of which everything is known but the rows. Nothing has been written.
pub(super) struct Merge<'a> {
    options: &'a MergeOptions,
    format: &'static dyn Format,
    plan: Plan,
    old: Option<Old>,
    articles: Option<ArticlesPart>,
    model: Value,
    build: BuildOptions,
    timestamp: String,
}

impl<'a> Merge<'a> {
    /// Verifies all that can be verified before the first row is read.
    pub(super) fn prepare(
        options: &'a MergeOptions,
        coming: &[Checkpoint],
        observer: Observer<'_>,
    ) -> Result<Self, Error> {
        let format = options.format()?;
        check_target(&options.output, format, options.build.force || options.update)?;
        let plan = plan_arriving(options, coming, observer)?;
        let old = old_store(options, &plan)?;
        let articles = articles_part(options, &plan, old.as_ref())?;
        let model = options.model.clone().map_or_else(|| common_model(&plan), Value::String);
        let mut build = options.build;
        if let Some(old) = old.as_ref().filter(|_| build.layout == Layout::default()) {
            build.layout = old.layout();
        }
        let timestamp = iso8601(options.timestamp.unwrap_or_else(SystemTime::now));
        Ok(Merge { options, format, plan, old, articles, model, build, timestamp })
    }

    /// Builds and publishes the store, unless the one that is there is already what it would be.
    pub(super) fn build(&self, awaited: Awaited<'_>, observer: Observer<'_>) -> Result<Built, Error> {
        let Merge { options, format, plan, old, articles, model, build, timestamp: _ } = self;
        let standing = old.as_ref().and_then(|old| old.up_to_date(plan, model, &build.layout, articles.as_ref()));
        if let Some(metadata) = standing {
            return Ok(Built::standing(&format.store_files(&options.output), metadata));
        }
        let mut sources = sources(plan);
        if let Some(old) = old {
            old.redirect(&mut sources);
        }
        let job = Job {
            target: &options.output,
            format: *format,
            array: plan.array(),
            sources,
            awaited: Some(awaited),
            articles: articles.clone(),
            updates: old.is_some(),
            identity: identity(options, &build.layout, *format, plan),
            options: *build,
        };
        build_store(&job, &|measured| self.describe(measured), observer)
    }

    /// The metadata of the store, given what was measured. Refuses rows that were asked to be refused.
    fn describe(&self, measured: &Measured) -> Result<Fields, Error> {
        let Merge { options, plan, old, .. } = self;
        let landed = &measured.landed;
        if let Some(old) = old {
            old.check(plan, landed)?;
        }
        let array = plan.array();
        let (quality, checksum) = gather(landed, 0..u64::MAX);
        let quality_metrics = quality.to_json((array.rows(), array.cols()), Dtype::Float32, &|row| plan.file_of(row));
        if options.non_finite == NonFinite::Error && quality.has_non_finite() {
            return Err(non_finite(&quality_metrics));
        }
        let description = Description {
            array,
            model: self.model.clone(),
            timestamp: self.timestamp.clone(),
            quality_metrics,
            chunk_info: chunk_info(plan, landed),
            checksum,
            header: measured.header,
            row_range: row_range(options, plan),
            layout: self.build.layout,
            articles_source: self.articles.as_ref().and_then(|part| part.source.clone()),
        };
        Ok(description.to_fields(measured.articles.as_ref(), self.format.writes() == Writes::Legacy))
    }

    /// What to tell of the store that was built in so many seconds.
    pub(super) fn report(self, built: Built, seconds: f64) -> MergeReport {
        MergeReport {
            store: self.options.output.clone(),
            format: self.format.name(),
            shape: (self.plan.array().rows(), self.plan.array().cols()),
            bytes: built.bytes,
            seconds,
            rows_left_out: self.plan.rows_left_out(),
            rows_resumed: built.rows_resumed,
            warnings: warnings(&self.plan, &built.metadata),
            metadata: built.metadata,
            changes: self.old.map(|old| old.changes),
        }
    }
}

/// The store that is to be updated, compared with the plan.
pub(super) fn old_store(options: &MergeOptions, plan: &Plan) -> Result<Option<Old>, Error> {
    if options.update { Old::open(&options.output, plan) } else { Ok(None) }
}

fn row_range(options: &MergeOptions, plan: &Plan) -> RowRange {
    options.rows.unwrap_or(RowRange { start: 0, end: plan.rows() })
}

/// The articles that are given, or those of the store that is updated.
pub(super) fn articles_part(
    options: &MergeOptions,
    plan: &Plan,
    old: Option<&Old>,
) -> Result<Option<ArticlesPart>, Error> {
    let Some(path) = options.articles.clone() else { return old.map_or(Ok(None), |old| old.articles(plan)) };
    let mut source = recorded(articles_identity(&path)?);
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
    let part = |part: &Part| {
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

/// Which file the articles are.
pub(crate) fn articles_identity(path: &Path) -> Result<Identity, Error> {
    match Identity::at(path) {
        Err(FormatError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(Error::NoArticles { path: path.to_path_buf() })
        }
        identity => Ok(identity?),
    }
}
