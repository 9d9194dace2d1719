//! Merge the checkpoints of many GPU workers into one memory-mapped store.
//!
//! Each worker leaves the rows `start_index..end_index` of one large matrix in a file of its own. embstore locates the
//! rows in every file, verifies that together they are the whole matrix, and copies them straight into a preallocated
//! store while it measures them, in a few MiB of memory.
//!
//! The verbs are functions: options in, report out. They print nothing and read no environment; a [`Progress`] hears
//! how far they are, and a [`Cancel`] stops them.
//!
//! ```
//! use embstore::{MergeOptions, Observer, Store, merge};
//!
//! # let folder = tempfile::tempdir()?;
//! # let pickle = b"\x80\x04}(\x8c\nembeddings\x8c\x15numpy.core.multiarray\x8c\x0c_reconstruct\x93\x8c\x05numpy\x8c\
//! #     \x07ndarray\x93K\x00\x85C\x01b\x87R(K\x01K\x02K\x01\x86\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02f4\x89\x88\x87R(K\
//! #     \x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89C\x08\0\0\x80\x3f\0\0\0\x40tb\x8c\x0bstart_index\
//! #     K\x00\x8c\x09end_indexK\x02u.";
//! # std::fs::write(folder.path().join("cluster1_gpu0.pkl"), pickle)?;
//! let output = folder.path().join("store.npy");
//! let report = merge(&MergeOptions::new(folder.path(), &output), Observer::none())?;
//! assert_eq!(report.shape, (2, 1));
//!
//! let rows = Store::open(&output)?.map()?;
//! assert_eq!(rows.view()[[1, 0]], 2.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arrivals;
mod build;
pub mod checkpoint;
#[cfg(feature = "cluster")]
pub mod cluster;
mod copy;
#[cfg(feature = "embed")]
pub mod embed;
mod error;
mod export;
mod identity;
mod info;
pub mod inputs;
mod job;
mod journal;
mod merge;
mod metadata;
mod partial;
pub mod plan;
mod preflight;
mod preview;
mod progress;
pub mod quality;
mod ranges;
mod read_back;
mod run;
mod store;
pub mod sync;
#[cfg(any(feature = "cluster", feature = "embed"))]
mod table;
pub mod text;
mod update;
mod verify;

pub use arrivals::{Arrival, Arrivals};
pub use copy::{CopyError, Settings};
#[cfg(feature = "cluster")]
pub use embstore_cluster as hdbscan;
#[cfg(feature = "embed")]
pub use embstore_encoder as encoder;
pub use embstore_formats as formats;
pub use error::Error;
pub use export::{ExportOptions, ExportReport, export};
pub use identity::Identity;
pub use info::{Info, Kind, info};
pub use job::BuildOptions;
pub use journal::JournalError;
pub use merge::{DryRun, MergeOptions, MergeReport, NonFinite, dry_run, merge, merge_arriving, plan_arriving};
pub use partial::{PartialError, complete_publication, partial_folder};
pub use plan::{Plan, RowRange};
pub use progress::{Cancel, Clustering, Embedding, Observer, Phase, Progress, Silent, Transfer};
pub use ranges::RangesError;
pub use run::{RunOptions, RunReport, run};
pub use store::{MappedRows, Store};
pub use sync::{SyncOptions, SyncReport, dry_run_sync, sync};
#[cfg(any(feature = "cluster", feature = "embed"))]
pub use table::TableError;
pub use update::Changes;
pub use verify::{VerifyOptions, VerifyReport, verify};
