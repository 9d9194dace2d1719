"""HDF5: stores that h5py reads row for row, checkpoints that h5py wrote in any layout, and files that are broken."""

from __future__ import annotations

import ctypes
import json
import shutil
import signal
import subprocess
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
from harness import (
    BIN,
    articles,
    checkpoint,
    contents,
    dump,
    fails,
    kept,
    matrix,
    run,
    same_bits,
    strict_json,
    succeeds,
    write_job,
)
from kill_test import Job, campaign
from test_resume import caught, let_go

ROWS, DIM = 9_001, 64

LAYOUTS = {
    "contiguous": [],
    "chunked": ["--chunk-rows", "777"],
    "zstd": ["--compression", "zstd:1", "--chunk-rows", "1000"],
    "lz4": ["--compression", "lz4"],
    "deflate": ["--compression", "deflate"],
}


@pytest.fixture(scope="module")
def rows():
    return matrix(ROWS, DIM)


def merge(source, store, *flags):
    return succeeds("merge", source, "-o", store, "--json", *flags).json()


def matrix_of(path) -> np.ndarray:
    with h5py.File(path) as file:
        return file["embeddings"][:]


def articles_of(path) -> list[dict]:
    with h5py.File(path) as file:
        columns = [file[f"articles/{key}"].asstr()[:] for key in ("id", "title", "url")]
    return [dict(zip(("id", "title", "url"), row)) for row in zip(*columns)]


# Stores


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_store_is_read_by_h5py(tmp_path, rows, layout):
    write_job(tmp_path / "in", rows, parts=5)
    dump(tmp_path / "a.pkl", articles(ROWS))
    store = tmp_path / "s.h5"
    result = merge(tmp_path / "in", store, "--articles", tmp_path / "a.pkl", *LAYOUTS[layout])
    assert result["format"] == "hdf5" and result["shape"] == [ROWS, DIM]
    assert result["bytes"] == store.stat().st_size
    assert list(tmp_path.glob("s.*")) == [store], "one file, and nothing beside it"
    assert same_bits(matrix_of(store), rows)
    assert articles_of(store) == kept(articles(ROWS))
    with h5py.File(store) as file:
        told = dict(file.attrs)
        assert told["total_articles"] == ROWS and told["embedding_dim"] == DIM
        assert told["model"] == "google/embeddinggemma-300m"
        assert json.loads(told["quality_metrics"]) == result["quality_metrics"]
        assert json.loads(told["chunk_info"]) == result["chunk_info"]
        assert json.loads(told["shape"]) == [ROWS, DIM]
        assert json.loads(told["articles"])["count"] == ROWS
        assert set(json.loads(told["embstore_keys"])) == set(told) - {"embstore_keys"}
        text = h5py.check_string_dtype(file["articles/title"].dtype)
        assert (text.encoding, text.length) == ("utf-8", None)
        if layout == "contiguous":
            assert file["embeddings"].id.get_offset() == 4096
            assert file["embeddings"].chunks is None
    assert succeeds("verify", store, "--json").json()["ok"]
    info = succeeds("info", store, "--json").json()
    assert (info["kind"], info["format"], info["problems"]) == ("store", "hdf5", [])
    assert info["metadata"]["quality_metrics"] == result["quality_metrics"]
    assert list(info["metadata"])[:3] == ["total_articles", "embedding_dim", "model"]


def test_the_filters_are_those_that_are_named(tmp_path, rows):
    write_job(tmp_path / "in", rows)
    for name, filters, chunk in [
        ("zstd", {"shuffle": (4,), "32015": (1,)}, (1000, DIM)),
        ("lz4", {"shuffle": (4,), "32004": (1 << 30,)}, (4096, DIM)),
        ("deflate", {"shuffle": (4,), "gzip": 6}, (4096, DIM)),
        ("chunked", {}, (777, DIM)),
    ]:
        merge(tmp_path / "in", tmp_path / f"{name}.h5", *LAYOUTS[name])
        with h5py.File(tmp_path / f"{name}.h5") as file:
            assert file["embeddings"]._filters == filters
            assert file["embeddings"].chunks == chunk
    plain = (tmp_path / "chunked.h5").stat().st_size
    assert all((tmp_path / f"{name}.h5").stat().st_size < plain for name in ("zstd", "lz4", "deflate"))


