//! Files that are on their way: taken from where they are, and landing later as a sync lets them land.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use embstore::checkpoint::Checkpoint;
use embstore::formats::LocateOptions;
use embstore::{Arrivals, Identity};

/// Seconds after 1970 at which every file says that it was modified.
const MODIFIED: i64 = 1_700_000_000;

/// One file that is on its way.
pub struct Transit {
    path: PathBuf,
    content: Vec<u8>,
    part: File,
}

impl Transit {
    /// Takes a file away; what is left is an empty `.part`.
    pub fn of(path: &Path) -> Self {
        let content = std::fs::read(path).expect("readable");
        std::fs::remove_file(path).expect("removed");
        let part = File::create(part_of(path)).expect("created");
        Transit { path: path.to_path_buf(), content, part }
    }

    /// Its place.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The identity that it will have.
    pub fn expected(&self) -> Identity {
        Identity::expected(&self.part, self.content.len() as u64, MODIFIED).expect("open")
    }

    /// As it is planned before it has landed.
    pub fn coming(&self) -> Checkpoint {
        let (preview, absent) = preview(&self.content, 4096, 4096);
        let options = LocateOptions::default();
        Checkpoint::preview(&preview, absent, &self.path, self.expected(), &options).expect("told by its preview")
    }

    /// Lands.
    pub fn land(&self, arrivals: &Arrivals) {
        self.land_as(&self.content, MODIFIED, arrivals);
    }

    /// Lands as something else.
    pub fn land_as(&self, content: &[u8], modified: i64, arrivals: &Arrivals) {
        (&self.part).write_all(content).expect("written");
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(modified.unsigned_abs());
        self.part.set_modified(modified).expect("touched");
        std::fs::rename(part_of(&self.path), &self.path).expect("renamed");
        arrivals.land(&self.path);
    }

    /// Its bytes.
    pub fn content(&self) -> &[u8] {
        &self.content
    }
}

fn part_of(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.part", path.display()))
}

/// A nameless file with the first and last bytes of `content`, and which bytes it lacks.
pub fn preview(content: &[u8], head: usize, tail: usize) -> (File, Range<u64>) {
    let head = head.min(content.len());
    let tail_at = content.len().saturating_sub(tail).max(head);
    let file = tempfile::tempfile().expect("a file");
    file.set_len(content.len() as u64).expect("sized");
    file.write_all_at(&content[..head], 0).expect("written");
    file.write_all_at(&content[tail_at..], tail_at as u64).expect("written");
    (file, head as u64..tail_at as u64)
}
