//! What became of every file.

use std::path::PathBuf;

use super::error::FetchError;
use super::fetch::Fetched;
use super::manifest::Entry;
use super::remote::RemoteFile;
use super::survey::Refusal;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileStatus {
    /// It was fetched.
    Transferred,
    /// It was there.
    Skipped,
    /// It would be fetched.
    Missing,
    /// It is not there.
    Failed,
}

impl FileStatus {
    /// The word for it in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FileStatus::Transferred => "transferred",
            FileStatus::Skipped => "skipped",
            FileStatus::Missing => "missing",
            FileStatus::Failed => "failed",
        }
    }
}

/// What became of one file, or of a whole cluster.
#[derive(Debug)]
pub struct FileReport {
    /// The cluster.
    pub cluster: String,
    /// The file's name; none where the cluster as a whole failed.
    pub file: Option<String>,
    /// Its path on the cluster.
    pub remote_path: Option<String>,
    /// Its length in bytes.
    pub bytes: u64,
    /// What became of it.
    pub status: FileStatus,
    /// SHA-256 of what is here, in hexadecimal digits.
    pub sha256: Option<String>,
    /// Whether that is the cluster's own checksum too.
    pub verified: bool,
    /// Why not, where it was to be compared.
    pub unverified: Option<String>,
    /// Bytes that an earlier run had left.
    pub resumed_from: u64,
    /// Why it is not there.
    pub error: Option<FetchError>,
}

/// What a sync came to.
#[derive(Debug, Default)]
pub struct SyncReport {
    /// The download folder.
    pub output: PathBuf,
    /// Every file, in the order of clusters and names.
    pub files: Vec<FileReport>,
    /// Bytes of files that crossed the line, those that were fetched twice counted twice.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
}

impl SyncReport {
    /// How many files, or clusters, have this status.
    #[must_use]
    pub fn count(&self, status: FileStatus) -> usize {
        self.files.iter().filter(|file| file.status == status).count()
    }

    /// Whether everything is there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.count(FileStatus::Failed) == 0
    }

    /// How many files are there whose checksum is the cluster's own.
    #[must_use]
    pub fn verified(&self) -> usize {
        self.files.iter().filter(|file| file.verified).count()
    }

    /// What a person should know: what is not there, and what could not be verified.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> =
            self.files.iter().filter_map(|file| Some(format!("{}: {}", file.cluster, file.error.as_ref()?))).collect();
        let mut reasons: Vec<(&str, &str, usize)> = Vec::new();
        for file in &self.files {
            let Some(reason) = file.unverified.as_deref() else { continue };
            match reasons.iter_mut().find(|(cluster, why, _)| (*cluster, *why) == (&file.cluster, reason)) {
                Some((_, _, count)) => *count += 1,
                None => reasons.push((&file.cluster, reason, 1)),
            }
        }
        let told = |(cluster, reason, count): (&str, &str, usize)| {
            let files = if count == 1 { "1 file".into() } else { format!("{count} files") };
            format!("{cluster}: {files} not verified against the cluster's checksum: {reason}")
        };
        warnings.extend(reasons.into_iter().map(told));
        warnings
    }
}

impl FileReport {
    pub(super) fn refused(refusal: Refusal) -> Self {
        FileReport { error: Some(refusal.error), file: refusal.file, ..FileReport::empty(refusal.cluster) }
    }

    pub(super) fn failed(cluster: &str, file: &RemoteFile, error: FetchError) -> Self {
        FileReport { error: Some(error), ..FileReport::of(cluster, file, FileStatus::Failed) }
    }

    pub(super) fn missing(cluster: &str, file: &RemoteFile) -> Self {
        FileReport::of(cluster, file, FileStatus::Missing)
    }

    pub(super) fn skipped(cluster: &str, file: &RemoteFile, entry: &Entry) -> Self {
        FileReport {
            sha256: Some(entry.sha256.clone()),
            verified: entry.verified,
            ..FileReport::of(cluster, file, FileStatus::Skipped)
        }
    }

    pub(super) fn fetched(cluster: &str, file: &RemoteFile, fetched: Fetched) -> Self {
        let status = if fetched.was_there { FileStatus::Skipped } else { FileStatus::Transferred };
        FileReport {
            bytes: fetched.entry.version.size,
            sha256: Some(fetched.entry.sha256),
            verified: fetched.entry.verified,
            unverified: fetched.unverified,
            resumed_from: fetched.resumed_from,
            ..FileReport::of(cluster, file, status)
        }
    }

    fn of(cluster: &str, file: &RemoteFile, status: FileStatus) -> Self {
        FileReport {
            file: Some(file.name.clone()),
            remote_path: Some(file.path.clone()),
            bytes: file.version.size,
            status,
            ..FileReport::empty(cluster.into())
        }
    }

    fn empty(cluster: String) -> Self {
        FileReport {
            cluster,
            file: None,
            remote_path: None,
            bytes: 0,
            status: FileStatus::Failed,
            sha256: None,
            verified: false,
            unverified: None,
            resumed_from: 0,
            error: None,
        }
    }
}
