"""The whole job on made clusters, and beside the job as the Python script does it."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from harness import ROOT, same_bits, succeeds
from make_checkpoints import MODEL, write_articles, write_checkpoints

ARTICLES, QUESTIONS, DIM = 2500, 10, 48


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two clusters of eight workers, 2,500 articles and ten questions behind them; merged and exported."""
    folder = tmp_path_factory.mktemp("workflow")
    write_checkpoints(folder / "embeddings", ARTICLES + QUESTIONS, DIM, files=16)
    write_articles(folder / "wikipedia.pkl", ARTICLES, text_bytes=500)
    merge = ["merge", "embeddings/", "-o", "store.npy", "--rows", str(ARTICLES), "--articles", "wikipedia.pkl"]
    succeeds(*merge, cwd=folder)
    succeeds("export", "store.npy", "--format", "pickle", cwd=folder)
    return folder


def load(path) -> dict:
    with open(path, "rb") as file:
        return pickle.load(file)


def test_rows_are_those_of_the_workers_without_the_questions(home):
    rows = np.load(home / "store.npy", mmap_mode="r")
    workers = sorted((load(path) for path in (home / "embeddings").iterdir()), key=lambda made: made["start_index"])
    everything = np.concatenate([made["embeddings"] for made in workers])
    assert len(workers) == 16 and len(everything) == ARTICLES + QUESTIONS
    assert same_bits(np.asarray(rows), everything[:ARTICLES])


def test_row_i_belongs_to_article_i(home):
    table = pq.read_table(home / "store.articles.parquet").to_pylist()
    articles = load(home / "wikipedia.pkl")
    assert table == [{key: item[key] for key in ("id", "title", "url")} for item in articles]


def test_the_store_verifies_against_its_checkpoints(home):
    succeeds("verify", home / "store.npy", "--checkpoints", home / "embeddings")


def test_the_checks_of_the_old_documents_pass(home):
    """The integrity and quality checks that users of the script were told to run on its output."""
    data = load(home / "store.pkl")
    assert data["embeddings"].shape == (ARTICLES, DIM) == data["shape"]
    assert len(data["articles"]) == data["total_articles"] == ARTICLES
    assert data["embedding_dim"] == DIM and data["model"] == MODEL
    assert data["embeddings"].dtype in [np.float32, np.float64]
    assert not np.isnan(data["embeddings"]).any() and not np.isinf(data["embeddings"]).any()
    assert all(isinstance(article[key], str) for article in data["articles"] for key in ("id", "title", "url"))
    quality = data["quality_metrics"]
    assert 0.5 < quality["mean_norm"] < 2 and quality["max_norm"] >= quality["min_norm"] > 0
    assert not quality["has_nan"] and not quality["has_inf"]
    assert [(chunk["cluster_id"], chunk["gpu_id"]) for chunk in data["chunk_info"]] == [
        (cluster, gpu) for cluster in (1, 2) for gpu in range(8)
    ]


def test_the_pickle_is_what_the_script_would_have_written(home, tmp_path):
    """Same rows, articles and numbers; only what is new in chunk_info and quality_metrics comes on top."""
    script = [ROOT / "benches" / "reference_merge.py", "embeddings", "wikipedia.pkl", tmp_path / "reference.pkl"]
    subprocess.run([sys.executable, *map(str, script), "--rows", str(ARTICLES), "--no-sync"], cwd=home, check=True)
    theirs, ours = load(tmp_path / "reference.pkl"), load(home / "store.pkl")
    assert list(ours) == list(theirs)
    assert same_bits(ours["embeddings"], theirs["embeddings"])
    for key in ("articles", "total_articles", "embedding_dim", "model", "shape"):
        assert ours[key] == theirs[key], key
    for name, value in theirs["quality_metrics"].items():
        assert ours["quality_metrics"][name] == (pytest.approx(value, abs=1e-6) if "norm" in name else value), name
    for mine, other in zip(ours["chunk_info"], theirs["chunk_info"]):
        assert {key: mine[key] for key in other} == other
