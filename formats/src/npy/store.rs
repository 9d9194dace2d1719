//! A store in `.npy`: the matrix, and two sidecars.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::array::ArrayMeta;
use crate::articles::{ArticleSink, ArticlesWritten, ParquetArticles};
use crate::error::FormatError;
use crate::format::{Fields, Target};
use crate::rows::{Region, allocate};

use super::header::{STORE_HEADER, store_header};

/// `<stem>.articles.parquet` beside the matrix.
pub(super) fn articles_path(matrix: &Path) -> PathBuf {
    matrix.with_extension("articles.parquet")
}

/// `<stem>.meta.json` beside the matrix.
pub(super) fn metadata_path(matrix: &Path) -> PathBuf {
    matrix.with_extension("meta.json")
}

pub(super) struct NpyStore {
    region: Region,
    articles: PathBuf,
    metadata: PathBuf,
}

impl NpyStore {
    pub(super) fn create(path: &Path, array: ArrayMeta) -> Result<Self, FormatError> {
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(FormatError::io("create", path))?;
        allocate(&file, STORE_HEADER + array.payload_bytes()).map_err(FormatError::io("allocate", path))?;
        file.write_all_at(&store_header(&array), 0).map_err(FormatError::io("write", path))?;
        let region = Region { path: path.to_path_buf(), offset: STORE_HEADER, array };
        Ok(NpyStore { region, articles: articles_path(path), metadata: metadata_path(path) })
    }
}

impl Target for NpyStore {
    fn region(&self) -> &Region {
        &self.region
    }

    fn articles(&self) -> Result<Box<dyn ArticleSink>, FormatError> {
        Ok(Box::new(ParquetArticles::create(&self.articles)?))
    }

    fn finish(&self, metadata: &Fields, _articles: Option<&ArticlesWritten>) -> Result<(), FormatError> {
        let text = format!("{:#}\n", Value::Object(metadata.clone()));
        fs::write(&self.metadata, text).map_err(FormatError::io("write", &self.metadata))
    }
}
