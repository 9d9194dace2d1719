//! The one entrance.

use super::error::PickleError;
use super::machine::Machine;
use super::source::Source;
use super::stream::ItemSink;
#[cfg(feature = "containers")]
use super::tensors::Storages;
use super::tree::Tree;

/// A pickle that was read to its STOP opcode.
#[derive(Debug)]
pub struct Pickle {
    /// Its values.
    pub tree: Tree,
    /// The protocol that it declares; 0 where it declares none, as protocols 0 and 1 do.
    pub protocol: u8,
    /// The byte after its STOP opcode.
    pub end: u64,
    /// Bytes after that. Python's `pickle.load` ignores them, which may or may not be what the writer meant.
    pub trailing: u64,
}

/// Reads a pickle without running it. Items of the lists that `sink` wants are handed to it as they are completed.
///
/// # Errors
/// Anything but a complete pickle of known calls: see [`PickleError`]. Items may have been handed over before.
pub fn scan(source: &dyn Source, sink: &mut dyn ItemSink) -> Result<Pickle, PickleError> {
    Machine::new(source, sink, None).run()
}

/// As [`scan`], for the pickle of a PyTorch file, which names tensors whose bytes lie in `storages`.
#[cfg(feature = "containers")]
pub(crate) fn scan_torch(
    source: &dyn Source,
    sink: &mut dyn ItemSink,
    storages: &dyn Storages,
) -> Result<Pickle, PickleError> {
    Machine::new(source, sink, Some(storages)).run()
}
