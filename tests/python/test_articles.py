"""The articles beside the rows: read from pickle, JSON lines or Parquet, written as Parquet, one per row."""

from __future__ import annotations

import json
from collections import OrderedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness import articles, contents, dump, fails, kept, matrix, meta, sidecars, succeeds, write_job

COUNT = 60


@pytest.fixture
def job(tmp_path):
    write_job(tmp_path / "in", matrix(COUNT, 8))
    return tmp_path


def merge(job, file, *flags):
    return succeeds("merge", job / "in", "-o", job / "s.npy", "--force", "--articles", file, *flags)


def stored(job) -> list[dict]:
    return pq.read_table(sidecars(job / "s.npy")[0]).to_pylist()


def json_lines(path, items):
    path.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items), encoding="utf-8")
    return path


def parquet(path, items, **columns):
    names = {name: [item[name] for item in items] for name in items[0]}
    pq.write_table(pa.table({**names, **columns}), path)
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_pickle(job, protocol):
    items = articles(COUNT)
    merge(job, dump(job / "wikipedia.pkl", items, protocol))
    assert stored(job) == kept(items)


@pytest.mark.parametrize("protocol", range(6))
def test_integer_ids_become_decimal_text(job, protocol):
    items = [{**item, "id": value} for item, value in zip(articles(COUNT), [0, -1, 255, 65536, 1 << 40, 1 << 70] * 10)]
    merge(job, dump(job / "wikipedia.pkl", items, protocol))
    assert [item["id"] for item in stored(job)] == [str(item["id"]) for item in items]


def test_numpy_ids_become_decimal_text(job):
    items = [{**item, "id": np.int64(item["id"])} for item in articles(COUNT)]
    merge(job, dump(job / "wikipedia.pkl", items))
    assert stored(job) == kept(items)


def test_json_lines(job):
    items = articles(COUNT)
    items[3]["id"] = 12345678901234567890
    merge(job, json_lines(job / "a.jsonl", items))
    assert stored(job) == kept(items)


def test_json_lines_with_escapes_and_no_last_newline(job):
    items = articles(COUNT)
    text = "\n".join(json.dumps(item) for item in items)
    (job / "a.jsonl").write_text(text)
    merge(job, job / "a.jsonl")
    assert stored(job) == kept(items)


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_parquet(job, compression):
    items = articles(COUNT)
    table = pa.Table.from_pylist(items)
    pq.write_table(table, job / "a.parquet", compression=compression, row_group_size=17)
    merge(job, job / "a.parquet")
    assert stored(job) == kept(items)


