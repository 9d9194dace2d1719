"""The legacy pickle, from a store and directly: what old consumers unpickle, loaded by today's numpy with -W error."""

from __future__ import annotations

import json
import pickle
import pickletools
import subprocess
import sys

import numpy as np
import pytest
from harness import (
    EPOCH,
    articles,
    contents,
    dump,
    environment,
    fails,
    kept,
    matrix,
    meta,
    run,
    same_bits,
    succeeds,
    write_job,
)

ROWS = matrix(2100, 24)
KEYS = "embeddings articles total_articles embedding_dim model timestamp shape quality_metrics chunk_info".split()
EIGHT = "shape dtype min_norm max_norm mean_norm std_norm has_nan has_inf".split()


@pytest.fixture
def job(tmp_path):
    write_job(tmp_path / "in", ROWS)
    dump(tmp_path / "articles.pkl", articles(len(ROWS)))
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy", "--articles", tmp_path / "articles.pkl")
    return tmp_path


def load(path) -> dict:
    """Load as a consumer does. pytest.ini turns every warning into an error, as ``python -W error`` would."""
    with open(path, "rb") as file:
        return pickle.load(file)


def test_the_nine_keys_and_their_types(job):
    succeeds("export", job / "s.npy", "--format", "pickle", "-o", job / "m.pkl")
    data = load(job / "m.pkl")
    assert sorted(data) == sorted(KEYS)
    assert type(data["embeddings"]) is np.ndarray and same_bits(data["embeddings"], ROWS)
    assert data["embeddings"].flags.writeable and data["embeddings"].flags.aligned
    assert type(data["shape"]) is tuple and data["shape"] == ROWS.shape
    assert type(data["articles"]) is list and data["articles"] == kept(articles(len(ROWS)))
    assert all(type(item) is dict and sorted(item) == ["id", "title", "url"] for item in data["articles"])
    assert (data["total_articles"], data["embedding_dim"]) == ROWS.shape
    assert data["model"] == "google/embeddinggemma-300m" or isinstance(data["model"], str)
    assert isinstance(data["timestamp"], str) and data["timestamp"] == meta(job / "s.npy")["timestamp"]
    assert type(data["chunk_info"]) is list and len(data["chunk_info"]) == 4


def test_quality_has_the_eight_as_the_script_had_them(job):
    succeeds("export", job / "s.npy", "--format", "pickle", "-o", job / "m.pkl")
    quality = load(job / "m.pkl")["quality_metrics"]
    assert all(name in quality for name in EIGHT)
    norms = np.linalg.norm(ROWS.astype(np.float64), axis=1)
    assert quality["mean_norm"] == pytest.approx(norms.mean(), abs=1e-6)
    assert quality["std_norm"] == pytest.approx(norms.std(), abs=1e-6)
    assert type(quality["has_nan"]) is bool and type(quality["min_norm"]) is float and quality["dtype"] == "float32"


def test_metadata_of_the_pickle_is_that_of_the_store(job):
    succeeds("export", job / "s.npy", "--format", "pickle", "-o", job / "m.pkl")
    data, record = load(job / "m.pkl"), meta(job / "s.npy")
    for key in ("chunk_info", "quality_metrics"):
        assert json.loads(json.dumps(data[key])) == record[key], "equal but for tuples, which JSON lacks"
    for key in ("total_articles", "embedding_dim", "model", "timestamp"):
        assert data[key] == record[key]


def test_it_loads_with_warnings_as_errors_in_a_fresh_python(job):
    succeeds("export", job / "s.npy", "--format", "pickle", "-o", job / "m.pkl")
    code = "import pickle, pathlib; d = pickle.loads(pathlib.Path('m.pkl').read_bytes()); assert d['embeddings'].size"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=job, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_pure_python_unpickler_agrees(job):
    succeeds("export", job / "s.npy", "--format", "pickle", "-o", job / "m.pkl")
    with open(job / "m.pkl", "rb") as file:
        data = pickle._Unpickler(file).load()
    assert same_bits(data["embeddings"], ROWS) and data["articles"] == kept(articles(len(ROWS)))


def test_only_opcodes_of_protocol_4_and_names_of_numpy_1(job):
    """The names that numpy 1.14 to 2.x all know, and no opcode that an old unpickler lacks."""
    succeeds("export", job / "s.npy", "--format", "pickle", "-o", job / "m.pkl")
    ops = list(pickletools.genops((job / "m.pkl").read_bytes()))
    assert ops[0][0].name == "PROTO" and ops[0][1] == 4
    assert max(op.proto for op, _, _ in ops) <= 4
    texts = {arg for op, arg, _ in ops if isinstance(arg, str)}
    assert {"numpy.core.multiarray", "_reconstruct", "numpy", "ndarray", "dtype"} <= texts
    assert not any(text.startswith("numpy._core") for text in texts)
    assert sum(op.name == "STACK_GLOBAL" for op, _, _ in ops) == 3


def test_merging_into_a_pickle_equals_exporting(job):
    succeeds("export", job / "s.npy", "--format", "pickle", "-o", job / "exported.pkl")
    result = succeeds(
        "merge", job / "in", "-o", job / "direct.pkl", "--articles", job / "articles.pkl", "--json"
    ).json()
    assert result["format"] == "pickle" and result["shape"] == list(ROWS.shape)
    assert (job / "direct.pkl").read_bytes() == (job / "exported.pkl").read_bytes()
    assert sorted(p.name for p in job.iterdir() if p.name.startswith("direct")) == ["direct.pkl"], (
        "one file, no sidecars"
    )


