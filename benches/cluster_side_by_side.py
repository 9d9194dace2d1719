"""embstore-cluster, exact and approximate, beside other implementations of HDBSCAN: the same vectors, labels out, one session.

    cargo build --release -p embstore-cluster --example timing
    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install numpy==2.2.6 scipy==1.17.1 scikit-learn==1.9.1 \\
        hdbscan==0.8.44 fast_hdbscan==0.3.4 pynndescent==0.7.0
    /tmp/peers/bin/python benches/cluster_side_by_side.py VECTORS.npy --points 5000 10000 20000

The first so many rows of the file are clustered, by each side in a process of its own, in turns. Times run from the open
file to the labels, after imports; fast_hdbscan compiles itself first, on a small sample, which does not count and is
told. The trees of embstore and python's hdbscan have to weigh the same to 1e-6, or there is no table; scikit-learn and
the Rust crates do not tell theirs. fast_hdbscan goes through pynndescent in more than 30 dimensions: it is approximate
there, as `embstore --approximate` is (which hands up to 10,000 points to the exact side). How much heavier than the exact
one a tree is, and how far the labels agree with those of exact embstore (adjusted Rand index, noise as one group), is
told of every side. Memory is the peak of the process beyond what it had with the rows loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIMING = ROOT / "target" / "release" / "examples" / "timing"
EXACT = {"embstore", "hdbscan"}
OWN = ["embstore", "embstore --approximate"]
RUST = {"embstore": [], "embstore --approximate": ["--approximate"]}
RUST |= {f"crate {name}": ["--crate", name] for name in ("hdbscan", "petal-clustering")}
PEERS = ["hdbscan", "scikit-learn", "crate hdbscan", "crate petal-clustering", "fast_hdbscan"]


def status(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def run_peer(peer: str, file: Path, size: int, labels_to: Path) -> dict:
    """One run of a Python implementation, in this process."""
    import numpy as np

    warm_up = 0.0
    if peer == "hdbscan":
        from hdbscan import HDBSCAN

        made = HDBSCAN(min_cluster_size=size, gen_min_span_tree=True)
    elif peer == "scikit-learn":
        from sklearn.cluster import HDBSCAN

        # It counts the point itself among its samples.
        made = HDBSCAN(min_cluster_size=size, min_samples=size + 1, copy=True)
    else:
        from fast_hdbscan import HDBSCAN

        made = HDBSCAN(min_cluster_size=size)
        begin = time.perf_counter()
        HDBSCAN(min_cluster_size=size).fit(np.load(file, mmap_mode="r")[:500].copy())
        warm_up = time.perf_counter() - begin
    begin, processor = time.perf_counter(), time.process_time()
    rows = np.load(file)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass
    before = status("VmRSS")
    made.fit(rows)
    result = {"seconds": time.perf_counter() - begin, "processor": time.process_time() - processor, "warm_up": warm_up}
    result["bytes_per_point"] = (status("VmHWM") - before) / len(rows)
    labels = made.labels_
    result["clusters"], result["noise"] = int(labels.max() + 1), int((labels < 0).sum())
    labels.astype("<i4").tofile(labels_to)
    if peer == "hdbscan":
        result["tree_weight"] = float(made.minimum_spanning_tree_.to_numpy()[:, 2].sum())
    elif peer == "fast_hdbscan":
        result["tree_weight"] = float(made._min_spanning_tree[:, 2].sum())
    return result


def run_rust(side: str, binary: Path, file: Path, size: int, labels_to: Path) -> dict:
    """One run of the example."""
    command = [binary, "--min-cluster-size", str(size), "--labels", labels_to, *RUST[side], file]
    fields = subprocess.run(command, check=True, capture_output=True, text=True).stdout.rstrip("\n").split("\t")[3:]
    names = ["seconds", "processor", "tree_weight", "clusters", "noise", "bytes_per_point"]
    return {name: float(value) for name, value in zip(names, fields, strict=True) if value}


def run_side(side: str, args: argparse.Namespace, file: Path) -> dict:
    """One run of a side, in a process of its own."""
    import numpy as np

    labels = file.with_suffix(".labels")
    if side in RUST:
        result = run_rust(side, args.binary, file, args.min_cluster_size, labels)
    else:
        command = [sys.executable, __file__, str(file), "--peer", side, "--labels", str(labels)]
        command += ["--min-cluster-size", str(args.min_cluster_size)]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    return result | {"labels": np.fromfile(labels, "<i4")}


def main() -> None:
    """Run all sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--points", type=int, nargs="+", default=[5000, 10000, 20000])
    parser.add_argument("--sides", nargs="+", default=PEERS, choices=PEERS)
    parser.add_argument("--slow-up-to", type=int, default=20000, help="leave all but fast_hdbscan out beyond this")
    parser.add_argument("--exact-up-to", type=int, default=100000, help="leave exact embstore out beyond this")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--min-cluster-size", type=int, default=10)
    parser.add_argument("--binary", type=Path, default=TIMING)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--labels", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        print(json.dumps(run_peer(args.peer, args.vectors, args.min_cluster_size, args.labels)))
        return

    import numpy as np

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {args.reps} runs each, medians\n")
    print("| points | side | seconds | CPU seconds | times the first | bytes per point | clusters | noise | tree weight "
          "| heavier | Rand index |")
    print("|---" * 11 + "|")
    all_rows = np.load(args.vectors, mmap_mode="r")
    with tempfile.TemporaryDirectory() as folder:
        for points in args.points:
            if points > len(all_rows):
                raise SystemExit(f"{args.vectors} has {len(all_rows)} rows, not {points}")
            file = Path(folder) / f"{points}.npy"
            np.save(file, np.ascontiguousarray(all_rows[:points], dtype="<f4"))
            fast = [side for side in args.sides if side == "fast_hdbscan" or points <= args.slow_up_to]
            own = OWN if points <= args.exact_up_to else OWN[1:]
            compare([*own, *fast], args, file, points)


