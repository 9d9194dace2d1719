"""Load what embstore wrote with numpy, pyarrow and pickle alone, and print what a downstream tool would see."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq


def show_npy(path: Path) -> None:
    rows = np.load(path, mmap_mode="r")
    norms = np.linalg.norm(rows[:10_000], axis=1)
    print(f'  np.load("{path.name}", mmap_mode="r") -> {rows.shape} {rows.dtype}, mapped at byte {rows.offset}')
    print(f"  norms of the first {len(norms):,} rows: {norms.min():.6f} to {norms.max():.6f}")
    titles = pq.read_table(path.with_suffix(".articles.parquet"), columns=["id", "title", "url"])
    print(f"  row 0 is {titles.slice(0, 1).to_pylist()[0]}")
    record = json.loads(path.with_suffix(".meta.json").read_text(encoding="utf-8"))
    quality = record["quality_metrics"]
    print(f"  {record['total_articles']:,} articles, model {record['model']}, made {record['timestamp']}")
    print(f"  mean norm {quality['mean_norm']:.6f}, has_nan {quality['has_nan']}, has_inf {quality['has_inf']}")


def show_pickle(path: Path) -> None:
    with open(path, "rb") as file:
        data = pickle.load(file)
    print(f"  pickle.load -> a dict of {', '.join(data)}")
    print(f"  embeddings {data['embeddings'].shape} {data['embeddings'].dtype}, {len(data['articles']):,} articles")
    print(f"  row 0 is {data['articles'][0]}")


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: show_store.py STORE.npy | MERGED.pkl", file=sys.stderr)
        return 2
    path = Path(sys.argv[1])
    (show_pickle if path.suffix == ".pkl" else show_npy)(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
