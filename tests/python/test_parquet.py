"""Parquet: what pyarrow, polars and duckdb write is merged, and what is exported is what they read."""

from __future__ import annotations

import importlib
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness import (
    DATA,
    articles,
    contents,
    cut,
    dump,
    fails,
    kept,
    matrix,
    run,
    same_bits,
    succeeds,
)
from measure import MIB, Unsupported, data_limit

ROWS = matrix(5000, 37)


def library(name: str):
    """polars and duckdb, which newer Pythons have."""
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"platform: no {name} for this Python")


def columns(rows: np.ndarray, prefix: str = "emb_", digits: int = 3) -> pa.Table:
    made = {f"{prefix}{i:0{digits}d}": rows[:, i] for i in range(rows.shape[1])}
    return pa.table({**made, "id": [str(i) for i in range(len(rows))]})


def lists(rows: np.ndarray, kind: str = "fixed", name: str = "embeddings") -> pa.Table:
    values = pa.array(rows.reshape(-1))
    offsets = np.arange(len(rows) + 1) * rows.shape[1]
    column = {
        "fixed": lambda: pa.FixedSizeListArray.from_arrays(values, rows.shape[1]),
        "list": lambda: pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values),
        "large": lambda: pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values),
    }[kind]()
    return pa.table({"id": [str(i) for i in range(len(rows))], name: column})


def merged(tmp_path, source, *flags) -> np.ndarray:
    succeeds("merge", source, "-o", tmp_path / "merged.npy", "--no-sync", "--force", *flags)
    return np.load(tmp_path / "merged.npy")


def exported(tmp_path, rows=ROWS, *flags, with_articles=True):
    np.save(tmp_path / "bare.npy", rows)
    extra = []
    if with_articles:
        extra = ["--articles", dump(tmp_path / "articles.pkl", articles(len(rows)))]
    if not (tmp_path / "s.npy").exists():
        succeeds("merge", tmp_path / "bare.npy", "-o", tmp_path / "s.npy", *extra)
    target = tmp_path / "s.parquet"
    succeeds("export", tmp_path / "s.npy", "--format", "parquet", "-o", target, "--force", *flags)
    return target


VARIANTS = [
    {},
    {"use_dictionary": False},
    {"use_dictionary": False, "column_encoding": "BYTE_STREAM_SPLIT"},
    {"data_page_version": "2.0"},
    {"row_group_size": 777, "data_page_size": 1024},
    {"row_group_size": 777, "data_page_version": "2.0", "data_page_size": 1000, "use_dictionary": False},
    {"write_page_index": True, "data_page_size": 512},
    *({"compression": name} for name in ["none", "snappy", "gzip", "zstd", "lz4"]),
    {"store_schema": False},
]


@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: "-".join(map(str, options.values())) or "default")
@pytest.mark.parametrize("kind", ["columns", "fixed", "list", "large"])
def test_every_encoding_that_pyarrow_writes(tmp_path, kind, options):
    table = columns(ROWS) if kind == "columns" else lists(ROWS, kind)
    if "column_encoding" in options:
        table = table.drop_columns("id")
        names = table.column_names if kind == "columns" else ["embeddings.list.element"]
        options = {**options, "column_encoding": {name: "BYTE_STREAM_SPLIT" for name in names}}
    pq.write_table(table, tmp_path / "c.parquet", **options)
    assert same_bits(merged(tmp_path, tmp_path / "c.parquet"), ROWS)
    assert same_bits(merged(tmp_path, tmp_path / "c.parquet", "--rows", "700:3001"), ROWS[700:3001])


@pytest.mark.parametrize("kind", ["columns", "fixed", "list"])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats(tmp_path, kind, dtype):
    rows = ROWS.astype(dtype)
    rows[3, 5] = np.nan
    table = columns(rows) if kind == "columns" else lists(rows, kind)
    pq.write_table(table, tmp_path / "c.parquet", row_group_size=999)
    assert same_bits(merged(tmp_path, tmp_path / "c.parquet"), rows.astype(np.float32))
    described = succeeds("info", tmp_path / "c.parquet", "--json").json()
    assert (described["shape"], described["dtype"]) == ([5000, 37], dtype)


