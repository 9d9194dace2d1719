#!/usr/bin/env python3
"""Texts per second of one worker and of several that share a queue on Redis, and what the queue itself costs a job.

The texts are real (see scripts/real_texts.py), the jobs are the same in every run, and so is the server: one of its own, on a
socket, which writes every command to its append-only file. A worker is a process with one thread. Its start and the loading
of the model do not count: the clock runs from the first job that is begun to the last one that is done.

For the queue's own cost the jobs have one row with an empty text, and one worker does them three ways: from Redis, with the
folders as the queue, and as a shard, which is without a queue. What they take more than the shard is the queue's: on the
clock, and of the processor as far as the worker uses it (with its start, which is the same for all three). All of it lies in
memory (/dev/shm), because what a disk takes for an output varies by more than a queue costs.

    cargo build --release && scripts/fetch_model.sh && scripts/test_servers.sh
    EMBSTORE_BIN=target/release/embstore .venv/bin/python benches/embed_workers.py
    .venv/bin/python benches/embed_workers.py --jobs 8 --rows 10 --reps 1 --small-jobs 40       # a short one
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from endurance import BIN, MODEL, Redis  # noqa: E402  (they lie among the scripts, which are no package)
from real_texts import mixed  # noqa: E402


class Worker:
    """A process, and when it began and ended its jobs."""

    def __init__(self, folder: Path, source: list) -> None:
        command = [BIN, "embed", "work", *source, "--model", MODEL, "--engine", "builtin", "--threads", "1"]
        command += ["--progress", "json", "--json"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(list(map(str, command)), cwd=folder, **pipes)
        self.times: list[float] = []
        self.said: list[str] = []
        self.listener = threading.Thread(target=self.listen)
        self.listener.start()

    def listen(self) -> None:
        for line in self.process.stderr:
            now = time.perf_counter()
            self.said.append(line)
            if line.startswith("{") and json.loads(line).get("event") in ("begin", "done"):
                self.times.append(now)

    def wait(self) -> tuple[int, float]:
        """How many files it embedded, and the seconds of the processor that it used from its start to its end."""
        report = self.process.stdout.read()
        self.listener.join()
        _, status, used = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.process.returncode != 0:
            raise SystemExit(f"a worker ended with {self.process.returncode}: {''.join(self.said)[-2000:]}")
        return json.loads(report)["embedded"], used.ru_utime + used.ru_stime


def write_jobs(folder: Path, jobs: list[list[str]]) -> None:
    for number, texts in enumerate(jobs):
        path = folder / "chains" / f"{number % 10:02}" / f"chains_chunk_{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"text": texts}), path)


def measure(folder: Path, redis: Redis, source: list, workers: int, jobs: int) -> tuple[float, float]:
    """Seconds from the first job that is begun to the last one that is done, and those that the workers' processors took."""
    shutil.rmtree(folder / "embeddings", ignore_errors=True)
    if redis.url in source:
        redis.command("FLUSHALL")
        enqueue = [BIN, "embed", "enqueue", "--queue", redis.url, "--quiet", "--json"]
        queued = json.loads(subprocess.run(list(map(str, enqueue)), cwd=folder, check=True, capture_output=True).stdout)
        assert queued["queued"] == jobs, queued
    crew = [Worker(folder, source) for _ in range(workers)]
    done, used = map(sum, zip(*[worker.wait() for worker in crew]))
    assert done == jobs, f"{done} of {jobs} jobs were done"
    times = [moment for worker in crew for moment in worker.times]
    return max(times) - min(times), used


def in_turns(runs: dict, reps: int) -> dict:
    """The results of each, as many as there are turns."""
    results = {name: [] for name in runs}
    for _ in range(reps):
        for name, run in runs.items():
            results[name].append(run())
    return results


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def throughput(folder: Path, redis: Redis, args) -> None:
    texts = mixed(args.jobs * args.rows)
    write_jobs(folder, [texts[start : start + args.rows] for start in range(0, len(texts), args.rows)])
    source = ["--queue", redis.url, "--drain"]
    runs = {count: (lambda count=count: measure(folder, redis, source, count, args.jobs)) for count in args.workers}
    speeds = {count: [len(texts) / took for took, _ in results] for count, results in in_turns(runs, args.reps).items()}
    print(f"\n{args.jobs} jobs of {args.rows} texts, {os.cpu_count()} cores, medians of {args.reps} in turns\n")
    print("| workers | texts/s | ratio to the first line |\n|---|---|---|")
    first = next(iter(speeds.values()))
    for count, values in speeds.items():
        ratios = [value / one for value, one in zip(values, first)]
        print(f"| {count} | {spread(values, 1)} | {spread(ratios, 2)}× |")


def cost(folder: Path, redis: Redis, args) -> None:
    write_jobs(folder, [[""]] * args.small_jobs)
    sources = {
        "a shard, no queue": ["--shard", "0/1"],
        "the folders are the queue": ["--queue", "dir", "--drain"],
        "Redis": ["--queue", redis.url, "--drain"],
    }
    runs = {
        name: (lambda source=source: measure(folder, redis, source, 1, args.small_jobs)) for name, source in sources.items()
    }
    results = in_turns(runs, args.reps)
    print(f"\n{args.small_jobs} jobs of one row with an empty text, one worker, medians of {args.reps} in turns\n")
    print("| jobs from | ms a job | the queue's | processor ms a job | the queue's |\n|---|---|---|---|---|")
    without = next(iter(results.values()))
    for name, runs in results.items():
        cells = []
        for values, base in zip(zip(*runs), zip(*without)):
            each = [1e3 * value / args.small_jobs for value in values]
            more = [1e3 * (value - bare) / args.small_jobs for value, bare in zip(values, base)]
            cells += [spread(each, 2), "–" if runs is without else spread(more, 2)]
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--rows", type=int, default=50, help="texts of a job [default: 50]")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--small-jobs", type=int, default=500, help="jobs of one empty text [default: 500]")
    parser.add_argument("--reps", type=int, default=5)
    args = parser.parse_args()
    for part, place in ((throughput, None), (cost, "/dev/shm")):
        folder = Path(tempfile.mkdtemp(prefix="embed_workers", dir=place))
        redis = Redis(folder)
        try:
            part(folder, redis, args)
        finally:
            redis.kill()
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
