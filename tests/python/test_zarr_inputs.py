"""Checkpoints that zarr-python, tensorstore and xarray's conventions write, and what is wrong with broken ones."""

from __future__ import annotations

import json
import shutil

import ml_dtypes
import numpy as np
import pytest
from harness import cut, fails, matrix, run, same_bits, succeeds

zarr = pytest.importorskip("zarr", reason="platform: zarr 3 needs Python 3.11")

import numcodecs  # noqa: E402
import tensorstore  # noqa: E402
from zarr.codecs import (  # noqa: E402
    BloscCodec,
    BytesCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    ZstdCodec,
)

ROWS = matrix(1000, 24)

V3 = {
    "plain": {"chunks": (300, 24), "compressors": None},
    "one chunk": {"chunks": (1000, 24), "compressors": None},
    "columns": {"chunks": (300, 7), "compressors": None},
    "wide chunks": {"chunks": (300, 50), "compressors": None},
    "default": {"chunks": (128, 24)},
    "zstd": {"chunks": (300, 10), "compressors": ZstdCodec(level=5, checksum=True)},
    "gzip": {"chunks": (300, 10), "compressors": GzipCodec(level=1)},
    "blosc": {"chunks": (300, 10), "compressors": BloscCodec(cname="zlib", shuffle="shuffle")},
    "two compressors": {"chunks": (300, 10), "compressors": [GzipCodec(level=1), ZstdCodec()]},
    "big-endian": {"chunks": (300, 24), "compressors": None, "serializer": BytesCodec(endian="big")},
    "big-endian zstd": {"chunks": (300, 24), "serializer": BytesCodec(endian="big")},
    "transposed": {"chunks": (300, 10), "filters": [TransposeCodec(order=(1, 0))]},
    "transposed, raw": {"chunks": (300, 24), "filters": [TransposeCodec(order=(1, 0))], "compressors": None},
    "dots": {"chunks": (300, 10), "chunk_key_encoding": {"name": "default", "separator": "."}},
    "v2 keys": {"chunks": (300, 10), "chunk_key_encoding": {"name": "v2", "separator": "."}},
    "shards": {"chunks": (50, 24), "shards": (200, 24)},
    "shards of columns": {"chunks": (50, 6), "shards": (200, 12), "compressors": ZstdCodec()},
    "raw shards": {"chunks": (50, 24), "shards": (200, 24), "compressors": None},
    "index first": {
        "chunks": (200, 24),
        "serializer": ShardingCodec(chunk_shape=(50, 24), codecs=[BytesCodec(), ZstdCodec()], index_location="start"),
        "compressors": None,
    },
}
V2 = {
    "default": {},
    "plain": {"compressors": None},
    "fortran": {"order": "F"},
    "fortran, raw": {"order": "F", "compressors": None},
    "slashes": {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "blosc": {"compressors": numcodecs.Blosc("lz4hc", shuffle=numcodecs.Blosc.BITSHUFFLE)},
    "zlib": {"compressors": numcodecs.Zlib(3)},
    "lz4": {"compressors": numcodecs.LZ4()},
    "gzip": {"compressors": numcodecs.GZip(2)},
    "zstd": {"compressors": numcodecs.Zstd(2)},
}


def write(path, rows, attributes=None, name="embeddings", **options):
    group = zarr.open_group(path, mode="a", zarr_format=options.pop("zarr_format", 3))
    group.attrs.update(attributes or {})
    options.setdefault("chunks", (300, 10))
    array = group.create_array(name, shape=rows.shape, dtype=options.pop("dtype", rows.dtype), **options)
    array[:] = rows
    return path


def checkpoints(folder, rows, parts=3, **options):
    for number, (start, piece) in enumerate(cut(rows, parts)):
        attributes = {"start_index": start, "end_index": start + len(piece), "cluster_id": 1, "gpu_id": number}
        write(folder / f"cluster1_gpu{number}.zarr", piece, attributes, **options)
    return folder


def merged(tmp_path, *inputs, flags=()) -> np.ndarray:
    succeeds("merge", *inputs, "-o", tmp_path / "s.npy", *flags)
    return np.load(tmp_path / "s.npy")


@pytest.mark.parametrize("name", V3)
def test_version_3(tmp_path, name):
    assert same_bits(merged(tmp_path, checkpoints(tmp_path / "in", ROWS, **V3[name])), ROWS)
    succeeds("verify", tmp_path / "s.npy", "--checkpoints", tmp_path / "in")


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", ">f2"])
@pytest.mark.parametrize("name", V2)
def test_version_2(tmp_path, name, dtype):
    rows = ROWS.astype(dtype)
    folder = checkpoints(tmp_path / "in", rows, zarr_format=2, **V2[name])
    assert same_bits(merged(tmp_path, folder), rows.astype(np.float32))


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats_of_version_3(tmp_path, dtype):
    rows = ROWS.astype(dtype)
    assert same_bits(merged(tmp_path, checkpoints(tmp_path / "in", rows)), rows.astype(np.float32))


@pytest.mark.parametrize("driver", ["zarr", "zarr3"])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_tensorstore(tmp_path, driver, dtype):
    rows = ROWS.astype(dtype)
    path = tmp_path / "t.zarr"
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": str(path)}}
    array = tensorstore.open(spec, create=True, dtype=dtype, shape=rows.shape).result()
    array.write(rows).result()
    found = succeeds("info", path, "--json").json()
    assert (found["kind"], found["dtype"], found["shape"]) == ("array", np.dtype(dtype).name, [1000, 24])
    assert same_bits(merged(tmp_path, path), rows.astype(np.float32))


@pytest.mark.parametrize("fill", [0, -1.5, float("nan"), float("inf")])
@pytest.mark.parametrize("options", [{"zarr_format": 3}, {"zarr_format": 2}, {"shards": (500, 24), "chunks": (100, 24)}])
def test_missing_chunks_are_the_fill_value(tmp_path, fill, options):
    path = tmp_path / "a.zarr"
    array = zarr.create_array(path, shape=ROWS.shape, dtype="f4", fill_value=fill, **{"chunks": (300, 24), **options})
    array[300:600] = ROWS[300:600]
    wanted = array[:]
    assert np.array_equal(merged(tmp_path, path), wanted, equal_nan=True)
    assert same_bits(wanted[300:600], ROWS[300:600])


def test_attributes_of_the_array_name_the_range_too(tmp_path):
    path = write(tmp_path / "in" / "cluster3_gpu4.zarr", ROWS, {"model": "m", "loss": float("nan")})
    zarr.open_array(path / "embeddings").attrs.update({"start_index": 100, "end_index": 1100})
    found = succeeds("info", path, "--json").json()
    assert (found["kind"], found["format"], found["problems"]) == ("checkpoint", "zarr", [])
    assert found["metadata"] == {"model": "m", "loss": "NaN", "start_index": 100, "end_index": 1100}


def test_the_only_array_of_another_name_is_used_and_told(tmp_path):
    path = write(tmp_path / "a.zarr", ROWS, name="vectors")
    (note,) = succeeds("info", path, "--json").json()["problems"]
    assert "vectors" in note
    assert same_bits(merged(tmp_path, path), ROWS)
    write(path, -ROWS, name="more/deep")
    write(path, ROWS.astype(np.int32), name="labels")
    assert same_bits(merged(tmp_path, path, flags=["--key", "more/deep", "--force"]), -ROWS)
    write(path, ROWS, name="others")
    said = fails("merge", path, "-o", tmp_path / "x.npy")
    assert all(word in said for word in ("vectors (float32 (1000 24))", "labels (int32 (1000 24))", "--key"))
    assert "embeddings" in fails("merge", path, "-o", tmp_path / "x.npy", "--key", "../a.zarr/embeddings")


def test_a_store_is_no_checkpoint_of_the_folder_it_lies_in(tmp_path):
    folder = checkpoints(tmp_path / "in", ROWS)
    succeeds("merge", folder, "-o", folder / "merged.zarr")
    assert same_bits(merged(tmp_path, folder), ROWS)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROWS.astype(np.int32), "int32"),
        (ROWS[0], "(24)"),
        (ROWS.reshape(10, 100, 24), "(10 100 24)"),
    ],
)
def test_what_is_no_matrix_of_floats(tmp_path, rows, said):
    path = write(tmp_path / "a.zarr", rows, {"model": "m"}, chunks=rows.shape)
    found = succeeds("info", path, "--json").json()
    assert found["kind"] == "other" and found["metadata"]["model"] == "m"
    assert said in fails("merge", path, "-o", tmp_path / "s.npy")


