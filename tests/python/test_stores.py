"""What holds for every kind of store, whatever its format: one suite, run over all of them."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess

import numpy as np
import pytest
from harness import (
    BIN,
    articles,
    checkpoint,
    clean_error,
    contents,
    cut,
    dump,
    environment,
    fails,
    kept,
    matrix,
    run,
    same_bits,
    succeeds,
    write_job,
)
from stores import KINDS, RESUMABLE, STORES, Kind, read_articles, read_metadata, read_rows

ROWS = matrix(2500, 24)
PARTS = 7
ARTICLES = kept(articles(len(ROWS)))


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Seven checkpoints whose boundaries lie inside chunks, of three element types, with articles."""
    folder = tmp_path_factory.mktemp("job")
    exact = ROWS.astype(np.float16).astype(np.float32)
    for i, (start, piece) in enumerate(cut(exact, PARTS)):
        kinds = [np.float32, np.float16, np.dtype(">f8")]
        dump(folder / "in" / f"cluster1_gpu{i}.pkl", checkpoint(piece.astype(kinds[i % 3]), start, 1, i))
    dump(folder / "articles.pkl", articles(len(ROWS)))
    return folder, exact


def merge(job, target, kind: Kind, *flags, articles=None):
    folder, _ = job
    flags = [*kind.flags, "--articles", articles or folder / "articles.pkl", *flags]
    return succeeds("merge", folder / "in", "-o", target, *flags)


@pytest.mark.parametrize("kind", STORES, ids=str)
def test_a_merge_is_read_back_by_the_format_s_own_library(job, tmp_path, kind):
    target = tmp_path / f"s{kind.suffix}"
    report = json.loads(merge(job, target, kind, "--json").out)
    assert report["format"] == kind.format and report["shape"] == [2500, 24]
    assert same_bits(read_rows(target, kind), job[1])
    assert read_articles(target, kind) == ARTICLES
    told = read_metadata(target, kind)
    assert told["shape"] == [2500, 24] and told["total_articles"] == 2500
    assert told["quality_metrics"] == report["quality_metrics"]
    assert told["chunk_info"] == report["chunk_info"]
    succeeds("verify", target, "--checkpoints", job[0] / "in")
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("kind", STORES, ids=str)
def test_metrics_and_checksums_agree_with_those_of_npy(job, tmp_path, kind):
    """The same rows have the same id, checksums and findings in whatever they are stored."""
    (npy,) = [kind for kind in STORES if kind.format == "npy"]
    merge(job, tmp_path / "s.npy", npy)
    merge(job, tmp_path / f"t{kind.suffix}", kind)
    expected, got = read_metadata(tmp_path / "s.npy", npy), read_metadata(tmp_path / f"t{kind.suffix}", kind)
    for key, value in expected["quality_metrics"].items():
        assert got["quality_metrics"][key] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value)
    sums = [[chunk["source"]["checksum"] for chunk in told["chunk_info"]] for told in (expected, got)]
    assert sums[0] == sums[1]
    if kind.format != "pickle":
        assert got["matrix"]["checksum"] == expected["matrix"]["checksum"]


@pytest.mark.parametrize("kind", STORES, ids=str)
def test_threads_do_not_change_a_byte(job, tmp_path, kind):
    for threads in ("1", "2", "8"):
        (tmp_path / threads).mkdir()
        merge(job, tmp_path / threads / f"s{kind.suffix}", kind, "--threads", threads)
    first, *others = [contents(tmp_path / threads) for threads in ("1", "2", "8")]
    assert all(other == first for other in others)


@pytest.mark.parametrize("kind", STORES, ids=str)
def test_without_articles(job, tmp_path, kind):
    target = tmp_path / f"s{kind.suffix}"
    succeeds("merge", job[0] / "in", "-o", target, *kind.flags)
    assert same_bits(read_rows(target, kind), job[1])
    assert read_articles(target, kind) in ([], None)
    succeeds("verify", target)


@pytest.mark.parametrize("kind", STORES, ids=str)
def test_info_knows_a_store(job, tmp_path, kind):
    target = tmp_path / f"s{kind.suffix}"
    merge(job, target, kind)
    told = succeeds("info", target, "--json").json()
    assert told["kind"] == "store" and told["format"] == kind.format
    assert told["shape"] == [2500, 24] and told["problems"] == []
    assert len(told["metadata"]["chunk_info"]) == PARTS


