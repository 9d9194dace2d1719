"""The memory of a merge at full size: the peak of anonymous memory, RLIMIT_DATA and a memory cgroup.

Rows that are written by position must pass under RLIMIT_DATA = 64 MiB and inside a cgroup of 128 MiB. Compressed and
sharded stores gather whole chunks: their limits are larger by what `--dry-run` states for each thread.

    python scripts/memory.py                                 # 250,000 x 768 and 2,500,000 x 96
    python scripts/memory.py --rows 250000 --dim 768

The second size is ten times the rows in about the same number of bytes: memory must not grow with rows. Every limit is
shown to bite by a process that allocates 768 MB under it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from make_checkpoints import write_articles, write_checkpoints
from measure import MIB, Unsupported, data_limit, drop_from_cache, hog, memory_group, run_sampled

DATA_LIMIT, GROUP_LIMIT, HOG = 64 * MIB, 128 * MIB, 768 * 10**6
STORES = [
    ["s.npy"],
    ["s.pkl"],
    ["s.h5"],
    ["s.zarr"],
    ["s.h5", "--compression", "zstd:1"],
    ["s.zarr", "--compression", "zstd:1"],
    ["s.zarr", "--shard-rows", "16384"],
]


def verdict(code: int) -> str:
    return "passes" if code == 0 else f"FAILS with {code}"


def control(code: int) -> str:
    return "768 MB refused" if code else "NOT REFUSED 768 MB: the limit does not bite"


def under_data_limit(command: list, size: int) -> str:
    limit = data_limit(size)
    done = subprocess.run(command, preexec_fn=limit, stdout=subprocess.DEVNULL)
    hogged = subprocess.run(hog(HOG), preexec_fn=limit, stderr=subprocess.DEVNULL)
    return f"{verdict(done.returncode)} ({control(hogged.returncode)})"


def inside_group(command: list, size: int, sources: list[Path]) -> str:
    """Sources must be cold: pages that are cached already are charged to whoever read them first."""
    with memory_group(size) as enter:
        hogged = subprocess.run(hog(HOG), preexec_fn=enter, stderr=subprocess.DEVNULL)
        for path in sources:
            drop_from_cache(path)
        done = subprocess.run(command, preexec_fn=enter, stdout=subprocess.DEVNULL)
    return f"{verdict(done.returncode)} ({control(hogged.returncode)})"


def attempt(check, *args) -> str:
    try:
        return check(*args)
    except Unsupported as why:
        return f"not run: {why}"


def measure(binary: Path, home: Path, rows: int, dim: int, threads: str) -> None:
    """Make one job, measure its merge into every kind of store, print a line for each."""
    paths = write_checkpoints(home / "embeddings", rows, dim, files=16)
    articles = home / "wikipedia.pkl"
    write_articles(articles, rows, text_bytes=100)
    for name, *flags in STORES:
        command = [binary, "merge", home / "embeddings", "-o", home / name, "--articles", articles, *flags]
        command = [str(part) for part in [*command, "--threads", threads, "--force"]]
        stated = chunk_memory(command) * int(threads)
        usage = run_sampled([*command, "--quiet"])
        if usage.code:
            raise SystemExit(f"✗ {' '.join(command)}: exit {usage.code}\n{usage.err}")
        data, group = DATA_LIMIT + stated, GROUP_LIMIT + stated
        print(
            f"{rows:,} x {dim} -> {' '.join([name[1:], *flags])}, {threads} threads: "
            f"peak anonymous {usage.peak_anon / MIB:.1f} MiB, peak resident {usage.peak_resident / MIB:.1f} MiB; "
            f"RLIMIT_DATA {data // MIB} MiB {attempt(under_data_limit, command, data)}; "
            f"cgroup {group // MIB} MiB {attempt(inside_group, command, group, [*paths, articles])}",
            flush=True,
        )
        remove(home / name)


def chunk_memory(command: list[str]) -> int:
    """What the dry run states for each thread, where that is more than the blocks that every merge has."""
    done = subprocess.run([*command, "--dry-run", "--json"], check=True, capture_output=True)
    stated = json.loads(done.stdout)["memory_per_thread"]
    return stated if stated > 4 * MIB else 0


def remove(store: Path) -> None:
    if store.is_dir():
        shutil.rmtree(store)
    else:
        store.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, help="one size instead of the two")
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--threads", default=str(min(8, os.cpu_count() or 1)))
    parser.add_argument("--dir", type=Path, help="where to work (default: a temporary folder)")
    default = Path(__file__).resolve().parents[1] / "target" / "release" / "embstore"
    parser.add_argument("--binary", type=Path, default=Path(os.environ.get("EMBSTORE_BIN", default)))
    args = parser.parse_args()
    sizes = [(args.rows, args.dim)] if args.rows else [(250_000, 768), (2_500_000, 96)]
    for rows, dim in sizes:
        with tempfile.TemporaryDirectory(dir=args.dir) as folder:
            measure(args.binary, Path(folder), rows, dim, args.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
