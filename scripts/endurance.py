#!/usr/bin/env python3
"""Embed many files with several workers while workers are killed and the queue's server is restarted; nothing is lost.

Real text (Python's own documentation strings), a real redis-server with its append-only file, real workers. At the end
every output must be there, whole and right: rows, columns and vectors are compared with those that an undisturbed
worker makes of the same texts. No job may be done twice but by a lease that ran out, and none may be dead.

    .venv/bin/python scripts/endurance.py                      # 1,000 jobs, 4 workers, 30 kills, 2 restarts
    .venv/bin/python scripts/endurance.py --jobs 40 --kills 3  # a short one
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from real_texts import docstrings

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(os.environ.get("EMBSTORE_BIN", ROOT / "target" / "release" / "embstore")).resolve()
MODEL = ROOT / "models" / "minilm"


class Redis:
    """A server of its own on a socket, which keeps what it was told over a kill."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.socket = folder, folder / "redis.sock"
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", self.folder]
        command += ["--appendonly", "yes", "--save", "", "--logfile", self.folder / "redis.log"]
        self.process = subprocess.Popen(list(map(str, command)))
        end = time.monotonic() + 20
        while self.command("PING") != "PONG":
            if time.monotonic() > end:
                raise SystemExit("redis-server does not start: see scripts/test_servers.sh")
            time.sleep(0.05)

    def command(self, *words: str) -> str:
        done = subprocess.run(["redis-cli", "-s", str(self.socket), *words], capture_output=True, text=True)
        return done.stdout.strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"


