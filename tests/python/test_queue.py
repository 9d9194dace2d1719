"""embed enqueue, status and retry from the outside; what happens inside the queue is tested in tests/queue."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from harness import BIN, environment, fails, run, strict_json, succeeds
from redis_server import PASSWORD

LIST = "phase4_todo_queue"


@pytest.fixture
def folder(tmp_path):
    """Four texts in two folders, one of them embedded."""
    for name in ("00/A/chains_chunk_0", "00/A/chains_chunk_1", "00/A/chains_chunk_10", "01/é/chains_chunk_0"):
        text = tmp_path / "chains" / f"{name}.parquet"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.touch()
    done = tmp_path / "embeddings/00/A/chains_chunk_1.parquet"
    done.parent.mkdir(parents=True)
    done.write_bytes(b"rows")
    return tmp_path


@pytest.fixture
def env(redis_server):
    redis_server.ask("FLUSHALL")
    return environment(REDIS_URL=redis_server.url, REDIS_PASSWORD=PASSWORD)


def embed(folder, env, *args) -> dict:
    return succeeds("embed", *args, "--json", cwd=folder, env=env).json()


def kill_a_job(redis_server, entry: str, name: str = LIST):
    """What the queue itself writes of a job that is dead."""
    redis_server.ask("RPOP", name)
    redis_server.ask("HSET", f"{{{name}}}:dead", entry, json.dumps({"error": "no column text", "tries": 3}))


def test_enqueue(folder, env, redis_server):
    counts = {"found": 4, "done": 1, "missing": 3, "folders": 2}
    dry = embed(folder, env, "enqueue", "--dry-run")
    assert dry.items() >= {**counts, "dry_run": True, "queued": 0}.items()
    assert redis_server.ask("KEYS", "*") == ""

    first = embed(folder, env, "enqueue")
    assert first.items() >= {**counts, "queued": 3, "already": 0, "queue_name": LIST}.items()
    assert redis_server.ask("LLEN", LIST) == "3"
    names = ["00/A/chains_chunk_0", "00/A/chains_chunk_10", "01/é/chains_chunk_0"]
    jobs = [{"input": f"chains/{name}.parquet", "output": f"embeddings/{name}.parquet"} for name in names]
    assert redis_server.entries(LIST) == jobs
    # Byte for byte what an older manager, written in Python, pushes.
    assert redis_server.ask("LINDEX", LIST, 0) == json.dumps(jobs[-1])

    again = succeeds("embed", "enqueue", cwd=folder, env=env)
    assert "0 queued in phase4_todo_queue" in again.out and "3 waited, ran or were dead already" in again.out
    assert redis_server.ask("LLEN", LIST) == "3"
    assert sorted(path.name for path in (folder / "embeddings").iterdir()) == ["00"]


def test_status_and_retry(folder, env, redis_server):
    embed(folder, env, "enqueue")
    kill_a_job(redis_server, redis_server.ask("LINDEX", LIST, -1))
    status = embed(folder, env, "status")
    assert status.items() >= {"waiting": 2, "running": 0, "dead": 1, "done": 0, "seconds_left": None}.items()
    dead = {"input": "chains/00/A/chains_chunk_0.parquet", "error": "no column text", "tries": 3}
    assert status["dead_jobs"] == [dead] and status["running_jobs"] == []
    told = succeeds("embed", "status", cwd=folder, env=env).out
    assert "✗ chains/00/A/chains_chunk_0.parquet: no column text (3 tries)" in told and "embed retry" in told

    assert embed(folder, env, "retry")["retried"] == 1
    assert embed(folder, env, "retry")["retried"] == 0
    assert embed(folder, env, "status").items() >= {"waiting": 3, "dead": 0}.items()


def test_without_a_server(folder):
    report = embed(folder, environment(), "enqueue")
    assert report.items() >= {"queue": "dir", "queued": 3, "missing": 3}.items()
    assert embed(folder, environment(), "status").items() >= {"waiting": 3, "running": 0, "done": 1, "dead": 0}.items()
    assert embed(folder, environment(), "retry")["retried"] == 0


def test_watch_ends_with_ctrl_c(folder, env):
    line = [str(BIN), "embed", "status", "--json", "--watch", "0.1s"]
    with subprocess.Popen(line, cwd=folder, env=env, stdout=subprocess.PIPE, text=True) as process:
        seen = [strict_json(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert all(status["waiting"] == 0 for status in seen)


def test_metrics(folder, env, redis_server):
    embed(folder, env, "enqueue")
    line = [str(BIN), "embed", "status", "--metrics", "127.0.0.1:0"]
    with subprocess.Popen(line, cwd=folder, env=env, stderr=subprocess.PIPE, text=True) as process:
        url = process.stderr.readline().split("metrics are at ")[1].split()[0]
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            lines = answer.read().decode().splitlines()
        assert f'embstore_jobs{{queue="{LIST}",state="waiting"}} 3' in lines
        assert all(line.startswith(("# HELP ", "# TYPE ", "embstore_")) for line in lines)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(url.replace("/metrics", "/other"), timeout=10)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert fails("embed", "status", "--metrics", f"127.0.0.1:{redis_server.port}", cwd=folder, env=env)


def test_settings_of_nested_verbs(folder, env, redis_server):
    (folder / "embstore.toml").write_text('[embed.enqueue]\nqueue_name = "mine"\n[embed.status]\nqueue-name = "other"\n')
    assert embed(folder, env, "enqueue")["queue_name"] == "mine"
    assert redis_server.ask("LLEN", "mine") == "3"
    assert embed(folder, env, "status").items() >= {"queue_name": "other", "waiting": 0}.items()
    assert embed(folder, {**env, "EMBSTORE_EMBED_STATUS_QUEUE_NAME": "mine"}, "status")["waiting"] == 3
    assert embed(folder, env, "status", "--queue-name", "mine")["waiting"] == 3
    shown = succeeds("config", "show", "embed", "enqueue", "--json", cwd=folder, env=env).json()["settings"]
    assert shown["embed.enqueue"]["queue-name"]["value"] == "mine"


def test_passwords_are_not_told(folder, env, redis_server):
    secret = {**env, "REDIS_URL": f"redis://:s3cret@127.0.0.1:{redis_server.port}"}
    said = fails("embed", "status", cwd=folder, env=secret)
    assert "wrong user name or password" in said and "REDIS_PASSWORD" in said
    wrong = run("embed", "status", "--queue", "redis://:s3cret@host:port", cwd=folder)
    assert wrong.code == 2 and wrong.err.startswith("✗ no queue has the address")
    for result in (
        run("config", "show", "embed", cwd=folder, env=secret),
        run("embed", "status", "--help", cwd=folder, env=secret),
        run("embed", "enqueue", cwd=folder, env=secret),
    ):
        said += result.said
    assert "s3cret" not in said + wrong.said and PASSWORD not in said
    bare = {key: value for key, value in env.items() if key != "REDIS_PASSWORD"}
    assert "wants a password" in fails("embed", "status", cwd=folder, env=bare)


def test_a_server_that_is_not_there(folder, redis_server):
    said = fails("embed", "enqueue", "--queue", "redis://127.0.0.1:1", cwd=folder)
    assert "127.0.0.1:1" in said and "redis-server" in said and "--queue dir" in said


def test_ctrl_c_is_graceful(folder, env, redis_server):
    """The server holds its answers back, so the signal comes before the first job is queued."""
    redis_server.ask("CLIENT", "PAUSE", 2500, "ALL")
    line = [str(BIN), "embed", "enqueue"]
    process = subprocess.Popen(line, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)
    while not int(re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())[1], 16) & 2:
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 130, said
    assert "interrupted" in said and "run the same command to go on" in said
    assert redis_server.ask("EXISTS", LIST) == "0"
    assert embed(folder, env, "enqueue")["queued"] == 3
