"""Kill a merge at random moments, run the same command again, and compare with an undisturbed run, byte for byte.

Every round kills the same partial once or several times, then lets the command finish. A kill counts when it lands in
mid-copy: the process died of it, the partial is there and nothing is published yet. Before some kills the process is
stopped a few times for a quarter of a second, which is what a busy machine does to it: a fast disk would otherwise
leave no time for the journal. The timestamp is fixed by SOURCE_DATE_EPOCH, so every byte of the store must be equal.

    python scripts/kill_test.py --kills 50
    python scripts/kill_test.py --kills 5000 --rows 100000 --format pickle
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from make_checkpoints import write_articles, write_checkpoints

NAP = 0.25


@dataclass
class Job:
    """One merge that can be started over and over into the folder ``out``."""

    binary: Path
    sources: Path
    out: Path
    name: str = "s.npy"
    flags: list = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.out / self.name

    @property
    def partial(self) -> Path:
        return self.out / f"{self.name}.partial"

    def command(self, *more) -> list[str]:
        fixed = ["merge", self.sources, "-o", self.store, "--force", "--json", "--progress", "none"]
        return [str(part) for part in [self.binary, *fixed, *self.flags, *more]]

    def start(self, *more) -> subprocess.Popen:
        env = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
        return subprocess.Popen(self.command(*more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)

    def start_copying(self, *more) -> subprocess.Popen | None:
        """Start it and return once it holds the partial's lock, which is before the journal is there; None where it was
        over before that could be seen."""
        child = self.start(*more)
        while child.poll() is None:
            if (self.partial / "journal").exists():
                return child
        child.communicate()
        return None

    def finish(self, *more) -> dict:
        """Run it to its end; its JSON."""
        child = self.start(*more)
        out, err = child.communicate()
        if child.returncode != 0:
            raise AssertionError(f"exit {child.returncode}: {err}")
        return json.loads(out)

    def clear(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)

    def digest(self) -> dict[str, str]:
        """Every file of the store and its sidecars; anything else left in the folder shows up here too."""
        return {
            str(path.relative_to(self.out)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.out.rglob("*"))
            if path.is_file()
        }


@dataclass
class Tally:
    kills: int = 0
    mid_copy: int = 0
    resumes: int = 0
    resumed_rows: int = 0


def nap(child: subprocess.Popen) -> None:
    child.send_signal(signal.SIGSTOP)
    time.sleep(NAP)
    child.send_signal(signal.SIGCONT)


def kill_once(job: Job, delay: float, naps: int, tally: Tally) -> None:
    """Start the merge, kill it ``delay`` seconds of running after its partial appeared, and note where that landed."""
    child = job.start_copying()
    if child is None:
        return
    for _ in range(naps):
        time.sleep(delay / (naps + 1))
        nap(child)
    time.sleep(delay / (naps + 1))
    child.send_signal(signal.SIGKILL)
    child.communicate()
    if child.returncode == -signal.SIGKILL:
        tally.kills += 1
        if job.partial.exists() and not (job.partial / "publish").exists():
            tally.mid_copy += 1
    truthful(job)


def truthful(job: Job) -> None:
    """Whatever stands under the target's name with its metadata must verify."""
    record = job.store.with_suffix(".meta.json")
    whole = job.store.exists() and (job.store.suffix != ".npy" or record.exists())
    if whole and not job.partial.exists():
        subprocess.run([str(job.binary), "verify", str(job.store), "--quiet"], check=True, stdout=subprocess.DEVNULL)


def campaign(job: Job, kills: int, seed: int = 0, log=lambda line: None) -> Tally:
    """Kill until ``kills`` have landed in mid-copy and some resume has continued from rows on disk.

    Every round ends with a resume that must equal the reference. So many rounds without either are an error.
    """
    rng = random.Random(seed)
    job.clear()
    began = time.perf_counter()
    job.finish()
    span = time.perf_counter() - began
    reference = job.digest()
    tally = Tally()
    while tally.mid_copy < kills or not tally.resumed_rows:
        if tally.resumes > 20 * kills + 20:
            raise AssertionError(f"{tally}: too few kills landed, or nothing was ever resumed")
        job.clear()
        for _ in range(rng.choice((1, 1, 2, 4))):
            kill_once(job, rng.uniform(0, span), rng.choice((0, 1, 2, 4)), tally)
        rows = job.finish()["rows_resumed"]
        tally.resumes += 1
        tally.resumed_rows += rows > 0
        found = job.digest()
        if found != reference:
            raise AssertionError(f"round {tally.resumes} (seed {seed}): {found} is not {reference}")
        if tally.resumes % 10 == 0:
            log(f"{tally.kills} kills, {tally.mid_copy} in mid-copy; {tally.resumed_rows} of {tally.resumes} continued")
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50, help="kills that must land in mid-copy")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--threads", default="1")
    parser.add_argument("--format", default="npy", choices=["npy", "pickle", "zarr"])
    parser.add_argument("--compression", help="of Zarr's chunks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dir", type=Path, help="where to work (default: a temporary folder)")
    default = Path(__file__).resolve().parents[1] / "target" / "release" / "embstore"
    parser.add_argument("--binary", type=Path, default=Path(os.environ.get("EMBSTORE_BIN", default)))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        home = Path(folder)
        write_checkpoints(home / "embeddings", args.rows, args.dim, files=16)
        write_articles(home / "wikipedia.pkl", args.rows, text_bytes=200)
        flags = ["--threads", args.threads, "--articles", home / "wikipedia.pkl"]
        if args.compression:
            flags += ["--compression", args.compression]
        name = {"npy": "s.npy", "pickle": "s.pkl", "zarr": "s.zarr"}[args.format]
        job = Job(args.binary, home / "embeddings", home / "out", name, flags)
        began = time.perf_counter()
        tally = campaign(job, args.kills, args.seed, log=lambda line: print(line, flush=True))
        print(
            f"✓ {tally.kills} kills, {tally.mid_copy} in mid-copy; {tally.resumes} resumes, {tally.resumed_rows} "
            f"from rows on disk, all equal to an undisturbed run; {time.perf_counter() - began:.0f} s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