class Workers:
    """Processes that take jobs; each writes what it does to a log of JSON lines."""

    def __init__(self, folder: Path, url: str, lease: str) -> None:
        self.folder, self.running, self.logs = folder, [], []
        self.command = [BIN, "embed", "work", "--queue", url, "--model", MODEL, "--engine", "builtin", "--threads", "1"]
        self.command += ["--lease", lease, "--tries", "10", "--drain", "--progress", "json", "--json"]

    def start(self) -> None:
        log = self.folder / f"worker{len(self.logs)}.log"
        self.logs.append(log)
        with log.open("w") as out:
            process = subprocess.Popen(list(map(str, self.command)), cwd=self.folder, stderr=out, stdout=out)
        self.running.append((process, log))

    def kill_one(self) -> bool:
        """Kills a worker and starts another; whether it was in the midst of a job."""
        process, log = self.running.pop(random.randrange(len(self.running)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        events = [event["event"] for event in events_of(log)]
        self.start()
        return bool(events) and events[-1] == "begin"

    def wait(self) -> None:
        for process, log in self.running:
            if process.wait() != 0:
                raise SystemExit(f"a worker ended with {process.returncode}: {log.read_text()[-2000:]}")

    def done(self) -> collections.Counter:
        return collections.Counter(e["file"] for log in self.logs for e in events_of(log) if e["event"] == "done")


def events_of(log: Path) -> list[dict]:
    """The whole lines; the last one may be cut off by a kill."""
    lines = [line for line in log.read_text().split("\n")[:-1] if line.startswith("{")]
    return [event for event in map(json.loads, lines) if "event" in event]


def write_jobs(folder: Path, jobs: int, rows: int, texts: list[str]) -> list[Path]:
    paths = []
    for number in range(jobs):
        path = folder / "chains" / f"{number % 20:02}" / f"Sub{number % 7}" / f"chains_chunk_{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        mine = random.choices(texts, k=rows)
        pq.write_table(pa.table({"id": range(rows), "text": mine}), path)
        paths.append(path)
    return paths


def vectors_of(table: pa.Table) -> np.ndarray:
    names = [name for name in table.schema.names if name.startswith("emb_")]
    return np.stack([table[name].to_numpy() for name in names], axis=1)


def reference(folder: Path, texts: list[str]) -> dict[str, np.ndarray]:
    """What an undisturbed worker makes of each text."""
    pq.write_table(pa.table({"text": texts}), folder / "all.parquet")
    command = [BIN, "embed", "work", "--model", MODEL, "--engine", "builtin", "--quiet"]
    command += ["--input", folder / "all.parquet", "--output", folder / "all.out.parquet"]
    subprocess.run(list(map(str, command)), check=True)
    return dict(zip(texts, vectors_of(pq.read_table(folder / "all.out.parquet"))))


def check(paths: list[Path], folder: Path, expected: dict[str, np.ndarray]) -> float:
    """Every output, row by row; returns the largest difference."""
    worst = 0.0
    for path in paths:
        output = folder / "embeddings" / path.relative_to(folder / "chains")
        before, after = pq.read_table(path), pq.read_table(output)
        assert after.select(before.schema.names).equals(before), f"{output}: other rows than its input"
        wanted = np.stack([expected[text] for text in before["text"].to_pylist()])
        worst = max(worst, float(np.abs(vectors_of(after) - wanted).max()))
    assert worst < 1e-5, f"vectors differ by {worst}"
    left = [path for path in (folder / "embeddings").rglob("*") if path.is_file() and path.suffix != ".parquet"]
    assert not left, f"left behind: {left[:5]}"
    return worst


def endure(
    folder: Path, jobs: int, rows: int, workers: int, kills: int, restarts: int, lease: str, texts: list[str]
) -> dict:
    """Runs it all in ``folder``; raises where something is lost, else tells what happened."""
    expected = reference(folder, texts)
    paths = write_jobs(folder, jobs, rows, texts)
    redis = Redis(folder)
    try:
        enqueue = [BIN, "embed", "enqueue", "--queue", redis.url, "--json", "--quiet"]
        queued = json.loads(subprocess.run(list(map(str, enqueue)), cwd=folder, check=True, capture_output=True).stdout)
        assert queued["queued"] == jobs, queued
        crew = Workers(folder, redis.url, lease)
        for _ in range(workers):
            crew.start()
        began, hit, tried, restarted = time.monotonic(), 0, 0, 0
        while hit < kills and redis.command("LLEN", "phase4_todo_queue") not in ("", "0"):
            time.sleep(random.uniform(0.2, 1.0) * (jobs / 1000 + 0.5) * 4)
            tried += 1
            hit += crew.kill_one()
            if restarted < restarts and hit >= (restarted + 1) * kills // (restarts + 1):
                redis.kill()
                redis.start()
                restarted += 1
        crew.wait()
        seconds = time.monotonic() - began
        status = [BIN, "embed", "status", "--queue", redis.url, "--json"]
        status = json.loads(subprocess.run(list(map(str, status)), cwd=folder, check=True, capture_output=True).stdout)
        assert (status["waiting"], status["running"], status["dead"]) == (0, 0, 0), status
    finally:
        redis.kill()
    worst = check(paths, folder, expected)
    done = crew.done()
    twice = {name: count for name, count in done.items() if count > 1}
    assert hit >= kills, f"only {hit} kills hit a running job: more --jobs or --rows are needed"
    assert restarted == restarts, f"only {restarted} restarts"
    # A worker that is killed between the rename and its report leaves a finished output that the next one skips.
    assert not twice, f"done more often than once: {twice}"
    return {"jobs": jobs, "kills": tried, "hit": hit, "restarts": restarted, "seconds": seconds, "worst": worst}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=60, help="rows of a job [default: 60]")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=30, help="kills that hit a running job [default: 30]")
    parser.add_argument("--restarts", type=int, default=2, help="restarts of the server [default: 2]")
    parser.add_argument("--lease", default="5s")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="endurance"))
    texts = docstrings()
    random.seed(1)
    told = endure(folder, args.jobs, args.rows, args.workers, args.kills, args.restarts, args.lease, texts[:2000])
    print(
        "✓ nothing lost: "
        + ", ".join(
            f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in told.items()
        )
    )
    if not args.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
