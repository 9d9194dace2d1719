#!/usr/bin/env bash
# All the tests: format, lints, docs, Rust tests, a release build, and the Python suite against the built program.
# EMBSTORE_BIN names another binary for the Python suite. With CI set, a test that is skipped for any reason but the
# platform's is a failure; whatever is skipped is listed at the end.
# Usage: scripts/test.sh [PYTEST-ARGUMENT…]
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n▸ %s\n' "$*"; }
run() { step "$*"; "$@"; }

run scripts/venv.sh
run cargo fmt --all --check
run cargo clippy --workspace --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" run cargo doc --workspace --no-deps
run cargo test --workspace
run cargo build --release

export EMBSTORE_BIN=${EMBSTORE_BIN:-${CARGO_TARGET_DIR:-$PWD/target}/release/embstore}
run .venv/bin/python -m pytest tests/python "$@"
printf '\n✓ all tests passed\n'
