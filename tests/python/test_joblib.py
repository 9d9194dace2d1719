"""joblib dumps: arrays raw between the opcodes, compressed or not, compared with what joblib.load gives."""

from __future__ import annotations

import os
from pathlib import Path

import joblib
import joblib.numpy_pickle
import numpy as np
import pyarrow.parquet as pq
import pytest
from harness import articles, checkpoint, cut, dump, fails, kept, matrix, run, same_bits, sidecars, succeeds

CORPUS = Path(joblib.__file__).parent / "test" / "data"


@pytest.fixture
def old_joblib(monkeypatch):
    """Arrays as joblib 0.10 to 1.1 wrote them: no alignment, and no word of it."""
    init = joblib.numpy_pickle.NumpyArrayWrapper.__init__

    def without_alignment(self, *args, **kwargs):
        init(self, *args, **kwargs)
        del self.numpy_array_alignment_bytes

    monkeypatch.setattr(joblib.numpy_pickle.NumpyArrayWrapper, "__init__", without_alignment)


def merged(tmp_path, *inputs, flags=()):
    succeeds("merge", *inputs, "-o", tmp_path / "s.npy", "--force", *flags)
    return np.load(tmp_path / "s.npy")


def loaded(path):
    """joblib's own reader, which must agree with what was dumped."""
    return np.ascontiguousarray(joblib.load(path)["embeddings"]).astype(np.float32)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("compress", [0, 3, ("zlib", 1), ("gzip", 3), ("bz2", 3), ("lzma", 1), ("xz", 1)])
def test_every_protocol_and_codec(tmp_path, protocol, compress):
    rows = matrix(300, 24)
    paths = []
    for i, (start, piece) in enumerate(cut(rows, 2)):
        paths.append(tmp_path / f"part-{i}.joblib")
        joblib.dump(checkpoint(piece, start, 2, i), paths[-1], compress=compress, protocol=protocol)
        assert same_bits(loaded(paths[-1]), piece)
    info = succeeds("info", paths[1], "--json").json()
    assert (info["kind"], info["shape"], info["metadata"]["start_index"]) == ("checkpoint", [150, 24], 150)
    assert same_bits(merged(tmp_path, *paths), rows)


@pytest.mark.parametrize("protocol", range(6))
def test_the_form_without_alignment(tmp_path, old_joblib, protocol):
    rows = matrix(77, 5)
    for compress in (0, 3):
        path = tmp_path / f"{compress}.joblib"
        joblib.dump(checkpoint(rows, 0), path, compress=compress, protocol=protocol)
        assert b"numpy_array_alignment_bytes" not in path.read_bytes()
        assert same_bits(merged(tmp_path, path), loaded(path)) and same_bits(loaded(path), rows)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("kind", ["C", "F", ">f4", "f8", "f2", ">f8 F", "matrix", "memmap", "columns"])
def test_kinds_of_arrays(tmp_path, kind):
    rows = matrix(60, 9).astype(np.float16).astype(np.float32)
    if kind == "memmap":
        np.save(tmp_path / "m.npy", rows)
        made = np.load(tmp_path / "m.npy", mmap_mode="r")
    elif kind == "columns":
        made = np.repeat(rows, 2, axis=1)[:, ::2]
    elif kind == "matrix":
        made = np.asmatrix(rows)
    else:
        made = np.asarray(rows, dtype="f4" if kind in "CF" else kind.split()[0], order="F" if kind[-1] == "F" else "C")
    path = tmp_path / "a.joblib"
    joblib.dump(made, path)
    assert same_bits(merged(tmp_path, path), rows)
    joblib.dump({"other": np.arange(7), **checkpoint(made, 0), "last": np.zeros((3, 2))}, path)
    assert same_bits(merged(tmp_path, path), rows)
    assert same_bits(loaded(path), rows)


def test_many_arrays_and_what_surrounds_them(tmp_path):
    """Every padding, empty arrays, the same array twice, a list of arrays, types that no store takes, shared texts."""
    rows = matrix(20, 3)
    made = {
        "a" * length: np.zeros(length, dtype=dtype)
        for length, dtype in enumerate(["i1", "u2", "i4", "u8", "?", "c8", "c16", "M8[s]", "U3", "S5", "V3", "i2"])
    }
    made.update(empty=np.zeros((0, 4), "f4"), scalar=np.array(2.5), pair=np.zeros(2, dtype=[("a", "f4"), ("b", "i8")]))
    made.update(checkpoint(rows, 0), again=rows, rows=[rows[i] for i in range(20)], title="x" * 70_000)
    path = tmp_path / "a.joblib"
    for name in ["embeddings", "again"]:
        joblib.dump(made, path)
        info = succeeds("info", path, "--key", name, "--json").json()
        assert info["shape"] == [20, 3] and info["problems"] == []
        assert info["metadata"]["aaa"] == {"array": {"shape": [3], "dtype": "uint64"}}
        assert info["metadata"]["pair"] == {"array": {"shape": [2], "dtype": "structured"}}
        assert info["metadata"]["empty"] == {"array": {"shape": [0, 4], "dtype": "float32"}}
        assert len(info["metadata"]["rows"]) == 20 and info["metadata"]["model"] == made["model"]
        assert same_bits(merged(tmp_path, path, flags=["--key", name]), joblib.load(path)[name])


