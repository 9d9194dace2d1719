#!/usr/bin/env bash
# All the tests: format, lints, docs, Rust tests, a release build, and the Python suite against the built program.
# EMBSTORE_BIN names another binary for the Python suite. With CI set, a test that is skipped for any reason but the
# platform's is a failure; whatever is skipped is listed at the end.
# Usage: scripts/test.sh [PYTEST-ARGUMENT…]
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n▸ %s\n' "$*"; }
run() { step "$*"; "$@"; }

# Without its default features embstore is pure Rust: nothing is compiled from C, no library is linked.
no_native_code() {
  local crates
  crates=$(cargo tree --no-default-features -e normal,build -p embstore --prefix none)
  ! grep -E '^(cc|cmake|pkg-config|.*-(sys|src)) v' <<<"$crates" | grep -v '^linux-raw-sys '
}

# One build and no other after it: what makes the next build faster would take gigabytes here.
if [[ -n ${CI:-} ]]; then export CARGO_INCREMENTAL=0; fi

run scripts/native.sh
run scripts/venv.sh
run cargo fmt --all --check
run cargo clippy --workspace --all-targets -- -D warnings
run cargo check --workspace --all-targets --no-default-features
run no_native_code
RUSTDOCFLAGS="-D warnings" run cargo doc --workspace --no-deps
run scripts/test_servers.sh
run scripts/fetch_model.sh
run .venv/bin/python scripts/export_onnx.py --model models/minilm --force
run cargo test --workspace
run cargo build --release

export EMBSTORE_BIN=${EMBSTORE_BIN:-${CARGO_TARGET_DIR:-$PWD/target}/release/embstore}
run .venv/bin/python -m pytest tests/python "$@"
printf '\n✓ all tests passed\n'
