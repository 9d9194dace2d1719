//! What there is to embed: every Parquet file under the one root whose output under the other is missing.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use embstore_formats::FormatError;
use rayon::prelude::*;

use super::job::{Job, JobError};
use super::queue::Roots;
use crate::inputs::resolved;
use crate::progress::Cancel;
use crate::table::{FolderOfTables, WalkError, walk};

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// There is no folder of texts.
    #[error("{}: no such folder: the texts are missing", path.display())]
    NoChains {
        /// Where it should be.
        path: PathBuf,
    },
    /// What is written would be read.
    #[error("{}: lies in {}, so embeddings would be taken for texts", embeddings.display(), chains.display())]
    Nested {
        /// The folder of embeddings.
        embeddings: PathBuf,
        /// The folder of texts.
        chains: PathBuf,
    },
    /// A file that no job can name.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The operating system refused.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The caller asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl From<WalkError> for ScanError {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Format(source) => ScanError::Format(source),
            WalkError::Cancelled => ScanError::Cancelled,
        }
    }
}

impl ScanError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            ScanError::NoChains { .. } => "name the folder that holds the texts: --chains DIR".into(),
            ScanError::Nested { .. } => "write somewhere else: --embeddings DIR".into(),
            ScanError::Job(source) => source.hint(),
            ScanError::Format(source) => source.hint(),
            ScanError::Cancelled => "run the same command again".into(),
        }
    }
}

/// A folder of texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its path below the root.
    pub path: PathBuf,
    /// Nanoseconds since 1970 when a file in it was last added or removed.
    pub modified: i128,
    /// The names of files whose output is missing or empty.
    pub missing: Vec<String>,
    /// The names of files whose output is there.
    pub there: Vec<OsString>,
}

impl Folder {
    /// What is to be done in it.
    pub fn jobs<'a>(&'a self, roots: &'a Roots) -> impl Iterator<Item = Result<Job, JobError>> + 'a {
        let (chains, embeddings) = (roots.chains.join(&self.path), roots.embeddings.join(&self.path));
        self.missing.iter().map(move |name| Job::new(&chains.join(name), &embeddings.join(name)))
    }

    /// What has an output, as jobs: whoever wants to know whether those are whole has to look into them. A name that is not
    /// UTF-8 is left out, because no job can name it.
    pub fn jobs_there<'a>(&'a self, roots: &'a Roots) -> impl Iterator<Item = Job> + 'a {
        let (chains, embeddings) = (roots.chains.join(&self.path), roots.embeddings.join(&self.path));
        self.there.iter().filter_map(move |name| Job::new(&chains.join(name), &embeddings.join(name)).ok())
    }
}

/// Looks through all folders of texts, at any depth, on all cores. Folders without texts are left out.
///
/// A text is a file `*.parquet` that is not hidden and in no hidden folder. Outputs are not looked into: that is for the
/// workers.
///
/// # Errors
/// Where there is no such folder, or one that cannot be listed.
pub fn scan(roots: &Roots, cancel: &Cancel) -> Result<Vec<Folder>, ScanError> {
    let chains = &roots.chains;
    if !chains.is_dir() {
        return Err(ScanError::NoChains { path: chains.clone() });
    }
    if resolved(&roots.embeddings).starts_with(resolved(chains)) {
        return Err(ScanError::Nested { embeddings: roots.embeddings.clone(), chains: chains.clone() });
    }
    walk(chains, cancel)?.into_par_iter().map(|folder| sift(roots, folder)).collect()
}

/// Which of the files in a folder have no output.
fn sift(roots: &Roots, FolderOfTables { path, modified, files }: FolderOfTables) -> Result<Folder, ScanError> {
    let outputs = roots.embeddings.join(&path);
    let is_new = !outputs.is_dir();
    let (mut missing, mut there) = (Vec::new(), Vec::new());
    for file in files {
        if !is_new && is_there(&outputs.join(&file)) {
            there.push(file.into_os_string());
            continue;
        }
        let told = |name: OsString| JobError::NotUtf8 { path: roots.chains.join(&path).join(name) };
        missing.push(file.into_os_string().into_string().map_err(told)?);
    }
    Ok(Folder { path, modified, missing, there })
}

/// Whether there is an output; an empty file is none.
pub(crate) fn is_there(output: &Path) -> bool {
    fs::metadata(output).is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    fn roots(folder: &Path) -> Roots {
        Roots { chains: folder.join("chains"), embeddings: folder.join("embeddings") }
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn missing_outputs_are_found_at_any_depth() {
        let folder = tempfile::tempdir().unwrap();
        let roots = roots(folder.path());
        for name in [
            "00/A/c_10.parquet",
            "00/A/c_2.parquet",
            "00/A/c_3.parquet",
            "00/A/notes.txt",
            "00/A/.hidden.parquet",
            "00/A/c_4.parquet.tmp",
            "00/.hidden/c.parquet",
            "top.parquet",
            "1/2/3/4/deep.parquet",
        ] {
            write(&roots.chains.join(name), "");
        }
        write(&roots.embeddings.join("00/A/c_3.parquet"), "rows");
        write(&roots.embeddings.join("00/A/c_2.parquet"), "");
        symlink("..", roots.chains.join("00/circle")).unwrap();
        symlink("nowhere", roots.chains.join("00/broken.parquet")).unwrap();
        let found = scan(&roots, &Cancel::new()).unwrap();
        let told: Vec<_> =
            found.iter().map(|f| (f.path.to_str().unwrap(), f.missing.join(" "), f.there.len())).collect();
        assert_eq!(
            told,
            [
                ("", "top.parquet".into(), 0),
                ("00/A", "c_2.parquet c_10.parquet".to_string(), 1),
                ("1/2/3/4", "deep.parquet".into(), 0),
            ]
        );
        let job = found[1].jobs(&roots).next().unwrap().unwrap();
        assert_eq!(Path::new(&job.input), roots.chains.join("00/A/c_2.parquet"));
        assert_eq!(Path::new(&job.output), roots.embeddings.join("00/A/c_2.parquet"));
    }

    #[test]
    fn what_cannot_be_scanned_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let mut roots = roots(folder.path());
        let said = |roots: &Roots| scan(roots, &Cancel::new()).unwrap_err().to_string();
        assert!(said(&roots).ends_with("chains: no such folder: the texts are missing"));
        write(&roots.chains.join("a").join(OsStr::from_bytes(b"\xff.parquet")), "");
        assert!(said(&roots).contains("not UTF-8"));
        roots.embeddings = roots.chains.join("a/out");
        assert!(said(&roots).contains("taken for texts"));
        roots.embeddings = roots.chains.clone();
        assert!(said(&roots).contains("taken for texts"));
        let cancel = Cancel::new();
        cancel.cancel();
        assert!(matches!(scan(&super::Roots { embeddings: "e".into(), ..roots }, &cancel), Err(ScanError::Cancelled)));
    }
}
