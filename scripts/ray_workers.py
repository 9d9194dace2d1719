#!/usr/bin/env python3
"""Embed chains/ into embeddings/ with Ray: every task is a worker with its share of the files.

    pip install ray==2.60.0
    python scripts/ray_workers.py --shares 8
    python scripts/ray_workers.py --address ray://head.example.com:10001 --folder /data --shares 64

Every node needs the binary, the model and the folder. A task that fails is tried again: what is done is skipped. A file that
cannot be embedded fails no task: it is told at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

import ray


@ray.remote(num_cpus=1, max_retries=3, retry_exceptions=True)
def share(index: int, count: int, binary: str, model: str, folder: str) -> dict:
    command = [binary, "embed", "work", "--shard", f"{index}/{count}", "--threads", "1", "--model", model]
    done = subprocess.run([*command, "--json", "--quiet"], cwd=folder, capture_output=True, text=True)
    if not done.stdout:
        raise RuntimeError(f"share {index} of {count} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", help="of the cluster [default: start one here]")
    parser.add_argument("--shares", type=int, default=os.cpu_count(), help="tasks [default: one a core]")
    parser.add_argument("--binary", default="embstore")
    parser.add_argument("--model", default="models/minilm", help="the model's folder, as the nodes see it")
    parser.add_argument("--folder", default=".", help="where chains/ and embeddings/ are, as the nodes see it")
    args = parser.parse_args()
    ray.init(address=args.address)
    folder, model = os.path.abspath(args.folder), os.path.abspath(args.model)
    binary = os.path.abspath(args.binary) if os.sep in args.binary else args.binary
    tasks = [share.remote(index, args.shares, binary, model, folder) for index in range(args.shares)]
    reports = ray.get(tasks)
    rows = sum(report["rows"] for report in reports)
    print(f"✓ {sum(report['embedded'] for report in reports):,} files embedded, {rows:,} rows")
    failures = [failure for report in reports for failure in report["failures"]]
    for failure in failures:
        print(f"✗ {failure['error']}\n  {failure['hint']}", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