@pytest.mark.parametrize("kind", STORES, ids=str)
def test_a_store_is_replaced_with_force_alone(job, tmp_path, kind):
    target = tmp_path / f"s{kind.suffix}"
    merge(job, target, kind, "--rows", "100", articles=dump(tmp_path / "hundred.pkl", articles(100)))
    before = contents(tmp_path)
    assert "--force" in fails("merge", job[0] / "in", "-o", target, *kind.flags)
    assert contents(tmp_path) == before
    merge(job, target, kind, "--force")
    assert same_bits(read_rows(target, kind), job[1])
    assert read_articles(target, kind) == ARTICLES
    succeeds("verify", target)


@pytest.mark.parametrize("kind", STORES, ids=str)
def test_a_byte_that_flips_is_found(job, tmp_path, kind):
    """Anywhere in the largest file of the store. The legacy dict has no checksum of its articles: there, in the rows."""
    target = tmp_path / f"s{kind.suffix}"
    merge(job, target, kind)
    generator = random.Random(1)
    files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    big = max(files, key=lambda path: path.stat().st_size)
    for _ in range(8):
        data = bytearray(big.read_bytes())
        at = generator.randrange(len(data) // 4, min(4096 + ROWS.nbytes, len(data) * 3 // 4))
        data[at] ^= 0x10
        kept = big.read_bytes()
        big.write_bytes(data)
        result = run("verify", target)
        if result.code == 0 and kind.format == "hdf5":
            # The library leaves gaps, in which a byte means nothing.
            assert same_bits(read_rows(target, kind), job[1]) and read_articles(target, kind) == ARTICLES
        else:
            assert result.code == 1 and "✗" in result.said, f"byte {at} of {big.name}\n{result.said}"
        big.write_bytes(kept)
    succeeds("verify", target)


@pytest.mark.parametrize("kind", STORES, ids=str)
def test_an_update_is_a_fresh_merge(job, tmp_path, kind):
    paths = write_job(tmp_path / "in", ROWS, parts=5)
    target = tmp_path / f"s{kind.suffix}"
    succeeds("merge", tmp_path / "in", "-o", target, *kind.flags)
    start, piece = cut(ROWS, 5)[2]
    dump(paths[2], checkpoint(piece * 2, start, 1, 2))
    dump(tmp_path / "in" / "cluster3_gpu0.pkl", checkpoint(ROWS[:333], 2500, 3, 0))
    flags = [*kind.flags, "--update", "--json"]
    if kind.format == "pickle":
        clean_error(run("merge", tmp_path / "in", "-o", target, *flags))
        return
    result = succeeds("merge", tmp_path / "in", "-o", target, *flags).json()
    assert result["changes"]["changed"] == [paths[2].name] and len(result["changes"]["unchanged"]) == 4
    (tmp_path / "fresh").mkdir()
    fresh = tmp_path / "fresh" / target.name
    succeeds("merge", tmp_path / "in", "-o", fresh, *kind.flags)
    expected = ROWS.copy()
    expected[start : start + len(piece)] *= 2
    assert same_bits(read_rows(target, kind), np.concatenate([expected, ROWS[:333]]))
    assert read_metadata(target, kind) == read_metadata(fresh, kind)
    succeeds("verify", target, "--checkpoints", tmp_path / "in")
    before = contents(tmp_path)
    assert succeeds("merge", tmp_path / "in", "-o", target, "--update", "--json").json()["changes"]["changed"] == []
    assert contents(tmp_path) == before


@pytest.mark.parametrize("kind", [kind for kind in STORES if kind.flags], ids=str)
def test_an_update_keeps_the_layout(tmp_path, kind):
    """A compressed store stays compressed though nobody says so again."""
    write_job(tmp_path / "in", ROWS, parts=3)
    target = tmp_path / f"s{kind.suffix}"
    succeeds("merge", tmp_path / "in", "-o", target, *kind.flags)
    dump(tmp_path / "in" / "cluster3_gpu0.pkl", checkpoint(ROWS[:100], 2500, 3, 0))
    succeeds("merge", tmp_path / "in", "-o", target, "--update")
    (tmp_path / "fresh").mkdir()
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "fresh" / target.name, *kind.flags)
    whole = {name.removeprefix(target.name): value for name, value in contents(tmp_path).items()}
    fresh = contents(tmp_path / "fresh")
    assert {name: whole[name.removeprefix(target.name)] for name in fresh} == fresh


@pytest.mark.parametrize("kind", RESUMABLE, ids=str)
def test_a_killed_merge_goes_on_to_the_same_store(tmp_path, kind):
    rows = matrix(40_000, 256, seed=2)
    write_job(tmp_path / "in", rows, parts=7)
    target = tmp_path / f"s{kind.suffix}"
    journal = tmp_path / f"{target.name}.partial" / "journal"
    flags = [*kind.flags, "--threads", "1"]
    command = [str(BIN), "merge", str(tmp_path / "in"), "-o", str(target), *flags]
    for _ in range(100):
        child = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while child.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") > 1:
                child.kill()
        if journal.exists() and not (journal.parent / "publish").exists():
            break
        succeeds("merge", tmp_path / "in", "-o", target, *flags, "--rows", "10", "--force")
    else:
        pytest.fail("the merge could not be caught in mid-copy")
    result = succeeds("merge", tmp_path / "in", "-o", target, *flags, "--force", "--json").json()
    assert 0 < result["rows_resumed"] <= len(rows)
    assert same_bits(read_rows(target, kind), rows)
    succeeds("verify", target, "--checkpoints", tmp_path / "in")
    assert not journal.parent.exists()


