"""Zarr stores as zarr-python and tensorstore read them; damage is found; kills and races lose nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal

import numpy as np
import pytest
from harness import (
    BIN,
    articles,
    contents,
    dump,
    fails,
    kept,
    matrix,
    meta,
    run,
    same_bits,
    succeeds,
    write_job,
)
from kill_test import Job, campaign
from test_resume import caught, let_go

zarr = pytest.importorskip("zarr", reason="platform: zarr 3 needs Python 3.11")

import tensorstore  # noqa: E402
from chunk_races import races  # noqa: E402

ROWS = matrix(5000, 24)
SHARDS = ["--chunk-rows", "256", "--shard-rows", "1024"]

# What is asked for, and the names of the codecs that a reader then finds.
LAYOUTS = {
    "raw": ([], ["bytes"]),
    "raw, small chunks": (["--chunk-rows", "300"], ["bytes"]),
    "zstd": (["--compression", "zstd"], ["bytes", "zstd"]),
    "zstd:9": (["--compression", "zstd:9", "--chunk-rows", "700"], ["bytes", "zstd"]),
    "gzip": (["--compression", "deflate:1"], ["bytes", "gzip"]),
    "blosc-lz4": (["--compression", "blosc-lz4"], ["bytes", "blosc"]),
    "blosc-zstd": (["--compression", "blosc-zstd:3"], ["bytes", "blosc"]),
    "shards": (SHARDS, ["sharding_indexed"]),
    "shards, zstd": ([*SHARDS, "--compression", "zstd:1"], ["sharding_indexed"]),
    "shards, blosc-lz4": ([*SHARDS, "--compression", "blosc-lz4"], ["sharding_indexed"]),
}
V2 = {
    "raw": ([], None),
    "zstd": (["--compression", "zstd:2"], "zstd"),
    "gzip": (["--compression", "deflate"], "gzip"),
    "blosc-lz4": (["--compression", "blosc-lz4", "--chunk-rows", "700"], "blosc"),
    "lz4": (["--compression", "lz4"], "lz4"),
}


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zarr")
    write_job(folder / "in", ROWS, 7)
    dump(folder / "articles.pkl", articles(len(ROWS)))
    return folder


def merge(job, store, *flags) -> None:
    succeeds("merge", job / "in", "-o", store, "--articles", job / "articles.pkl", *flags)


def check(store, metadata=None) -> None:
    """Rows, articles and metadata, as zarr-python has them."""
    group = zarr.open_group(store, mode="r")
    assert same_bits(group["embeddings"][:], ROWS)
    found = {key: group[f"articles/{key}"][:] for key in ("id", "title", "url")}
    wanted = kept(articles(len(ROWS)))
    for key, values in found.items():
        assert list(values) == [item[key] for item in wanted], key
    attributes = dict(group.attrs)
    assert attributes["shape"] == list(ROWS.shape) and attributes["articles"]["count"] == len(ROWS)
    if metadata:
        # What was asked of the layout is told where anything was.
        keys = [key for key in attributes if key != "layout"]
        assert keys == [key for key in metadata if key != "layout"], "the keys keep their order"
        for key in ("total_articles", "embedding_dim", "model", "timestamp", "shape", "row_range"):
            assert attributes[key] == metadata[key], key
        assert attributes["matrix"]["checksum"] == metadata["matrix"]["checksum"]
        # Statistics are merged chunk by chunk, which may change their last digit; the rows are the same.
        named = [(chunk["file"], chunk["rows"], chunk["source"]) for chunk in attributes["chunk_info"]]
        assert named == [(chunk["file"], chunk["rows"], chunk["source"]) for chunk in metadata["chunk_info"]]
    succeeds("verify", store)


@pytest.mark.parametrize("name", LAYOUTS)
def test_version_3_as_its_readers_read_it(job, tmp_path, name):
    flags, codecs = LAYOUTS[name]
    merge(job, tmp_path / "s.npy")
    merge(job, tmp_path / "s.zarr", *flags)
    check(tmp_path / "s.zarr", meta(tmp_path / "s.npy"))
    document = json.loads((tmp_path / "s.zarr" / "embeddings" / "zarr.json").read_text())
    assert [codec["name"] for codec in document["codecs"]] == codecs
    assert document["dimension_names"] == ["row", "dim"]
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(tmp_path / "s.zarr" / "embeddings")}}
    assert same_bits(tensorstore.open(spec, read=True).result().read().result(), ROWS)


@pytest.mark.parametrize("name", V2)
def test_version_2_as_its_readers_read_it(job, tmp_path, name):
    flags, compressor = V2[name]
    store = tmp_path / "s.zarr"
    merge(job, store, "--zarr-version", "2", *flags)
    check(store)
    document = json.loads((store / "embeddings" / ".zarray").read_text())
    assert (document["compressor"] or {"id": None})["id"] == compressor
    assert dict(zarr.open_consolidated(store, mode="r").attrs) == json.loads((store / ".zattrs").read_text())
    if compressor != "lz4":
        spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(store / "embeddings")}}
        assert same_bits(tensorstore.open(spec, read=True).result().read().result(), ROWS)


def test_uncompressed_chunks_are_raw_files_of_one_size(job, tmp_path):
    """What mapping tools rely on; the last chunk too, without which zarr-python raises."""
    merge(job, tmp_path / "s.zarr", "--chunk-rows", "900")
    files = sorted((tmp_path / "s.zarr" / "embeddings" / "c").glob("*/0"), key=lambda path: int(path.parent.name))
    assert [path.stat().st_size for path in files] == [900 * 24 * 4] * 6
    assert all(path.stat().st_blocks * 512 >= path.stat().st_size for path in files), "really allocated"
    raw = np.concatenate([np.memmap(path, np.float32, "r", shape=(900, 24)) for path in files])
    assert same_bits(raw[: len(ROWS)], ROWS) and not raw[len(ROWS) :].any()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--compression", "lz4"], "blosc-lz4"),
        (["--chunk-rows", "100", "--shard-rows", "250"], "multiple"),
        (["--zarr-version", "2", "--shard-rows", "4096"], "no shards"),
    ],
)
def test_layouts_that_zarr_lacks(job, tmp_path, flags, said):
    assert said in fails("merge", job / "in", "-o", tmp_path / "s.zarr", *flags)
    assert not list(tmp_path.iterdir()), "nothing is left behind"


@pytest.mark.parametrize("flags", [[], ["--compression", "blosc-lz4"], [*SHARDS], ["--zarr-version", "2"]])
def test_export_there_and_back_is_the_same(job, tmp_path, flags):
    merge(job, tmp_path / "a.npy")
    succeeds("export", tmp_path / "a.npy", "--format", "zarr", "-o", tmp_path / "b.zarr", *flags)
    check(tmp_path / "b.zarr")
    succeeds("export", tmp_path / "b.zarr", "--format", "npy", "-o", tmp_path / "c.npy")
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "c.npy").read_bytes()
    assert meta(tmp_path / "a.npy")["store_id"] == meta(tmp_path / "c.npy")["store_id"]
    read = (tmp_path / "a.articles.parquet").read_bytes()
    assert read == (tmp_path / "c.articles.parquet").read_bytes()


@pytest.mark.parametrize("flags", [[], ["--compression", "blosc-zstd"]])
def test_half_precision(job, tmp_path, flags):
    merge(job, tmp_path / "a.npy")
    succeeds("export", tmp_path / "a.npy", "--format", "zarr", "-o", tmp_path / "h.zarr", "--dtype", "float16", *flags)
    assert same_bits(zarr.open_group(tmp_path / "h.zarr", mode="r")["embeddings"][:], ROWS.astype(np.float16))
    succeeds("verify", tmp_path / "h.zarr")
    said = fails("export", tmp_path / "a.npy", "--format", "zarr", "-o", tmp_path / "b.zarr", "--dtype", "bfloat16")
    assert "bfloat16" in said


def test_info_of_a_store(job, tmp_path):
    merge(job, tmp_path / "s.zarr")
    found = succeeds("info", tmp_path / "s.zarr", "--json").json()
    assert (found["kind"], found["format"], found["shape"]) == ("store", "zarr", [5000, 24])
    assert found["problems"] == [] and found["metadata"]["total_articles"] == 5000


def test_without_articles(job, tmp_path):
    succeeds("merge", job / "in", "-o", tmp_path / "s.zarr")
    group = zarr.open_group(tmp_path / "s.zarr", mode="r")
    assert list(group) == ["embeddings"] and group.attrs["articles"] is None
    succeeds("verify", tmp_path / "s.zarr", "--checkpoints", job / "in")


@pytest.mark.parametrize("flags", [[], ["--compression", "zstd"], SHARDS, ["--zarr-version", "2"]], ids=str)
def test_verify_finds_a_flipped_byte(job, tmp_path, flags):
    """In every chunk of rows and articles, in the description of the matrix, and in the metadata."""
    store = tmp_path / "s.zarr"
    merge(job, store, *flags)
    rng = np.random.default_rng(1)
    described = [store / "zarr.json", store / ".zattrs", *(store / "embeddings").glob("*zarr*")]
    chunks = [path for path in store.rglob("*") if path.is_file() and path.suffix != ".json" and path.name[0] != "."]
    assert len(chunks) >= 5
    for path in [*chunks, *(path for path in described if path.exists())]:
        before = path.read_bytes()
        at = int(rng.integers(min(len(before), 900 * 96)))  # not in what fills up the last chunk
        while before[at : at + 1].isspace():
            at += 1
        path.write_bytes(before[:at] + bytes([before[at] ^ 4]) + before[at + 1 :])
        result = run("verify", store, "--json")
        assert result.code == 1, f"{path} at {at}: {result.out}"
        assert "panicked" not in result.err
        path.write_bytes(before)
    succeeds("verify", store)


@pytest.mark.parametrize("flags", [[], ["--compression", "zstd"], SHARDS])
def test_verify_finds_a_chunk_that_is_gone(job, tmp_path, flags):
    store = tmp_path / "s.zarr"
    merge(job, store, *flags)
    (store / "embeddings" / "c" / "1" / "0").unlink()
    assert "checksum" in run("verify", store).said
    merge(job, store, "--force", *flags)
    (store / "articles" / "title" / "c" / "0").unlink()
    assert run("verify", store).code == 1


def test_force_replaces_a_store_and_nothing_else(job, tmp_path):
    store = tmp_path / "s.zarr"
    merge(job, store, "--chunk-rows", "100")
    before = contents(store)
    assert "--force" in fails("merge", job / "in", "-o", store)
    assert contents(store) == before
    merge(job, store, "--force", "--compression", "zstd")
    check(store)
    assert len(list((store / "embeddings" / "c").iterdir())) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.zarr"]
    # A folder that embstore did not write is never replaced.
    for name, make in {
        "plain.zarr": lambda path: (path / "sub").mkdir(parents=True),
        "foreign.zarr": lambda path: zarr.save(path, embeddings=ROWS),
    }.items():
        make(tmp_path / name)
        before = contents(tmp_path / name)
        fails("merge", job / "in", "-o", tmp_path / name, "--force")
        assert contents(tmp_path / name) == before


def test_a_publication_that_was_cut_off_is_completed(job, tmp_path):
    """As a kill between the list of renames and the exchange leaves it."""
    store, partial = tmp_path / "s.zarr", tmp_path / "s.zarr.partial"
    merge(job, store, "--rows", "5000", "--chunk-rows", "100")
    merge(job, tmp_path / "new.zarr", "--compression", "zstd")
    partial.mkdir()
    os.rename(tmp_path / "new.zarr", partial / "s.zarr")
    inode = (partial / "s.zarr").stat().st_ino
    (partial / "publish").write_text(
        json.dumps({"files": ["s.zarr"], "metadata": None, "stale": [], "folder": inode})
    )
    succeeds("info", store)
    assert not partial.exists()
    check(store)
    assert len(list((store / "embeddings" / "c").iterdir())) == 2


@pytest.mark.parametrize(
    "flags", [[], ["--compression", "zstd:1"], ["--chunk-rows", "512", "--shard-rows", "2048"]], ids=str
)
def test_killed_merges_resume_to_the_same_bytes(tmp_path, flags):
    big = matrix(40_000, 256)
    write_job(tmp_path / "in", big, parts=8)
    dump(tmp_path / "a.pkl", articles(len(big)))
    flags = [*flags, "--threads", "1", "--articles", tmp_path / "a.pkl"]
    tally = campaign(Job(BIN, tmp_path / "in", tmp_path / "out", "s.zarr", flags), kills=4)
    assert tally.mid_copy >= 4 and tally.resumed_rows > 0


@pytest.mark.parametrize("flags", [[], ["--compression", "zstd:1"], ["--shard-rows", "2000"]], ids=str)
def test_chunks_damaged_in_the_partial_are_made_again(tmp_path, flags):
    """The journal vouches for rows that are not there any more, or not in one piece."""
    big = matrix(40_000, 256)
    write_job(tmp_path / "in", big, parts=8)
    job = Job(BIN, tmp_path / "in", tmp_path / "out", "s.zarr", ["--threads", "1", "--chunk-rows", "1000", *flags])
    job.clear()
    let_go(caught(job, rows_down=True), signal.SIGKILL)
    chunks = job.partial / "s.zarr" / "embeddings" / "c"
    first = chunks / "0" / "0"
    whole = first.read_bytes()
    for number, harm in enumerate((whole[: len(whole) // 2], whole[:50] + bytes([whole[50] ^ 1]) + whole[51:], None)):
        if number:
            shutil.copytree(tmp_path / "kept", job.out, dirs_exist_ok=True)
        else:
            shutil.copytree(job.out, tmp_path / "kept")
        first.unlink() if harm is None else first.write_bytes(harm)
        if flags:
            # As a kill leaves it that falls between the writing of a chunk and its rename.
            (chunks / "19").mkdir(exist_ok=True)
            (chunks / "19" / "0.part").write_bytes(b"torn")
        job.finish()
        assert same_bits(zarr.open_group(job.store, mode="r")["embeddings"][:], big)
        assert not job.partial.exists() and not list(job.store.rglob("*.part"))
        succeeds("verify", job.store)
        job.clear()


def test_a_chunk_is_never_raced_for(tmp_path):
    """Boundaries of checkpoints inside chunks, many threads: scripts/chunk_races.py does this for longer."""
    assert races(BIN, tmp_path / "race", runs=100, seed=7) == 0


def test_another_layout_is_another_job(tmp_path):
    write_job(tmp_path / "in", matrix(40_000, 256), parts=8)
    job = Job(BIN, tmp_path / "in", tmp_path / "out", "s.zarr", ["--threads", "1", "--chunk-rows", "1000"])
    job.clear()
    let_go(caught(job, rows_down=True), signal.SIGKILL)
    before = job.digest()
    assert "--restart" in fails("merge", tmp_path / "in", "-o", job.store, "--compression", "zstd")
    assert job.digest() == before
