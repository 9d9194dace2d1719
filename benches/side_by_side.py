"""embstore beside what it replaces: interleaved pairs in one session, medians and ratios as a Markdown table.

    python scripts/make_checkpoints.py DATA
    python benches/side_by_side.py DATA --out FOLDER-ON-THE-SAME-DISK

Every repetition runs each side once, in turns that swap order, into a new file that is removed between runs, so a busy
machine weighs on both. Warm means that all sources are in the page cache, cold that they were dropped from it just
before. Times are whole processes by the wall clock; `cat` is one process that writes to the file, as a shell would run
it. All dirty pages are written back (`sync`) before each run, and memory is touched: nobody pays for the run before.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import measure  # noqa: E402  (it lies beside the other scripts, which are no package)


@dataclass
class Side:
    """One way to do the job: a shell-like description for the table, and the argument list or function that does it."""

    label: str
    run: Callable[[Path], float | None]
    """Works in a folder; returns the seconds where it measures them itself, after its imports for one."""


@dataclass
class Row:
    what: str
    sources: str
    ours: str
    theirs: str
    ratio: str


class Bench:
    def __init__(self, args: argparse.Namespace) -> None:
        self.binary: Path = args.binary
        self.data: Path = args.data
        self.out: Path = args.out
        self.reps: int = args.reps
        self.rows: int = args.rows
        self.checkpoints = sorted((self.data / "embeddings").glob("cluster*_gpu*.pkl"))
        self.articles = self.data / "wikipedia.pkl"
        self.table: list[Row] = []

    # What is compared -------------------------------------------------------------------------------------------------

    def merge(self, name: str, *flags: str) -> Side:
        def run(folder: Path) -> None:
            command = [self.binary, "merge", self.data / "embeddings", "-o", folder / name, "--quiet", *flags]
            subprocess.run(command, check=True)

        return Side(" ".join(["embstore merge -o", name, *(Path(f).name if "/" in f else f for f in flags)]), run)

    def cat(self, sync: bool) -> Side:
        def run(folder: Path) -> None:
            with open(folder / "all", "wb") as file:
                subprocess.run(["cat", *self.checkpoints], stdout=file, check=True)
                if sync:
                    os.fsync(file.fileno())

        return Side("cat of the same files" + (" and fsync" if sync else ""), run)

    def reference(self, *flags: str) -> Side:
        script = ROOT / "benches" / "reference_merge.py"

        def run(folder: Path) -> None:
            command = [sys.executable, script, self.data / "embeddings", self.articles, folder / "merged.pkl"]
            command += ["--rows", str(self.rows), *flags]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

        return Side(" ".join(["reference_merge.py", *flags]), run)

    def unpickle(self) -> Side:
        code = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"

        def run(_: Path) -> None:
            subprocess.run([sys.executable, "-c", code, self.articles], check=True)

        return Side("pickle.load(wikipedia.pkl)", run)

    def read_articles(self) -> Side:
        program = self.binary.parent / "examples" / "articles"

        def run(folder: Path) -> None:
            command = [program, self.articles, folder / "articles.parquet"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

        return Side("examples/articles wikipedia.pkl", run)

    def export(self, store: Path, name: str, *flags: str) -> Side:
        formats = {".zarr": "zarr", ".h5": "hdf5", ".pkl": "pickle", ".npy": "npy"}

        def run(folder: Path) -> None:
            command = [self.binary, "export", store, "--format", formats[Path(name).suffix], "-o", folder / name]
            subprocess.run([*command, "--quiet", *flags], check=True)

        return Side(" ".join(["embstore export -o", name, *flags]), run)

    def peer(self, tool: str, source: Path, name: str, *flags: str) -> Side:
        script = ROOT / "benches" / "peers.py"

        def run(folder: Path) -> float:
            command = [sys.executable, script, tool, source, folder / name, *flags]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=without_pins())
            return float(done.stdout)

        return Side(" ".join([tool, *flags]), run)

    def one_file(self, path: Path, sync: bool) -> Side:
        def run(folder: Path) -> None:
            with open(folder / "copy", "wb") as file:
                subprocess.run(["cat", path], stdout=file, check=True)
                if sync:
                    os.fsync(file.fileno())

        return Side("cat" + (" and fsync" if sync else ""), run)

    # How it is measured -----------------------------------------------------------------------------------------------

    def timed(self, side: Side, sources: list[Path], cold: bool) -> float:
        folder = self.out / "side-by-side"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        prepare = measure.drop_from_cache if cold else measure.read_into_cache
        for path in sources:
            prepare(path)
        touch_memory(folder / "touched")
        os.sync()
        began = time.perf_counter()
        reported = side.run(folder)
        seconds = time.perf_counter() - began if reported is None else reported
        shutil.rmtree(folder)
        return seconds

    def pair(self, what: str, ours: Side, theirs: Side, sources: list[Path], cold: bool = False) -> None:
        """One line of the table. The ratio is of medians; in brackets, the lowest and highest of the pairs."""
        times: dict[str, list[float]] = {"ours": [], "theirs": []}
        for rep in range(self.reps):
            turns = [("ours", ours), ("theirs", theirs)]
            for name, side in turns if rep % 2 else reversed(turns):
                times[name].append(self.timed(side, sources, cold))
        ratios = [a / b for a, b in zip(times["ours"], times["theirs"])]
        mine, other = statistics.median(times["ours"]), statistics.median(times["theirs"])
        ratio = f"{mine / other:.2f}× ({min(ratios):.2f}–{max(ratios):.2f})"
        if other / mine > 3:
            ratio += f", {other / mine:.1f}× faster"
        self.note(
            what,
            "cold" if cold else "warm",
            f"{ours.label}: {duration(mine)}",
            f"{theirs.label}: {duration(other)}",
            ratio,
        )

    def note(self, *cells: str) -> None:
        self.table.append(Row(*cells))
        print(f"{cells[0]} ({cells[1]}): {' | '.join(cells[2:])}", file=sys.stderr, flush=True)

    # The figures ------------------------------------------------------------------------------------------------------

    def copy(self) -> None:
        rows = ["--rows", str(self.rows)]
        for cold in (False, True):
            unsynced = self.merge("s.npy", *rows, "--no-sync")
            self.pair("copy + quality, to the page cache", unsynced, self.cat(sync=False), self.checkpoints, cold)
            self.pair("copy + quality, to the disk", self.merge("s.npy", *rows), self.cat(True), self.checkpoints, cold)

    def job(self) -> None:
        rows = ["--rows", str(self.rows), "--articles", str(self.articles)]
        sources = [*self.checkpoints, self.articles]
        self.pair("the whole job, synced", self.merge("x.pkl", *rows), self.reference(), sources)
        unsynced = self.merge("x.pkl", *rows, "--no-sync")
        self.pair("the whole job, unsynced", unsynced, self.reference("--no-sync"), sources)

    def article(self) -> None:
        if not (self.binary.parent / "examples" / "articles").exists():
            raise SystemExit("✗ no examples/articles: cargo build --release --example articles")
        self.pair("articles", self.read_articles(), self.unpickle(), [self.articles])

    @contextmanager
    def store(self) -> Iterator[Path]:
        """The rows as an .npy store, to be read by either side."""
        folder = self.out / "store"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.merge("s.npy", "--rows", str(self.rows)).run(folder)
        yield folder / "s.npy"
        shutil.rmtree(folder)

    def targets(self) -> None:
        rows = ["--rows", str(self.rows)]
        for name in ("s.h5", "s.zarr"):
            self.pair(f"merge to {name[1:]}, synced", self.merge(name, *rows), self.merge("s.npy", *rows), self.checkpoints)

    def zarr(self) -> None:
        with self.store() as npy:
            for flags in ([], ["--compression", "zstd:1"], ["--compression", "blosc-lz4:5"]):
                theirs = [flag.split(":")[0] for flag in flags]
                for tool in ("zarr-python", "tensorstore"):
                    what = " ".join(["into Zarr", *flags[1:], "beside", tool])
                    peer = self.peer(tool, npy, "s.zarr", *theirs)
                    self.pair(f"{what}, not synced", self.export(npy, "s.zarr", "--no-sync", *flags), peer, [npy])
                    peer = self.peer(tool, npy, "s.zarr", "--sync", *theirs)
                    self.pair(f"{what}, synced", self.export(npy, "s.zarr", *flags), peer, [npy])

    def hdf5(self) -> None:
        with self.store() as npy:
            for flags in ([], ["--compression", "zstd:1"], ["--compression", "deflate:4"]):
                theirs = [flag.split(":")[0] for flag in flags]
                what = " ".join(["into HDF5", *flags[1:], "beside h5py"])
                peer = self.peer("h5py", npy, "s.h5", *theirs)
                self.pair(f"{what}, not synced", self.export(npy, "s.h5", "--no-sync", *flags), peer, [npy])
                peer = self.peer("h5py", npy, "s.h5", "--sync", *theirs)
                self.pair(f"{what}, synced", self.export(npy, "s.h5", *flags), peer, [npy])

    def pickle(self) -> None:
        with self.store() as npy:
            self.pair("npy to pickle, not synced", self.export(npy, "s.pkl", "--no-sync"), self.one_file(npy, False), [npy])
            self.pair("npy to pickle, synced", self.export(npy, "s.pkl"), self.one_file(npy, True), [npy])

    def parquet(self) -> None:
        """Columns emb_000 to emb_383 of 100,000 rows, as embedding workers write them, into rows."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder = self.out / "columns"
        folder.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(0).standard_normal((100_000, 384), dtype=np.float32)
        table = pa.table({f"emb_{i:03}": values[:, i] for i in range(384)})
        path = folder / "chains.parquet"
        pq.write_table(table, path, compression="none", use_dictionary=False)

        def ours(target: Path) -> None:
            command = [self.binary, "merge", path, "-o", target / "s.npy", "--no-sync", "--quiet"]
            subprocess.run(command, check=True)

        side = Side(f"embstore merge, {values.nbytes / 1e6:.0f} MB", ours)
        self.pair("Parquet emb_* columns to rows, not synced", side, self.peer("pyarrow", path, "s.npy"), [path])
        shutil.rmtree(folder)

    def memory(self) -> None:
        """The given job, and one of ten times the rows at a tenth of the width: the same bytes, ten times the rows."""
        self.peak(self.data, self.rows)
        tall = self.out / "tall"
        maker = [sys.executable, ROOT / "scripts" / "make_checkpoints.py", tall]
        maker += [
            "--rows",
            str(10 * self.rows),
            "--dim",
            "96",
            "--articles",
            str(10 * self.rows),
            "--text-bytes",
            "100",
        ]
        subprocess.run(list(map(str, maker)), check=True, stdout=subprocess.DEVNULL)
        self.peak(tall, 10 * self.rows)
        shutil.rmtree(tall)

    def peak(self, data: Path, rows: int) -> None:
        folder = self.out / "peak"
        command = [
            self.binary,
            "merge",
            data / "embeddings",
            "-o",
            folder / "s.npy",
            "--articles",
            data / "wikipedia.pkl",
        ]
        command += ["--rows", str(rows), "--quiet", "--force"]
        peaks = []
        for _ in range(self.reps):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            usage = measure.run_sampled(command)
            if usage.code:
                raise SystemExit(f"✗ merge failed: {usage.err}")
            peaks.append(usage)
        anon = max(usage.peak_anon for usage in peaks) / measure.MIB
        resident = max(usage.peak_resident for usage in peaks) / measure.MIB
        limit = measure.data_limit(64 * measure.MIB)
        passed = subprocess.run(list(map(str, command)), preexec_fn=limit).returncode == 0
        bites = subprocess.run(measure.hog(768 * 10**6), preexec_fn=limit, stderr=subprocess.DEVNULL).returncode != 0
        shutil.rmtree(folder)
        mine = f"peak anonymous {anon:.1f} MiB (resident {resident:.1f} MiB)"
        limits = f"{'passes' if passed else 'FAILS'}; control of 768 MB {'refused' if bites else 'NOT REFUSED'}"
        self.note(
            f"memory of a merge with articles, {rows:,} rows",
            "warm",
            mine,
            "goal 64 MiB",
            f"RLIMIT_DATA 64 MiB: {limits}",
        )

    def info(self) -> None:
        """The whole process, beside one that does nothing: what is left is the reading."""
        path = self.checkpoints[0]

        def ours(_: Path) -> None:
            subprocess.run([self.binary, "info", path], check=True, stdout=subprocess.DEVNULL)

        def nothing(_: Path) -> None:
            subprocess.run([self.binary, "--version"], check=True, stdout=subprocess.DEVNULL)

        label = f"embstore info, {path.stat().st_size / 1e6:.0f} MB"
        self.pair("info, whole process", Side(label, ours), Side("embstore --version", nothing), [path])

    # The report -------------------------------------------------------------------------------------------------------

    def report(self) -> str:
        size = sum(path.stat().st_size for path in self.checkpoints)
        head = [
            f"`{' '.join(['python', 'benches/side_by_side.py', *map(shown, sys.argv[1:])])}` on {machine()}; "
            f"{len(self.checkpoints)} checkpoints of {size / 1e6:,.0f} MB, {self.rows:,} rows kept; "
            f"medians of {self.reps}, lowest and highest pair in brackets.",
            "",
            "| | sources | embstore | beside | ratio |",
            "|---|---|---|---|---|",
        ]
        return "\n".join(head + [f"| {r.what} | {r.sources} | {r.ours} | {r.theirs} | {r.ratio} |" for r in self.table])


