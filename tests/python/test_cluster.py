"""``cluster``: embeddings in, labels out, as python's hdbscan and scikit-learn have them, and whatever can go wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from embedding import EMB, MODEL, write_texts
from harness import BIN, clean_error, contents, environment, fails, run, succeeds
from real_texts import docstrings

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="platform: hdbscan's wheels need Python 3.11")


def cluster(*args, **options) -> dict:
    return succeeds("cluster", "--json", *args, **options).json()


def blobs(groups: int = 6, each: int = 120, dims: int = 12, seed: int = 0) -> np.ndarray:
    """Groups far from each other, of different densities; all distances differ."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 40, (groups, dims))
    rows = [rng.normal(centre, 0.5 + index / 2, (each + 7 * index, dims)) for index, centre in enumerate(centres)]
    return rng.permutation(np.vstack(rows)).astype(np.float32)


def store(path: Path, rows: np.ndarray) -> Path:
    np.save(path, rows)
    return path


def chunk(path: Path, rows: np.ndarray, first: int = 0, **more) -> Path:
    """A worker's file: an id and a text a row, and the columns of its embedding."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = range(first, first + len(rows))
    columns = {"id": pa.array(ids, pa.int64()), "text": pa.array([f"text  {i}" for i in ids])}
    columns |= {name: pa.array(value) for name, value in more.items()}
    columns |= {f"emb_{i:03}": pa.array(rows[:, i]) for i in range(rows.shape[1])}
    pq.write_table(pa.table(columns), path, compression="snappy")
    return path


def columns(path: Path) -> dict[str, np.ndarray]:
    return {name: column.to_numpy() for name, column in zip(pq.read_schema(path).names, pq.read_table(path).columns)}


def partition(labels: np.ndarray) -> list[frozenset[int]]:
    """The clusters, whatever their numbers."""
    return sorted((frozenset(np.flatnonzero(labels == label)) for label in set(labels) - {-1}), key=sorted)


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    """Embeddings of 2,000 real lines of text, from documentation strings."""
    lines = (line.strip() for text in docstrings() for line in text.splitlines())
    texts = list(dict.fromkeys(line for line in lines if len(line) > 25))[::4][:2000]
    assert len(texts) == 2000
    folder = tmp_path_factory.mktemp("real")
    source = write_texts(folder / "in.parquet", texts)
    output = folder / "out.parquet"
    succeeds("embed", "work", "--model", MODEL, "--engine", "builtin", "--input", source, "--output", output, timeout=300)
    return output


def test_the_tree_of_real_vectors_weighs_what_hdbscans_does(real, tmp_path):
    from hdbscan import HDBSCAN

    rows = np.stack([columns(real)[name] for name in EMB], axis=1).astype(np.float64)
    peer = HDBSCAN(min_cluster_size=10, algorithm="prims_kdtree", gen_min_span_tree=True).fit(rows)
    weight = peer.minimum_spanning_tree_.to_numpy()[:, 2].sum()
    report = cluster(real, "-o", tmp_path / "c.parquet", "--min-cluster-size", 10)
    assert report["tree_weight"] == pytest.approx(weight, rel=1e-6)
    assert (report["points"], report["dims"]) == (2000, 384)
    assert report["largest"] and all(row["examples"] for row in report["largest"])


def hdbscan_of(rows: np.ndarray, metric: str, size: int) -> tuple:
    """Labels, probabilities, condensed tree and outlier scores of hdbscan's own functions, from a tree whose edges are in
    the order that embstore documents: which of equal edges comes first changes what falls out of which cluster, and hdbscan
    leaves that to chance."""
    from hdbscan._hdbscan_linkage import label
    from hdbscan._hdbscan_tree import outlier_scores
    from hdbscan.hdbscan_ import _tree_to_labels
    from reference_clusters import ordered_tree

    linkage = label(ordered_tree(rows.astype(np.float64), metric, size))
    labels, probabilities, _, condensed, _ = _tree_to_labels(rows, linkage, min_cluster_size=size)
    return labels, probabilities, condensed, outlier_scores(condensed)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_labels_probabilities_and_outlier_scores_are_those_of_hdbscan(metric, tmp_path):
    rows = blobs()
    report = cluster(store(tmp_path / "s.npy", rows), "-o", tmp_path / "c.parquet", "--metric", metric)
    got = columns(tmp_path / "c.parquet")
    labels, probabilities, _, scores = hdbscan_of(rows, metric, 5)
    assert partition(got["label"]) == partition(labels)
    assert len(partition(got["label"])) == report["clusters"] == 6
    assert got["label"].dtype == np.int32
    assert (got["label"] == -1).sum() == report["noise"]
    np.testing.assert_allclose(got["probability"], probabilities, atol=1e-5)
    np.testing.assert_allclose(got["outlier_score"], scores, atol=1e-5)


@pytest.mark.parametrize("selection", ["eom", "leaf"])
def test_selections_are_those_of_scikit_learn(selection, tmp_path):
    from sklearn.cluster import HDBSCAN
    from sklearn.metrics import adjusted_rand_score

    rows = blobs(groups=9, dims=5, seed=3)
    flags = ["--cluster-selection", selection, "--min-cluster-size", 15, "--min-samples", 4]
    cluster(store(tmp_path / "s.npy", rows), "-o", tmp_path / "c.parquet", *flags)
    # It counts the point itself among its samples.
    peer = HDBSCAN(min_cluster_size=15, min_samples=5, cluster_selection_method=selection, copy=True).fit(rows)
    assert adjusted_rand_score(peer.labels_, columns(tmp_path / "c.parquet")["label"]) >= 0.99


def test_the_condensed_tree_is_that_of_hdbscan(tmp_path):
    rows = blobs()
    cluster(store(tmp_path / "s.npy", rows), "-o", tmp_path / "c.parquet", "--condensed-tree", tmp_path / "t.parquet")
    got, peer = columns(tmp_path / "t.parquet"), hdbscan_of(rows, "euclidean", 5)[2]
    assert list(got) == list(peer.dtype.names)
    # Clusters may be numbered in another order; points are not.
    points = len(rows)
    for tree in (got, peer):
        assert sorted(tree["child"][tree["child_size"] == 1]) == list(range(points))
        assert min(tree["parent"]) == points
    for name in ("lambda_val", "child_size"):
        np.testing.assert_allclose(np.sort(got[name]), np.sort(peer[name]), rtol=1e-5)
    left = [tree["lambda_val"][np.argsort(np.where(tree["child_size"] == 1, tree["child"], points))] for tree in (got, peer)]
    np.testing.assert_allclose(left[0][:points], left[1][:points], rtol=1e-5)


def test_principal_components_hold_the_variance_that_scikit_learn_finds(tmp_path):
    from sklearn.decomposition import PCA

    rows = blobs(dims=40)
    report = cluster(store(tmp_path / "s.npy", rows), "-o", tmp_path / "c.parquet", "--reduce", "pca:4")
    expected = PCA(4).fit(rows.astype(np.float64)).explained_variance_ratio_.sum()
    assert report["explained_variance"] == pytest.approx(expected, rel=1e-3)
    assert report["clusters"] == 6


def test_the_result_is_the_same_with_any_number_of_threads_and_wherever_files_end(tmp_path):
    rows = np.random.default_rng(1).normal(0, 1, (3000, 24)).astype(np.float32)
    one = cluster(store(tmp_path / "s.npy", rows), "-o", tmp_path / "1.parquet", "--reduce", "pca:8", "--threads", 1)
    chunk(tmp_path / "p/c_9.parquet", rows[:1001])
    chunk(tmp_path / "p/c_10.parquet", rows[1001:], 1001)
    two = cluster(tmp_path / "p", "-o", tmp_path / "2.parquet", "--reduce", "pca:8", "--threads", 2)
    assert (one["tree_weight"], one["clusters"], one["noise"]) == (two["tree_weight"], two["clusters"], two["noise"])
    first, second = columns(tmp_path / "1.parquet"), columns(tmp_path / "2.parquet")
    assert list(first) == ["label", "probability", "outlier_score"]
    assert list(second) == ["id", "text", *first] and list(second["id"]) == list(range(3000))
    assert all((first[name] == second[name]).all() for name in first)


def test_an_approximate_tree_weighs_hardly_more_and_is_told_from_the_exact_one(tmp_path):
    from sklearn.metrics import adjusted_rand_score

    rows = blobs(groups=40, each=280, dims=24, seed=5)
    source, output = store(tmp_path / "s.npy", rows), tmp_path / "c.parquet"
    flags = ["--min-cluster-size", 50, "-o", output]
    exact = cluster(source, *flags)
    labels = columns(output)["label"]
    about = cluster(source, *flags, "--approximate")
    assert not about["skipped"] and cluster(source, *flags, "--approximate")["skipped"]
    assert 1 < about["tree_weight"] / exact["tree_weight"] < 1.01
    assert about["clusters"] == 40 and adjusted_rand_score(labels, columns(output)["label"]) > 0.99
    assert json.loads((tmp_path / "c.json").read_text())["parameters"]["approximate"] is True
    again = cluster(source, *flags, "--approximate", "--threads", 1, "--force")
    assert again["tree_weight"] == about["tree_weight"]
    assert cluster(source, *flags, "--approximate", "--seed", 1)["tree_weight"] != about["tree_weight"]


def test_columns_are_kept_and_embeddings_on_request(tmp_path):
    rows = blobs(groups=2, dims=3)
    source = chunk(tmp_path / "in.parquet", rows)
    cluster(source, "-o", tmp_path / "c.parquet")
    assert pq.read_schema(tmp_path / "c.parquet").names == ["id", "text", "label", "probability", "outlier_score"]
    assert pq.read_table(tmp_path / "c.parquet", columns=["id", "text"]).equals(
        pq.read_table(source, columns=["id", "text"])
    )
    assert pq.read_metadata(tmp_path / "c.parquet").row_group(0).column(1).compression == "SNAPPY"
    kept = cluster(source, "-o", tmp_path / "k.parquet", "--keep-embeddings")
    names = pq.read_schema(tmp_path / "k.parquet").names
    assert names == ["id", "text", "emb_000", "emb_001", "emb_002", "label", "probability", "outlier_score"]
    # A result with its embeddings can be clustered again: its labels are not those of somebody else.
    again = cluster(tmp_path / "k.parquet", "-o", tmp_path / "again.parquet")
    assert again["tree_weight"] == kept["tree_weight"]
    assert pq.read_schema(tmp_path / "again.parquet").names == pq.read_schema(tmp_path / "c.parquet").names
    own = chunk(tmp_path / "own.parquet", rows, label=["mine"] * len(rows))
    assert '"label"' in fails("cluster", own, "-o", tmp_path / "own_c.parquet")


def test_a_store_keeps_its_articles_and_their_titles_are_the_examples(tmp_path):
    rows = blobs(groups=2, dims=4)
    np.save(tmp_path / "part.npy", rows)
    lines = (json.dumps({"id": str(i), "title": f"Title {i}", "url": ""}) for i in range(len(rows)))
    (tmp_path / "articles.jsonl").write_text("\n".join(lines) + "\n")
    made = tmp_path / "store.npy"
    succeeds("merge", tmp_path / "part.npy", "-o", made, "--articles", tmp_path / "articles.jsonl")
    report = cluster(made, "-o", tmp_path / "c.parquet")
    got = columns(tmp_path / "c.parquet")
    assert list(got["title"][:2]) == ["Title 0", "Title 1"] and "label" in got
    assert report["largest"][0]["examples"][0].startswith("Title ")


def test_the_summary_tells_of_every_cluster(tmp_path):
    rows = blobs()
    report = cluster(chunk(tmp_path / "in.parquet", rows), "-o", tmp_path / "clusters.parquet", "--seed", 7)
    summary = json.loads((tmp_path / "clusters.json").read_text())
    labels = columns(tmp_path / "clusters.parquet")["label"]
    assert [cluster["label"] for cluster in summary["clusters"]] == list(range(6))
    for found in summary["clusters"]:
        members = np.flatnonzero(labels == found["label"])
        assert found["size"] == len(members) and 0 < found["persistence"] <= 1
        assert set(found["exemplars"]) <= set(members)
        assert all(text.startswith("text ") and "  " not in text for text in found["examples"])
    assert (summary["points"], summary["noise"]) == (len(rows), report["noise"])
    assert summary["parameters"]["seed"] == 7 and summary["parameters"]["min_samples"] == 5
    told = json.loads(pq.read_metadata(tmp_path / "clusters.parquet").metadata[b"embstore.clusters"])
    assert told["input_hash"] == summary["input_hash"] == report["input_hash"]


def test_what_is_up_to_date_is_skipped_and_what_is_not_is_made_again(tmp_path):
    rows = blobs(groups=3)
    source, output = chunk(tmp_path / "in.parquet", rows), tmp_path / "c.parquet"

    def skipped(*flags) -> bool:
        return cluster(source, "-o", output, *flags)["skipped"]

    assert not skipped()
    before = contents(tmp_path)
    assert skipped() and contents(tmp_path) == before
    assert not skipped("--min-cluster-size", 9) and skipped("--min-cluster-size", 9)
    assert not skipped("--force", "--min-cluster-size", 9)
    # Another file of the same length and time.
    chunk(source, rows[::-1])
    assert not skipped("--min-cluster-size", 9)
    (tmp_path / "c.json").unlink()
    assert not skipped("--min-cluster-size", 9) and (tmp_path / "c.json").exists()
    output.write_bytes(output.read_bytes()[:-20])
    assert not skipped("--min-cluster-size", 9) and skipped("--min-cluster-size", 9)
    tree = ["--condensed-tree", tmp_path / "t.parquet"]
    assert not skipped("--min-cluster-size", 9, *tree) and skipped("--min-cluster-size", 9, *tree)
    assert not skipped("--min-cluster-size", 8) and not skipped("--min-cluster-size", 8, *tree), "it was of 9"
    for other in (tmp_path / "c.json", tmp_path / "t.parquet"):
        kept = other.read_bytes()
        other.write_text('{"mine": 1}')
        assert "no result of embstore cluster" in fails("cluster", source, "-o", output, *tree)
        assert other.read_text() == '{"mine": 1}'
        other.write_bytes(kept)
    assert skipped("--min-cluster-size", 8, *tree)
    pq.write_table(pa.table({"a": [1]}), output)
    before = contents(tmp_path)
    assert "no result of embstore cluster" in fails("cluster", source, "-o", output)
    assert contents(tmp_path) == before
    assert not skipped("--force")


def test_a_result_in_the_folder_of_its_inputs_is_no_input(tmp_path):
    rows = blobs(groups=3)
    chunk(tmp_path / "a.parquet", rows[:100])
    chunk(tmp_path / "b.parquet", rows[100:], 100)
    flags = [tmp_path, "-o", tmp_path / "clusters.parquet", "--condensed-tree", tmp_path / "t.parquet"]
    assert not cluster(*flags, "--keep-embeddings")["skipped"]
    assert cluster(*flags, "--keep-embeddings")["skipped"]
    assert cluster(*flags)["points"] == len(rows)
    result = tmp_path / "clusters.parquet"
    result.write_bytes(result.read_bytes()[:-20])
    (tmp_path / "clusters.parquet.tmp.123").write_bytes(b"PAR1 and then it was killed")
    chunk(tmp_path / "c.parquet", rows[:10], len(rows))
    assert cluster(*flags)["points"] == len(rows) + 10
    # Nor is it one of another result in this folder.
    assert cluster(*flags, "--keep-embeddings")["points"] == len(rows) + 10
    assert cluster(tmp_path, "-o", tmp_path / "other.parquet")["points"] == len(rows) + 10


def test_a_tree_of_folders(tmp_path):
    root, out = tmp_path / "embeddings", tmp_path / "clusters"
    rows = blobs(groups=4)
    chunk(root / "00/Rust/chains_chunk_2.parquet", rows[:200])
    chunk(root / "00/Rust/chains_chunk_10.parquet", rows[200:], 200)
    chunk(root / "01/Go/chains_chunk_0.parquet", blobs(groups=2))
    chunk(root / "01/Tiny/chains_chunk_0.parquet", rows[:3])
    chunk(root / "02/Odd/chains_chunk_0.parquet", rows[:50])
    chunk(root / "03/None/chains_chunk_0.parquet", rows[:0])
    chunk(root / "02/Odd/chains_chunk_1.parquet", rows[:50], more=range(50))
    plan = cluster("--dry-run", cwd=tmp_path)
    assert [(group["name"], group["points"], group["done"]) for group in plan["groups"]] == [
        ("00/Rust", len(rows), False),
        ("01/Go", 247, False),
        ("01/Tiny", 3, False),
        ("02/Odd", 100, False),
        ("03/None", 0, False),
    ]
    assert not out.exists()
    only = cluster("--subreddit", "Rust", cwd=tmp_path)
    assert [group["name"] for group in only["groups"]] == ["00/Rust"] and not (out / "01").exists()
    assert list(columns(out / "00/Rust/clustered.parquet")["id"]) == list(range(len(rows)))
    result = run("cluster", cwd=tmp_path)
    clean_error(result)
    assert result.code == 1
    assert "02/Odd" in result.err and "more (Int64) is one more" in result.err
    assert "00/Rust was up to date" in result.err
    assert "01/Tiny: 3 points are fewer than the smallest cluster (5)" in result.err
    assert "03/None: no rows" in result.err
    assert set(columns(out / "01/Tiny/clustered.parquet")["label"]) == {-1}
    assert not (out / "02/Odd/clustered.parquet").exists()
    report = run("cluster", "--json", cwd=tmp_path).json()
    assert (report["clustered"], report["skipped"], report["failed"]) == (0, 3, 1)
    assert report["points"] == len(rows) + 247 + 3 and report["clusters"] == 6
    assert report["failures"][0]["name"] == "02/Odd" and report["failures"][0]["hint"]


def test_fewer_points_than_a_cluster_are_noise_and_it_is_said(tmp_path):
    source = store(tmp_path / "s.npy", blobs(groups=1, each=4))
    result = succeeds("cluster", source, "-o", tmp_path / "c.parquet", "--reduce", "pca:6")
    assert "4 points are fewer than the smallest cluster (5)" in result.out
    assert set(columns(tmp_path / "c.parquet")["label"]) == {-1}


def test_rows_without_numbers_are_an_error_or_left_out(tmp_path):
    rows = blobs(groups=3)
    rows[[5, 17, 300]] = np.nan
    first, second = chunk(tmp_path / "p/a.parquet", rows[:10]), chunk(tmp_path / "p/b.parquet", rows[10:], 10)
    for flags in ([], ["--reduce", "pca:3"]):
        said = fails("cluster", tmp_path / "p", "-o", tmp_path / "c.parquet", *flags)
        assert f"{first}: row 5 holds NaN in column 0" in said and "--non-finite drop" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p"]
    for flags in ([], ["--reduce", "pca:3"]):
        report = cluster(tmp_path / "p", "-o", tmp_path / "c.parquet", "--non-finite", "drop", "--force", *flags)
        got = columns(tmp_path / "c.parquet")
        kept = np.setdiff1d(np.arange(len(rows)), [5, 17, 300])
        assert (report["points"], report["dropped"]) == (len(kept), 3)
        assert (got["row"] == kept).all() and (got["id"] == kept).all()
        exemplars = [row for found in json.loads((tmp_path / "c.json").read_text())["clusters"] for row in found["exemplars"]]
        labels = dict(zip(got["row"], got["label"]))
        assert exemplars and all(labels[row] >= 0 for row in exemplars)
    rows[:] = np.inf
    assert "every row" in fails("cluster", store(tmp_path / "n.npy", rows), "-o", tmp_path / "n.parquet", "--non-finite", "drop")
    assert second.exists()


def test_stopped_it_leaves_nothing_half_written_and_goes_on(tmp_path):
    root = tmp_path / "embeddings"
    chunk(root / "00/Small/c.parquet", blobs(groups=2))
    large = np.random.default_rng(0).normal(0, 1, (40_000, 200)).astype(np.float32)
    chunk(root / "00/Large/c.parquet", large)
    succeeds("cluster", "--subreddit", "Small", cwd=tmp_path)
    before = contents(tmp_path / "clusters")
    command = [BIN, "cluster", "--progress", "json"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    for line in process.stderr:
        if json.loads(line).get("stage") == "neighbours":
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"what is finished is kept" in err
    left = contents(tmp_path / "clusters")
    assert left == before


def test_wrong_usage_and_what_is_missing(tmp_path):
    rows = blobs(groups=2)
    source = store(tmp_path / "s.npy", rows)
    before = contents(tmp_path)
    for flags, said in [
        ([source], "--output"),
        (["-o", "c.parquet"], "STORE"),
        ([source, "-o", "c.parquet", "--subreddit", "x"], "--subreddit"),
        ([source, "-o", "c.parquet", "--reduce", "umap:5"], "pca:N"),
        ([source, "-o", "c.parquet", "--reduce", "pca:0"], "pca:N"),
        ([source, "-o", "c.parquet", "--metric", "jaccard"], "euclidean"),
    ]:
        result = run("cluster", *flags, cwd=tmp_path)
        assert result.code == 2 and said in result.err, result.err
    for flags, said in [
        ([source, "-o", "c.parquet", "--min-cluster-size", 1], "at least 2"),
        ([source, "-o", "c.parquet", "--min-samples", 0], "neighbour 1"),
        ([source, "-o", "c.parquet", "--max-cluster-size", 3], "at most 3 and at least 5"),
        ([source, "-o", "c.parquet", "--reduce", "pca:13"], "13 components cannot be had"),
        ([source, "-o", source, "--force"], "among the inputs"),
        ([source, "-o", "c.parquet", "--text-column", "body"], "no column \"body\""),
        ([tmp_path / "none.npy", "-o", "c.parquet"], "none.npy"),
        ([], "embeddings are missing"),
        (["--embeddings", ".", "--output-dir", "clusters"], "taken for embeddings"),
        (["--embeddings", ".", "--output-dir", "not/yet/there"], "taken for embeddings"),
        ([source, "-o", "c.parquet", "--condensed-tree", "s.articles.parquet", "--force"], "among the inputs"),
    ]:
        assert said in fails("cluster", *flags, cwd=tmp_path)
    (tmp_path / "embeddings/00/Rust").mkdir(parents=True)
    assert "no Parquet file" in fails("cluster", cwd=tmp_path)
    chunk(tmp_path / "embeddings/00/Rust/c.parquet", rows)
    assert "there are Rust" in fails("cluster", "--subreddit", "Rus", cwd=tmp_path)
    assert "bare name" in fails("cluster", "--condensed-tree", "a/t.parquet", cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["embeddings", "s.npy"]
    assert {name: content for name, content in contents(tmp_path).items() if name in before} == before