@pytest.mark.parametrize(
    "kind", [pa.int64(), pa.int32(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_parquet_column_types(job, kind):
    items = articles(COUNT)
    ids = [int(item["id"]) if pa.types.is_integer(kind) else item["id"] for item in items]
    merge(job, parquet(job / "a.parquet", items, id=pa.array(ids).cast(kind)))
    assert stored(job) == kept(items)


def test_a_store_takes_the_articles_of_another(job):
    items = articles(COUNT)
    merge(job, dump(job / "wikipedia.pkl", items))
    file = sidecars(job / "s.npy")[0].rename(job / "copy.parquet")
    merge(job, file)
    assert stored(job) == kept(items)


def test_what_pyarrow_sees(job):
    merge(job, dump(job / "wikipedia.pkl", articles(COUNT)))
    table = pq.read_table(sidecars(job / "s.npy")[0])
    assert table.column_names[:3] == ["id", "title", "url"] and "text" not in table.column_names
    assert all(pa.types.is_string(field.type) or pa.types.is_large_string(field.type) for field in table.schema)
    assert table.num_rows == COUNT and table.column("title").null_count == 0
    assert meta(job / "s.npy")["total_articles"] == COUNT


def test_many_articles_cross_every_batch(tmp_path):
    """More than a pickler's batches of 1000 and a Parquet row group of any usual size."""
    write_job(tmp_path / "in", matrix(70_001, 2))
    items = articles(70_001)
    merge(tmp_path, dump(tmp_path / "wikipedia.pkl", items))
    assert stored(tmp_path) == kept(items)


@pytest.mark.parametrize("size", [1, 255, 256, 65_535, 65_536, 3 << 20])
def test_long_texts_and_long_titles(job, size):
    """A text is never loaded, whatever its length; a title is kept whole."""
    items = [{**item, "text": "ł" * size} for item in articles(COUNT)]
    items[7]["title"] = "題" * min(size, 70_000)
    merge(job, dump(job / "wikipedia.pkl", items))
    assert stored(job) == kept(items)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_shared_objects(job, protocol):
    """The same dict or the same text twice is written once and named by number the second time."""
    items = articles(COUNT)
    items[10] = items[9]
    items[20]["text"] = items[21]["title"]
    items[30]["title"] = items[29]["text"]
    merge(job, dump(job / "wikipedia.pkl", items, protocol))
    assert stored(job) == kept(items)


def test_dict_classes_and_further_keys(job):
    items = [OrderedDict(reversed(list({**item, "views": 5, "tags": ["a", "b"]}.items()))) for item in articles(COUNT)]
    merge(job, dump(job / "wikipedia.pkl", items))
    assert stored(job) == kept(items)


@pytest.mark.parametrize("count", [COUNT - 10, COUNT + 5])
@pytest.mark.parametrize("kind", ["pickle", "json", "parquet"])
def test_another_count_names_both_and_what_would_fit(job, kind, count):
    items = articles(count)
    file = {
        "pickle": lambda: dump(job / "a.pkl", items),
        "json": lambda: json_lines(job / "a.jsonl", items),
        "parquet": lambda: parquet(job / "a.parquet", items),
    }[kind]()
    before = contents(job)
    said = fails("merge", job / "in", "-o", job / "s.npy", "--articles", file)
    assert str(count) in said and str(COUNT) in said
    assert count > COUNT or f"--rows {count}" in said
    assert contents(job) == before


def test_the_rows_that_would_fit_do_fit(job):
    merge(job, dump(job / "a.pkl", articles(50)), "--rows", "50")
    assert np.load(job / "s.npy").shape == (50, 8) and len(stored(job)) == 50


@pytest.mark.parametrize("key", ["id", "title", "url"])
@pytest.mark.parametrize("kind", ["pickle", "json"])
def test_a_missing_key_names_the_index(job, kind, key):
    items = articles(COUNT)
    del items[37][key]
    file = dump(job / "a.pkl", items) if kind == "pickle" else json_lines(job / "a.jsonl", items)
    before = contents(job)
    said = fails("merge", job / "in", "-o", job / "s.npy", "--articles", file)
    assert key in said and "37" in said and file.name in said
    assert contents(job) == before


@pytest.mark.parametrize("key", ["id", "title", "url"])
def test_a_missing_column_is_named(job, key):
    items = [{k: v for k, v in item.items() if k != key} for item in articles(COUNT)]
    said = fails("merge", job / "in", "-o", job / "s.npy", "--articles", parquet(job / "a.parquet", items))
    assert key in said and "a.parquet" in said


@pytest.mark.parametrize("value", [None, 5, 2.5, ["a"], b"bytes"], ids=str)
def test_a_title_that_is_no_text(job, value):
    items = articles(COUNT)
    items[12]["title"] = value
    said = fails("merge", job / "in", "-o", job / "s.npy", "--articles", dump(job / "a.pkl", items))
    assert "title" in said and "12" in said


@pytest.mark.parametrize("value", [{"a": 1}, "text", 7, None, [1, 2], [["id", "title"]]], ids=str)
def test_not_a_list_of_dicts(job, value):
    said = fails("merge", job / "in", "-o", job / "s.npy", "--articles", dump(job / "a.pkl", value))
    assert "a.pkl" in said


def test_lone_surrogates_are_refused_not_mangled(job):
    """Python can pickle a title that is no Unicode text; no other format can hold it."""
    items = articles(COUNT)
    items[5]["title"] = "broken \udce9"
    said = fails("merge", job / "in", "-o", job / "s.npy", "--articles", dump(job / "a.pkl", items))
    assert "5" in said and "a.pkl" in said


def test_broken_json_names_the_line(job):
    file = json_lines(job / "a.jsonl", articles(COUNT))
    lines = file.read_text().splitlines()
    lines[41] = lines[41][:-3]
    file.write_text("\n".join(lines))
    said = fails("merge", job / "in", "-o", job / "s.npy", "--articles", file)
    assert "42" in said or "41" in said


def test_a_truncated_articles_file(job):
    file = dump(job / "a.pkl", articles(COUNT))
    file.write_bytes(file.read_bytes()[:-500])
    before = contents(job)
    fails("merge", job / "in", "-o", job / "s.npy", "--articles", file)
    assert contents(job) == before


def test_no_such_file(job):
    assert "nowhere.pkl" in fails("merge", job / "in", "-o", job / "s.npy", "--articles", job / "nowhere.pkl")
