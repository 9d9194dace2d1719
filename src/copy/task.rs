//! How the work is cut: pieces, and the tasks that threads take.

use std::collections::BTreeMap;

use crate::journal::Landed;

use super::Source;
use super::piece::piece_rows;

/// Rows that are read, measured and written together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) source: usize,
    /// First row, counted in the store.
    pub(super) row: u64,
    pub(super) rows: u64,
}

/// What one thread does before it takes the next task.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Task {
    /// In row order.
    pub(super) pieces: Vec<Piece>,
    /// The chunk that they make up together.
    pub(super) chunk: Option<u64>,
}

/// What is left to do: the long tasks first, or chunk by chunk.
pub(super) fn tasks(sources: &[Source<'_>], landed: &Landed, chunk_rows: Option<u64>) -> Vec<Task> {
    match chunk_rows {
        Some(chunk_rows) => chunk_tasks(sources, landed, chunk_rows),
        None => piece_tasks(sources, landed),
    }
}

/// The pieces of a source: its rows cut every so many rows from its start, and at every multiple of `chunk_rows`.
fn pieces(index: usize, source: &Source<'_>, chunk_rows: u64) -> impl Iterator<Item = Piece> {
    let step = piece_rows(source.payload.array().cols());
    let (start, end) = (source.store_row, source.store_row + source.rows);
    let mut row = start;
    std::iter::from_fn(move || {
        if row >= end {
            return None;
        }
        let next_piece = start + (row - start + step) / step * step;
        let next_chunk = (row / chunk_rows + 1).saturating_mul(chunk_rows);
        let piece = Piece { source: index, row, rows: next_piece.min(next_chunk).min(end) - row };
        row += piece.rows;
        Some(piece)
    })
}

fn piece_tasks(sources: &[Source<'_>], landed: &Landed) -> Vec<Task> {
    let (mut forward, mut any_order) = (Vec::new(), Vec::new());
    for (index, source) in sources.iter().enumerate() {
        let left = pieces(index, source, u64::MAX).filter(|piece| !landed.contains_key(&piece.row));
        let runs = source.payload.runs();
        if runs.is_empty() {
            any_order.extend(left.map(|piece| Task { pieces: vec![piece], chunk: None }));
            continue;
        }
        let run_of = |piece: &Piece| {
            let row = source.first + (piece.row - source.store_row);
            runs.partition_point(|&start| start <= row)
        };
        let mut by_run: BTreeMap<usize, Vec<Piece>> = BTreeMap::new();
        left.for_each(|piece| by_run.entry(run_of(&piece)).or_default().push(piece));
        forward.extend(by_run.into_values().map(|pieces| Task { pieces, chunk: None }));
    }
    forward.append(&mut any_order);
    forward
}

/// A chunk is done when all its pieces are: one that an interruption has cut is made again.
fn chunk_tasks(sources: &[Source<'_>], landed: &Landed, chunk_rows: u64) -> Vec<Task> {
    let mut by_chunk: BTreeMap<u64, Vec<Piece>> = BTreeMap::new();
    for (index, source) in sources.iter().enumerate() {
        pieces(index, source, chunk_rows)
            .for_each(|piece| by_chunk.entry(piece.row / chunk_rows).or_default().push(piece));
    }
    let is_left = |pieces: &Vec<Piece>| pieces.iter().any(|piece| !landed.contains_key(&piece.row));
    let left = by_chunk.into_iter().filter(|(_, pieces)| is_left(pieces));
    left.map(|(chunk, pieces)| Task { pieces, chunk: Some(chunk) }).collect()
}