def compare(sides: list[str], args: argparse.Namespace, file: Path, points: int) -> None:
    """Run the sides in turns and print their lines."""
    from sklearn.metrics import adjusted_rand_score

    runs: dict[str, list[dict]] = {side: [] for side in sides}
    for rep in range(args.reps):
        for side in sides if rep % 2 == 0 else reversed(sides):
            runs[side].append(run_side(side, args, file))
    weights = [run["tree_weight"] for side in sides if side in EXACT for run in runs[side]]
    if weights and max(weights) / min(weights) - 1 > 1e-6:
        raise SystemExit(f"the trees differ: {weights}")
    exact = runs["embstore"][0] if "embstore" in runs else None
    first = statistics.median(run["seconds"] for run in runs[sides[0]])
    for side in sides:
        median = {key: statistics.median(run[key] for run in runs[side]) for key in ("seconds", "processor")}
        run = runs[side][-1]
        warm_up = f" (+ {run['warm_up']:.0f} s to compile)" if run.get("warm_up") else ""
        weight = f"{run['tree_weight']:.6f}" if "tree_weight" in run else "not told"
        values = [f"{points:,}", side + warm_up, f"{median['seconds']:.2f}", f"{median['processor']:.2f}"]
        values += [f"{median['seconds'] / first:.2f}", f"{run['bytes_per_point']:,.0f}"]
        values += [f"{run['clusters']:.0f}", f"{run['noise']:.0f}", weight]
        known = exact is not None and "tree_weight" in run
        values += [f"{run['tree_weight'] / exact['tree_weight'] - 1:.3%}" if known else "not told"]
        values += [f"{adjusted_rand_score(exact['labels'], run['labels']):.4f}" if exact is not None else "not told"]
        print("| " + " | ".join(values) + " |", flush=True)


if __name__ == "__main__":
    main()
