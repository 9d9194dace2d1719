//! `embstore info`

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use embstore::text::thousands;
use embstore::{Info, Kind, info};
use serde_json::{Value, json};

use super::Failure;
use super::output::Output;

/// Longest value that is printed in a line.
const VALUE_WIDTH: usize = 100;

/// Say what a checkpoint or a store holds.
///
/// Reads headers only, so it costs milliseconds whatever the size.
#[derive(Args)]
#[command(after_help = "Examples:\n  embstore info embeddings/cluster1_gpu0.pkl\n  embstore info wikipedia.npy --json")]
pub(super) struct InfoArgs {
    /// The file
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// The field of a checkpoint that holds the rows
    #[arg(long, value_name = "NAME", default_value = "embeddings")]
    key: String,
}

impl InfoArgs {
    pub(super) fn run(&self, output: Output) -> Result<(), Failure> {
        let info = info(&self.path, &self.key)?;
        let result = json!({
            "path": info.path.display().to_string(),
            "kind": info.kind.name(),
            "format": info.format,
            "shape": info.shape.map(|(rows, cols)| [rows, cols]),
            "dtype": info.dtype,
            "metadata": info.metadata,
            "problems": info.problems,
        });
        Ok(output.result(&result, |out| print(&info, out))?)
    }
}

fn print(info: &Info, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}: {} ({})", info.path.display(), info.kind.name(), info.format)?;
    if let (Some((rows, cols)), Some(dtype)) = (info.shape, info.dtype) {
        writeln!(out, "  {} rows × {cols} columns, {dtype}", thousands(rows))?;
    }
    if info.kind == Kind::Array {
        writeln!(out, "  names no rows of its own: such files follow each other in natural name order")?;
    }
    for (key, value) in &info.metadata {
        writeln!(out, "  {key}: {}", short(value))?;
    }
    for problem in &info.problems {
        writeln!(out, "⚠ {problem}")?;
    }
    Ok(())
}

fn short(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), String::from);
    match text.char_indices().nth(VALUE_WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