def test_required_values_and_a_schema_without_them(tmp_path):
    fields = [pa.field(f"e{i}", pa.float32(), nullable=False) for i in range(37)]
    table = pa.table([pa.array(ROWS[:, i]) for i in range(37)], schema=pa.schema(fields))
    pq.write_table(table, tmp_path / "c.parquet")
    assert same_bits(merged(tmp_path, tmp_path / "c.parquet"), ROWS)
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(ROWS.reshape(-1)), type=pa.list_(pa.field("element", pa.float32(), nullable=False), 37)
    )
    schema = pa.schema([pa.field("vector", column.type, nullable=False)])
    pq.write_table(pa.table([column], schema=schema), tmp_path / "v.parquet")
    assert same_bits(merged(tmp_path, tmp_path / "v.parquet"), ROWS)


def test_polars_and_duckdb(tmp_path):
    pl, duckdb = library("polars"), library("duckdb")
    frame = pl.from_arrow(columns(ROWS))
    frame.write_parquet(tmp_path / "p.parquet", row_group_size=1234)
    assert same_bits(merged(tmp_path, tmp_path / "p.parquet"), ROWS)
    frame = pl.DataFrame({"n": range(5000), "vector": ROWS}, schema_overrides={"vector": pl.Array(pl.Float32, 37)})
    frame.write_parquet(tmp_path / "pa.parquet")
    assert same_bits(merged(tmp_path, tmp_path / "pa.parquet"), ROWS)
    pl.DataFrame({"embedding": ROWS.tolist()}, schema={"embedding": pl.List(pl.Float32)}).write_parquet(
        tmp_path / "pl.parquet", use_pyarrow=False, statistics=False
    )
    assert same_bits(merged(tmp_path, tmp_path / "pl.parquet"), ROWS)
    for name, table in {"columns": columns(ROWS), "fixed": lists(ROWS), "list": lists(ROWS, "list")}.items():
        connection = duckdb.connect()
        connection.register("t", table)
        path = tmp_path / f"duck-{name}.parquet"
        connection.execute(f"COPY (SELECT * FROM t) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
        assert same_bits(merged(tmp_path, path), ROWS), name


def test_fixtures(tmp_path):
    folder = DATA / "containers"
    table = pq.read_table(folder / "emb_cols.parquet")
    expected = np.stack([table[f"emb_{i:03d}"].to_numpy() for i in range(384)], axis=1)
    assert same_bits(merged(tmp_path, folder / "emb_cols.parquet"), expected)
    assert succeeds("info", folder / "emb_cols.parquet", "--json").json()["metadata"]["columns"] == ["id"]
    table = pq.read_table(folder / "emb_list.parquet")
    expected = table["embedding"].combine_chunks().flatten().to_numpy().reshape(200, 384)
    assert same_bits(merged(tmp_path, folder / "emb_list.parquet"), expected)


def test_which_columns_are_read(tmp_path):
    shuffled = columns(ROWS, "dim_", 1).select([*(f"dim_{i}" for i in reversed(range(37))), "id"])
    pq.write_table(shuffled, tmp_path / "c.parquet")
    assert same_bits(merged(tmp_path, tmp_path / "c.parquet"), ROWS)
    both = lists(ROWS, name="title_vec").append_column("body_vec", lists(2 * ROWS)["embeddings"])
    pq.write_table(both, tmp_path / "b.parquet")
    assert "title_vec" in fails("merge", tmp_path / "b.parquet", "-o", tmp_path / "x.npy")
    assert same_bits(merged(tmp_path, tmp_path / "b.parquet", "--key", "body_vec"), 2 * ROWS)
    pq.write_table(lists(ROWS, name="odd name"), tmp_path / "o.parquet")
    assert same_bits(merged(tmp_path, tmp_path / "o.parquet"), ROWS)
    assert "odd name" in str(succeeds("info", tmp_path / "o.parquet", "--json").json()["problems"])
    assert "nothing" in fails("merge", tmp_path / "o.parquet", "-o", tmp_path / "x.npy", "--key", "nothing")


def test_a_range_in_the_metadata_makes_a_checkpoint(tmp_path):
    (tmp_path / "in").mkdir()
    for i, (start, piece) in enumerate(reversed(cut(ROWS, 4))):
        table = lists(piece) if i % 2 else columns(piece)
        plain = {"start_index": start, "end_index": start + len(piece), "cluster_id": 7, "gpu_id": i, "model": "m/x"}
        table = table.replace_schema_metadata({key: str(value) for key, value in plain.items()})
        pq.write_table(table, tmp_path / "in" / f"{i}.parquet")
    assert same_bits(merged(tmp_path, tmp_path / "in"), ROWS)
    described = succeeds("info", tmp_path / "in" / "0.parquet", "--json").json()
    assert described["kind"] == "checkpoint" and described["metadata"]["cluster_id"] == 7


def test_a_folder_with_articles_beside_the_rows(tmp_path):
    (tmp_path / "in").mkdir()
    pq.write_table(lists(ROWS), tmp_path / "in" / "rows.parquet")
    items = articles(5000)
    made = pa.table({key: [item[key] for item in items] for key in ("id", "title", "url")})
    pq.write_table(made, tmp_path / "in" / "wikipedia.parquet")
    flags = ["--articles", tmp_path / "in" / "wikipedia.parquet"]
    assert same_bits(merged(tmp_path, tmp_path / "in", *flags), ROWS)
    assert "no column of floats" in fails("merge", tmp_path / "in" / "wikipedia.parquet", "-o", tmp_path / "x.npy")
    described = succeeds("info", tmp_path / "in" / "wikipedia.parquet", "--json").json()
    assert described["kind"] == "other" and described["metadata"]["columns"]["id"] == "string"
    target = tmp_path / "in" / "wikipedia.parquet"
    assert "articles" in fails("merge", tmp_path / "in" / "rows.parquet", "-o", target, "--format", "npy", "--force")


@pytest.mark.parametrize("statistics", [True, False])
def test_nulls_and_ragged_lists_are_named(tmp_path, statistics):
    def refused(table, *said, **options):
        pq.write_table(table, tmp_path / "c.parquet", write_statistics=statistics, row_group_size=2000, **options)
        message = fails("merge", tmp_path / "c.parquet", "-o", tmp_path / "x.npy")
        assert all(word in message for word in said), message
        assert not (tmp_path / "x.npy").exists()

    holes = columns(ROWS)
    values = ROWS[:, 17].tolist()
    values[4321] = None
    refused(holes.set_column(17, "emb_017", pa.array(values, pa.float32())), "emb_017", "row 4321")
    rows = ROWS.tolist()

    def change(row, value):
        made = list(rows)
        made[row] = value
        return pa.table({"vector": pa.array(made, pa.list_(pa.float32()))})

    refused(change(4000, None), "row 4000")
    refused(change(4000, []), "row 4000")
    refused(change(3999, rows[0][:-1]), "row 3999", "36")
    refused(change(0, rows[0][:-1]), "row 1 ", "37")
    refused(change(2500, [*rows[0][:-1], None]), "row 2500", "null")
    swapped = list(rows)
    swapped[100], swapped[101] = rows[100][:-1], [*rows[101], 1.0]
    refused(pa.table({"vector": pa.array(swapped, pa.list_(pa.float32()))}), "row 100 ")


def test_columns_that_do_not_fit(tmp_path):
    def refused(table, *said):
        pq.write_table(table, tmp_path / "c.parquet")
        message = fails("merge", tmp_path / "c.parquet", "-o", tmp_path / "x.npy")
        assert all(word in message for word in said), message
        assert succeeds("info", tmp_path / "c.parquet", "--json").json()["kind"] == "other"

    refused(columns(ROWS).drop_columns("emb_017"), "emb_017", "missing")
    mixed = columns(ROWS)
    refused(mixed.set_column(5, "emb_005", mixed["emb_005"].cast(pa.float64())), "float64", "emb_005")
    refused(mixed.set_column(5, "emb_005", mixed["emb_005"].cast(pa.int32(), safe=False)), "emb_005", "int32")
    refused(pa.table({"embeddings": pa.array([[1, 2]], pa.list_(pa.int64()))}), "int64")
    refused(pa.table({"a_0": [1.0], "a_1": [1.0], "b_0": [1.0], "b_1": [1.0]}), "a_", "b_")
    refused(pa.table({"embeddings": pa.array([[[1.0]]], pa.list_(pa.list_(pa.float32())))}), "list")
    pq.write_table(columns(ROWS), tmp_path / "c.parquet", compression="brotli")
    assert "Brotli" in fails("merge", tmp_path / "c.parquet", "-o", tmp_path / "x.npy")


@pytest.mark.parametrize("kind", ["columns", "list"])
def test_damaged_files(tmp_path, kind):
    table = columns(ROWS[:500]) if kind == "columns" else lists(ROWS[:500], "list")
    pq.write_table(table, tmp_path / "c.parquet")
    whole = (tmp_path / "c.parquet").read_bytes()
    bad = tmp_path / "bad.parquet"
    for length in [5, 8, 12, 1000, len(whole) // 2, len(whole) - 9, len(whole) - 1]:
        bad.write_bytes(whole[:length])
        fails("merge", bad, "-o", tmp_path / "x.npy")
    bad.write_bytes(whole[:4] + bytes(len(whole) - 8) + whole[-4:])
    fails("merge", bad, "-o", tmp_path / "x.npy")
    random = np.random.default_rng(1)
    for _ in range(150):
        broken = bytearray(whole)
        # Half of them in the footer, where lengths are.
        start = random.integers(len(whole)) if random.integers(2) else len(whole) - 1 - random.integers(2000)
        broken[max(start, 4)] = random.integers(256)
        bad.write_bytes(broken)
        result = run("merge", bad, "-o", tmp_path / "x.npy", "--force", "--no-sync")
        assert result.code in (0, 1) and "panicked" not in result.err, result.err
        shutil.rmtree(tmp_path / "x.npy.partial", ignore_errors=True)


def test_an_export_is_what_every_reader_reads(tmp_path):
    path = exported(tmp_path)
    table = pq.read_table(path)
    assert table.column_names == ["id", "title", "url", "embeddings"]
    assert table.schema.field("embeddings").type.list_size == 37 and not table.schema.field("id").nullable
    assert same_bits(table["embeddings"].combine_chunks().flatten().to_numpy().reshape(ROWS.shape), ROWS)
    assert table.select(["id", "title", "url"]).to_pylist() == kept(articles(5000))
    assert table.schema.metadata[b"shape"] == b"[5000,37]" and b"embstore" in pq.read_metadata(path).metadata
    pl, duckdb = library("polars"), library("duckdb")
    frame = pl.read_parquet(path)
    assert frame["embeddings"].dtype == pl.Array(pl.Float32, 37) and same_bits(frame["embeddings"].to_numpy(), ROWS)
    found = duckdb.sql(f"SELECT id, embeddings FROM '{path}' WHERE title LIKE '%Łódź%' LIMIT 1").fetchall()[0]
    row = next(i for i, item in enumerate(articles(5000)) if "Łódź" in item["title"])
    assert found[0] == articles(5000)[row]["id"] and np.array_equal(np.float32(found[1]), ROWS[row])


@pytest.mark.parametrize("compression", [None, "zstd:3", "deflate", "lz4"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_there_and_back(tmp_path, compression, dtype):
    flags = ["--compression", compression] if compression else []
    path = exported(tmp_path, ROWS, "--dtype", dtype, "--chunk-rows", "300", *flags)
    file = pq.ParquetFile(path)
    assert file.metadata.num_row_groups == 17 and file.metadata.row_group(0).num_rows == 300
    codec = {None: "UNCOMPRESSED", "zstd:3": "ZSTD", "deflate": "GZIP", "lz4": "LZ4"}[compression]
    assert file.metadata.row_group(3).column(3).compression.startswith(codec)
    expected = ROWS.astype(dtype)
    read = file.read()["embeddings"].combine_chunks().flatten().to_numpy()
    assert same_bits(read.reshape(ROWS.shape), expected)
    succeeds("verify", path)
    assert succeeds("info", path, "--json").json()["kind"] == "store"
    succeeds("export", path, "--format", "npy", "-o", tmp_path / "back.npy")
    assert same_bits(np.load(tmp_path / "back.npy"), expected.astype(np.float32))
    assert pq.read_table(tmp_path / "back.articles.parquet").to_pylist() == kept(articles(5000))
    succeeds("export", path, "--format", "npy", "-o", tmp_path / "slice.npy", "--rows", "299:905")
    assert same_bits(np.load(tmp_path / "slice.npy"), expected.astype(np.float32)[299:905])
    assert [name for name in contents(tmp_path) if name.startswith("s.parquet")] == ["s.parquet"]


def test_many_threads_write_the_same_bytes(tmp_path):
    flags = ["--chunk-rows", "128", "--compression", "zstd"]
    one = exported(tmp_path, ROWS, *flags, "--threads", "1").read_bytes()
    for threads in ["2", "8"]:
        assert exported(tmp_path, ROWS, *flags, "--threads", threads).read_bytes() == one


def test_slices_and_stores_without_articles(tmp_path):
    path = exported(tmp_path, ROWS, "--rows", "1000:1010", with_articles=False)
    table = pq.read_table(path)
    assert table.column_names == ["embeddings"] and np.array_equal(table["embeddings"].to_pylist(), ROWS[1000:1010])
    succeeds("verify", path)
    path = exported(tmp_path, ROWS, with_articles=False)
    succeeds("verify", path)


def test_what_cannot_be_written(tmp_path):
    exported(tmp_path)
    refused = ["--dtype bfloat16", "--compression blosc-lz4", "--shard-rows 8", "--zarr-version 2"]
    for flags in map(str.split, refused):
        fails("export", tmp_path / "s.npy", "--format", "parquet", "-o", tmp_path / "x.parquet", *flags)
    assert not (tmp_path / "x.parquet").exists()


def test_a_store_that_was_changed_is_found_out(tmp_path):
    path = exported(tmp_path)
    whole = {b"embstore": pq.read_metadata(path).metadata[b"embstore"]}
    table = pq.read_table(path)
    rows = ROWS.copy()
    rows[4999, 36] += 1
    changed = table.set_column(3, "embeddings", lists(rows)["embeddings"])
    pq.write_table(changed.replace_schema_metadata(whole), path)
    result = run("verify", path)
    assert result.code == 1 and "checksum" in result.said
    changed = table.set_column(1, "title", pa.array(["x"] * 5000))
    pq.write_table(changed.replace_schema_metadata(whole), path)
    assert "articles" in run("verify", path).said
    pq.write_table(table.slice(0, 4000).replace_schema_metadata(whole), path)
    assert "shape" in run("verify", path).said
    pq.write_table(table.replace_schema_metadata({"embstore": "no JSON"}), path)
    assert "JSON" in fails("info", path)


@pytest.mark.parametrize("kind", ["columns", "list"])
def test_one_large_row_group_in_little_memory(tmp_path, kind):
    """300 MB in one row group are read within 128 MiB, whatever the threads."""
    try:
        limit = data_limit(128 * MIB)
    except Unsupported as why:
        pytest.skip(f"platform: {why}")
    rows = matrix(200_000, 384)
    table = columns(rows) if kind == "columns" else lists(rows, "list")
    pq.write_table(table, tmp_path / "c.parquet", row_group_size=len(rows))
    assert pq.ParquetFile(tmp_path / "c.parquet").metadata.num_row_groups == 1
    del table
    flags = ["-o", tmp_path / "s.npy", "--no-sync", "--threads", "4"]
    succeeds("merge", tmp_path / "c.parquet", *flags, preexec_fn=limit, timeout=300)
    assert same_bits(np.load(tmp_path / "s.npy", mmap_mode="r")[:], rows)
