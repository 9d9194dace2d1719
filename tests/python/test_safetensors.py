"""Safetensors: read from files of the reference library, written for it to read, and broken on purpose."""

from __future__ import annotations

import json
import struct

import ml_dtypes
import numpy as np
import pyarrow.parquet as parquet
import pytest
from harness import articles, contents, dump, fails, kept, matrix, meta, same_bits, sidecars, succeeds, write_job
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

ROWS = matrix(300, 24)


def texts(start: int, end: int, **extra: str) -> dict[str, str]:
    return {"start_index": str(start), "end_index": str(end), "cluster_id": "4", "gpu_id": "1", **extra}


def merged(tmp_path, *sources, options=()) -> np.ndarray:
    store = tmp_path / "merged.npy"
    succeeds("merge", *sources, "-o", store, "--force", *options)
    return np.load(store)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_checkpoints_of_the_reference(tmp_path, dtype):
    for name, start, end in [("b", 0, 100), ("a", 100, 300)]:
        tensors = {"before": np.zeros(3, np.int8), "embeddings": ROWS[start:end].astype(dtype)}
        save_file(tensors, tmp_path / f"{name}.safetensors", metadata=texts(start, end, model="m"))
    assert same_bits(merged(tmp_path, tmp_path / "a.safetensors", tmp_path / "b.safetensors"), ROWS.astype(dtype).astype(np.float32))
    chunks = meta(tmp_path / "merged.npy")["chunk_info"]
    assert [(c["file"], c["cluster_id"], c["gpu_id"]) for c in chunks] == [("b.safetensors", 4, 1), ("a.safetensors", 4, 1)]


def test_ranges_as_tensors(tmp_path):
    for start in (0, 150):
        tensors = {"embeddings": ROWS[start:][:150], "start_index": np.array(start), "end_index": np.array([start + 150])}
        save_file(tensors, tmp_path / f"{300 - start}.safetensors")
    assert same_bits(merged(tmp_path, tmp_path / "150.safetensors", tmp_path / "300.safetensors"), ROWS)


def test_info_and_the_key(tmp_path):
    path = tmp_path / "c.safetensors"
    save_file({"title": ROWS, "text": ROWS * 2, "ids": np.arange(3)}, path, metadata=texts(7, 307, note="7", gpu_id="x"))
    assert same_bits(merged(tmp_path, path, options=("--key", "text", "--ranges", ranges(tmp_path, path))), ROWS * 2)
    info = succeeds("info", "--json", "--key", "title", path).json()
    assert (info["kind"], info["format"], info["shape"], info["dtype"]) == ("checkpoint", "safetensors", [300, 24], "float32")
    told = info["metadata"]
    assert (told["start_index"], told["end_index"], told["gpu_id"], told["note"]) == (7, 307, "x", "7")
    assert told["ids"] == {"array": {"shape": [3], "dtype": "int64"}}
    said = fails("merge", path, "-o", tmp_path / "x.npy")
    assert "title (300 24) float32" in said and "ids (3) int64" in said and "--key" in said
    assert succeeds("info", "--json", path).json()["kind"] == "other"


def ranges(tmp_path, path):
    file = tmp_path / "ranges.jsonl"
    file.write_text(json.dumps({"file": path.name, "start_index": 0}) + "\n")
    return file


def test_the_only_matrix_is_meant(tmp_path):
    save_file({"weights": ROWS, "bias": np.zeros(24, np.float32)}, tmp_path / "c.safetensors")
    assert same_bits(merged(tmp_path, tmp_path / "c.safetensors"), ROWS)
    info = succeeds("info", "--json", tmp_path / "c.safetensors").json()
    assert info["kind"] == "array" and any("weights" in problem for problem in info["problems"])


@pytest.mark.parametrize("array", [np.arange(12).reshape(3, 4), np.zeros(12, np.float32), np.zeros((2, 2, 3), np.float32)])
def test_what_is_no_matrix_of_floats(tmp_path, array):
    path = tmp_path / "c.safetensors"
    save_file({"embeddings": array}, path)
    said = fails("merge", path, "-o", tmp_path / "x.npy")
    assert array.dtype.name in said and "convert it in Python" in said
    assert succeeds("info", "--json", path).json()["kind"] == "other"


def test_a_header_length_that_looks_like_another_format(tmp_path):
    """The first bytes are a number, and may be any format's magic: here a pickle's, zlib's and gzip's."""
    for low in (0x0280, 0x0178, 0x9C78, 0x088B1F):
        path = tmp_path / f"{low:x}.safetensors"
        save_file({"embeddings": ROWS}, path, metadata=texts(0, 300))
        data = path.read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        path.write_bytes(struct.pack("<Q", low) + data[8 : 8 + size].ljust(low) + data[8 + size :])
        assert np.array_equal(load_file(path)["embeddings"], ROWS)
        assert succeeds("info", "--json", path).json()["format"] == "safetensors"


