"""The merge as the Python script does it, for the benchmark to stand beside: plain numpy and pickle, at full speed.

Its phases, from the script's documents: load every checkpoint, sort and verify the ranges, concatenate and cut, quality
checks, article metadata, dump one pickle. The dump is synced to disk unless ``--no-sync``. The script's last phase, a
look at the saved file, is left out in the script's favour.
"""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import time
from datetime import datetime
from pathlib import Path

import numpy as np

FIELDS = ("embeddings", "start_index", "end_index", "cluster_id", "gpu_id")


def load_checkpoint(path: Path) -> dict:
    with open(path, "rb") as file:
        data = pickle.load(file)
    missing = [field for field in FIELDS if field not in data]
    if missing:
        raise ValueError(f"{path}: missing {missing}")
    if not isinstance(data["embeddings"], np.ndarray):
        raise ValueError(f"{path}: embeddings is not an array")
    if data["end_index"] - data["start_index"] != len(data["embeddings"]):
        raise ValueError(f"{path}: the range does not fit the rows")
    return data


def verify_ranges(chunks: list[dict]) -> None:
    expected = 0
    for chunk in chunks:
        if chunk["start_index"] != expected:
            raise ValueError(f"expected index {expected}, got {chunk['start_index']}")
        expected = chunk["end_index"]


def quality(embeddings: np.ndarray) -> dict:
    norms = np.linalg.norm(embeddings, axis=1)
    return {
        "shape": embeddings.shape,
        "dtype": str(embeddings.dtype),
        "min_norm": float(norms.min()),
        "max_norm": float(norms.max()),
        "mean_norm": float(norms.mean()),
        "std_norm": float(norms.std()),
        "has_nan": bool(np.isnan(embeddings).any()),
        "has_inf": bool(np.isinf(embeddings).any()),
    }


def load_articles(path: Path) -> list[dict]:
    with open(path, "rb") as file:
        articles = pickle.load(file)
    return [{"title": a["title"], "id": a["id"], "url": a["url"]} for a in articles]


def merge(folder: Path, articles_file: Path, output: Path, rows: int | None, sync: bool) -> dict:
    """Do the whole job; returns the seconds of each phase, which add up to all of it."""
    marks = [("start", time.perf_counter())]

    def done(phase: str) -> None:
        marks.append((phase, time.perf_counter()))

    chunks = [load_checkpoint(path) for path in sorted(folder.glob("cluster*_gpu*.pkl"))]
    done("load")
    chunks.sort(key=lambda chunk: chunk["start_index"])
    verify_ranges(chunks)
    embeddings = np.concatenate([chunk["embeddings"] for chunk in chunks], axis=0)[:rows]
    done("concatenate")
    metrics = quality(embeddings)
    done("quality")
    articles = load_articles(articles_file)
    if len(articles) != len(embeddings):
        raise ValueError(f"{len(articles)} articles for {len(embeddings)} rows")
    done("articles")
    merged = {
        "embeddings": embeddings,
        "articles": articles,
        "total_articles": len(embeddings),
        "embedding_dim": embeddings.shape[1],
        "model": "google/embeddinggemma-300m",
        "timestamp": datetime.now().isoformat(),
        "shape": embeddings.shape,
        "quality_metrics": metrics,
        "chunk_info": [{key: chunk[key] for key in FIELDS[1:]} for chunk in chunks],
    }
    with open(output, "wb") as file:
        pickle.dump(merged, file, protocol=4)
        file.flush()
        if sync:
            os.fsync(file.fileno())
    done("dump")
    return {phase: at - before for (_, before), (phase, at) in zip(marks, marks[1:])}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("articles", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--no-sync", action="store_true")
    args = parser.parse_args()
    phases = merge(args.folder, args.articles, args.output, args.rows, sync=not args.no_sync)
    parts = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in phases.items())
    print(f"{sum(phases.values()):.2f} s ({parts}); {args.output.stat().st_size / 1e6:,.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
