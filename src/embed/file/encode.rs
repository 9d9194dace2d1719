//! Encodes a window: batches of texts of like length, as many at a time as the engine takes.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use embstore_encoder::{Tokens, batches};

use super::error::FileError;
use super::stop::Stop;
use super::window::{Embedded, Window};
use crate::embed::embedder::Embedder;

/// The embeddings of a window, in row order. `advance` hears of every batch how many rows it has.
pub(super) fn encode(
    embedder: &Embedder,
    input: &Path,
    window: Window,
    stop: Stop<'_>,
    advance: &(dyn Fn(u64) + Sync),
) -> Result<Embedded, FileError> {
    let Window { start, batches: rows_read, tokens, .. } = window;
    let dim = embedder.engine.dim();
    let lengths: Vec<usize> = tokens.iter().map(|tokens| tokens.ids.len()).collect();
    let plan = batches(&lengths, embedder.batching.tokens, embedder.batching.texts);
    let embeddings = Mutex::new(vec![0f32; tokens.len() * dim]);
    let next = AtomicUsize::new(0);
    let lane = || -> Result<(), FileError> {
        let mut out = Vec::new();
        // The longest come first, so that no lane is left with much to do when the others end.
        while let Some(batch) = plan.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result =
                stop.check(input).and_then(|()| encode_batch(embedder, input, start, &tokens, batch, &mut out));
            if let Err(error) = result {
                next.store(plan.len(), Ordering::Relaxed);
                return Err(error);
            }
            let mut embeddings = embeddings.lock().unwrap_or_else(PoisonError::into_inner);
            for (row, vector) in batch.iter().zip(out.chunks_exact(dim)) {
                embeddings[row * dim..][..dim].copy_from_slice(vector);
            }
            drop(embeddings);
            advance(batch.len() as u64);
        }
        Ok(())
    };
    let lanes = embedder.engine.lanes().clamp(1, plan.len().max(1));
    thread::scope(|scope| {
        let others: Vec<_> = (1..lanes).map(|_| scope.spawn(lane)).collect();
        let own = lane();
        let results =
            others.into_iter().map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        results.fold(own, Result::and)
    })?;
    let embeddings = embeddings.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Embedded { batches: rows_read, embeddings })
}

fn encode_batch(
    embedder: &Embedder,
    input: &Path,
    start: u64,
    tokens: &[Tokens],
    batch: &[usize],
    out: &mut Vec<f32>,
) -> Result<(), FileError> {
    let dim = embedder.engine.dim();
    let texts: Vec<&Tokens> = batch.iter().map(|row| &tokens[*row]).collect();
    out.resize(texts.len() * dim, 0.0);
    let failed = |source| FileError::Engine { path: input.to_path_buf(), source };
    embedder.engine.encode(&texts, out).map_err(failed)?;
    match out.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(FileError::NonFinite { path: input.to_path_buf(), row: start + batch[index / dim] as u64 }),
        None => Ok(()),
    }
}
