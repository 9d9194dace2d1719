//! What a compressed file turned out to hold.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::array::ArrayMeta;
use crate::error::FormatError;
use crate::format::{Fields, Format, LocateOptions, Located, Probe, recognise};
use crate::rows::{CodedRows, Payload};

/// The content of a compressed file, in a file without a name.
#[derive(Debug)]
pub struct Unpacked {
    path: PathBuf,
    codec: &'static str,
    spool: Arc<File>,
}

impl Unpacked {
    #[cfg(feature = "containers")]
    pub(crate) fn new(path: &Path, codec: &'static str, spool: Arc<File>) -> Self {
        Unpacked { path: path.to_path_buf(), codec, spool }
    }

    /// The word for how the file is compressed, for example `gzip`.
    #[must_use]
    pub fn codec(&self) -> &'static str {
        self.codec
    }

    /// The content; its cursor is at the start.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.spool
    }

    /// The format of the content.
    ///
    /// # Errors
    /// [`FormatError::Unknown`] says what it looks like instead.
    pub fn format(&self) -> Result<&'static dyn Format, FormatError> {
        let probe = Probe::of_file(&self.spool).map_err(FormatError::io("read", &self.path))?;
        recognise(&probe).map_err(|(found, hint)| unknown(&self.path, self.codec, &found, hint))
    }

    /// As [`Format::locate`], of the content.
    ///
    /// # Errors
    /// As there, and where the content is of a format that cannot be read through compression.
    pub fn locate(&self, options: &LocateOptions) -> Result<Located, FormatError> {
        let located = self.format()?.locate_file(&self.spool, &self.path, options)?;
        Ok(Located { payload: spooled(located.payload, &self.spool, &self.path), ..located })
    }

    /// As [`Format::describe`], of the content.
    ///
    /// # Errors
    /// As there.
    pub fn describe(&self, options: &LocateOptions) -> Result<Fields, FormatError> {
        self.format()?.describe_file(&self.spool, &self.path, options)
    }
}

pub(crate) fn unknown(path: &Path, codec: &str, found: &str, hint: &'static str) -> FormatError {
    FormatError::Unknown { path: path.to_path_buf(), found: format!("{codec} data, which unpacked is: {found}"), hint }
}

/// The same rows, read from the spool. Blocks read from the file that they were located in.
fn spooled(payload: Payload, spool: &Arc<File>, path: &Path) -> Payload {
    match payload {
        Payload::Raw(regions) => Payload::Raw(regions.spooled(Arc::clone(spool))),
        Payload::Coded(rows) => {
            Payload::Coded(Arc::new(Spooled { path: path.to_path_buf(), rows, spool: Arc::clone(spool) }))
        }
        blocks @ Payload::Blocks(_) => blocks,
    }
}

/// An encoding in the spool, in place of the file that it is asked for.
#[derive(Debug)]
struct Spooled {
    path: PathBuf,
    rows: Arc<dyn CodedRows>,
    spool: Arc<File>,
}

impl CodedRows for Spooled {
    fn array(&self) -> &ArrayMeta {
        self.rows.array()
    }

    fn check(&self, _file: &File) -> Result<(), FormatError> {
        self.rows.check(&self.spool)
    }

    fn decoder(&self, _file: File) -> Result<Box<dyn io::Read + Send>, FormatError> {
        self.rows.decoder(self.spool.try_clone().map_err(FormatError::io("open", &self.path))?)
    }
}
