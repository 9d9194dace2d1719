"""Settings: flag over environment over file over default, what is refused, and `config show`."""

import numpy as np
import pytest

from harness import environment, matrix, run, strict_json, succeeds, write_job


@pytest.fixture
def job(tmp_path):
    """A folder to work in, with the checkpoints of one job in embeddings/."""
    rows = matrix(40)
    write_job(tmp_path / "embeddings", rows)
    return tmp_path


def settings(folder, text: str, name: str = "embstore.toml"):
    (folder / name).write_text(text, encoding="utf-8")


def merged(job, *args, env=None) -> int:
    """Rows of the store that a merge makes with these flags."""
    result = succeeds("merge", "--json", *args, cwd=job, env=env).json()
    return result["shape"][0]


def refused(folder, *args, env=None) -> str:
    """What is said about wrong usage: one error, and what to do."""
    result = run(*(args or ("config", "show")), cwd=folder, env=env)
    assert result.code == 2, f"exit {result.code}\n{result.out}\n{result.err}"
    assert result.out == ""
    first, *rest = result.err.splitlines()
    assert first.startswith("✗ ") and len(rest) == 1 and rest[0].strip(), result.err
    return result.err


def shown(folder, *args, env=None) -> dict:
    return succeeds("config", "show", "--json", *args, cwd=folder, env=env).json()


def test_flag_over_environment_over_file_over_default(job):
    assert merged(job, "-o", "a.npy") == 40
    settings(job, '[merge]\nrows = 30\noutput = "b.npy"\n')
    assert merged(job) == 30
    assert merged(job, "-o", "c.npy", env=environment(EMBSTORE_MERGE_ROWS="20")) == 20
    assert merged(job, "-o", "d.npy", "--rows", "10", env=environment(EMBSTORE_MERGE_ROWS="20")) == 10
    assert merged(job, "-o", "e.npy", env=environment(EMBSTORE_MERGE_ROWS="")) == 30
    assert len(np.load(job / "b.npy")) == 30


def test_required_flags_and_arguments_come_from_the_file(job):
    settings(job, '[merge]\noutput = "w.npy"\n[verify]\nstore = "w.npy"\ncheckpoints = "embeddings"\n')
    assert merged(job) == 40
    assert succeeds("verify", "--json", cwd=job).json()["ok"] is True
    assert run("merge", cwd=job.parent).code == 2


def test_switches(job):
    settings(job, '[merge]\noutput = "w.npy"\nforce = true\n')
    assert merged(job) == 40
    assert merged(job, "--rows", "10") == 10
    result = run("merge", "--force=false", "--rows", "20", cwd=job)
    assert result.code == 1 and "--force" in result.err
    result = run("merge", "--rows", "20", cwd=job, env=environment(EMBSTORE_MERGE_FORCE="0"))
    assert result.code == 1
    assert merged(job, "--force", "--rows", "20", env=environment(EMBSTORE_MERGE_FORCE="no")) == 20
    # A switch of the file does not get in the way of another on the command line.
    assert merged(job, "--restart") == 40


def test_lists_replace_each_other(job):
    first, second, third, _ = sorted((job / "embeddings").iterdir())
    settings(job, f'[merge]\ninputs = ["{first}", "{second}"]\n')
    assert merged(job, "-o", "a.npy") == 20
    assert merged(job, "-o", "b.npy", first) == 10
    both = environment(EMBSTORE_MERGE_INPUTS=f'["{first}", "{second}", "{third}"]')
    assert merged(job, "-o", "c.npy", env=both) == 30
    assert merged(job, "-o", "d.npy", env=environment(EMBSTORE_MERGE_INPUTS=str(first))) == 10


def test_shared_flags(job):
    settings(job, 'progress = "json"\njson = true\n')
    result = succeeds("merge", "-o", "a.npy", cwd=job)
    assert all(strict_json(line) for line in result.err.splitlines()) and result.err
    assert result.json()["shape"][0] == 40
    assert "✓" in succeeds("merge", "-o", "b.npy", "--json=false", cwd=job).out
    assert succeeds("merge", "-o", "c.npy", cwd=job, env=environment(EMBSTORE_PROGRESS="none")).err == ""
    quiet = succeeds("merge", "-o", "d.npy", cwd=job, env=environment(EMBSTORE_QUIET="1", EMBSTORE_JSON="0"))
    assert quiet.out + quiet.err == ""


