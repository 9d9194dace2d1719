"""Make the real input of a merge: the checkpoints that the GPU workers wrote, and the articles that they embedded.

The folder gets ``embeddings/cluster{1,2}_gpu{0..7}.pkl``, each a pickled dict with unit-norm gaussian float32 rows,
and ``wikipedia.pkl``, a pickled list of dicts with ``id``, ``title``, ``url`` and ``text``. The rows beyond the
articles are questions (250,010 rows for 250,000 articles), as in the original job.

Everything is written by numpy and pickle themselves, and follows from the seed. One checkpoint at a time is held in
memory; the articles are one list, as they were for whoever pickled them first, so they need about their own size.
"""

from __future__ import annotations

import argparse
import pickle
import random
import sys
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np

MODEL = "google/embeddinggemma-300m"

# Names in several scripts, because titles are where a reader that guesses an encoding goes wrong.
GIVEN = "Nae Zoë Łukasz Čeněk Søren Ñico Ayşe Þóra Jürgen Anaïs Олена Γιώργος 明 유진 אורי 😀".split()
FAMILY = (
    "Lăzărescu Brontë Wałęsa Dvořák Núñez Öztürk Björk Müller Lefèvre Шевченко Παπαδόπουλος 東京 김 כהן Smith".split()
)
TOPICS = "History of|List of|Geography of|Early life of|Discography of|The river|Cuisine of|Battle of".split("|")
ENGLISH = (
    "the of and in to was is for as on with by at from an article describes river village population census".split()
)
FOREIGN = (
    "și în după război România été garçon où naïve straße über größer młody źródło žluť kůň война мир река".split()
)


def worker_dict(rows: np.ndarray, start: int, cluster: int, gpu: int) -> dict:
    """The dict as a worker dumped it: the five fields that matter, and what it noted beside them."""
    return {
        "embeddings": rows,
        "start_index": start,
        "end_index": start + len(rows),
        "cluster_id": cluster,
        "gpu_id": gpu,
        "model": MODEL,
        "embedding_dim": rows.shape[1],
        "batch_size": 32,
        "timestamp": "2024-11-14T08:15:30.123456",
        "elapsed_seconds": 5123.25,
        "completed": True,
    }


def unit_rows(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    """Gaussian directions of length one, which is what an embedding model with a normalising head returns."""
    block = rng.standard_normal((rows, dim), dtype=np.float32)
    block /= np.sqrt(np.einsum("ij,ij->i", block, block))[:, None]
    return block


def write_checkpoints(
    folder: Path, rows: int, dim: int, files: int, seed: int = 0, protocol: int = 4, dtype: str = "float32"
) -> list[Path]:
    """Write the checkpoints of one job; half of the files belong to each cluster. Returns them in row order."""
    folder.mkdir(parents=True, exist_ok=True)
    gpus = (files + 1) // 2
    bounds = [rows * i // files for i in range(files + 1)]
    paths = []
    for i, (start, end) in enumerate(zip(bounds, bounds[1:])):
        cluster, gpu = i // gpus + 1, i % gpus
        block = unit_rows(np.random.default_rng([seed, i]), end - start, dim).astype(dtype, copy=False)
        path = folder / f"cluster{cluster}_gpu{gpu}.pkl"
        with open(path, "wb") as file:
            pickle.dump(worker_dict(block, start, cluster, gpu), file, protocol=protocol)
        paths.append(path)
    return paths


def text_pool(rng: random.Random, size: int = 1 << 18) -> list[str]:
    """Long texts to cut articles from; three of four are plain ASCII, as English Wikipedia mostly is."""
    pool = []
    for words in (ENGLISH, ENGLISH, ENGLISH, ENGLISH + FOREIGN):
        parts = rng.choices(words, k=size // 6)
        pool.append(" ".join(parts))
    return pool


def make_articles(count: int, text_bytes: int, seed: int = 0) -> list[dict]:
    """``count`` articles with distinct ids, titles, urls and texts of about ``text_bytes`` bytes of UTF-8."""
    rng = random.Random(seed)
    pool = text_pool(rng)
    articles = []
    for i in range(count):
        name = f"{rng.choice(GIVEN)} {rng.choice(FAMILY)}"
        title = f"{name} ({i})" if i % 3 else f"{rng.choice(TOPICS)} {name} {i}"
        url = "https://en.wikipedia.org/wiki/" + quote(title.replace(" ", "_"))
        source = pool[i % len(pool)]
        begin = rng.randrange(max(1, len(source) - text_bytes))
        text = f"{title}. {source[begin : begin + text_bytes]}"
        articles.append({"id": str(1000 + 7 * i), "title": title, "url": url, "text": text})
    return articles


def write_articles(path: Path, count: int, text_bytes: int, seed: int = 0, protocol: int = 4) -> None:
    """Pickle the articles as one list, which is what ``wikipedia.pkl`` is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        pickle.dump(make_articles(count, text_bytes, seed), file, protocol=protocol)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--rows", type=int, default=250_010)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--articles", type=int, default=250_000, help="0 writes no wikipedia.pkl")
    parser.add_argument("--text-bytes", type=int, default=1600, help="length of an article's text")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--protocol", type=int, default=4, choices=range(6))
    parser.add_argument("--dtype", default="float32", choices=["float16", "float32", "float64"])
    return parser.parse_args()


def main() -> int:
    args = arguments()
    began = time.perf_counter()
    folder = args.outdir / "embeddings"
    paths = write_checkpoints(folder, args.rows, args.dim, args.files, args.seed, args.protocol, args.dtype)
    size = sum(path.stat().st_size for path in paths)
    print(f"{len(paths)} checkpoints, {args.rows:,} x {args.dim} {args.dtype}, {size / 1e6:,.0f} MB in {folder}")
    if args.articles:
        path = args.outdir / "wikipedia.pkl"
        write_articles(path, args.articles, args.text_bytes, args.seed, args.protocol)
        print(f"{args.articles:,} articles, {path.stat().st_size / 1e6:,.0f} MB in {path}")
    print(f"made in {time.perf_counter() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
