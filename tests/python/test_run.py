"""``embstore run`` in the place of the Python script: two clusters, wikipedia.pkl, and one file at the end."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal

import numpy as np
import pytest
from desk import OLD, Desk, both, finish
from harness import articles, clean_error, contents, dump, kept, matrix, run, same_bits, sidecars, succeeds, write_job
from ssh import wait_until

ROWS, QUESTIONS, DIM = 3000, 10, 96
MATRIX = matrix(ROWS + QUESTIONS, DIM, seed=40)
ARTICLES = articles(ROWS)
NAMES = [f"cluster{cluster}_gpu{gpu}.pkl" for cluster in (1, 2) for gpu in range(3)]


@pytest.fixture(scope="module")
def farm(one, two):
    """What the workers have left on two clusters; tests that change something make their own."""
    return grow(one, two)


def grow(one, two):
    trees = one.tree(), two.tree()
    for number, path in enumerate(write_job(trees[0], MATRIX, parts=6)):
        assert path.name == NAMES[number]
        if number >= 3:
            data = path.read_bytes()
            path.unlink()
            path = trees[1] / path.name
            path.write_bytes(data)
        date(path, number)
    return trees


def date(path, number: int) -> None:
    path.chmod(0o644)
    os.utime(path, (OLD + number, OLD + number))


@pytest.fixture
def transport():
    return "ssh2"


class Runner(Desk):
    """Where the script was called: credentials of two clusters, and wikipedia.pkl."""

    def arguments(self, *args, verb="run"):
        made = super().arguments(*args, verb=verb)
        given = [flag for flag in ("--rows", "--dim") if flag not in made]
        return made + [word for flag in given for word in (flag, str({"--rows": ROWS, "--dim": DIM}[flag]))]

    def run(self, *args, **options):
        return self.sync(*args, verb="run", **options)

    def runs(self, *args, **options) -> dict:
        result = self.run(*args, "--json", **options)
        assert result.code == 0, f"exit {result.code}\n{result.out}\n{result.err}"
        return result.json()

    def part(self) -> list:
        return list(self.folder.rglob("*.partial"))


def runner(folder, trees, one, two, transport="ssh2") -> Runner:
    made = Runner(folder, transport)
    made.enrol(one, trees[0], name="tensor01")
    made.enrol(two, trees[1], name="tensor02")
    # Its time is in the metadata.
    date(dump(folder / "wikipedia.pkl", ARTICLES), 50)
    return made


@pytest.fixture
def desk(tmp_path, farm, one, two, transport):
    return runner(tmp_path / "desk", farm, one, two, transport)


@pytest.fixture(scope="module")
def expected(tmp_path_factory, farm, one, two):
    """What sync, then merge, make of it: the bytes of a store in every format that is looked at here."""
    desk = runner(tmp_path_factory.mktemp("expected") / "desk", farm, one, two)
    done = run(*Desk.arguments(desk), cwd=desk.folder, env=desk.environment())
    assert done.code == 0, done.err
    made = {}
    for name in ("merged.pkl", "merged.npy"):
        flags = ["--rows", ROWS, "--dim", DIM, "--articles", "wikipedia.pkl", "--model", "google/embeddinggemma-300m"]
        succeeds("merge", "embeddings/", "-o", name, *flags, cwd=desk.folder)
        paths = [desk.folder / name] if name.endswith(".pkl") else [desk.folder / name, *sidecars(desk.folder / name)]
        made[name] = {path.name: path.read_bytes() for path in paths}
    return made


def is_as_expected(desk: Runner, expected: dict, name: str) -> None:
    for file, data in expected[name].items():
        assert (desk.folder / file).read_bytes() == data, f"{file} differs from that of sync, then merge"
    assert not desk.part()
    assert not list(desk.output.glob("*.part*"))


# The whole job --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["merged.pkl", "merged.npy"])
@both
def test_run_equals_sync_then_merge(desk, expected, name):
    report = desk.runs("--output", name)
    assert report["sync"]["transferred"] == 6 and report["sync"]["failed"] == 0
    assert report["merge"]["shape"] == [ROWS, DIM] and report["merge"]["rows_left_out"] == QUESTIONS
    is_as_expected(desk, expected, name)
    again = desk.runs("--output", name)
    assert (again["sync"]["transferred"], again["sync"]["skipped"]) == (0, 6)
    is_as_expected(desk, expected, name)


def test_as_the_script_was_called(desk):
    """Nothing but what has no place in a test: where known hosts are, how many rows."""
    result = desk.run()
    assert result.code == 0, result.err
    with open(desk.folder / "embeddings" / "wikipedia_merged.pkl", "rb") as file:
        merged = pickle.load(file)
    assert same_bits(merged["embeddings"], MATRIX[:ROWS])
    assert merged["articles"] == kept(ARTICLES)
    assert (merged["total_articles"], merged["embedding_dim"], merged["shape"]) == (ROWS, DIM, (ROWS, DIM))
    assert merged["model"] == "google/embeddinggemma-300m"
    assert sorted(path.name for path in desk.output.glob("*.pkl")) == [*NAMES, "wikipedia_merged.pkl"]
    head = result.out.splitlines()[0]
    assert "embstore run" in head and re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d", head), "a header, and the time"
    assert "6 files fetched" in result.out and "wikipedia_merged.pkl" in result.out
    assert result.out.splitlines()[-1].startswith("✓")


def test_words_or_one_string_of_clusters(desk, expected):
    desk.runs("--clusters", "tensor01 tensor02", "--output", "merged.pkl")
    is_as_expected(desk, expected, "merged.pkl")


def test_each_phase_alone(desk, expected):
    report = desk.runs("--sync-only", "--output", "merged.npy")
    assert report["sync"]["transferred"] == 6 and report["merge"] is None
    assert not (desk.folder / "merged.npy").exists()
    for name in desk.credentials.iterdir():
        name.unlink()
    report = desk.runs("--merge-only", "--output", "merged.npy")
    assert report["sync"] is None and report["merge"]["shape"] == [ROWS, DIM]
    is_as_expected(desk, expected, "merged.npy")
    result = desk.run("--merge-only", "--sync-only")
    assert result.code == 2 and "cannot be used with" in result.err


def test_another_folder_of_checkpoints(desk, expected):
    desk.runs("--checkpoints", "down", "--output", "merged.pkl")
    desk.output = desk.folder / "down"
    is_as_expected(desk, expected, "merged.pkl")
    assert not (desk.folder / "embeddings").exists()


def test_without_articles(desk):
    (desk.folder / "wikipedia.pkl").unlink()
    desk.runs("--no-articles", "--output", "x.npy")
    assert same_bits(np.load(desk.folder / "x.npy"), MATRIX[:ROWS])


def test_a_dry_run_writes_nothing(desk):
    before = contents(desk.folder)
    result = desk.run("--dry-run")
    assert result.code == 0 and "6 files to be fetched" in result.out
    told = desk.runs("--dry-run")["sync"]
    assert told["dry_run"] is True and told["missing"] == 6
    assert contents(desk.folder) == before
    desk.runs("--sync-only")
    before = contents(desk.folder)
    report = desk.runs("--dry-run")
    assert report["sync"]["skipped"] == 6 and report["merge"], "nothing is missing, so the plan is told"
    assert contents(desk.folder) == before


# The old output -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["merged.pkl", "merged.npy"])
def test_the_output_is_replaced_at_the_end(tmp_path, one, two, expected, name):
    """It is the old one until it is the new one, whole."""
    trees = grow(one, two)
    desk = runner(tmp_path / "desk", trees, one, two)
    desk.runs("--output", name)
    is_as_expected(desk, expected, name)
    old = {file: (desk.folder / file).read_bytes() for file in expected[name]}

    changed = MATRIX.copy()
    changed[: len(MATRIX) // 6] *= np.float32(2)
    write_job(tmp_path / "new", changed, parts=6)
    (trees[0] / NAMES[0]).write_bytes((tmp_path / "new" / NAMES[0]).read_bytes())
    date(trees[0] / NAMES[0], 100)
    process = desk.start("--output", name, "--limit-rate", "300k", verb="run")
    wait_until(lambda: desk.part() or process.poll() is not None, "the new one is being built")
    assert {file: (desk.folder / file).read_bytes() for file in old} == old
    result = finish(process)
    assert result.code == 0, result.err
    if name.endswith(".npy"):
        merged = np.load(desk.folder / name)
    else:
        merged = pickle.loads((desk.folder / name).read_bytes())["embeddings"]
    assert same_bits(merged, changed[:ROWS])


# What is missing ------------------------------------------------------------------------------------------------------


def test_missing_articles_are_told_before_anything_is_fetched(desk):
    (desk.folder / "wikipedia.pkl").unlink()
    result = desk.run()
    clean_error(result)
    assert "wikipedia.pkl" in result.said and ("--articles" in result.said or "--no-articles" in result.said)
    assert not list(desk.folder.rglob("cluster*"))


def test_a_gap(tmp_path, one, two):
    trees = grow(one, two)
    (trees[0] / NAMES[2]).unlink()
    desk = runner(tmp_path / "desk", trees, one, two)
    result = desk.run("--output", "merged.npy")
    clean_error(result)
    assert "gap between checkpoints" in result.said
    assert NAMES[1] in result.said and NAMES[3] in result.said
    assert not (desk.folder / "merged.npy").exists()
    # The workers' last file turns up: the same command does the rest.
    write_job(tmp_path / "again", MATRIX, parts=6)
    (trees[0] / NAMES[2]).write_bytes((tmp_path / "again" / NAMES[2]).read_bytes())
    date(trees[0] / NAMES[2], 2)
    report = desk.runs("--output", "merged.npy")
    assert report["sync"]["failed"] == 0
    assert same_bits(np.load(desk.folder / "merged.npy"), MATRIX[:ROWS])


@both
def test_a_cluster_that_is_missing(desk, expected):
    """Nothing is merged, and nothing that has arrived is thrown away."""
    (desk.folder / "merged.npy").write_bytes(b"an old one")
    path = desk.credentials / "tensor02.credentials"
    good = path.read_text()
    path.write_text(json.dumps({**json.loads(good), "remote_dir": "/nowhere"}))
    result = desk.run("--output", "merged.npy")
    assert result.code == 1
    assert "no such folder: /nowhere" in result.said and "not merged" in result.said
    assert (desk.folder / "merged.npy").read_bytes() == b"an old one"
    assert sorted(path.name for path in desk.output.glob("*.pkl")) == NAMES[:3]
    path.write_text(good)
    (desk.folder / "merged.npy").unlink()
    report = desk.runs("--output", "merged.npy")
    assert (report["sync"]["transferred"], report["sync"]["skipped"]) == (3, 3)
    is_as_expected(desk, expected, "merged.npy")


def test_a_checkpoint_that_is_none(tmp_path, one, two):
    trees = grow(one, two)
    (trees[1] / NAMES[4]).write_bytes(b"not a pickle at all" * 1000)
    desk = runner(tmp_path / "desk", trees, one, two)
    result = desk.run("--output", "merged.npy")
    clean_error(result)
    assert NAMES[4] in result.said
    assert not (desk.folder / "merged.npy").exists()


# Interrupted ----------------------------------------------------------------------------------------------------------


@both
def test_killed_in_either_phase(desk, expected):
    """Killed while files come, then while they are merged too; the same command goes on each time."""
    slowly = ["--output", "merged.npy", "--limit-rate", "500k", "--jobs", "1"]
    process = desk.start(*slowly, verb="run")
    wait_until(lambda: desk.landed() > 100_000, "files come")
    process.kill()
    finish(process)
    landed = desk.landed()
    assert not (desk.folder / "merged.npy").exists()

    process = desk.start(*slowly, verb="run")
    wait_until(lambda: desk.part() and desk.landed() > landed + 400_000, "some are merged")
    process.kill()
    finish(process)
    landed = desk.landed()
    assert not (desk.folder / "merged.npy").exists() and desk.part()

    report = desk.runs("--output", "merged.npy")
    assert report["sync"]["bytes"] <= sum(len(p.read_bytes()) for p in desk.output.glob("*.pkl")) - landed + 256 * 1024
    is_as_expected(desk, expected, "merged.npy")


def test_interrupted_by_the_user(desk, expected):
    process = desk.start("--output", "merged.pkl", "--limit-rate", "400k", verb="run")
    wait_until(lambda: desk.landed() > 200_000, "files come")
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert result.code == 130
    assert "interrupted" in result.said and "run the same command to go on" in result.said
    assert not (desk.folder / "merged.pkl").exists()
    desk.runs("--output", "merged.pkl")
    is_as_expected(desk, expected, "merged.pkl")


def test_the_servers_processes_are_killed(desk, expected, one, two):
    """Also the merge does not notice."""
    process = desk.start("--output", "merged.npy", "--limit-rate", "800k", "--retries", "5", verb="run")
    for step in range(1, 4):
        wait_until(lambda: desk.landed() > step * 200_000, "files come")
        one.kill_session()
        two.kill_session()
    result = finish(process)
    assert result.code == 0, result.err
    is_as_expected(desk, expected, "merged.npy")


def test_a_file_that_changes_while_others_are_merged(tmp_path, one, two):
    """The plan was made of its old head; what is merged is what has arrived."""
    trees = grow(one, two)
    desk = runner(tmp_path / "desk", trees, one, two)
    changed = MATRIX.copy()
    changed[len(MATRIX) * 2 // 6 : len(MATRIX) * 3 // 6] += np.float32(1)
    new = write_job(tmp_path / "new", changed, parts=6)[2]
    process = desk.start("--output", "merged.npy", "--limit-rate", "400k", "--jobs", "1", verb="run")
    wait_until(lambda: desk.landed() > 100_000, "files come")
    (trees[0] / NAMES[2]).write_bytes(new.read_bytes())
    date(trees[0] / NAMES[2], 200)
    result = finish(process)
    if result.code:
        assert "changed" in result.said, result.said
        desk.runs("--output", "merged.npy")
    assert same_bits(np.load(desk.folder / "merged.npy"), changed[:ROWS])
