//! Whether an output is there and valid.

use std::fs;
use std::io;
use std::path::Path;

use parquet::basic::Type;
use parquet::file::metadata::ParquetMetaData;

use super::error::FileError;
use super::provenance::Provenance;
use super::writer::column_name;
use crate::embed::job::Job;
use crate::table;

/// What is there in place of an output.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// Nothing.
    Missing,
    /// The embeddings of this input by this model, or by a program that does not say which.
    Valid,
    /// Something that is to be replaced, and why.
    Invalid(String),
}

/// Looks at the footer of `output`, which should hold `rows` rows as `expected` tells.
///
/// # Errors
/// [`FileError::OtherModel`] where it holds the embeddings of another model: these are somebody's work.
pub(super) fn look(output: &Path, rows: u64, expected: &Provenance, dim: usize) -> Result<Existing, FileError> {
    let footer = match table::footer(output) {
        Ok(Ok(footer)) => footer,
        Ok(Err(error)) => return Ok(Existing::Invalid(format!("is damaged or not finished: {error}"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Existing::Missing),
        Err(error) => return Err(FileError::io("look at", output)(error)),
    };
    let made = Provenance::of(footer.file_metadata().key_value_metadata());
    if let Some(made) = &made
        && made.model_hash != expected.model_hash
    {
        let (theirs, ours) = (made.model_name(), expected.model_name());
        return Err(FileError::OtherModel { path: output.to_path_buf(), theirs, ours });
    }
    let there = footer.file_metadata().num_rows();
    if u64::try_from(there).ok() != Some(rows) {
        return Ok(Existing::Invalid(format!("has {there} rows, its input {rows}")));
    }
    if made.is_some_and(|made| made.input_bytes != expected.input_bytes) {
        return Ok(Existing::Invalid("was made from an input of another length".into()));
    }
    match missing_column(&footer, dim) {
        Some(name) => Ok(Existing::Invalid(format!("has no column {name} of float32"))),
        None => Ok(Existing::Valid),
    }
}

/// Whether the file in place of a job's output can be what is made of its input, by any model; where not, [`look`] never
/// finds it valid. Footers are read and no more, and that of the input only where the output does not tell of it.
pub(in crate::embed) fn is_whole(job: &Job) -> bool {
    let input = Path::new(&job.input);
    let footer = |path: &Path| table::footer(path).ok()?.ok();
    let Some(made) = footer(Path::new(&job.output)) else { return false };
    // An input that cannot be read is no reason to do away with an output.
    match Provenance::of(made.file_metadata().key_value_metadata()) {
        Some(told) => fs::metadata(input).map_or(true, |input| input.len() == told.input_bytes),
        None => footer(input).is_none_or(|input| input.file_metadata().num_rows() == made.file_metadata().num_rows()),
    }
}

fn missing_column(footer: &ParquetMetaData, dim: usize) -> Option<String> {
    let columns = footer.file_metadata().schema_descr().columns();
    let floats: std::collections::HashSet<&str> = columns
        .iter()
        .filter(|column| column.physical_type() == Type::FLOAT && column.path().parts().len() == 1)
        .map(|column| column.name())
        .collect();
    (0..dim).map(column_name).find(|name| !floats.contains(name.as_str()))
}
