"""What a person and a shell see: help, progress, pipes, completions, the man page."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest
from harness import BIN, environment, matrix, run, strict_json, succeeds, write_job

VERBS = ["merge", "export", "info", "verify"]


@pytest.fixture
def job(tmp_path):
    write_job(tmp_path / "in", matrix(20_000, 256))
    return tmp_path


@pytest.mark.parametrize("verb", [[], *([verb] for verb in VERBS)], ids=lambda v: v[0] if v else "embstore")
def test_help_teaches(verb):
    text = succeeds(*verb, "--help").out
    assert "embstore" in text and "xample" in text, "examples teach"
    assert all(max(map(len, part.splitlines()), default=0) <= 120 for part in text.split("\n\n"))
    assert "\x1b" not in text, "no colours where there is no terminal"


def test_help_names_exit_codes_and_common_flags():
    text = succeeds("--help").out
    assert "xit code" in text and "130" in text
    for verb in [*VERBS, "completions", "man"]:
        assert verb in text
    for flag in ("--quiet", "--json", "--progress"):
        assert flag in succeeds("merge", "--help").out


def test_help_of_merge_names_every_option():
    text = succeeds("merge", "--help").out
    flags = (
        "--output --pattern --format --rows --dim --articles --model --key --non-finite --threads --dry-run --force "
        "--restart --no-sync --ranges --json --quiet --progress"
    )
    for flag in flags.split():
        assert flag in text, flag


def test_version():
    assert succeeds("--version").out.startswith("embstore ")


def test_progress_json_is_one_object_a_line(job):
    result = succeeds("merge", job / "in", "-o", job / "s.npy", "--progress", "json")
    lines = [strict_json(line) for line in result.err.splitlines() if line.startswith("{")]
    assert lines, result.err
    assert all(isinstance(line, dict) and "phase" in line for line in lines)
    assert "\r" not in result.err and "\x1b" not in result.err


def test_progress_and_result_keep_apart(job):
    result = succeeds("merge", job / "in", "-o", job / "s.npy", "--progress", "json", "--json")
    assert result.json()["shape"] == [20_000, 256]


@pytest.mark.parametrize("kind", ["auto", "plain"])
def test_plain_progress_has_no_control_characters(job, kind):
    result = succeeds("merge", job / "in", "-o", job / "s.npy", "--progress", kind)
    assert "\r" not in result.err and "\x1b" not in result.err


def test_progress_none_and_quiet(job):
    none = succeeds("merge", job / "in", "-o", job / "s.npy", "--progress", "none", "--json")
    assert none.err == ""
    quiet = succeeds("merge", job / "in", "-o", job / "t.npy", "--quiet")
    assert quiet.out == quiet.err == ""


def test_a_wrong_kind_of_progress(job):
    assert run("merge", job / "in", "-o", job / "s.npy", "--progress", "loud").code == 2


def on_a_terminal(*args, **extra: str) -> str:
    """Run with stderr on a terminal; what it drew there."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [str(BIN), *map(str, args)], stdout=subprocess.DEVNULL, stderr=theirs, env=environment(TERM="xterm", **extra)
    )
    os.close(theirs)
    drawn = b""
    while True:
        try:
            block = os.read(ours, 65536)
        except OSError:  # Linux reports the far end's closing so
            break
        if not block:
            break
        drawn += block
    os.close(ours)
    assert child.wait() == 0, drawn.decode()
    return drawn.decode()


def test_a_bar_on_a_terminal(job):
    assert "\r" in on_a_terminal("merge", job / "in", "-o", job / "s.npy")


def test_no_color_is_respected(job):
    assert "\x1b[3" not in on_a_terminal("merge", job / "in", "-o", job / "s.npy", NO_COLOR="1")


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["man"],
        ["completions", "bash"],
        ["merge", "in", "-o", "s.npy", "--dry-run"],
        ["info", "in/cluster1_gpu0.pkl"],
    ],
    ids=" ".join,
)
def test_a_closed_pipe_is_a_quiet_success(job, args):
    read, write = os.pipe()
    os.close(read)
    child = subprocess.Popen(
        [str(BIN), *args], stdout=write, stderr=subprocess.PIPE, cwd=job, env=environment(), restore_signals=True
    )
    os.close(write)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert b"panicked" not in err and b"roken pipe" not in err


def test_a_closed_pipe_does_not_spoil_a_merge(job):
    """Whoever reads the report may leave early: the store is finished all the same."""
    read, write = os.pipe()
    os.close(read)
    command = [str(BIN), "merge", "in", "-o", "s.npy", "--json"]
    child = subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE, cwd=job, env=environment())
    os.close(write)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    succeeds("verify", job / "s.npy")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(shell):
    text = succeeds("completions", shell).out
    assert "embstore" in text and "merge" in text and len(text) > 500


def test_an_unknown_shell():
    assert run("completions", "tcsh-of-old").code == 2


def test_bash_accepts_its_completions(tmp_path):
    (tmp_path / "c.bash").write_text(succeeds("completions", "bash").out)
    assert subprocess.run(["bash", "-n", str(tmp_path / "c.bash")]).returncode == 0


def test_man_page():
    text = succeeds("man").out
    assert ".TH" in text and ".SH" in text and "embstore" in text
