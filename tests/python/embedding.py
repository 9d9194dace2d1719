"""Files of text for the workers, and what the embeddings of the golden texts are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import ROOT

MODEL = ROOT / "models" / "minilm"
GOLDEN = ROOT / "encoder" / "tests" / "golden"
DIM = 384
EMB = [f"emb_{i:03}" for i in range(DIM)]


def golden() -> tuple[list[str], np.ndarray]:
    """Real texts and what sentence-transformers makes of them: see scripts/reference_embeddings.py."""
    return json.loads((GOLDEN / "texts.json").read_text()), np.load(GOLDEN / "minilm.npy")


def repeated(rows: int) -> tuple[list[str], np.ndarray]:
    """So many rows of the golden texts, in an order that is not that of their lengths."""
    texts, vectors = golden()
    order = np.random.default_rng(rows).integers(0, len(texts), rows)
    return [texts[i] for i in order], vectors[order]


def write_texts(path: Path, texts: list[str | None], name: str = "text", **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"id": pa.array(range(len(texts)), pa.int64()), name: pa.array(texts, pa.string())})
    pq.write_table(table, path, **options)
    return path


def write_tree(root: Path, files: int, rows: int = 6) -> dict[str, np.ndarray]:
    """A tree of small files under ``root``: paths below it, and the embeddings of their rows."""
    made = {}
    for number in range(files):
        texts, vectors = repeated(rows + number % 3)
        relative = f"{number % 2:02}/Sub{number % 3}/chains_chunk_{number}.parquet"
        write_texts(root / relative, texts)
        made[relative] = vectors
    return made


def embeddings(path: Path) -> np.ndarray:
    """The embedding columns of an output, by name."""
    table = pq.read_table(path, columns=EMB)
    assert all(column.type == pa.float32() and column.null_count == 0 for column in table.columns)
    return np.stack([column.to_numpy() for column in table.columns], axis=1)


def agree(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    cosines = (got * expected).sum(1) / (np.linalg.norm(got, axis=1) * np.linalg.norm(expected, axis=1))
    assert cosines.min() >= 0.99999, f"row {cosines.argmin()}: {cosines.min()}"


def made_by(path: Path) -> dict:
    """What an output says of how it was made."""
    return json.loads(pq.read_metadata(path).metadata[b"embstore.embeddings"])