@pytest.mark.parametrize("protocol", [2, 4])
def test_articles_behind_an_array(tmp_path, protocol):
    """Texts that far items share are read again from the file; never across the raw bytes of an array."""
    count = 6000
    items = articles(count)
    for i, item in enumerate(items):
        item["url"] = items[i - 3000]["url"] if i >= 3000 and i % 40 == 0 else item["url"]
        if i % 7 == 0:
            item["vector"] = np.full(5, 0xFF, np.uint8)  # no opcodes
    made = {"first": matrix(50, 4, seed=1), "articles": items, "second": matrix(500, 64, seed=2), "end": items[-5]["title"]}
    joblib.dump(made, tmp_path / "w.joblib", protocol=protocol)
    dump(tmp_path / "in.pkl", checkpoint(matrix(count, 4), 0))
    succeeds("merge", tmp_path / "in.pkl", "-o", tmp_path / "s.npy", "--articles", tmp_path / "w.joblib")
    assert pq.read_table(sidecars(tmp_path / "s.npy")[0]).to_pylist() == kept(items)


def test_cut_short_or_lying(tmp_path):
    path = tmp_path / "a.joblib"
    rows = matrix(40, 8)
    joblib.dump(checkpoint(rows, 0), path)
    whole = path.read_bytes()
    # One byte with the number of bytes ff, those, and the array.
    payload = len(whole[: whole.index(rows.tobytes())].rstrip(b"\xff"))
    for length in [payload - 1, payload + 1, payload + 300, len(whole) - 1]:
        path.write_bytes(whole[:length])
        said = fails("merge", path, "-o", tmp_path / "s.npy")
        assert "a.joblib" in said
    for at, byte in [(payload - 1, 17), (payload, 0)]:
        broken = bytearray(whole)
        broken[at] = byte
        path.write_bytes(broken)
        assert "padding" in fails("merge", path, "-o", tmp_path / "s.npy")
    # A shape that claims more than there is.
    path.write_bytes(whole.replace(b"K\x28K\x08\x86", b"K\xffK\x08\x86", 1))
    fails("merge", path, "-o", tmp_path / "s.npy")


def test_objects_are_refused_by_name(tmp_path):
    titles = np.array(["a", None, 3], dtype=object)
    fields = np.zeros(2, dtype=[("a", "f4"), ("b", "O")])
    for made in (titles, fields):
        joblib.dump({**checkpoint(matrix(4), 0), "titles": made}, tmp_path / "a.joblib")
        said = fails("merge", tmp_path / "a.joblib", "-o", tmp_path / "s.npy")
        assert "Python objects" in said and "joblib.load" in said


def corpus(pattern: str) -> list[Path]:
    found = [path for path in sorted(CORPUS.glob(pattern)) if ".npy" not in path.name]
    assert found, f"joblib {joblib.__version__} has no {pattern} in {CORPUS}"
    return found


@pytest.mark.parametrize("path", corpus("joblib_0.1*"), ids=lambda path: path.name)
def test_files_of_joblib_since_0_10(path):
    """Two plain arrays, then one of objects: the first two are passed and the third is the reason, in every codec."""
    said = fails("info", path)
    where = 429 if "py27" in path.name else 459
    assert "an array of Python objects" in said and f"at byte {where}" in said and path.name in said


@pytest.mark.parametrize("path", corpus("joblib_0.[89]*"), ids=lambda path: path.name)
def test_files_of_joblib_before_0_10_are_refused_by_name(path):
    result = run("info", path)
    assert result.code == 1 and "joblib 0.9 or older" in result.said, result.said


def test_the_plain_arrays_of_the_old_files(tmp_path):
    """The same files without their array of objects: their second array, float64, as joblib itself loads it."""
    for path in corpus("joblib_0.1*_pickle_py3*.pkl"):
        whole = path.read_bytes()
        made = joblib.load(path)
        end = whole.index(made[1].tobytes()) + made[1].nbytes
        # The list ends here: its MARK is on the stack.
        (tmp_path / "cut.pkl").write_bytes(whole[:end] + b"e.")
        metadata = succeeds("info", tmp_path / "cut.pkl", "--json").json()["metadata"]
        assert metadata == {
            "list": [{"array": {"shape": [5], "dtype": "int64"}}, {"array": {"shape": [5], "dtype": "float64"}}]
        }


def test_the_fixture(tmp_path):
    path = Path(__file__).parents[2] / "formats/tests/data/containers/ck.joblib"
    made = joblib.load(path)
    assert os.path.getsize(path) > 256 and path.read_bytes()[256 : 256 + 8] == made["embeddings"].tobytes()[:8]
    ranges = tmp_path / "ranges.jsonl"
    ranges.write_text('{"file": "ck.joblib", "start_index": 0}\n')
    rows = merged(tmp_path, path, flags=["--ranges", ranges])
    assert same_bits(rows, np.ascontiguousarray(made["embeddings"]))
