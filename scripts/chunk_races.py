"""Merge checkpoints that begin anywhere into Zarr chunks, with many threads, and count the rows that were lost.

Two writers that share a chunk and rewrite it whole lose each other's rows without an error; embstore cuts its work by
chunk (or shard) so that this cannot be. Every run has other checkpoints, chunks and threads, and every row is compared
with its source, as zarr-python reads it.

    python scripts/chunk_races.py --runs 5000
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

LAYOUTS = [
    [],
    ["--compression", "zstd:1"],
    ["--compression", "blosc-lz4"],
    ["--shard"],
    ["--shard", "--compression", "zstd:1"],
    ["--zarr-version", "2"],
    ["--zarr-version", "2", "--compression", "lz4"],
]


def one_run(binary: Path, home: Path, rng: random.Random) -> int:
    """One merge; the number of rows that are not those of their checkpoint."""
    shutil.rmtree(home, ignore_errors=True)
    (home / "in").mkdir(parents=True)
    rows, dim = rng.randint(50, 3000), rng.choice((1, 8, 24))
    matrix = np.random.default_rng(rng.getrandbits(32)).standard_normal((rows, dim), dtype=np.float32)
    cuts = sorted({0, rows, *(rng.randint(1, rows - 1) for _ in range(rng.randint(1, 12)))})
    for number, (start, end) in enumerate(zip(cuts, cuts[1:])):
        made = {"embeddings": matrix[start:end], "start_index": start, "end_index": end}
        (home / "in" / f"cluster1_gpu{number}.pkl").write_bytes(pickle.dumps(made, protocol=4))
    chunk = rng.choice((1, 7, 64, 100, 1024))
    flags = ["--chunk-rows", chunk, "--threads", rng.choice((2, 4, 8, 16))]
    for flag in rng.choice(LAYOUTS):
        flags += ["--shard-rows", chunk * rng.choice((1, 2, 5))] if flag == "--shard" else [flag]
    store = home / "s.zarr"
    command = [binary, "merge", home / "in", "-o", store, "--no-sync", "--quiet", *flags]
    subprocess.run([str(part) for part in command], check=True)
    found = zarr.open_group(store, mode="r")["embeddings"][:]
    return int((found.view(np.uint32) != matrix.view(np.uint32)).any(axis=1).sum())


def races(binary: Path, home: Path, runs: int, seed: int = 0, log=lambda line: None) -> int:
    """Rows that were lost in ``runs`` merges."""
    rng = random.Random(seed)
    lost = 0
    for number in range(1, runs + 1):
        lost += one_run(binary, home, rng)
        if number % 100 == 0:
            log(f"{number} runs, {lost} rows lost")
    return lost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    default = Path(__file__).resolve().parents[1] / "target" / "release" / "embstore"
    parser.add_argument("--binary", type=Path, default=Path(os.environ.get("EMBSTORE_BIN", default)))
    args = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as home:
        lost = races(args.binary, Path(home) / "race", args.runs, args.seed, lambda line: print(line, flush=True))
    print(f"{'✗' if lost else '✓'} {args.runs} runs, {lost} rows lost; {time.perf_counter() - began:.0f} s")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
