//! The columns beside the embeddings, which the result keeps: of Parquet inputs their own, of a store its articles.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema, SchemaRef};
use embstore_formats::detect;
use parquet::arrow::ProjectionMask;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::schema::types::ColumnPath;
use serde_json::Value;

use super::error::ClusterError;
use super::options::{ClusterOptions, NonFiniteRows};
use super::record;
use super::rows::Rows;
use crate::plan::Part;
use crate::store::Store;
use crate::table::{self, TableError, batch_rows, compression, foreign_pairs};

/// Columns that a result can have beside those of its input.
const ADDED: [&str; 4] = ["label", "probability", "outlier_score", "row"];
/// Articles, as a store keeps them.
const ARTICLE: [&str; 3] = ["id", "title", "url"];

/// The columns that are kept, file by file in row order.
#[derive(Debug)]
pub(super) struct Columns {
    /// Empty where there are no such columns.
    files: Vec<PathBuf>,
    /// The names that are kept.
    names: HashSet<String>,
    /// Their types.
    pub(super) schema: SchemaRef,
    pub(super) compression: Vec<(ColumnPath, Compression)>,
    /// Keys and values of the first footer.
    pub(super) pairs: Vec<KeyValue>,
    /// What is not kept, and why.
    pub(super) note: Option<String>,
}

impl Columns {
    /// Looks at the footers of the files of `rows`.
    pub(super) fn of(rows: &Rows<'_>, options: &ClusterOptions) -> Result<Self, ClusterError> {
        let parts = rows.parts();
        let added = added(options);
        let is_table = |path: &Path| detect(path).is_ok_and(|format| format.name() == "parquet");
        let tables = parts.iter().filter(|part| is_table(&part.checkpoint.path)).count();
        if tables == parts.len() {
            let others: HashSet<&str> = parts.iter().flat_map(others).collect();
            let is_kept = |name: &str| options.keep_embeddings || others.contains(name);
            return Self::in_files(rows.files(), &is_kept, added);
        }
        if tables > 0 {
            let note = "columns beside the embeddings are left out, as not all inputs are Parquet".into();
            return Ok(Columns { note: Some(note), ..Self::none() });
        }
        match &rows.files()[..] {
            [store] => Self::articles(store, added),
            _ => Ok(Self::none()),
        }
    }

    fn none() -> Self {
        Columns {
            files: Vec::new(),
            names: HashSet::new(),
            schema: Arc::new(Schema::empty()),
            compression: Vec::new(),
            pairs: Vec::new(),
            note: None,
        }
    }

    /// The articles beside a store, where they are a table.
    fn articles(path: &Path, added: &[&str]) -> Result<Self, ClusterError> {
        let store = Store::open(path).ok();
        match store.as_ref().and_then(Store::articles) {
            Some(articles) if articles == path => {
                let note = "its articles are left out, as they are no table; export it to npy to keep them".into();
                Ok(Columns { note: Some(note), ..Self::none() })
            }
            Some(articles) => Self::in_files(vec![articles.to_path_buf()], &|name| ARTICLE.contains(&name), added),
            None => Ok(Self::none()),
        }
    }

