//! Only the articles of a merge: a pickled list, JSON lines or Parquet to the articles file of a store.
//!
//! `cargo run --release --example articles -- wikipedia.pkl articles.parquet`

use std::ops::ControlFlow;
use std::path::PathBuf;

use embstore::formats::articles::{ArticleSink, ParquetArticles, read};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [input, output] = paths.as_slice() else { return Err("usage: articles INPUT OUTPUT.parquet".into()) };
    let mut sink = Box::new(ParquetArticles::create(output)?);
    let mut failed = None;
    read(input, &std::env::temp_dir(), &mut |article| match sink.push(article) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let written = sink.finish()?;
    let mut out = std::io::stdout().lock();
    std::io::Write::write_fmt(
        &mut out,
        format_args!("{} articles, {} bytes\n", written.count, written.checksum.len()),
    )?;
    Ok(())
}
