"""A Redis server for the tests of embed, on loopback, with a password."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin"
PASSWORD = "hunter2!@/"


class RedisServer:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="embstore-redis-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        server = shutil.which("redis-server", path=PATH)
        assert server, "no redis-server: scripts/test_servers.sh"
        line = [server, "--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", PASSWORD, "--save", ""]
        self.process = subprocess.Popen([*line, "--dir", self.folder], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while "PONG" not in self.ask("PING", check=False):
            assert time.monotonic() < deadline, "redis-server does not start"
            time.sleep(0.01)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def ask(self, *words, check: bool = True) -> str:
        client = shutil.which("redis-cli", path=PATH)
        line = [client, "-p", str(self.port), "--no-auth-warning", "-a", PASSWORD, *map(str, words)]
        return subprocess.run(line, capture_output=True, text=True, check=check).stdout.strip()

    def entries(self, name: str) -> list[dict]:
        """What waits, the first that will be taken first."""
        return [json.loads(line) for line in reversed(self.ask("LRANGE", name, 0, -1).splitlines())]

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
