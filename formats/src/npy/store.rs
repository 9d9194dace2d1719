//! A store in `.npy`: the matrix, and two sidecars.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::array::ArrayMeta;
use crate::articles::{ArticleSink, ArticlesWritten};
use crate::checksum::Checksum;
use crate::error::FormatError;
use crate::format::Fields;
use crate::region::{Region, Regions, allocate};
use crate::target::{Parts, Sidecars, Target};

use super::header::{STORE_HEADER, store_header};

pub(super) struct NpyStore {
    regions: Regions,
    sidecars: Sidecars,
}

impl NpyStore {
    pub(super) fn create(path: &Path, array: ArrayMeta) -> Result<Self, FormatError> {
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(FormatError::io("create", path))?;
        allocate(&file, STORE_HEADER + array.payload_bytes()).map_err(FormatError::io("allocate", path))?;
        file.write_all_at(&store_header(&array), 0).map_err(FormatError::io("write", path))?;
        let region = Region { path: path.to_path_buf(), offset: STORE_HEADER, array };
        Ok(NpyStore { regions: region.into(), sidecars: Sidecars::of(path) })
    }
}

impl Target for NpyStore {
    fn parts(&self) -> Parts<'_> {
        Parts::Regions(&self.regions)
    }

    fn articles(&self) -> Result<Box<dyn ArticleSink>, FormatError> {
        self.sidecars.articles()
    }

    fn header(&self) -> Result<Option<Checksum>, FormatError> {
        Checksum::of_header(&self.regions)
    }

    fn finish(&self, metadata: &Fields, _articles: Option<&ArticlesWritten>) -> Result<(), FormatError> {
        self.sidecars.finish(metadata)
    }
}
