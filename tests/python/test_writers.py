"""Whatever wrote the checkpoints, the store holds the rows that numpy would have concatenated.

One test per way of writing: protocols, dtypes, byte and memory order, array subclasses, numpy scalars as indices,
dict classes, key orders, picklers.
"""

from __future__ import annotations

import collections
import io
import pickle
import pickletools
import warnings

import ml_dtypes
import numpy as np
import pytest
from harness import DATA, checkpoint, cut, dump, fails, matrix, same_bits, succeeds

PROTOCOLS = range(6)


def memmapped(rows, tmp_path):
    mapped = np.memmap(tmp_path / f"mapped{rows[0, 0]}", dtype=rows.dtype, mode="w+", shape=rows.shape)
    mapped[:] = rows
    return mapped


def as_matrix(rows, _):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.asmatrix(rows)


def read_only(rows, _):
    rows = rows.copy()
    rows.flags.writeable = False
    return rows


LAYOUTS = {
    "float32": lambda rows, _: rows.copy(),
    "float16": lambda rows, _: rows.astype(np.float16),
    "float64": lambda rows, _: rows.astype(np.float64) * (1 + 2.0**-40),
    "bfloat16": lambda rows, _: rows.astype(ml_dtypes.bfloat16),
    "big-endian float32": lambda rows, _: rows.astype(">f4"),
    "big-endian float64": lambda rows, _: rows.astype(">f8"),
    "big-endian float16": lambda rows, _: rows.astype(">f2"),
    "fortran": lambda rows, _: np.asfortranarray(rows),
    "fortran float64": lambda rows, _: np.asfortranarray(rows.astype(np.float64)),
    "fortran big-endian": lambda rows, _: np.asfortranarray(rows.astype(">f4")),
    "transposed view": lambda rows, _: np.ascontiguousarray(rows.T).T,
    "column slice": lambda rows, _: np.hstack([rows, rows])[:, : rows.shape[1]],
    "reversed view": lambda rows, _: rows[::-1].copy()[::-1],
    "memmap": memmapped,
    "matrix": as_matrix,
    "read-only": read_only,
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_equal_concatenate(tmp_path, layout, protocol):
    rows = matrix(331, 24)
    pieces = [(start, LAYOUTS[layout](piece, tmp_path)) for start, piece in cut(rows, 3)]
    for i, (start, piece) in enumerate(pieces):
        # Names run against the rows: order is by start_index, never by name.
        dump(tmp_path / "in" / f"cluster1_gpu{9 - i}.pkl", checkpoint(piece, start), protocol)
    result = succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy", "--json").json()
    expected = np.concatenate([np.asarray(piece) for _, piece in pieces]).astype("<f4")
    store = np.load(tmp_path / "s.npy", mmap_mode="r")
    assert store.dtype.str == "<f4" and store.flags.c_contiguous
    assert store.offset % 4096 == 0, "the payload starts at a multiple of 4096"
    assert same_bits(np.asarray(store), expected)
    assert result["shape"] == [331, 24] and result["dtype"] == "float32"


def test_a_payload_across_many_frames(tmp_path):
    """Above 64 KiB the payload leaves the frame; the file has to be read right on both sides of that line."""
    for rows in (31, 32, 33, 4000):
        data = matrix(rows, 512)
        for protocol in PROTOCOLS:
            dump(tmp_path / f"{rows}" / "cluster1_gpu0.pkl", checkpoint(data, 0), protocol)
            succeeds("merge", tmp_path / f"{rows}", "-o", tmp_path / "s.npy", "--force", "--quiet")
            assert same_bits(np.load(tmp_path / "s.npy"), data)


def test_protocols_and_dtypes_mix_in_one_job(tmp_path):
    rows = matrix(600)
    types = ["f4", "f8", "f2", ">f4", "f4", ">f8"]
    pieces = [(start, piece.astype(kind)) for (start, piece), kind in zip(cut(rows, 6), types)]
    for i, (start, piece) in enumerate(pieces):
        dump(tmp_path / "in" / f"cluster1_gpu{i}.pkl", checkpoint(piece, start), protocol=i)
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy")
    expected = np.concatenate([piece.astype("<f4") for _, piece in pieces])
    assert same_bits(np.load(tmp_path / "s.npy"), expected)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint16, np.uint64, np.intp])