def test_another_file(job):
    settings(job, "[merge]\nrows = 10\n")
    settings(job, "[merge]\nrows = 20\n", "other.toml")
    assert merged(job, "-o", "a.npy", "--config", "other.toml") == 20
    assert merged(job, "-o", "b.npy", "--config=other.toml") == 20
    assert succeeds("--config", "other.toml", "config", "show", "--json", cwd=job).json()["file"] == "other.toml"
    assert merged(job, "-o", "c.npy", env=environment(EMBSTORE_CONFIG="other.toml")) == 20
    assert merged(job, "-o", "d.npy", "--config", "embstore.toml", env=environment(EMBSTORE_CONFIG="other.toml")) == 10
    assert "missing.toml" in refused(job, "merge", "-o", "e.npy", "--config", "missing.toml")
    assert "missing.toml" in refused(job, env=environment(EMBSTORE_CONFIG="missing.toml"))
    assert run("merge", "--config", cwd=job).code == 2


@pytest.mark.parametrize(
    "text, said",
    [
        ("[merge\nrows = 1\n", ["embstore.toml:1:7", "not TOML"]),
        ("[merge]\nrows = 1\nrows = 2\n", ["embstore.toml:3:1", "duplicate"]),
        ("[mrege]\nrows = 1\n", ["embstore.toml:1:2", "[mrege]", "did you mean [merge]?"]),
        ("[merge]\n\n  rosw = 1\n", ["embstore.toml:3:3", "[merge] rosw", "did you mean rows?"]),
        ("[merge]\nrows = true\n", ["embstore.toml:2:1", "[merge] rows", "true or false", "a string or a number"]),
        ("[merge]\nforce = 'yes'\n", ["embstore.toml:2:1", "[merge] force", "should be true or false"]),
        ("[merge]\nrows = ['1']\n", ["[merge] rows", "is a list"]),
        ("[merge]\ninputs = [1979-05-27]\n", ["[merge] inputs", "a list of strings"]),
        ("merge = 1\n", ["embstore.toml:1:1", "[merge]", "should be a section"]),
        ("[merge]\nrows = 'many'\n", ["embstore.toml:2:1", "[merge] rows", '"many" is refused']),
        ("[merge]\nthreads = 1000\n", ["[merge] threads", "1..=256"]),
        ("[merge]\nnon-finite = 'wran'\n", ["[merge] non-finite", "warn, error", "did you mean warn?"]),
        ("[merge]\nformat = 'zar'\n", ["[merge] format", "npy, zarr", "did you mean zarr?"]),
        ("[merge]\nchunk-rows = 1\nchunk_rows = 2\n", ["embstore.toml:3:1", "set twice"]),
        ("rows = 1\n", ["embstore.toml:1:1", "set it in [merge] or [export]"]),
        ("[merge]\nquiet = true\n", ["[merge] quiet", "top of the file"]),
        ("config = 'x.toml'\n", ["config cannot be set in a file"]),
        ("[merge]\ndry-run = true\n", ["[merge] dry-run cannot be set in a file", "--dry-run"]),
        ("help = true\n", ["help cannot be set in a file"]),
        ("[merge]\nversion = true\n", ["version cannot be set in a file"]),
        ("[completions]\nshell = 'bash'\n", ["[completions] cannot be set in a file"]),
        ("[man]\n", ["[man] cannot be set in a file"]),
        ("[config.show]\nverb = 'merge'\n", ["[config] cannot be set in a file"]),
    ],
)
def test_mistakes_in_the_file(tmp_path, text, said):
    settings(tmp_path, text)
    error = refused(tmp_path, "info", "x.npy")
    for part in said:
        assert part in error, error
    assert refused(tmp_path) == error
    # What says nothing of settings does not stumble over them.
    for args in (["--help"], ["merge", "-h"], ["help", "merge"], ["--version"], ["completions", "bash"], ["man"]):
        assert succeeds(*args, cwd=tmp_path).out


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "embstore.toml").mkdir()
    assert "embstore.toml" in refused(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"[merge]\nmodel = '\xe9'\n")
    assert "latin.toml" in refused(tmp_path, "config", "show", "--config", "latin.toml")


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("EMBSTORE_MERGE_ROWS", "many", "many"),
        ("EMBSTORE_MERGE_THREADS", "0", "1..=256"),
        ("EMBSTORE_MERGE_FORCE", "perhaps", "true or false"),
        ("EMBSTORE_PROGRESS", "lots", "auto, bar, plain, json, none"),
    ],
)
def test_mistakes_in_the_environment(tmp_path, name, value, said):
    error = refused(tmp_path, "info", "x.npy", env=environment(**{name: value}))
    assert name in error and said in error


