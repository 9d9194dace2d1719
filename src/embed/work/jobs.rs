//! Where a worker's jobs come from.

use std::path::Path;
use std::str::FromStr;

use rayon::prelude::*;

use crate::embed::file::is_whole;
use crate::embed::job::{Job, JobError};
use crate::embed::queue::{QueueAddress, QueueOptions, Roots};
use crate::embed::scan::Folder;
use crate::progress::Cancel;

/// Where a worker's jobs come from.
#[derive(Debug)]
pub enum WorkSource {
    /// A queue; with `drain` the worker ends when no job is left, else it waits for more.
    Queue {
        /// Which.
        address: QueueAddress,
        /// Its name, lease and tries.
        options: QueueOptions,
        /// Whether to end when no job is left.
        drain: bool,
    },
    /// One file.
    File(Job),
    /// One share of all files whose embeddings are missing or not whole.
    Shard {
        /// Which share.
        shard: Shard,
        /// Where the files are.
        roots: Roots,
    },
}

/// Share `index` of `count`, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    count: u64,
}

/// What is no shard.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no shard: INDEX/COUNT is expected, such as 0/8 up to 7/8")]
pub struct ShardError {
    text: String,
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let parsed = text.split_once('/').and_then(|(index, count)| {
            Some(Shard { index: index.trim().parse().ok()?, count: count.trim().parse().ok()? })
        });
        parsed.filter(|shard| shard.index < shard.count).ok_or_else(|| ShardError { text: text.into() })
    }
}

impl Shard {
    /// Whether a file, by its path below the root, is in this share. It depends on nothing else, so that files that come
    /// or go while the shards start change nothing for the others.
    fn has(self, relative: &Path) -> bool {
        fnv1a(relative.as_os_str().as_encoded_bytes()) % self.count == self.index
    }

    /// The jobs of this share whose output is missing.
    pub(super) fn missing(self, folders: &[Folder], roots: &Roots) -> Result<Vec<Job>, JobError> {
        let of_folder = |folder: &'_ Folder| {
            let mine = folder.missing.iter().map(|name| self.has(&folder.path.join(name))).collect::<Vec<_>>();
            folder.jobs(roots).zip(mine).filter_map(|(job, mine)| mine.then_some(job)).collect::<Vec<_>>()
        };
        folders.iter().flat_map(of_folder).collect()
    }

    /// The jobs of this share whose output is there and not whole: every output is looked into.
    pub(super) fn broken(self, folders: &[Folder], roots: &Roots, cancel: &Cancel) -> Vec<Job> {
        let is_mine = |job: &Job| Path::new(&job.input).strip_prefix(&roots.chains).is_ok_and(|path| self.has(path));
        let is_broken = |job: &Job| !cancel.is_cancelled() && !is_whole(job);
        let mine: Vec<Job> = folders.iter().flat_map(|folder| folder.jobs_there(roots)).filter(is_mine).collect();
        mine.into_par_iter().filter(is_broken).collect()
    }
}

/// FNV-1a, 64 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>. The standard library's hashes may change with it, and
/// every shard has to come to the same result.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_read_and_refused() {
        assert_eq!("3/8".parse::<Shard>().expect("a shard"), Shard { index: 3, count: 8 });
        for bad in ["", "8", "8/8", "1/0", "-1/8", "a/b", "1/8/2"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_file_is_in_one_shard_and_none_is_left_with_little() {
        let names: Vec<String> =
            (0..4000).map(|n| format!("{:02}/Sub{}/chains_chunk_{n}.parquet", n % 7, n % 41)).collect();
        let shards: Vec<Shard> = (0..8).map(|index| Shard { index, count: 8 }).collect();
        let mut sizes = [0; 8];
        for name in &names {
            let owners: Vec<usize> = (0..8).filter(|index| shards[*index].has(Path::new(name))).collect();
            assert_eq!(owners.len(), 1, "{name}");
            sizes[owners[0]] += 1;
        }
        assert!(sizes.iter().all(|size| (400..600).contains(size)), "{sizes:?}");
        // The published test vector.
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
