"""What ``merge`` promises beside the rows: the cut, the plan, the files it writes, replacing, its JSON."""

from __future__ import annotations

import os
from datetime import datetime

import numpy as np
import pytest
from harness import (
    EPOCH,
    checkpoint,
    contents,
    cut,
    dump,
    environment,
    fails,
    matrix,
    meta,
    run,
    same_bits,
    sidecars,
    succeeds,
    write_job,
)

ROWS = matrix(250)


@pytest.fixture
def job(tmp_path):
    write_job(tmp_path / "embeddings", ROWS)
    return tmp_path


def test_the_default_input_is_the_folder_embeddings(job):
    succeeds("merge", "-o", "s.npy", cwd=job)
    assert same_bits(np.load(job / "s.npy"), ROWS)


def test_files_may_be_named_one_by_one_in_any_order(job):
    files = sorted((job / "embeddings").iterdir(), reverse=True)
    succeeds("merge", *files, "-o", job / "s.npy")
    assert same_bits(np.load(job / "s.npy"), ROWS)


@pytest.mark.parametrize("rows, first, end", [("240", 0, 240), ("1", 0, 1), ("250", 0, 250), ("0:10", 0, 10)])
def test_rows_keeps_the_first_and_says_what_is_left_out(job, rows, first, end):
    result = succeeds("merge", job / "embeddings", "-o", job / "s.npy", "--rows", rows, "--json")
    assert same_bits(np.load(job / "s.npy"), ROWS[first:end])
    assert result.json()["rows_left_out"] == 250 - (end - first)
    assert result.json()["shape"] == [end - first, 16]
    human = succeeds("merge", job / "embeddings", "-o", job / "t.npy", "--rows", rows)
    left_out = 250 - (end - first)
    assert not left_out or str(left_out) in human.said


@pytest.mark.parametrize("first, end", [(3, 247), (100, 130), (62, 63), (249, 250)])
def test_rows_takes_a_range(job, first, end):
    result = succeeds("merge", job / "embeddings", "-o", job / "s.npy", "--rows", f"{first}:{end}", "--json").json()
    assert same_bits(np.load(job / "s.npy"), ROWS[first:end])
    assert sum(chunk["rows"] for chunk in result["chunk_info"]) == end - first
    assert result["rows_left_out"] == 250 - (end - first)


