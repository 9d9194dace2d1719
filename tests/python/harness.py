"""How the tests speak to the binary, and the checkpoints that they feed it.

The contract is on the outside: exit codes, JSON on stdout, errors on stderr, files. Nothing here knows the insides.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("EMBSTORE_BIN", ROOT / "target" / "release" / "embstore")).resolve()
DATA = ROOT / "formats" / "tests" / "data"
EPOCH = "1700000000"


def environment(**extra: str) -> dict[str, str]:
    """The caller's environment without what would change a result, and with a fixed timestamp."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("EMBSTORE_", "RUST_"))}
    return {**kept, "SOURCE_DATE_EPOCH": EPOCH, "LC_ALL": "C.UTF-8", **extra}


def strict_json(text: str):
    """Exactly one JSON value, with no NaN, no Infinity and no key twice."""

    def no_constant(name: str):
        raise ValueError(f"{name} is not JSON")

    def no_twins(pairs: list) -> dict:
        made = dict(pairs)
        assert len(made) == len(pairs), f"a key stands twice in {[key for key, _ in pairs]}"
        return made

    return json.loads(text, parse_constant=no_constant, object_pairs_hook=no_twins)


@dataclass
class Result:
    code: int
    out: str
    err: str

    def json(self) -> dict:
        value = strict_json(self.out)
        assert isinstance(value, dict)
        return value

    @property
    def said(self) -> str:
        """Everything said to the user, with the thousands separators taken out so that numbers can be looked for."""
        return (self.out + self.err).replace(",", "")


def run(*args, cwd: Path | None = None, env: dict | None = None, timeout: float = 60, **options) -> Result:
    done = subprocess.run(
        [str(BIN), *map(str, args)],
        cwd=cwd,
        env=env or environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        **options,
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def succeeds(*args, **options) -> Result:
    result = run(*args, **options)
    assert result.code == 0, f"exit {result.code}\n{result.out}\n{result.err}"
    return result


def clean_error(result: Result) -> None:
    """One error that says what and where, then what to do, and shows nothing of the program's insides."""
    assert result.code == 1, f"exit {result.code}\n{result.out}\n{result.err}"
    lines = result.err.splitlines()
    marks = [i for i, line in enumerate(lines) if line.startswith("✗")]
    assert len(marks) == 1, f"one error was expected:\n{result.err}"
    block = [line for line in lines[marks[0] :] if line.strip()]
    assert len(block) >= 2, f"an error says what, where and what to do:\n{result.err}"
    assert all(line.strip("✗ ") for line in block), result.err
    for word in ("panicked", "RUST_BACKTRACE", "Os {", "Some(", "Err("):
        assert word not in result.err, result.err


def fails(*args, **options) -> str:
    """Run what must fail cleanly; returns what was said, without thousands separators."""
    result = run(*args, **options)
    clean_error(result)
    return result.said


def contents(folder: Path) -> dict[str, str]:
    """Every file under a folder with a digest of its bytes: two of these are equal when nothing was touched."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def matrix(rows: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, dim), dtype=np.float32)


def checkpoint(rows, start: int, cluster: int = 1, gpu: int = 0) -> dict:
    """The dict of a worker, in the order in which it was filled."""
    return {
        "embeddings": rows,
        "start_index": start,
        "end_index": start + len(rows),
        "cluster_id": cluster,
        "gpu_id": gpu,
        "model": "google/embeddinggemma-300m",
    }


def dump(path: Path, value, protocol: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        pickle.dump(value, file, protocol=protocol)
    return path


def cut(rows: np.ndarray, parts: int) -> list[tuple[int, np.ndarray]]:
    """The matrix in ``parts`` uneven pieces, each with its first row."""
    bounds = [len(rows) * i // parts for i in range(parts + 1)]
    return [(a, rows[a:b]) for a, b in zip(bounds, bounds[1:])]


def write_job(folder: Path, rows: np.ndarray, parts: int = 4, protocol: int = 4) -> list[Path]:
    """The checkpoints of one job, named as the workers name them. Returns them in row order."""
    paths = []
    for i, (start, piece) in enumerate(cut(rows, parts)):
        cluster, gpu = divmod(i, max(1, (parts + 1) // 2))
        name = f"cluster{cluster + 1}_gpu{gpu}.pkl"
        paths.append(dump(folder / name, checkpoint(piece, start, cluster + 1, gpu), protocol))
    return paths


def articles(count: int, first: int = 0) -> list[dict]:
    """Articles as wikipedia.pkl has them, titles in several scripts."""
    names = ["Nae Lăzărescu", "東京", "Łódź", "Αθήνα", "😀 emoji", 'quotes " and \\', "tab\tand newline\n", ""]
    return [
        {
            "id": str(41407254 + i),
            "title": f"{names[i % len(names)]} {i}",
            "url": f"https://x.org/{i}",
            "text": "t" * 300,
        }
        for i in range(first, first + count)
    ]


def kept(items: list[dict]) -> list[dict]:
    """What a store keeps of its articles."""
    return [{"id": str(item["id"]), "title": item["title"], "url": item["url"]} for item in items]


def sidecars(store: Path) -> tuple[Path, Path]:
    return store.with_suffix(".articles.parquet"), store.with_suffix(".meta.json")


def meta(store: Path) -> dict:
    return strict_json(sidecars(store)[1].read_text(encoding="utf-8"))


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    """Equal in every bit, NaN payloads and signed zeros included."""
    return left.shape == right.shape and left.dtype == right.dtype and left.tobytes() == right.tobytes()