@pytest.mark.parametrize("cols", [1, 3, 16, 1000])
def test_rows_are_aligned_however_few_they_are(tmp_path, cols):
    for count in (1, 2, 100, 2000):
        small = matrix(count, cols)
        dump(tmp_path / "in" / "cluster1_gpu0.pkl", checkpoint(small, 0))
        merge(tmp_path / "in", tmp_path / "s.h5", "--force")
        with h5py.File(tmp_path / "s.h5") as file:
            offset = file["embeddings"].id.get_offset()
            assert offset % 4096 == 0
            assert same_bits(file["embeddings"][:], small)
        mapped = np.memmap(tmp_path / "s.h5", np.float32, "r", offset, (count, cols))
        assert same_bits(np.asarray(mapped), small)
        merge(tmp_path / "in", tmp_path / "c.h5", "--force", "--compression", "zstd")
        assert same_bits(matrix_of(tmp_path / "c.h5"), small)


def test_the_same_merge_makes_the_same_bytes(tmp_path, rows):
    write_job(tmp_path / "in", rows)
    dump(tmp_path / "a.pkl", articles(ROWS))
    for name in ("a.h5", "b.h5"):
        merge(tmp_path / "in", tmp_path / name, "--articles", tmp_path / "a.pkl", "--threads", "3")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_more_metadata_than_an_object_header_holds(tmp_path):
    """64 KiB is the limit of an HDF5 object header."""
    small = matrix(3000, 4)
    write_job(tmp_path / "in", small, parts=1000)
    result = merge(tmp_path / "in", tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5") as file:
        assert len(file.attrs["chunk_info"]) > 400_000
        assert json.loads(file.attrs["chunk_info"]) == result["chunk_info"]
    assert succeeds("verify", tmp_path / "s.h5", "--json").json()["ok"]


@pytest.mark.parametrize("layout", ["chunked", "zstd"])
def test_boundaries_inside_chunks_lose_no_row(tmp_path, layout):
    """Checkpoints of uneven lengths, many threads: chunks are written whole, once, by one thread."""
    many = matrix(5003, 24, seed=1)
    write_job(tmp_path / "in", many, parts=37)
    flags = ["--chunk-rows", "100", *(["--compression", "zstd:1"] if layout == "zstd" else [])]
    for turn in range(20):
        merge(tmp_path / "in", tmp_path / "s.h5", "--force", "--threads", "8", *flags)
        assert same_bits(matrix_of(tmp_path / "s.h5"), many), turn


def test_articles_with_anything_in_them(tmp_path):
    items = [
        {"id": "1", "title": "", "url": ""},
        {"id": "", "title": "é" * 70_000, "url": "u"},
        {"id": "3", "title": "tab\tnewline\n\"quoted\" \\ 😀", "url": "x" * 1_000_000},
    ]
    dump(tmp_path / "in" / "cluster1_gpu0.pkl", checkpoint(matrix(3), 0))
    dump(tmp_path / "a.pkl", items)
    for flags in ([], ["--compression", "zstd"]):
        merge(tmp_path / "in", tmp_path / "s.h5", "--articles", tmp_path / "a.pkl", "--force", *flags)
        assert articles_of(tmp_path / "s.h5") == items
        assert succeeds("verify", tmp_path / "s.h5", "--json").json()["ok"]
    dump(tmp_path / "a.pkl", [*items[:2], {"id": "3", "title": "a\0b", "url": ""}])
    said = fails("merge", tmp_path / "in", "-o", tmp_path / "t.h5", "--articles", tmp_path / "a.pkl")
    assert "article 2" in said and "NUL" in said
    assert not (tmp_path / "t.h5").exists()


def test_what_hdf5_has_no_place_for(tmp_path, rows):
    write_job(tmp_path / "in", rows)
    for flags, word in [
        (["--compression", "blosc-lz4"], "zstd lz4 or deflate"),
        (["--compression", "blosc-zstd"], "zstd lz4 or deflate"),
        (["--shard-rows", "1000"], "shard"),
        (["--zarr-version", "2"], "Zarr"),
    ]:
        assert word in fails("merge", tmp_path / "in", "-o", tmp_path / "s.h5", *flags)
        assert not (tmp_path / "s.h5").exists()


def test_force_replaces_and_nothing_else_does(tmp_path, rows):
    write_job(tmp_path / "in", rows)
    merge(tmp_path / "in", tmp_path / "s.h5")
    before = contents(tmp_path)
    assert "--force" in fails("merge", tmp_path / "in", "-o", tmp_path / "s.h5")
    assert contents(tmp_path) == before
    merge(tmp_path / "in", tmp_path / "s.h5", "--force", "--rows", "100")
    assert matrix_of(tmp_path / "s.h5").shape == (100, DIM)


# Export and verify


@pytest.mark.parametrize("layout", LAYOUTS)
def test_there_and_back_again(tmp_path, rows, layout):
    write_job(tmp_path / "in", rows, parts=5)
    dump(tmp_path / "a.pkl", articles(ROWS))
    merge(tmp_path / "in", tmp_path / "s.npy", "--articles", tmp_path / "a.pkl")
    succeeds("export", tmp_path / "s.npy", "--format", "hdf5", "-o", tmp_path / "s.h5", *LAYOUTS[layout])
    assert same_bits(matrix_of(tmp_path / "s.h5"), rows)
    assert articles_of(tmp_path / "s.h5") == kept(articles(ROWS))
    succeeds("export", tmp_path / "s.h5", "--format", "npy", "-o", tmp_path / "t.npy")
    assert (tmp_path / "t.npy").read_bytes() == (tmp_path / "s.npy").read_bytes()
    assert (tmp_path / "t.articles.parquet").read_bytes() == (tmp_path / "s.articles.parquet").read_bytes()
    first, last = (strict_json((tmp_path / f"{name}.meta.json").read_text()) for name in "st")
    # Norms are added up over other pieces where chunks cut them.
    chunked = ("metadata_checksum", "quality_metrics", "chunk_info")
    for key in first:
        assert first[key] == last[key] or (layout != "contiguous" and key in chunked), key


def test_a_slice_and_a_narrower_type(tmp_path, rows):
    write_job(tmp_path / "in", rows)
    merge(tmp_path / "in", tmp_path / "s.h5")
    for flags in ([], ["--compression", "zstd"]):
        out = tmp_path / f"h{len(flags)}.h5"
        flags = ["--rows", "10:5010", "--dtype", "float16", *flags]
        succeeds("export", tmp_path / "s.h5", "--format", "hdf5", "-o", out, *flags)
        with h5py.File(out) as file:
            assert file["embeddings"].dtype == np.dtype("<f2")
        assert same_bits(matrix_of(out), rows[10:5010].astype(np.float16))
        assert succeeds("verify", out, "--json").json()["ok"]
    said = fails("export", tmp_path / "s.h5", "--format", "hdf5", "-o", tmp_path / "b.h5", "--dtype", "bfloat16")
    assert "bfloat16" in said


def test_verify_finds_what_was_changed(tmp_path, rows):
    write_job(tmp_path / "in", rows)
    dump(tmp_path / "a.pkl", articles(ROWS))
    merge(tmp_path / "in", tmp_path / "s.h5", "--articles", tmp_path / "a.pkl")

    def problems(change) -> str:
        shutil.copy(tmp_path / "s.h5", tmp_path / "t.h5")
        with h5py.File(tmp_path / "t.h5", "r+") as file:
            change(file)
        result = run("verify", tmp_path / "t.h5", "--json")
        assert result.code == 1
        return " ".join(result.json()["problems"])

    def row(file):
        file["embeddings"][8000, 3] += 1

    def title(file):
        file["articles/title"][17] = "another"

    def attribute(file):
        file.attrs["model"] = "another"

    def key(file):
        del file.attrs["row_range"]

    assert "matrix.checksum" in problems(row)
    assert "articles.checksum" in problems(title)
    assert "metadata_checksum" in problems(attribute)
    assert "row_range" in problems(key)
    assert succeeds("verify", tmp_path / "s.h5", "--checkpoints", tmp_path / "in", "--json").json()["ok"]


# Interruptions

BIG_ROWS, BIG_DIM = 60_000, 256


@pytest.fixture(scope="module")
def big():
    return matrix(BIG_ROWS, BIG_DIM)


def test_killed_merges_resume_to_the_same_bytes(tmp_path, big):
    write_job(tmp_path / "in", big, parts=8)
    dump(tmp_path / "a.pkl", articles(BIG_ROWS))
    job = Job(BIN, tmp_path / "in", tmp_path / "out", "s.h5", ["--threads", "1", "--articles", tmp_path / "a.pkl"])
    tally = campaign(job, kills=5)
    assert tally.mid_copy >= 5 and tally.resumed_rows > 0


@pytest.mark.parametrize("flags", [["--chunk-rows", "1000"], ["--compression", "zstd:1", "--chunk-rows", "1000"]])
def test_killed_chunked_merges_resume_to_the_same_rows(tmp_path, big, flags):
    write_job(tmp_path / "in", big, parts=8)
    dump(tmp_path / "a.pkl", articles(BIG_ROWS))
    flags = ["--threads", "2", "--articles", tmp_path / "a.pkl", *flags]
    job = Job(BIN, tmp_path / "in", tmp_path / "out", "s.h5", flags)
    resumed = 0
    for _ in range(3):
        job.clear()
        for _ in range(2):
            let_go(caught(job, rows_down=True), signal.SIGKILL)
            assert not job.store.exists()
        resumed += job.finish()["rows_resumed"]
        assert same_bits(matrix_of(job.store), big)
        assert articles_of(job.store) == kept(articles(BIG_ROWS))
        assert succeeds("verify", job.store, "--json").json()["ok"]
        assert not job.partial.exists()
    assert resumed > 0


@pytest.mark.parametrize("flags", [[], ["--compression", "zstd:1", "--chunk-rows", "1000"]])
def test_a_damaged_partial_is_made_again(tmp_path, big, flags):
    write_job(tmp_path / "in", big, parts=8)
    job = Job(BIN, tmp_path / "in", tmp_path / "out", "s.h5", ["--threads", "1", *flags])
    for damage in ("header", "middle", "cut", "empty"):
        job.clear()
        let_go(caught(job, rows_down=True), signal.SIGKILL)
        with open(job.partial / "s.h5", "r+b") as file:
            size = file.seek(0, 2)
            if damage == "header":
                file.seek(0)
                file.write(b"\xff" * 3000)
            elif damage == "middle":
                for at in range(5000, size, 200_000):
                    file.seek(at)
                    file.write(b"\xa5" * 1000)
            else:
                file.truncate(size // 3 if damage == "cut" else 0)
        job.finish()
        assert same_bits(matrix_of(job.store), big), damage


def test_a_staged_file_without_its_attributes_is_no_store(tmp_path, big):
    """What lies in the partial looks like HDF5 from its first byte on, and must not pass for a store."""
    write_job(tmp_path / "in", big, parts=8)
    job = Job(BIN, tmp_path / "in", tmp_path / "out", "s.h5", ["--threads", "1"])
    job.clear()
    let_go(caught(job), signal.SIGKILL)
    assert not job.store.exists()
    staged = job.partial / "s.h5"
    if staged.exists() and staged.stat().st_size:
        # Or it is no HDF5 yet: the first bytes are not always the first on the disk.
        result = run("info", staged, "--json")
        assert result.code == 1 or result.json()["kind"] == "array"


# Checkpoints


def write(path, rows, start=None, key="embeddings", where="file", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    access = {name: options.pop(name, None) for name in ("libver", "userblock_size")}
    with h5py.File(path, "w", **access) as file:
        dataset = file.create_dataset(key, data=rows, **options)
        if start is not None:
            attrs = file.attrs if where == "file" else dataset.attrs
            attrs["start_index"], attrs["end_index"] = start, start + len(rows)
            attrs["cluster_id"], attrs["gpu_id"] = np.int32(2), 1
            attrs["model"] = "a model"
    return path


ZSTD = hdf5plugin.Zstd(clevel=3)
LZ4 = hdf5plugin.LZ4(nbytes=5000)
INPUTS = {
    "float16": dict(dtype="<f2"),
    "float64": dict(dtype="<f8"),
    "big-endian": dict(dtype=">f4"),
    "big-endian float64": dict(dtype=">f8"),
    "user block": dict(userblock_size=4096),
    "latest": dict(libver="latest"),
    "chunked": dict(chunks=(100, 7)),
    "chunks of one row": dict(chunks=(1, 16)),
    "chunked, latest": dict(chunks=(100, 7), libver="latest"),
    "one chunk, latest": dict(chunks=(1000, 16), libver="latest"),
    "resizable": dict(maxshape=(None, None), chunks=(33, 16)),
    "resizable rows, latest": dict(maxshape=(None, 16), chunks=(33, 16), libver="latest"),
    "gzip": dict(compression="gzip", chunks=(128, 16)),
    "gzip, shuffle, fletcher": dict(compression="gzip", shuffle=True, fletcher32=True, chunks=(128, 5)),
    "fletcher": dict(fletcher32=True, chunks=(100, 16)),
    "shuffle": dict(shuffle=True, chunks=(100, 16)),
    "gzip big-endian float64": dict(compression="gzip", dtype=">f8"),
    "zstd": dict(compression=ZSTD, chunks=(100, 16)),
    "zstd, shuffle": dict(compression=ZSTD, shuffle=True, chunks=(100, 16), dtype="<f8"),
    "lz4": dict(compression=LZ4, chunks=(300, 16)),
    "lz4, shuffle, fletcher": dict(compression=LZ4, shuffle=True, fletcher32=True, chunks=(300, 16)),
}


@pytest.mark.parametrize("name", INPUTS)
def test_a_checkpoint_of_any_layout(tmp_path, name):
    rows = matrix(2000, 16)
    options = dict(INPUTS[name])
    given = rows.astype(options.pop("dtype", "<f4"))
    write(tmp_path / "in" / "b.h5", given[1000:], 1000, **options)
    write(tmp_path / "in" / "a.hdf5", given[:1000], 0, where="dataset", **{**options, "chunks": options.get("chunks")})
    info = succeeds("info", tmp_path / "in" / "b.h5", "--json").json()
    assert (info["kind"], info["shape"], info["problems"]) == ("checkpoint", [1000, 16], [])
    assert info["dtype"] == given.dtype.name
    assert info["metadata"]["model"] == "a model" and info["metadata"]["cluster_id"] == 2
    result = merge(tmp_path / "in", tmp_path / "s.npy")
    assert same_bits(np.load(tmp_path / "s.npy"), given.astype(np.float32))
    assert [chunk["file"] for chunk in result["chunk_info"]] == ["a.hdf5", "b.h5"]
    assert [chunk["gpu_id"] for chunk in result["chunk_info"]] == [1, 1]
    result = merge(tmp_path / "in", tmp_path / "t.h5", "--rows", "500:1700", "--threads", "4")
    assert same_bits(matrix_of(tmp_path / "t.h5"), given.astype(np.float32)[500:1700])


def test_compact_and_unwritten_datasets(tmp_path):
    rows = matrix(20, 16)
    (tmp_path / "in").mkdir()
    with h5py.File(tmp_path / "in" / "1-compact.h5", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple(rows.shape)
        h5py.h5d.create(file.id, b"embeddings", h5py.h5t.IEEE_F32LE, space, plist).write(
            h5py.h5s.ALL, h5py.h5s.ALL, rows
        )
    with h5py.File(tmp_path / "in" / "2-never.h5", "w") as file:
        file.create_dataset("embeddings", (7, 16), "<f4", fillvalue=2.5)
    with h5py.File(tmp_path / "in" / "3-holes.h5", "w") as file:
        holes = file.create_dataset("embeddings", (50, 16), ">f4", chunks=(10, 5), compression="gzip", fillvalue=-1.5)
        holes[12:17, 3:9] = rows[:5, :6]
        expected = holes[:]
    with h5py.File(tmp_path / "in" / "4-mask.h5", "w") as file:
        masked = file.create_dataset("embeddings", (20, 16), "<f4", chunks=(10, 16), compression="gzip", shuffle=True)
        masked[:] = rows
        masked.id.write_direct_chunk((10, 0), rows[10:].tobytes(), filter_mask=3)
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy")
    want = np.concatenate([rows, np.full((7, 16), 2.5, "f4"), expected.astype("f4"), rows])
    assert same_bits(np.load(tmp_path / "s.npy"), want)


def test_edge_chunks_without_filters(tmp_path):
    """A creation property of HDF5 1.10: chunks that reach over the edge are stored as they are."""
    rows = matrix(25, 16)
    (tmp_path / "in").mkdir()
    with h5py.File(tmp_path / "in" / "a.h5", "w", libver=("v110", "v110")) as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((10, 16))
        plist.set_deflate(4)
        # h5py has no call for it, the library in its wheel has.
        (library,) = (Path(h5py.__file__).parents[1] / "h5py.libs").glob("libhdf5-*")
        set_options = ctypes.CDLL(str(library)).H5Pset_chunk_opts
        set_options.argtypes = [ctypes.c_int64, ctypes.c_uint]
        assert set_options(plist.id, 2) >= 0
        space = h5py.h5s.create_simple(rows.shape)
        h5py.h5d.create(file.id, b"embeddings", h5py.h5t.IEEE_F32LE, space, plist).write(
            h5py.h5s.ALL, h5py.h5s.ALL, rows
        )
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy")
    assert same_bits(np.load(tmp_path / "s.npy"), rows)


def test_bare_files_follow_each_other(tmp_path):
    rows = matrix(300, 8)
    for i, name in enumerate(["part-1.h5", "part-2.h5", "part-10.h5"]):
        write(tmp_path / "in" / name, rows[i * 100 : i * 100 + 100])
    info = succeeds("info", tmp_path / "in" / "part-2.h5", "--json").json()
    assert (info["kind"], info["format"], info["shape"]) == ("array", "hdf5", [100, 8])
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.h5")
    assert same_bits(matrix_of(tmp_path / "s.h5"), rows)


def test_keys_and_paths(tmp_path):
    rows = matrix(50, 8)
    only = write(tmp_path / "only.h5", rows, key="group/vectors")
    info = succeeds("info", only, "--json").json()
    assert "group/vectors" in " ".join(info["problems"])
    succeeds("merge", only, "-o", tmp_path / "a.npy")
    assert same_bits(np.load(tmp_path / "a.npy"), rows)

    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["deep/er/one"] = rows
        file["two"] = rows * 2
        file["labels"] = np.arange(50)
        file["names"] = ["a", "b"]
    said = fails("merge", tmp_path / "two.h5", "-o", tmp_path / "b.npy")
    assert "deep/er/one" in said and "50 x 8" in said and "labels" in said and "--key" in said
    succeeds("merge", tmp_path / "two.h5", "-o", tmp_path / "b.npy", "--key", "deep/er/one")
    assert same_bits(np.load(tmp_path / "b.npy"), rows)
    succeeds("merge", tmp_path / "two.h5", "-o", tmp_path / "c.npy", "--key", "/two")
    assert same_bits(np.load(tmp_path / "c.npy"), rows * 2)
    assert "integers" in fails("merge", tmp_path / "two.h5", "-o", tmp_path / "d.npy", "--key", "labels")
    assert "--key" in fails("merge", tmp_path / "two.h5", "-o", tmp_path / "d.npy", "--key", "nothing")


def test_attributes_become_fields(tmp_path):
    path = write(tmp_path / "a.h5", matrix(4, 4))
    with h5py.File(path, "r+") as file:
        given = {
            "int8": np.int8(-5),
            "big": np.array(7, ">i4"),
            "unsigned": np.uint64(2**64 - 1),
            "half": np.float16(1.5),
            "nan": np.float64("nan"),
            "true": True,
            "text": "Łódź 😀",
            "bytes": np.bytes_(b"fixed"),
            "list": [1, 2, 3],
            "table": np.array([[1.5, 2.5], [3.5, 4.5]]),
            "texts": ["a", "é"],
            "empty": h5py.Empty("f4"),
        }
        for key, value in given.items():
            file.attrs[key] = value
        file.attrs["reference"] = file["embeddings"].ref
        file.attrs["compound"] = np.zeros(1, [("a", "i4"), ("b", "f4")])
        file.attrs["not utf-8"] = np.array(b"\xff\xfe", dtype=h5py.string_dtype("utf-8", 2))
        file.attrs.create("long", "x" * 30_000)
    told = succeeds("info", path, "--json").json()["metadata"]
    assert told["int8"] == -5 and told["big"] == 7 and told["half"] == 1.5 and told["true"] is True
    assert told["unsigned"] in (2**64 - 1, str(2**64 - 1)) and told["nan"] == "nan"
    assert told["text"] == "Łódź 😀" and told["bytes"] == "fixed" and told["list"] == [1, 2, 3]
    assert told["table"] == [[1.5, 2.5], [3.5, 4.5]] and told["texts"] == ["a", "é"] and told["empty"] is None
    assert told["long"] == "x" * 30_000
    assert "reference" not in told and "compound" not in told


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (dict(compression="lzf"), "lzf"),
        (dict(compression=hdf5plugin.Blosc()), "32001"),
        (dict(compression=hdf5plugin.Bitshuffle()), "32008"),
        (dict(scaleoffset=3), "scaleoffset"),
    ],
)
def test_filters_that_are_not_read_are_named(tmp_path, options, word):
    path = write(tmp_path / "a.h5", matrix(100, 8), 0, **options)
    said = fails("merge", path, "-o", tmp_path / "s.npy")
    assert word in said and "h5repack" in said
    info = succeeds("info", path, "--json").json()
    assert info["kind"] == "other" and word in info["problems"][0]
    assert info["metadata"]["start_index"] == 0 and "100 x 8" in info["metadata"]["datasets"]["embeddings"]


def test_rows_in_other_files_are_refused(tmp_path):
    rows = matrix(10, 4)
    write(tmp_path / "a.h5", rows)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["embeddings"] = h5py.ExternalLink("a.h5", "/embeddings")
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((10, 4), "f4")
        layout[:] = h5py.VirtualSource(tmp_path / "a.h5", "embeddings", (10, 4))
        file.create_virtual_dataset("embeddings", layout)
    rows.tofile(tmp_path / "raw")
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("embeddings", (10, 4), "f4", external=[(str(tmp_path / "raw"), 0, rows.nbytes)])
    for name, word in [("link", "a.h5"), ("virtual", "virtual"), ("external", "external")]:
        assert word in fails("merge", tmp_path / f"{name}.h5", "-o", tmp_path / "s.npy")


@pytest.mark.parametrize(("shape", "dtype"), [((5,), "f4"), ((2, 3, 4), "f4"), ((2, 3), "i4"), ((2, 3), "c8")])
def test_other_shapes_and_types(tmp_path, shape, dtype):
    path = write(tmp_path / "a.h5", np.zeros(shape, dtype))
    assert "embeddings" in fails("merge", path, "-o", tmp_path / "s.npy")
    info = succeeds("info", path, "--json").json()
    assert info["kind"] == "other" and "embeddings" in info["metadata"]["datasets"]


def test_what_only_newer_libraries_read_is_told(tmp_path):
    """A library that is linked statically may be newer than this file; an older one must not call it empty."""
    path = write(tmp_path / "a.h5", matrix(25, 16), chunks=(10, 16), compression="gzip", libver="latest")
    result = run("merge", path, "-o", tmp_path / "s.npy")
    assert result.code == 0 or "libver" in result.err


# Broken files


def whole_or_clean(path, out) -> None:
    """Either it is described, or there is one clean error; never a panic or a crash of the library."""
    for args in (["info", path], ["merge", path, "-o", out, "--force"]):
        result = run(*args)
        assert result.code in (0, 1), f"exit {result.code}: {result.err}"
        assert "panicked" not in result.err and "HDF5-DIAG" not in result.err, result.err


def test_truncated_files(tmp_path):
    path = write(tmp_path / "a.h5", matrix(500, 8), 0)
    chunked = write(tmp_path / "c.h5", matrix(500, 8), 0, compression="gzip", chunks=(50, 8))
    for whole in (path, chunked):
        data = whole.read_bytes()
        for cut in [0, 4, 8, 9, 40, 95, 96, 500, 2000, 2048, 5000, len(data) - 1]:
            (tmp_path / "t.h5").write_bytes(data[:cut])
            said = fails("merge", tmp_path / "t.h5", "-o", tmp_path / "s.npy")
            assert "t.h5" in said
    assert not (tmp_path / "s.npy").exists()


def test_damaged_chunks_are_named(tmp_path):
    for name, options in [
        ("gzip", dict(compression="gzip")),
        ("zstd", dict(compression=ZSTD)),
        ("lz4", dict(compression=LZ4)),
        ("fletcher", dict(fletcher32=True)),
    ]:
        path = write(tmp_path / f"{name}.h5", matrix(500, 8), 0, chunks=(50, 8), **options)
        with h5py.File(path) as file:
            info = file["embeddings"].id.get_chunk_info(3)
        data = bytearray(path.read_bytes())
        data[info.byte_offset + 4 : info.byte_offset + 40] = b"\x5a" * 36
        path.write_bytes(data)
        said = fails("merge", path, "-o", tmp_path / f"{name}.npy")
        assert f"row {info.chunk_offset[0]}" in said and name + ".h5" in said


def test_huge_claims_cost_nothing(tmp_path):
    """A chunked dataset of any size takes a few KiB of a file as long as nothing is written into it."""
    for shape, chunks in [((2**50, 64), (1, 64)), ((2**20, 2**28), (1, 2**20)), ((100, 2**35), (1, 1024))]:
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("embeddings", shape, "f4", chunks=chunks)
        said = fails("merge", tmp_path / "a.h5", "-o", tmp_path / "s.npy")
        assert "a.h5" in said or "space" in said or "disk" in said


def test_h5dump_reads_a_store(tmp_path, rows):
    h5dump = shutil.which("h5dump")
    if not h5dump:
        pytest.skip("platform: there is no h5dump")
    write_job(tmp_path / "in", rows)
    merge(tmp_path / "in", tmp_path / "s.h5")
    out = subprocess.run([h5dump, "-p", "-H", tmp_path / "s.h5"], capture_output=True, text=True, check=True).stdout
    assert "CONTIGUOUS" in out and "OFFSET 4096" in out and "H5T_IEEE_F32LE" in out
