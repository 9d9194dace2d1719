//! Articles on their way into a table: staged in a Parquet file beside it, whose row groups are the table's own.

use std::ffi::OsString;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::broken;
use crate::articles::{Article, ArticleSink, ArticlesWritten, ContentHasher, ParquetArticles};
use crate::error::FormatError;

/// Where the articles of the table at `path` are staged.
pub(crate) fn staged_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(".articles");
    path.with_file_name(name)
}

/// Takes the articles of a table and measures their content.
pub(crate) struct StagedArticles {
    file: Box<ParquetArticles>,
    hasher: ContentHasher,
}

impl StagedArticles {
    /// Creates or replaces the file, with `chunk_rows` articles in a row group.
    pub(crate) fn create(path: &Path, chunk_rows: u64) -> Result<Self, FormatError> {
        let group_rows = usize::try_from(chunk_rows).unwrap_or(usize::MAX);
        Ok(StagedArticles {
            file: Box::new(ParquetArticles::in_groups(path, group_rows)?),
            hasher: ContentHasher::default(),
        })
    }
}

impl ArticleSink for StagedArticles {
    fn push(&mut self, article: Article<'_>) -> Result<(), FormatError> {
        self.hasher.update(article);
        self.file.push(article)
    }

    fn finish(self: Box<Self>) -> Result<ArticlesWritten, FormatError> {
        self.file.finish()?;
        Ok(self.hasher.written())
    }
}

/// Hands the articles of one chunk to `visit`, in row order.
pub(crate) fn chunk_articles(staged: &Path, chunk: u64, visit: &mut dyn FnMut(Article<'_>)) -> Result<(), FormatError> {
    let file = File::open(staged).map_err(FormatError::io("open", staged))?;
    let reader = SerializedFileReader::new(file).map_err(broken(staged))?;
    let index = usize::try_from(chunk).unwrap_or(usize::MAX);
    if index >= reader.num_row_groups() {
        return Err(FormatError::Shrunk { path: staged.to_path_buf(), row: chunk });
    }
    let group = reader.get_row_group(index).map_err(broken(staged))?;
    let rows = u64::try_from(group.metadata().num_rows()).unwrap_or(0);
    let mut handed = 0;
    crate::articles::read_parquet_group(&*group, &mut |article| {
        visit(article);
        handed += 1;
        ControlFlow::Continue(())
    })
    .map_err(|source| source.at(staged))?;
    if handed != rows {
        return Err(FormatError::Shrunk { path: staged.to_path_buf(), row: chunk });
    }
    Ok(())
}