def test_indices_may_be_numpy_scalars(tmp_path, kind, protocol):
    rows = matrix(50)
    for i, (start, piece) in enumerate(cut(rows, 2)):
        made = checkpoint(piece, start, kind(1), kind(i))
        made["start_index"], made["end_index"] = kind(start), kind(start + len(piece))
        dump(tmp_path / "in" / f"cluster1_gpu{i}.pkl", made, protocol)
    result = succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy", "--json").json()
    assert [(c["cluster_id"], c["gpu_id"]) for c in result["chunk_info"]] == [(1, 0), (1, 1)]
    assert same_bits(np.load(tmp_path / "s.npy"), rows)


DICTS = {
    "OrderedDict": collections.OrderedDict,
    "defaultdict": lambda pairs: collections.defaultdict(int, pairs),
    "embeddings last": lambda pairs: dict(reversed(list(dict(pairs).items()))),
    "other arrays beside it": lambda pairs: {"norms": np.ones(3), **dict(pairs), "ids": np.arange(5)},
    "nested values": lambda pairs: {**dict(pairs), "config": {"a": [1, (2.5, None)], "set": {1, 2}, "big": 1 << 80}},
}


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("shape", DICTS)
def test_dict_classes_and_key_orders(tmp_path, shape, protocol):
    rows = matrix(40)
    for i, (start, piece) in enumerate(cut(rows, 2)):
        made = DICTS[shape](checkpoint(piece, start, 1, i))
        dump(tmp_path / "in" / f"cluster1_gpu{i}.pkl", made, protocol)
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy")
    assert same_bits(np.load(tmp_path / "s.npy"), rows)


def fast(value) -> bytes:
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 4)
    pickler.fast = True
    pickler.dump(value)
    return buffer.getvalue()


def pure_python(value) -> bytes:
    buffer = io.BytesIO()
    pickle._Pickler(buffer, 4).dump(value)
    return buffer.getvalue()


PICKLERS = {
    "fast": fast,
    "pure Python": pure_python,
    "optimized": lambda value: pickletools.optimize(pickle.dumps(value, 4)),
    "optimized p2": lambda value: pickletools.optimize(pickle.dumps(value, 2)),
}


@pytest.mark.parametrize("pickler", PICKLERS)
def test_picklers(tmp_path, pickler):
    rows = matrix(90)
    (tmp_path / "in").mkdir()
    for i, (start, piece) in enumerate(cut(rows, 3)):
        (tmp_path / "in" / f"cluster1_gpu{i}.pkl").write_bytes(PICKLERS[pickler](checkpoint(piece, start)))
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy")
    assert same_bits(np.load(tmp_path / "s.npy"), rows)


def recorded() -> list:
    return sorted(DATA.glob("pickle/*/ckpt_*.pkl"))


def test_there_are_recorded_checkpoints():
    """Without this an empty folder would turn the next test into nothing."""
    assert len(recorded()) >= 20, f"no recorded checkpoints under {DATA / 'pickle'}"


@pytest.mark.parametrize("path", recorded(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_checkpoints_of_other_pythons_and_numpys(tmp_path, path):
    """Written by Python 2.7 to 3.12 and numpy 1.16 to 2: unpickled by today's numpy for comparison where it can."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with open(path, "rb") as file:
            data = pickle.load(file, encoding="latin1")
    missing = [field for field in ("embeddings", "start_index", "end_index") if field not in data]
    if missing:
        assert missing[0] in fails("merge", path, "-o", tmp_path / "s.npy")
        return
    expected = np.asarray(data["embeddings"]).astype("<f4")
    first = int(data["start_index"])
    inputs = [path]
    if first:
        inputs.append(dump(tmp_path / "before.pkl", checkpoint(np.zeros((first, expected.shape[1]), "f4"), 0)))
    succeeds("merge", *inputs, "-o", tmp_path / "s.npy")
    assert same_bits(np.load(tmp_path / "s.npy")[first:], expected)


REFUSED = {
    "integers": np.arange(40).reshape(10, 4),
    "complex": np.ones((10, 4), np.complex64),
    "longdouble": np.ones((10, 4), np.longdouble),
    "objects": np.array([[1.5, None]] * 10, dtype=object),
    "structured": np.zeros(10, dtype=[("a", "f4"), ("b", "f4")]),
    "masked": np.ma.masked_array(np.ones((10, 4), "f4"), mask=np.eye(10, 4, dtype=bool)),
    "one axis": np.ones(10, "f4"),
    "three axes": np.ones((10, 2, 2), "f4"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_rows_of_floats_is_refused_by_name(tmp_path, what):
    path = dump(tmp_path / "in" / "cluster1_gpu0.pkl", checkpoint(REFUSED[what], 0))
    said = fails("merge", tmp_path / "in", "-o", tmp_path / "s.npy")
    assert path.name in said
    assert not (tmp_path / "s.npy").exists()