@pytest.mark.parametrize("source, target", itertools.product(STORES, KINDS), ids=str)
def test_every_store_is_exported_to_every_format(job, tmp_path, source, target):
    store, export = tmp_path / f"s{source.suffix}", tmp_path / "out" / f"e{target.suffix}"
    export.parent.mkdir()
    merge(job, store, source)
    flags = ["--format", target.format, "-o", export, *target.flags]
    result = succeeds("export", store, *flags, "--rows", "111:2222", "--json").json()
    assert result["shape"] == [2111, 24] and result["format"] == target.format
    assert same_bits(read_rows(export, target), job[1][111:2222])
    assert read_articles(export, target) == ARTICLES[111:2222]
    told = read_metadata(export, target)
    assert told["total_articles"] == 2111
    assert told["quality_metrics"]["has_nan"] is False
    if target in STORES:
        succeeds("verify", export)
    assert [path.name for path in export.parent.iterdir() if "partial" in path.name] == []


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrowing_reports_its_largest_error(tmp_path, kind, dtype):
    import ml_dtypes

    write_job(tmp_path / "in", ROWS)
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy")
    export = tmp_path / "out" / f"e{kind.suffix}"
    export.parent.mkdir()
    command = ["export", tmp_path / "s.npy", "--format", kind.format, "-o", export, *kind.flags, "--dtype", dtype]
    if dtype not in kind.dtypes:
        assert dtype in fails(*command)
        assert not export.exists()
        return
    result = succeeds(*command, "--json").json()
    narrow = ROWS.astype(np.dtype(dtype) if dtype == "float16" else ml_dtypes.bfloat16).astype(np.float32)
    assert result["dtype"] == dtype
    assert result["largest_error"] == pytest.approx(float(np.abs(ROWS - narrow).max()), rel=1e-6)
    assert same_bits(np.asarray(read_rows(export, kind)).astype(np.float32), narrow)


@pytest.mark.parametrize("kind", [kind for kind in STORES if kind.chunked], ids=str)
def test_a_hundred_merges_lose_no_row_at_chunk_boundaries(tmp_path, kind):
    """Checkpoints begin anywhere; chunks are made by output chunk, so no two threads ever meet in one."""
    rows = matrix(3000, 8, seed=5)
    generator = random.Random(7)
    for turn in range(12):
        folder = tmp_path / str(turn)
        bounds = sorted({0, len(rows), *(generator.randrange(1, len(rows)) for _ in range(20))})
        for i, (a, b) in enumerate(zip(bounds, bounds[1:])):
            dump(folder / "in" / f"cluster1_gpu{i}.pkl", checkpoint(rows[a:b], a))
        for threads in ("2", "3", "5", "8"):
            target = folder / f"s{threads}{kind.suffix}"
            flags = [*kind.flags, "--threads", threads, "--no-sync", "--quiet"]
            succeeds("merge", folder / "in", "-o", target, *flags)
            assert same_bits(read_rows(target, kind), rows), f"{turn}, {threads} threads"


def test_layouts_that_a_format_has_no_place_for(job, tmp_path):
    folder = job[0] / "in"
    for name, flags, word in [
        ("s.npy", ["--compression", "zstd"], "--compression"),
        ("s.npy", ["--chunk-rows", "10"], "--chunk-rows"),
        ("s.pkl", ["--shard-rows", "10"], "--shard-rows"),
        ("s.h5", ["--zarr-version", "2"], "--zarr-version"),
        ("s.h5", ["--shard-rows", "4096"], "--shard-rows"),
        ("s.zarr", ["--shard-rows", "1000", "--chunk-rows", "300"], "multiple"),
        ("s.zarr", ["--zarr-version", "2", "--shard-rows", "4096"], "version 3"),
    ]:
        assert word in fails("merge", folder, "-o", tmp_path / name, *flags), (name, flags)
        assert os.listdir(tmp_path) == [], "nothing is written, no partial either"
    for flags in (["--compression", "lzma"], ["--compression", "zstd:99"], ["--zarr-version", "4"]):
        assert run("merge", folder, "-o", tmp_path / "s.zarr", *flags).code == 2
