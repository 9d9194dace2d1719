#!/usr/bin/env bash
# The main job from nothing: makes real checkpoints, merges them, shows the store loaded by numpy, verifies it, and
# exports the legacy pickle. Needs Rust and Python 3.9 or later; everything else is fetched. Works in demo/.
# Usage: scripts/demo.sh [--full]   (25,010 rows; --full: 250,010 rows and 250,000 articles, 3 GB of disk)
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  "") articles=25000 ;;
  --full) articles=250000 ;;
  *) echo "usage: scripts/demo.sh [--full]" >&2; exit 2 ;;
esac
command -v cargo >/dev/null || {
  echo "✗ no cargo on the PATH: install Rust from https://rustup.rs" >&2
  exit 1
}

step() { printf '\n▸ %s\n' "$*"; }
show() { printf '  $ %s\n' "$*"; "$@"; }

step "a C compiler and libhdf5, and the Python readers in .venv"
scripts/native.sh
scripts/venv.sh

step "the program, built for release"
cargo build --release --quiet
embstore=${CARGO_TARGET_DIR:-target}/release/embstore

step "16 checkpoints and the articles, as the GPU workers and the Wikipedia dump left them"
rm -rf demo
.venv/bin/python scripts/make_checkpoints.py demo --rows $((articles + 10)) --articles "$articles"

step "one worker's checkpoint: what it holds, without loading it"
show "$embstore" info demo/embeddings/cluster1_gpu0.pkl

step "merge: the first $articles rows; the last 10 are questions"
show "$embstore" merge demo/embeddings -o demo/wikipedia.npy --rows "$articles" --articles demo/wikipedia.pkl --force

step "the store, loaded by numpy and pyarrow"
.venv/bin/python scripts/show_store.py demo/wikipedia.npy

step "verify: the store against its metadata, and row by row against the checkpoints"
show "$embstore" verify demo/wikipedia.npy --checkpoints demo/embeddings

step "export: the pickle that older tools load"
show "$embstore" export demo/wikipedia.npy --format pickle -o demo/wikipedia_merged.pkl --force
.venv/bin/python -W error scripts/show_store.py demo/wikipedia_merged.pkl

step "export: Zarr, read in chunks by zarr-python, xarray and dask"
show "$embstore" export demo/wikipedia.npy --format zarr --force
show "$embstore" info demo/wikipedia.zarr

step "update: nothing has changed, so nothing is read again"
show "$embstore" merge demo/embeddings -o demo/wikipedia.npy --rows "$articles" --articles demo/wikipedia.pkl --update

step "everything is in demo/"
ls -l demo