@pytest.mark.parametrize("rows", ["251", "10:251"])
def test_more_rows_than_there_are_is_an_error(job, rows):
    said = fails("merge", job / "embeddings", "-o", job / "s.npy", "--rows", rows)
    assert "250" in said and "251" in said


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--rows", "x", "-o", "s.npy"],
        ["--rows", "10:5", "-o", "s.npy"],
        ["--rows", "-1", "-o", "s.npy"],
        ["--no-such-flag", "-o", "s.npy"],
        ["--non-finite", "perhaps", "-o", "s.npy"],
        ["--dim", "wide", "-o", "s.npy"],
        ["--threads", "none", "-o", "s.npy"],
        ["-o", "s.unknown"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_2(job, args):
    before = contents(job)
    result = run("merge", "embeddings", *args, cwd=job)
    assert result.code == 2, result.err
    assert result.err.strip() and not result.out
    assert contents(job) == before


def test_an_unknown_verb_is_exit_2():
    assert run("conjure").code == 2
    assert run().code == 2


def test_dry_run_prints_the_plan_and_writes_nothing(job):
    before = contents(job)
    result = succeeds("merge", "embeddings", "-o", "s.npy", "--rows", "200", "--dry-run", cwd=job)
    assert contents(job) == before
    for name in ("cluster1_gpu0.pkl", "cluster2_gpu1.pkl"):
        assert name in result.said
    assert "62" in result.said and "125" in result.said, "the ranges are part of the plan"
    as_json = succeeds("merge", "embeddings", "-o", "s.npy", "--dry-run", "--json", cwd=job)
    as_json.json()
    assert contents(job) == before


def test_dry_run_refuses_what_a_merge_would_refuse(job):
    os.remove(job / "embeddings" / "cluster1_gpu1.pkl")
    fails("merge", job / "embeddings", "-o", job / "s.npy", "--dry-run")


def test_dim(job):
    succeeds("merge", job / "embeddings", "-o", job / "s.npy", "--dim", "16")
    said = fails("merge", job / "embeddings", "-o", job / "t.npy", "--dim", "768")
    assert "768" in said and "16" in said
    assert not (job / "t.npy").exists()


def test_key_names_another_field(tmp_path):
    for i, (start, piece) in enumerate(cut(ROWS, 2)):
        made = checkpoint(piece, start, 1, i)
        made["vectors"] = made.pop("embeddings")
        dump(tmp_path / "in" / f"cluster1_gpu{i}.pkl", made)
    said = fails("merge", tmp_path / "in", "-o", tmp_path / "s.npy")
    assert "embeddings" in said
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy", "--key", "vectors")
    assert same_bits(np.load(tmp_path / "s.npy"), ROWS)


def test_ids_come_from_the_file_name_where_the_dict_lacks_them(tmp_path):
    for (start, piece), name in zip(cut(ROWS, 3), ["cluster2_gpu11.pkl", "cluster1_gpu7.pkl", "cluster10_gpu0.pkl"]):
        made = checkpoint(piece, start)
        del made["cluster_id"], made["gpu_id"]
        dump(tmp_path / "in" / name, made)
    chunks = succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy", "--json").json()["chunk_info"]
    assert [(c["cluster_id"], c["gpu_id"]) for c in chunks] == [(2, 11), (1, 7), (10, 0)]


@pytest.mark.parametrize("name", ["cluster1_gpu0.pkl", "clusterA_gpu0.pkl", "cluster1_gpu.pkl", "cluster1_gpu0_v2.pkl"])
def test_the_dict_wins_over_the_file_name(tmp_path, name):
    dump(tmp_path / name, checkpoint(ROWS, 0, cluster=5, gpu=6))
    chunk = succeeds("merge", tmp_path, "-o", tmp_path / "s.npy", "--json").json()["chunk_info"][0]
    assert (chunk["cluster_id"], chunk["gpu_id"]) == (5, 6)


def test_json_has_the_fixed_fields(job):
    result = succeeds("merge", job / "embeddings", "-o", job / "s.npy", "--rows", "240", "--json").json()
    types = {
        "store": str,
        "format": str,
        "shape": list,
        "dtype": str,
        "bytes": int,
        "seconds": (int, float),
        "rows_left_out": int,
        "rows_resumed": int,
        "quality_metrics": dict,
        "chunk_info": list,
        "warnings": list,
    }
    for name, kind in types.items():
        assert isinstance(result[name], kind) and not isinstance(result[name], bool), name
    assert result["format"] == "npy" and result["rows_resumed"] == 0
    assert result["store"].endswith("s.npy")
    assert result["bytes"] > 240 * 16 * 4
    quality = {"shape": list, "dtype": str, "min_norm": float, "max_norm": float, "mean_norm": float, "std_norm": float}
    quality |= {"has_nan": bool, "has_inf": bool, "nan_rows": int, "inf_rows": int, "zero_rows": int}
    for name, kind in quality.items():
        assert isinstance(result["quality_metrics"][name], kind), name
    assert len(result["chunk_info"]) == 4
    for chunk, (start, piece) in zip(result["chunk_info"], cut(ROWS, 4)):
        assert chunk["start_index"] == start and chunk["end_index"] == start + len(piece)
        assert chunk["rows"] == min(240, start + len(piece)) - start
        assert chunk["file"].endswith(f"cluster{chunk['cluster_id']}_gpu{chunk['gpu_id']}.pkl")


def test_quiet_leaves_stdout_and_stderr_empty_but_for_json(job):
    quiet = succeeds("merge", job / "embeddings", "-o", job / "s.npy", "--quiet")
    assert quiet.out == "" and quiet.err == ""
    both = succeeds("merge", job / "embeddings", "-o", job / "t.npy", "--quiet", "--json")
    assert both.err == "" and both.json()["shape"] == [250, 16]


def test_human_output_ends_with_what_was_written_and_what_to_do(job):
    said = succeeds("merge", job / "embeddings", "-o", job / "s.npy").said
    assert "✓" in said and "s.npy" in said
    assert "\x1b" not in said, "no colours where there is no terminal"


def test_metadata_has_the_legacy_keys(job):
    succeeds("merge", job / "embeddings", "-o", job / "s.npy", "--model", "some/model")
    data = meta(job / "s.npy")
    legacy = "total_articles embedding_dim model timestamp shape quality_metrics chunk_info"
    for key in f"{legacy} embstore_version store_id".split():
        assert key in data, key
    assert data["model"] == "some/model" and data["embedding_dim"] == 16 and data["shape"] == [250, 16]
    stamp = datetime.fromisoformat(data["timestamp"].replace("Z", "+00:00"))
    assert int(stamp.timestamp()) == int(EPOCH) or stamp.tzinfo is None
    assert sorted(path.name for path in job.iterdir() if path.is_file()) in (
        ["s.meta.json", "s.npy"],
        ["s.articles.parquet", "s.meta.json", "s.npy"],
    )


def test_the_same_input_gives_the_same_bytes(job):
    for name in ("a", "b"):
        (job / name).mkdir()
        succeeds("merge", job / "embeddings", "-o", job / name / "s.npy")
    assert contents(job / "a") == contents(job / "b")


def test_the_timestamp_is_now_without_source_date_epoch(job):
    env = environment()
    del env["SOURCE_DATE_EPOCH"]
    before = datetime.now().timestamp()
    succeeds("merge", job / "embeddings", "-o", job / "s.npy", env=env)
    stamp = datetime.fromisoformat(meta(job / "s.npy")["timestamp"].replace("Z", "+00:00"))
    assert stamp.tzinfo is not None
    assert before - 2 <= stamp.timestamp() <= datetime.now().timestamp() + 2


def test_an_existing_store_is_kept_without_force(job):
    succeeds("merge", job / "embeddings", "-o", job / "s.npy", "--rows", "100")
    before = contents(job)
    said = fails("merge", job / "embeddings", "-o", job / "s.npy")
    assert "--force" in said and "s.npy" in said
    assert contents(job) == before


def test_force_replaces_at_the_end(job):
    succeeds("merge", job / "embeddings", "-o", job / "s.npy", "--rows", "100")
    succeeds("merge", job / "embeddings", "-o", job / "s.npy", "--force")
    assert same_bits(np.load(job / "s.npy"), ROWS)
    assert meta(job / "s.npy")["shape"] == [250, 16]
    succeeds("verify", job / "s.npy")


def test_a_failed_replacement_leaves_the_old_store(job):
    succeeds("merge", job / "embeddings", "-o", job / "s.npy")
    os.remove(job / "embeddings" / "cluster1_gpu1.pkl")
    before = contents(job)
    fails("merge", job / "embeddings", "-o", job / "s.npy", "--force")
    assert contents(job) == before
    succeeds("verify", job / "s.npy")


def test_a_bare_file_at_the_target_is_not_overwritten_either(job):
    for name in ("s.npy", "s.meta.json", "s.articles.parquet"):
        (job / name).write_bytes(b"mine")
        before = contents(job)
        fails("merge", job / "embeddings", "-o", job / "s.npy")
        assert contents(job) == before
        os.remove(job / name)


@pytest.mark.parametrize("target", ["embeddings/cluster1_gpu0.pkl", "articles.pkl"])
def test_a_source_is_never_the_target(job, target):
    """--force is for stores; one slip of the hand must not cost a worker's checkpoint or the articles' texts."""
    dump(job / "articles.pkl", [{"id": str(i), "title": "t", "url": "u", "text": "x"} for i in range(250)])
    before = contents(job)
    flags = ["--articles", "articles.pkl", "--force"]
    said = fails("merge", "embeddings", "-o", target, *flags, cwd=job)
    assert target.split("/")[-1] in said
    assert contents(job) == before


def test_a_folder_at_the_target_is_found_before_anything_is_written(job):
    (job / "s.npy").mkdir()
    before = contents(job)
    fails("merge", job / "embeddings", "-o", job / "s.npy", "--force")
    assert contents(job) == before


def test_replacing_without_articles_leaves_no_old_articles_behind(job):
    """Row i belongs to article i: articles of the old store beside the new matrix would be a lie."""
    lines = "".join(f'{{"id": "{i}", "title": "t", "url": "u"}}\n' for i in range(250))
    (job / "a.jsonl").write_text(lines)
    succeeds("merge", job / "embeddings", "-o", job / "s.npy", "--articles", job / "a.jsonl")
    assert sidecars(job / "s.npy")[0].exists()
    succeeds("merge", job / "embeddings", "-o", job / "s.npy", "--force")
    succeeds("verify", job / "s.npy")
    assert not sidecars(job / "s.npy")[0].exists()


def test_format_overrides_the_extension(job):
    succeeds("merge", job / "embeddings", "-o", job / "store.bin", "--format", "npy")
    assert same_bits(np.load(job / "store.bin"), ROWS)


def test_a_missing_folder_for_the_target_is_made_or_named(job):
    result = run("merge", job / "embeddings", "-o", job / "new" / "deep" / "s.npy")
    assert result.code in (0, 1)
    if result.code == 0:
        assert same_bits(np.load(job / "new" / "deep" / "s.npy"), ROWS)
    else:
        assert "new" in result.said


def test_odd_file_names(tmp_path):
    """Spaces, quotes, non-ASCII and a newline in a path are just bytes to a file system."""
    folder = tmp_path / 'tensor 01 — Łódź\'s "run"\n2'
    write_job(folder, ROWS)
    result = succeeds("merge", folder, "-o", folder / "größe.npy", "--json").json()
    assert same_bits(np.load(folder / "größe.npy"), ROWS)
    assert len(result["chunk_info"]) == 4
    succeeds("verify", folder / "größe.npy")


def test_no_sync_gives_the_same_bytes(job):
    for name, flags in (("a", []), ("b", ["--no-sync"])):
        (job / name).mkdir()
        succeeds("merge", job / "embeddings", "-o", job / name / "s.npy", *flags)
    assert contents(job / "a") == contents(job / "b")
