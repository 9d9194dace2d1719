"""Arrow IPC files (Feather v2): what pyarrow and polars write is merged, and what is exported is what they read."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest
from harness import articles, contents, cut, dump, fails, kept, matrix, run, same_bits, strict_json, succeeds
from measure import MIB, Unsupported, data_limit
from test_parquet import columns, library, lists, merged

ROWS = matrix(5000, 37)


def write(path, table: pa.Table, batch: int = 1300, compression=None, **options):
    options = ipc.IpcWriteOptions(compression=compression, **options)
    with ipc.new_file(path, table.schema, options=options) as file:
        file.write_table(table, max_chunksize=batch)
    return path


def exported(tmp_path, *flags, with_articles=True):
    np.save(tmp_path / "bare.npy", ROWS)
    extra = ["--articles", dump(tmp_path / "articles.pkl", articles(len(ROWS)))] if with_articles else []
    if not (tmp_path / "s.npy").exists():
        succeeds("merge", tmp_path / "bare.npy", "-o", tmp_path / "s.npy", *extra)
    target = tmp_path / "s.arrow"
    succeeds("export", tmp_path / "s.npy", "--format", "arrow", "-o", target, "--force", *flags)
    return target


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("kind", ["columns", "fixed", "list", "large"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_every_kind_of_column(tmp_path, kind, dtype, compression):
    rows = ROWS.astype(dtype)
    rows[7, 7] = np.nan
    table = columns(rows) if kind == "columns" else lists(rows, kind)
    path = write(tmp_path / "c.arrow", table, compression=compression)
    assert ipc.open_file(path).num_record_batches == 4
    assert same_bits(merged(tmp_path, path), rows.astype(np.float32))
    assert same_bits(merged(tmp_path, path, "--rows", "1299:2601"), rows.astype(np.float32)[1299:2601])
    described = succeeds("info", path, "--json").json()
    assert (described["shape"], described["dtype"], described["kind"]) == ([5000, 37], dtype, "array")
    assert described["metadata"]["columns"] == ["id"]


def test_feather_and_polars_and_old_metadata(tmp_path):
    pl = library("polars")
    for compression in ["uncompressed", "lz4", "zstd"]:
        feather.write_feather(lists(ROWS), tmp_path / "f.feather", compression=compression)
        assert same_bits(merged(tmp_path, tmp_path / "f.feather"), ROWS)
        frame = pl.from_arrow(columns(ROWS))
        frame.write_ipc(tmp_path / "p.arrow", compression=compression)
        assert same_bits(merged(tmp_path, tmp_path / "p.arrow"), ROWS)
        frame = pl.DataFrame({"text": ["a long enough text to be viewed"] * 5000, "vector": ROWS.tolist()})
        frame = frame.with_columns(pl.col("vector").cast(pl.Array(pl.Float32, 37)))
        frame.write_ipc(tmp_path / "v.arrow", compression=compression)
        assert same_bits(merged(tmp_path, tmp_path / "v.arrow"), ROWS)
    path = write(tmp_path / "old.arrow", lists(ROWS), metadata_version=ipc.MetadataVersion.V4)
    assert same_bits(merged(tmp_path, path), ROWS)
    old = {"use_legacy_format": True, "metadata_version": ipc.MetadataVersion.V4}
    path = write(tmp_path / "legacy.arrow", lists(ROWS), **old)
    assert same_bits(merged(tmp_path, path), ROWS)


def test_columns_of_every_type_before_the_rows(tmp_path):
    """Buffers are counted off type by type: a type that is counted wrongly shifts all that follow."""
    n = len(ROWS)
    types = {
        "null": pa.nulls(n),
        "bool": pa.array([True, None] * (n // 2)),
        "view": pa.array(["short", "much longer than twelve bytes"] * (n // 2), pa.string_view()),
        "dictionary": pa.array(["a", "b"] * (n // 2)).dictionary_encode(),
        "struct": pa.array([{"a": 1, "b": "x"}] * n),
        "map": pa.array([[("k", 1)]] * n, pa.map_(pa.string(), pa.int32())),
        "nested": pa.array([[["x"]], []] * (n // 2), pa.list_(pa.list_(pa.string()))),
        "list view": pa.array([[1], [2]] * (n // 2), pa.list_view(pa.int8())),
        "dense": pa.UnionArray.from_dense(
            pa.array([0] * n, pa.int8()), pa.array(range(n), pa.int32()), [pa.array(range(n)), pa.array(["x"])]
        ),
        "sparse": pa.UnionArray.from_sparse(pa.array([0] * n, pa.int8()), [pa.array(range(n)), pa.array(["x"] * n)]),
        "runs": pa.RunEndEncodedArray.from_arrays(pa.array([n], pa.int32()), pa.array(["x"])),
        "decimal": pa.array([1] * n, pa.decimal128(20, 2)),
        "bytes": pa.array([b"abc"] * n, pa.binary(3)),
        "large": pa.array(["x"] * n, pa.large_string()),
    }
    table = pa.table({**types, "embeddings": lists(ROWS)["embeddings"], "after": pa.array(range(n))})
    path = write(tmp_path / "c.arrow", table, batch=n)
    assert same_bits(merged(tmp_path, path), ROWS)
    assert succeeds("info", path, "--json").json()["metadata"]["columns"] == [*types, "after"]


def test_a_range_in_the_metadata_makes_a_checkpoint(tmp_path):
    (tmp_path / "in").mkdir()
    for i, (start, piece) in enumerate(reversed(cut(ROWS, 4))):
        plain = {"start_index": start, "end_index": start + len(piece), "cluster_id": 7, "gpu_id": i, "model": "m/x"}
        table = (lists(piece) if i % 2 else columns(piece)).replace_schema_metadata(
            {key: str(value) for key, value in plain.items()}
        )
        write(tmp_path / "in" / f"{i}.arrow", table)
    assert same_bits(merged(tmp_path, tmp_path / "in"), ROWS)
    described = succeeds("info", tmp_path / "in" / "0.arrow", "--json").json()
    assert described["kind"] == "checkpoint" and described["metadata"]["gpu_id"] == 0


@pytest.mark.parametrize("compression", [None, "lz4"])
def test_nulls_and_ragged_lists_are_named(tmp_path, compression):
    def refused(table, *said):
        path = write(tmp_path / "c.arrow", table, compression=compression)
        message = fails("merge", path, "-o", tmp_path / "x.npy")
        assert all(word in message for word in said), message
        assert succeeds("info", path, "--json").json()["kind"] == "other"

    holes = columns(ROWS)
    values = ROWS[:, 17].tolist()
    values[4321] = None
    refused(holes.set_column(17, "emb_017", pa.array(values, pa.float32())), "emb_017", "row 4321")
    rows = ROWS.tolist()

    def change(row, value, kind):
        made = list(rows)
        made[row] = value
        return pa.table({"vector": pa.array(made, kind)})

    for kind in [pa.list_(pa.float32()), pa.large_list(pa.float32())]:
        refused(change(4000, None, kind), "row 4000", "null")
        refused(change(4000, [], kind), "row 4000", "0 values")
        refused(change(3999, rows[0][:-1], kind), "row 3999", "36 values")
        refused(change(2500, [*rows[0][:-1], None], kind), "row 2500", "null", "value 36")
    fixed = pa.list_(pa.float32(), 37)
    refused(change(2500, None, fixed), "row 2500")
    refused(change(2500, [None, *rows[0][1:]], fixed), "row 2500", "value 0")
    refused(columns(ROWS).drop_columns("emb_017"), "emb_017")
    refused(pa.table({"id": ["a"]}), "no column of floats")


def test_streams_and_old_feather_files_are_named(tmp_path):
    with ipc.new_stream(tmp_path / "s.arrow", lists(ROWS).schema) as stream:
        stream.write_table(lists(ROWS))
    said = fails("merge", tmp_path / "s.arrow", "-o", tmp_path / "x.npy")
    assert "stream" in said and "open_stream" in said
    feather.write_feather(columns(ROWS), tmp_path / "f.feather", version=1)
    assert "version 1" in fails("info", tmp_path / "f.feather")


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("kind", ["columns", "list"])
def test_damaged_files(tmp_path, kind, compression):
    table = columns(ROWS[:300]) if kind == "columns" else lists(ROWS[:300], "list")
    whole = write(tmp_path / "c.arrow", table, 100, compression).read_bytes()
    bad = tmp_path / "bad.arrow"
    for length in [6, 10, 20, 1000, len(whole) // 2, len(whole) - 11, len(whole) - 1]:
        bad.write_bytes(whole[:length])
        fails("merge", bad, "-o", tmp_path / "x.npy")
    bad.write_bytes(whole[:8] + bytes(len(whole) - 18) + whole[-10:])
    fails("merge", bad, "-o", tmp_path / "x.npy")
    random = np.random.default_rng(1)
    for _ in range(80):
        broken = bytearray(whole)
        start = random.integers(len(whole)) if random.integers(2) else len(whole) - 1 - random.integers(2000)
        broken[max(start, 6)] = random.integers(256)
        bad.write_bytes(broken)
        result = run("merge", bad, "-o", tmp_path / "x.npy", "--force", "--no-sync")
        assert result.code in (0, 1) and "panicked" not in result.err, result.err
        shutil.rmtree(tmp_path / "x.npy.partial", ignore_errors=True)


def test_an_export_is_what_every_reader_reads(tmp_path):
    path = exported(tmp_path)
    reader = ipc.open_file(path)
    assert strict_json(reader.metadata[b"embstore"].decode())["shape"] == [5000, 37]
    table = reader.read_all()
    table.validate(full=True)
    assert table.column_names == ["id", "title", "url", "embeddings"]
    assert table.schema.field("embeddings").type.list_size == 37 and not table.schema.field("id").nullable
    assert same_bits(table["embeddings"].combine_chunks().flatten().to_numpy().reshape(ROWS.shape), ROWS)
    assert table.select(["id", "title", "url"]).to_pylist() == kept(articles(5000))
    assert table.schema.metadata[b"shape"] == b"[5000,37]"
    assert feather.read_table(path).equals(table)
    pl = library("polars")
    frame = pl.read_ipc(path)
    assert frame["embeddings"].dtype == pl.Array(pl.Float32, 37) and same_bits(frame["embeddings"].to_numpy(), ROWS)
    mapped = ipc.open_file(pa.memory_map(str(path))).read_all()
    assert mapped["embeddings"].chunk(0).flatten().to_numpy(zero_copy_only=True)[0] == ROWS[0, 0]


@pytest.mark.parametrize("flags", [[], ["--compression", "zstd:3"], ["--compression", "lz4"]])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_there_and_back(tmp_path, flags, dtype):
    path = exported(tmp_path, "--dtype", dtype, "--chunk-rows", "300", *flags)
    reader = ipc.open_file(path)
    assert reader.num_record_batches == 17 and reader.get_batch(0).num_rows == 300
    expected = ROWS.astype(dtype)
    read = reader.read_all()["embeddings"].combine_chunks().flatten().to_numpy()
    assert same_bits(read.reshape(ROWS.shape), expected)
    succeeds("verify", path)
    assert succeeds("info", path, "--json").json()["kind"] == "store"
    succeeds("export", path, "--format", "npy", "-o", tmp_path / "back.npy")
    assert same_bits(np.load(tmp_path / "back.npy"), expected.astype(np.float32))
    assert pq.read_table(tmp_path / "back.articles.parquet").to_pylist() == kept(articles(5000))
    succeeds("export", path, "--format", "parquet", "-o", tmp_path / "p.parquet", "--dtype", dtype, "--rows", "299:905")
    read = pq.read_table(tmp_path / "p.parquet")
    assert read.select(["id", "title", "url"]).to_pylist() == kept(articles(5000))[299:905]
    read = read["embeddings"].combine_chunks().flatten().to_numpy().reshape(606, 37)
    assert same_bits(read, expected[299:905])
    assert [name for name in contents(tmp_path) if name.startswith("s.arrow")] == ["s.arrow"]


def test_many_threads_write_the_same_bytes(tmp_path):
    flags = ["--chunk-rows", "128", "--compression", "zstd"]
    one = exported(tmp_path, *flags, "--threads", "1").read_bytes()
    for threads in ["2", "8"]:
        assert exported(tmp_path, *flags, "--threads", threads).read_bytes() == one


def test_stores_without_articles_and_what_cannot_be_written(tmp_path):
    path = exported(tmp_path, with_articles=False)
    assert feather.read_table(path).column_names == ["embeddings"]
    succeeds("verify", path)
    refused = ["--dtype bfloat16", "--compression deflate", "--shard-rows 8", "--zarr-version 2"]
    for flags in map(str.split, refused):
        fails("export", tmp_path / "s.npy", "--format", "arrow", "-o", tmp_path / "x.arrow", *flags)
    assert not (tmp_path / "x.arrow").exists()


def test_a_store_that_was_changed_is_found_out(tmp_path):
    path = exported(tmp_path)
    reader = ipc.open_file(path)
    table = reader.read_all()
    rows = ROWS.copy()
    rows[4999, 36] += 1
    text = reader.metadata[b"embstore"].decode()
    for changed, said in [
        (table.set_column(3, "embeddings", lists(rows)["embeddings"]), "checksum"),
        (table.set_column(2, "url", pa.array(["x"] * 5000)), "articles"),
        (table.slice(0, 4000), "shape"),
    ]:
        write(path, changed.replace_schema_metadata({"embstore": text}))
        result = run("verify", path)
        assert result.code == 1 and said in result.said
    write(path, table.replace_schema_metadata({"embstore": json.dumps([1])}))
    assert "JSON" in fails("info", path)


@pytest.mark.parametrize("kind", ["columns", "list"])
def test_one_large_compressed_batch_in_little_memory(tmp_path, kind):
    """300 MB in one batch are read within 128 MiB, whatever the threads."""
    try:
        limit = data_limit(128 * MIB)
    except Unsupported as why:
        pytest.skip(f"platform: {why}")
    rows = matrix(200_000, 384)
    table = columns(rows) if kind == "columns" else lists(rows, "list")
    write(tmp_path / "c.arrow", table, len(rows), "lz4")
    del table
    flags = ["-o", tmp_path / "s.npy", "--no-sync", "--threads", "4"]
    succeeds("merge", tmp_path / "c.arrow", *flags, preexec_fn=limit, timeout=300)
    assert same_bits(np.load(tmp_path / "s.npy", mmap_mode="r")[:], rows)
