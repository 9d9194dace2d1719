#!/usr/bin/env bash
# Makes sure that what cargo needs beside Rust is there: a C and C++ compiler, pkg-config, libhdf5 (1.10.2 or newer), and
# OpenSSL and zlib for libssh2, which is built from source. Installs what is missing with apt-get on Debian and its kin
# (as root, or with sudo) or with Homebrew on macOS; elsewhere says what to install. A second call costs milliseconds.
# Without any of this: cargo build --no-default-features (pure Rust: .npy, pickle and safetensors; sync goes through the
# system's ssh alone).
set -euo pipefail

has_hdf5() {
  [ -n "${HDF5_DIR:-}" ] || pkg-config --exists 'hdf5 >= 1.10.2' 2>/dev/null ||
    pkg-config --exists 'hdf5-serial >= 1.10.2' 2>/dev/null || command -v h5cc >/dev/null
}

missing=()
command -v cc >/dev/null || missing+=(gcc)
command -v c++ >/dev/null || missing+=(g++)
command -v pkg-config >/dev/null || missing+=(pkg-config)
has_hdf5 || missing+=(libhdf5-dev)
[ -n "${OPENSSL_DIR:-}" ] || pkg-config --exists openssl 2>/dev/null || missing+=(libssl-dev)
pkg-config --exists zlib 2>/dev/null || missing+=(zlib1g-dev)
[ ${#missing[@]} -gt 0 ] || exit 0

cannot() {
  echo "✗ missing: ${missing[*]} (Debian's names): $1" >&2
  echo "  or build without HDF5, Zarr, the compressed containers and libssh2: cargo build --no-default-features" >&2
  echo "  or with an HDF5 of its own, given CMake 3.26 or newer: cargo build --features hdf5-static" >&2
  echo "  or with an OpenSSL of its own, given make and Perl: cargo build --features ssh2-static" >&2
  exit 1
}

if command -v apt-get >/dev/null; then
  sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || cannot "as root, apt-get install ${missing[*]}"
  echo "installing ${missing[*]}" >&2
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
elif command -v brew >/dev/null; then
  echo "installing hdf5, openssl and pkg-config" >&2
  brew install --quiet hdf5 openssl@3 pkg-config
else
  cannot "install them with the system's package manager"
fi