def test_help_shows_the_file_and_completions_do_not(tmp_path):
    plain = succeeds("merge", "--help", cwd=tmp_path).out
    generated = [succeeds(*args, cwd=tmp_path).out for args in (["completions", "zsh"], ["man"])]
    settings(tmp_path, '[merge]\nrows = 4711\nchunk_rows = 17\nforce = true\n')
    help = succeeds("merge", "--help", cwd=tmp_path).out
    assert "[default: 4711]" in help and "[default: 17]" in help and "[default: 4096]" not in help
    assert "4711" not in plain and "true|false" not in plain and "EMBSTORE_" not in plain
    assert [succeeds(*args, cwd=tmp_path).out for args in (["completions", "zsh"], ["man"])] == generated


def test_show_as_json(tmp_path):
    assert shown(tmp_path)["file"] is None
    assert shown(tmp_path)["settings"]["merge"]["key"] == {"value": "embeddings", "from": "default"}
    settings(tmp_path, 'progress = "plain"\n\n[merge]\ninputs = ["a", "b"]\nthreads = 8\nforce = true\n')
    result = shown(tmp_path, env=environment(EMBSTORE_MERGE_MODEL="m", EMBSTORE_MERGE_THREADS="4"))
    assert result["file"] == "embstore.toml"
    assert {"shared", "merge", "export", "info", "verify"} <= set(result["settings"])
    assert not {"completions", "man", "config"} & set(result["settings"])
    merge = {key: (entry["value"], entry["from"]) for key, entry in result["settings"]["merge"].items()}
    assert merge["inputs"] == (["a", "b"], "file")
    assert merge["threads"] == (4, "environment")
    assert merge["model"] == ("m", "environment")
    assert merge["force"] == (True, "file")
    assert merge["update"] == (False, "default")
    assert merge["key"] == ("embeddings", "default")
    assert merge["rows"] == (None, "unset")
    assert "dry-run" not in merge
    shared = result["settings"]["shared"]
    assert shared["progress"]["value"] == "plain" and "config" not in shared
    assert set(shown(tmp_path, "merge")["settings"]) == {"merge"}


def test_show_as_text(tmp_path):
    settings(tmp_path, '[merge]\nrows = 250000\n')
    text = succeeds("config", "show", "merge", cwd=tmp_path, env=environment(EMBSTORE_MERGE_MODEL="a/b")).out
    lines = [line.split() for line in text.splitlines()]
    assert ["merge"] in lines
    assert ["rows", "250000", "embstore.toml:2"] in lines
    assert ["model", "a/b", "environment", "EMBSTORE_MERGE_MODEL"] in lines
    assert ["key", "embeddings", "default"] in lines
    assert ["ranges", "-", "not", "set"] in lines
    starts = {line.index("default") for line in text.splitlines() if line.endswith("  default")}
    assert len(starts) == 1, text
    assert "nonsense" in refused(tmp_path, "config", "show", "nonsense")
    assert "merge" in refused(tmp_path, "config", "show", "completions")


def test_passwords_are_not_shown(tmp_path):
    settings(tmp_path, '[merge]\nmodel = "https://me:secret@host/model"\n')
    for args in (["config", "show"], ["config", "show", "--json"], ["merge", "--help"]):
        assert "secret" not in succeeds(*args, cwd=tmp_path).out
    assert "https://me:***@host/model" in succeeds("config", "show", cwd=tmp_path).out
    settings(tmp_path, '[merge]\nrows = "x://me:secret@host"\n')
    assert "secret" not in refused(tmp_path)