def edited(path, **changes):
    document = json.loads((path / "embeddings" / "zarr.json").read_text())
    (path / "embeddings" / "zarr.json").write_text(json.dumps({**document, **changes}))
    return path


GRID = {"name": "regular", "configuration": {"chunk_shape": [1 << 40, 1 << 22]}}
TINY = {"name": "regular", "configuration": {"chunk_shape": [1, 1]}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": [1 << 62, 24]}, "larger than any file"),
        ({"shape": [1 << 50, 24]}, "larger"),
        ({"shape": [-1, 24]}, "shape"),
        ({"shape": [1 << 31, 1 << 31], "chunk_grid": TINY}, "larger"),
        ({"chunk_grid": GRID}, "4 GiB"),
        ({"chunk_grid": {"name": "rectilinear"}}, "rectilinear"),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 24]}}}, "chunk_shape"),
        ({"chunk_key_encoding": {"name": "odd"}}, "chunk_key_encoding"),
        ({"codecs": []}, "bytes"),
        ({"codecs": [{"name": "bytes"}, {"name": "numcodecs.lzma"}]}, "lzma"),
        ({"codecs": [{"name": "transpose", "configuration": {"order": [0, 9]}}, {"name": "bytes"}]}, "transpose"),
        ({"fill_value": {}}, "fill_value"),
        ({"zarr_format": 4}, "zarr_format"),
        ({"node_type": "thing"}, "node_type"),
        ({"storage_transformers": [{"name": "x"}]}, "storage transformers"),
    ],
)
def test_hostile_documents(tmp_path, changes, said):
    path = edited(write(tmp_path / "a.zarr", ROWS), **changes)
    assert said in fails("merge", path, "-o", tmp_path / "s.npy")
    assert run("info", path).code in (0, 1)