F32 = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ('{"embeddings":%s,"embeddings":%s}' % ((json.dumps(F32),) * 2), 24),
        ('{"__metadata__":{"a":"1","a":"2"},"embeddings":%s}' % json.dumps(F32), 24),
        ('{"__metadata__":{"a":1},"embeddings":%s}' % json.dumps(F32), 24),
        ('{"embeddings":%s}' % json.dumps(F32), 23),
        ('{"embeddings":%s}' % json.dumps(F32), 25),
        ('{"embeddings":%s} x' % json.dumps(F32), 24),
        ('{"embeddings":%s' % json.dumps(F32), 24),
        (json.dumps({"embeddings": {**F32, "data_offsets": [4, 28]}}), 28),
        (json.dumps({"embeddings": {**F32, "data_offsets": [24, 0]}}), 24),
        (json.dumps({"embeddings": {**F32, "data_offsets": [0, 2**64 - 1]}}), 24),
        (json.dumps({"embeddings": {**F32, "shape": [2, 4]}}), 24),
        (json.dumps({"embeddings": {**F32, "shape": [2**62, 2**62]}}), 24),
        (json.dumps({"embeddings": {**F32, "shape": [-1, 3]}}), 24),
        (json.dumps({"embeddings": {**F32, "dtype": "F33"}}), 24),
        (json.dumps({"embeddings": F32, "over": {**F32, "data_offsets": [12, 36]}}), 36),
        (json.dumps({"embeddings": F32, "gap": {**F32, "data_offsets": [32, 56]}}), 56),
        (json.dumps({"embeddings": [1, 2]}), 24),
        ("{" * 100_000, 24),
    ],
)
def test_broken_headers_give_one_error(tmp_path, header, size):
    path = tmp_path / "c.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(size))
    fails("merge", path, "-o", tmp_path / "x.npy")
    fails("info", path)


def test_truncations_give_one_error(tmp_path):
    path = tmp_path / "c.safetensors"
    save_file({"embeddings": ROWS}, path, metadata=texts(0, 300))
    whole = path.read_bytes()
    for length in [0, 7, 8, 9, 20, 100, 300, len(whole) - 1]:
        path.write_bytes(whole[:length])
        fails("merge", path, "-o", tmp_path / "x.npy")


@pytest.fixture
def store(tmp_path):
    write_job(tmp_path / "in", ROWS)
    dump(tmp_path / "articles.pkl", articles(len(ROWS)))
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy", "--articles", tmp_path / "articles.pkl")
    return tmp_path / "s.npy"


@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16"])
def test_an_export_is_read_by_the_reference(store, dtype):
    path = store.with_name("e.safetensors")
    options = ["--dtype", dtype] if dtype else []
    report = succeeds("export", store, "--format", "safetensors", "-o", path, "--json", *options).json()
    expected = ROWS.astype({None: np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}[dtype])
    tensors = load_file(path)
    assert list(tensors) == ["embeddings"] and same_bits(tensors["embeddings"], expected)
    header = struct.unpack("<Q", path.read_bytes()[:8])[0]
    assert (header + 8) % 4096 == 0, "the rows start on a page"
    with safe_open(path, "numpy") as file:
        told = file.metadata()
        assert file.get_slice("embeddings")[10:12].shape == (2, 24)
    assert told["format"] == "embstore" and told["model"] == "google/embeddinggemma-300m"
    assert (told["total_articles"], told["embedding_dim"], json.loads(told["shape"])) == ("300", "24", [300, 24])
    full = meta(path)
    assert json.loads(told["quality_metrics"]) == full["quality_metrics"] and told["store_id"] == full["store_id"]
    assert told["timestamp"] == meta(store)["timestamp"]
    assert parquet.read_table(sidecars(path)[0]).to_pylist() == kept(articles(len(ROWS)))
    assert report["dtype"] == (dtype or "float32")
    info = succeeds("info", "--json", path).json()
    assert (info["kind"], info["format"], info["dtype"]) == ("store", "safetensors", dtype or "float32")
    assert succeeds("verify", path, "--json").json()["ok"] is True


def test_a_slice_and_the_way_back(store):
    path = store.with_name("e.safetensors")
    succeeds("export", store, "--format", "safetensors", "-o", path, "--rows", "100:250")
    assert same_bits(load_file(path)["embeddings"], ROWS[100:250])
    back = store.with_name("back.npy")
    succeeds("export", path, "--format", "npy", "-o", back)
    assert same_bits(np.load(back), ROWS[100:250])
    assert parquet.read_table(sidecars(back)[0]).to_pylist() == kept(articles(300)[100:250])
    assert json.loads(meta_texts(path)["row_range"]) == [100, 250]


def meta_texts(path) -> dict:
    with safe_open(path, "numpy") as file:
        return file.metadata()


def test_a_damaged_export_is_found(store):
    path = store.with_name("e.safetensors")
    succeeds("export", store, "--format", "safetensors", "-o", path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    fails("export", path, "--format", "npy", "-o", store.with_name("back.npy"))
    assert not store.with_name("back.npy").exists()


def test_an_export_that_cannot_be_is_refused_before_anything_is_written(store):
    before = contents(store.parent)
    path = store.with_name("e.safetensors")
    for options in (["--compression", "zstd"], ["--chunk-rows", "7"], ["--zarr-version", "2"]):
        fails("export", store, "--format", "safetensors", "-o", path, *options)
    assert contents(store.parent) == before