def touch_memory(path: Path) -> None:
    """Have the system hand out pages that a run will need, and take them back. A virtual machine returns idle memory to
    its host, and whoever touches it first pays for getting it again: by turns either side, and up to seconds."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    block = bytes(64 << 20)
    with open(path, "wb") as file:
        for _ in range(min(4 << 30, pages // 4) // len(block)):
            file.write(block)
    path.unlink()


def without_pins() -> dict[str, str]:
    """The environment without settings that would hold a peer's linear algebra back."""
    return {key: value for key, value in os.environ.items() if not key.startswith("OPENBLAS_")}


def duration(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"


def shown(argument: str) -> str:
    """Folders of this machine are nobody's business in a table that others read."""
    return Path(argument).name if "/" in argument else argument


def machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{os.cpu_count()} cores of {model}, {platform.system()} {platform.release()}"


FIGURES = {
    "copy": Bench.copy,
    "job": Bench.job,
    "articles": Bench.article,
    "memory": Bench.memory,
    "info": Bench.info,
    "targets": Bench.targets,
    "zarr": Bench.zarr,
    "hdf5": Bench.hdf5,
    "pickle": Bench.pickle,
    "parquet": Bench.parquet,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder that scripts/make_checkpoints.py made")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to, on the disk to be measured")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--rows", type=int, default=250_000)
    default = ROOT / "target" / "release" / "embstore"
    parser.add_argument("--binary", type=Path, default=Path(os.environ.get("EMBSTORE_BIN", default)))
    args = parser.parse_args()
    bench = Bench(args)
    if not bench.checkpoints:
        raise SystemExit(f"✗ no checkpoints in {bench.data / 'embeddings'}: scripts/make_checkpoints.py {bench.data}")
    for name in args.only:
        FIGURES[name](bench)
    print(bench.report())
    return 0


if __name__ == "__main__":
    sys.exit(main())