def test_only_the_timestamp_differs_between_two_runs(job):
    late = environment(SOURCE_DATE_EPOCH=str(int(EPOCH) + 1))
    succeeds("merge", job / "in", "-o", job / "a.pkl")
    succeeds("merge", job / "in", "-o", job / "b.pkl", env=late)
    a, b = load(job / "a.pkl"), load(job / "b.pkl")
    assert a.pop("timestamp") != b.pop("timestamp")
    assert same_bits(a.pop("embeddings"), b.pop("embeddings")) and a == b


def test_without_articles_the_list_is_empty(job):
    succeeds("merge", job / "in", "-o", job / "bare.pkl")
    assert load(job / "bare.pkl")["articles"] == []


def test_the_default_target_is_the_stem_with_pkl(job):
    succeeds("export", "s.npy", "--format", "pickle", cwd=job)
    assert same_bits(load(job / "s.pkl")["embeddings"], ROWS)


def test_an_existing_target_needs_force(job):
    (job / "m.pkl").write_bytes(b"mine")
    before = contents(job)
    assert "--force" in fails("export", job / "s.npy", "--format", "pickle", "-o", job / "m.pkl")
    assert contents(job) == before
    succeeds("export", job / "s.npy", "--format", "pickle", "-o", job / "m.pkl", "--force")
    assert same_bits(load(job / "m.pkl")["embeddings"], ROWS)


@pytest.mark.parametrize("first, end", [(0, 10), (500, 1600), (2099, 2100)])
def test_rows_cut_matrix_and_articles_alike(job, first, end):
    succeeds("export", job / "s.npy", "--format", "pickle", "-o", job / "m.pkl", "--rows", f"{first}:{end}")
    data = load(job / "m.pkl")
    assert same_bits(data["embeddings"], ROWS[first:end])
    assert data["articles"] == kept(articles(end - first, first))
    assert data["shape"] == (end - first, 24) and data["total_articles"] == end - first
    norms = np.linalg.norm(ROWS[first:end].astype(np.float64), axis=1)
    assert data["quality_metrics"]["max_norm"] == pytest.approx(norms.max(), abs=1e-6)


def test_rows_beyond_the_store(job):
    said = fails("export", job / "s.npy", "--format", "pickle", "-o", job / "m.pkl", "--rows", "0:2101")
    assert "2100" in said and "2101" in said and not (job / "m.pkl").exists()


def test_to_npy(job):
    succeeds("export", job / "s.npy", "--format", "npy", "-o", job / "cut.npy", "--rows", "5:25")
    assert same_bits(np.load(job / "cut.npy"), ROWS[5:25])
    succeeds("verify", job / "cut.npy")


def test_a_merged_pickle_exports_to_npy(job):
    succeeds("export", job / "s.npy", "--format", "pickle", "-o", job / "m.pkl")
    succeeds("export", job / "m.pkl", "--format", "npy", "-o", job / "back.npy")
    assert same_bits(np.load(job / "back.npy"), ROWS)
    succeeds("export", job / "back.npy", "--format", "pickle", "-o", job / "again.pkl")
    assert load(job / "again.pkl")["articles"] == kept(articles(len(ROWS)))


@pytest.mark.parametrize("kind", ["<f4", "<f8", "<f2", ">f4"])
@pytest.mark.parametrize("order", "CF")
def test_a_bare_npy_is_a_store(tmp_path, kind, order):
    """Written by numpy itself, with no sidecars."""
    rows = np.asarray(matrix(300, 5), dtype=kind, order=order)
    np.save(tmp_path / "bare.npy", rows)
    succeeds("export", tmp_path / "bare.npy", "--format", "pickle", "-o", tmp_path / "m.pkl")
    data = load(tmp_path / "m.pkl")
    assert same_bits(data["embeddings"], rows.astype("<f4", order="C"))
    assert data["articles"] == [] and data["shape"] == (300, 5) and sorted(data) == sorted(KEYS)


def test_a_store_that_disagrees_with_its_metadata_is_an_error(job):
    np.save(job / "s.npy", ROWS[:100])
    fails("export", job / "s.npy", "--format", "pickle", "-o", job / "m.pkl")
    assert not (job / "m.pkl").exists()


def test_bad_rows_survive_the_export(tmp_path):
    rows = matrix(200, 6)
    rows[7, 2], rows[8, 3], rows[9] = np.nan, -np.inf, 0
    write_job(tmp_path / "in", rows)
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "m.pkl")
    data = load(tmp_path / "m.pkl")
    assert same_bits(data["embeddings"], rows)
    assert data["quality_metrics"]["has_nan"] is True and data["quality_metrics"]["has_inf"] is True


def test_json_is_one_object(job):
    result = succeeds("export", job / "s.npy", "--format", "pickle", "-o", job / "m.pkl", "--json")
    assert result.json()


@pytest.mark.parametrize(
    "args",
    [[], ["--format", "shapefile"], ["--format", "pickle", "--rows", "x"], ["--format", "pickle", "--nope"]],
    ids=str,
)
def test_wrong_usage(job, args):
    assert run("export", job / "s.npy", *args).code == 2


def test_no_such_store(tmp_path):
    assert "gone.npy" in fails("export", tmp_path / "gone.npy", "--format", "pickle")