    fn in_files(files: Vec<PathBuf>, is_kept: &dyn Fn(&str) -> bool, added: &[&str]) -> Result<Self, ClusterError> {
        let mut columns = Self::none();
        for (index, path) in files.iter().enumerate() {
            let (builder, _) = table::open(path)?;
            let footer = builder.metadata();
            let pairs = footer.file_metadata().key_value_metadata();
            // A result that is clustered again gets new labels in place of its own.
            let own: &[&str] = match record::Record::of(pairs) {
                Some(_) => &ADDED,
                None => &[],
            };
            let kept = |field: &&Arc<Field>| is_kept(field.name()) && !own.contains(&field.name().as_str());
            // Whether a column may be null can differ from file to file.
            let nullable = |field: &Arc<Field>| Arc::new(field.as_ref().clone().with_nullable(true));
            let fields: Vec<Arc<Field>> = builder.schema().fields().iter().filter(kept).map(nullable).collect();
            if let Some(taken) = fields.iter().find(|field| added.contains(&field.name().as_str())) {
                return Err(ClusterError::Taken { path: path.clone(), name: taken.name().clone() });
            }
            if index == 0 {
                columns.names = fields.iter().map(|field| field.name().clone()).collect();
                columns.schema = Arc::new(Schema::new(fields));
                columns.compression = compression(footer);
                columns.pairs = foreign_pairs(pairs.map_or(&[], Vec::as_slice), &[]);
            } else if let Some(difference) = difference(&columns.schema, &fields) {
                return Err(ClusterError::Columns { path: path.clone(), first: files[0].clone(), difference });
            }
        }
        columns.compression.retain(|(column, _)| columns.names.contains(&column.parts()[0]));
        Ok(if columns.names.is_empty() { Self::none() } else { Columns { files, ..columns } })
    }

    /// The columns in batches of rows, in row order; nothing where there are none.
    pub(super) fn batches(&self) -> impl Iterator<Item = Result<RecordBatch, ClusterError>> + '_ {
        self.files.iter().flat_map(|path| match self.read(path) {
            Ok(batches) => Box::new(batches) as Box<dyn Iterator<Item = _>>,
            Err(error) => Box::new(std::iter::once(Err(error))),
        })
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The files that they are read from.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    fn read<'a>(
        &'a self,
        path: &'a Path,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, ClusterError>> + 'a, ClusterError> {
        let (builder, _) = table::open(path)?;
        let roots = builder.schema().fields().iter().enumerate();
        let kept: Vec<usize> =
            roots.filter(|(_, field)| self.names.contains(field.name())).map(|(root, _)| root).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), kept);
        let rows = batch_rows(builder.metadata());
        let batches = builder.with_projection(mask).with_batch_size(rows).build();
        let damaged = TableError::damaged(path);
        Ok(batches.map_err(&damaged)?.map(move |batch| {
            let batch = batch.map_err(ParquetError::from).map_err(&damaged)?;
            let columns = batch.columns().to_vec();
            Ok(RecordBatch::try_new(self.schema.clone(), columns).map_err(ParquetError::from).map_err(&damaged)?)
        }))
    }
}

/// The columns of a Parquet file that are not its embedding.
fn others(part: &Part) -> Vec<&str> {
    match part.checkpoint.fields.get("columns").and_then(Value::as_array) {
        Some(columns) => columns.iter().filter_map(Value::as_str).collect(),
        // A store has its metadata there, and its articles beside the embeddings.
        None => ARTICLE.to_vec(),
    }
}

/// The columns that a result has beside those of its input. Rows are told where some are left out.
pub(super) fn added(options: &ClusterOptions) -> &'static [&'static str] {
    match options.non_finite {
        NonFiniteRows::Error => &ADDED[..3],
        NonFiniteRows::Drop => &ADDED,
    }
}

/// What differs between two lists of columns; whether one may be null does not count.
fn difference(first: &Schema, other: &[Arc<Field>]) -> Option<String> {
    let told = |field: &Field| format!("{} ({})", field.name(), field.data_type());
    let mut pairs = first.fields().iter().zip(other);
    let is_other = |(a, b): &(&Arc<Field>, &Arc<Field>)| a.name() != b.name() || a.data_type() != b.data_type();
    if let Some((a, b)) = pairs.find(is_other) {
        return Some(format!("{} in place of {}", told(b), told(a)));
    }
    match (first.fields().get(other.len()), other.get(first.fields().len())) {
        (Some(missing), _) => Some(format!("{} is missing", told(missing))),
        (_, Some(more)) => Some(format!("{} is one more", told(more))),
        _ => None,
    }
}
