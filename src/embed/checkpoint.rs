//! `.embstore-enqueue.jsonl` under the root of the embeddings: which folders an unfinished enqueue has queued.
//!
//! The first line says for which queue, then a line a folder, appended after its jobs wait. A line that was cut off does
//! not count. A folder that has changed since is looked at again, which is safe: a queue takes no job twice.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use embstore_formats::FormatError;
use serde::{Deserialize, Serialize};

use super::scan::Folder;

const NAME: &str = ".embstore-enqueue.jsonl";

/// What the lines of a checkpoint are about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) queue: String,
    pub(super) name: String,
    pub(super) id: String,
    pub(super) chains: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Line {
    folder: PathBuf,
    modified: i128,
}

/// An open checkpoint.
pub(super) struct Checkpoint {
    path: PathBuf,
    file: File,
    queued: HashMap<PathBuf, i128>,
}

impl Checkpoint {
    /// Opens the checkpoint in this folder, which is made where it is missing. One of another queue begins anew.
    pub(super) fn open(embeddings: &Path, head: &Head) -> Result<Self, FormatError> {
        fs::create_dir_all(embeddings).map_err(FormatError::io("create", embeddings))?;
        let path = embeddings.join(NAME);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(FormatError::io("read", &path))?,
        };
        let mut lines = text.split(|byte| *byte == b'\n');
        let goes_on = lines.next().and_then(|line| serde_json::from_slice::<Head>(line).ok()).as_ref() == Some(head);
        let opened = File::options().append(goes_on).write(true).create(true).truncate(!goes_on).open(&path);
        let mut file = opened.map_err(FormatError::io("write", &path))?;
        // Also after a line that was cut off, the next one begins a line.
        let begin = if goes_on { "\n".into() } else { serde_json::to_string(head).unwrap_or_default() + "\n" };
        file.write_all(begin.as_bytes()).map_err(FormatError::io("write", &path))?;
        let queued = lines.filter(|_| goes_on).filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        let queued = queued.map(|line| (line.folder, line.modified)).collect();
        Ok(Checkpoint { path, file, queued })
    }

    /// Whether all jobs of this folder, as it is now, have been queued.
    pub(super) fn has(&self, folder: &Folder) -> bool {
        self.queued.get(&folder.path) == Some(&folder.modified)
    }

    /// All jobs of these folders are queued.
    pub(super) fn record(&mut self, folders: &[&Folder]) -> Result<(), FormatError> {
        let line = |folder: &&Folder| {
            let line = Line { folder: folder.path.clone(), modified: folder.modified };
            serde_json::to_string(&line).unwrap_or_default() + "\n"
        };
        let lines: String = folders.iter().map(line).collect();
        self.file.write_all(lines.as_bytes()).map_err(FormatError::io("write", &self.path))
    }

    /// Everything is queued: there is nothing to go on with.
    pub(super) fn discard(self) -> Result<(), FormatError> {
        match fs::remove_file(&self.path) {
            // Another one was quicker.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(FormatError::io("remove", &self.path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: &str, modified: i128) -> Folder {
        Folder { path: path.into(), modified, missing: Vec::new(), there: Vec::new() }
    }

    #[test]
    fn what_was_recorded_is_known_until_it_changes() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().join("embeddings");
        let head = Head { queue: "dir".into(), name: "q".into(), id: "1".into(), chains: "chains".into() };
        let mut checkpoint = Checkpoint::open(&root, &head).unwrap();
        assert!(!checkpoint.has(&folder("", 5)));
        checkpoint.record(&[&folder("", 5), &folder("00/A", 1_700_000_000_123_456_789)]).unwrap();
        // Cut off in the middle of a line.
        checkpoint.file.write_all(b"{\"folder\": \"00/B\", \"modi").unwrap();

        let mut again = Checkpoint::open(&root, &head).unwrap();
        assert!(again.has(&folder("", 5)) && again.has(&folder("00/A", 1_700_000_000_123_456_789)));
        assert!(!again.has(&folder("", 6)) && !again.has(&folder("00/B", 1)));
        again.record(&[&folder("00/C", 7)]).unwrap();
        assert!(Checkpoint::open(&root, &head).unwrap().has(&folder("00/C", 7)));

        let other = Head { id: "2".into(), ..head.clone() };
        assert!(!Checkpoint::open(&root, &other).unwrap().has(&folder("", 5)));
        let last = Checkpoint::open(&root, &head).unwrap();
        assert!(!last.has(&folder("", 5)));
        last.discard().unwrap();
        assert!(fs::read_dir(&root).unwrap().next().is_none());
    }
}