@pytest.mark.parametrize("name", ["plain", "zstd", "gzip", "blosc", "raw shards", "shards", "transposed"])
def test_broken_chunks_are_named(tmp_path, name):
    path = write(tmp_path / "a.zarr", ROWS, **V3[name])
    chunk = path / "embeddings" / "c" / "1" / "0"
    whole = chunk.read_bytes()
    rng = np.random.default_rng(3)
    for broken in (b"", whole[:1], whole[:20], whole[: len(whole) // 2], whole[:-1], rng.bytes(len(whole)), bytes(70)):
        chunk.write_bytes(broken)
        if len(broken) == len(whole) and name in ("plain",):
            continue
        said = fails("merge", path, "-o", tmp_path / "s.npy")
        assert "c/1/0" in said, said
        shutil.rmtree(tmp_path / "s.npy.partial", ignore_errors=True)
    for at in rng.integers(len(whole), size=30):
        chunk.write_bytes(whole[:at] + bytes([whole[at] ^ 0x80]) + whole[at + 1 :])
        result = run("merge", path, "-o", tmp_path / "s.npy", "--restart", "--force")
        assert result.code in (0, 1) and "panicked" not in result.err


def test_a_chunk_that_claims_the_world_costs_nothing(tmp_path):
    """A frame of zstd that says it holds 2^60 bytes, and one that holds a gigabyte of zeros."""
    path = write(tmp_path / "a.zarr", ROWS, chunks=(300, 24), compressors=ZstdCodec())
    chunk = path / "embeddings" / "c" / "0" / "0"
    chunk.write_bytes(b"\x28\xb5\x2f\xfd\xe0" + (1 << 60).to_bytes(8, "little") + bytes(20))
    assert "claims" in fails("merge", path, "-o", tmp_path / "s.npy")
    shutil.rmtree(tmp_path / "s.npy.partial", ignore_errors=True)
    bomb = numcodecs.Zstd(1).encode(np.zeros(1 << 28, np.float32))
    chunk.write_bytes(bomb)
    assert "c/0/0" in fails("merge", path, "-o", tmp_path / "s.npy")


def test_documents_that_are_no_json(tmp_path):
    path = write(tmp_path / "a.zarr", ROWS)
    for text in (b"", b"[1]", b"{", b"\xff\xfe", b"null"):
        (path / "zarr.json").write_bytes(text)
        assert "zarr.json" in fails("info", path)
