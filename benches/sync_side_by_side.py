"""embstore sync beside what fetches files over SSH otherwise, and embstore run beside sync, then merge.

    python benches/sync_side_by_side.py
    python benches/sync_side_by_side.py --files 4 --size 16 --latency 0 50 --reps 1

A real sshd on loopback, started and removed by this; latency by a relay that holds what passes for half a round trip
each way (tests/python/relay.py; no relay at 0 ms). It shows how well a client keeps a long line full, not losses, nor
how TCP's windows grow. Files are random, and lie in memory on both sides where the system has a folder for that. Every
repetition runs each client once, in turns that swap order; times are whole processes by the wall clock, with logins.
What each has fetched is compared with what is on the server.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

ROOT = Path(__file__).resolve().parents[1]
for folder in ("benches", "scripts", "tests/python"):
    sys.path.insert(0, str(ROOT / folder))

from relay import Relay  # noqa: E402  (they lie beside the tests, which are no package)
from side_by_side import machine, shown  # noqa: E402
from ssh import Cluster  # noqa: E402

PARAMIKO = """
import os, sys
import paramiko
host, port, user, key, known_hosts, remote, local = sys.argv[1:]
client = paramiko.SSHClient()
client.load_host_keys(known_hosts)
client.connect(host, port=int(port), username=user, key_filename=key, allow_agent=False, look_for_keys=False)
sftp = client.open_sftp()
for name in sftp.listdir(remote):
    sftp.get(f"{remote}/{name}", os.path.join(local, name))
client.close()
"""
EMBSTORE = "embstore sync"
# The tests' servers have one algorithm, the quickest; here clients and server agree on one as they do everywhere.
AS_INSTALLED = {"KexAlgorithms": "+curve25519-sha256"}


@dataclass
class Client:
    label: str
    command: Callable[["Line", Path], list]
    """What fetches all files over a line into a folder."""
    missing: str | None = None
    """What is not installed."""
    stdin: Callable[["Line", Path], str] = lambda line, into: ""


@dataclass
class Line:
    """The way to a cluster, and what lies there."""

    cluster: Cluster
    port: int
    tree: Path
    known_hosts: Path
    credentials: Path

    @property
    def user(self) -> str:
        return self.cluster.user.name

    @property
    def ssh(self) -> list[str]:
        options = [f"UserKnownHostsFile={self.known_hosts}", "StrictHostKeyChecking=yes", "BatchMode=yes"]
        words = [word for option in options for word in ("-o", option)]
        return ["-F", "/dev/null", "-i", str(self.cluster.key), *words]

    def login(self, name: str, folder: Path) -> None:
        """Credentials for embstore."""
        fields = self.cluster.credentials(self.tree, port=self.port, password=None, identity_file=str(self.cluster.key))
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.credentials"
        path.touch(mode=0o600)
        path.write_text(json.dumps(fields))


def missing(program: str) -> str | None:
    return None if shutil.which(program) else program


def missing_paramiko(python: str) -> str | None:
    done = subprocess.run([python, "-c", "import paramiko"], capture_output=True)
    return "paramiko" if done.returncode else None


def clients(args: argparse.Namespace) -> list[Client]:
    def embstore(*flags: str) -> Callable[[Line, Path], list]:
        def command(line: Line, into: Path) -> list:
            made = [args.binary, "sync", "--clusters", "bench", "--credentials", line.credentials, "-o", into]
            made += ["--known-hosts", line.known_hosts, "--ssh-config", "/dev/null", "--quiet"]
            return [*made, *flags, *args.flags]

        return command

    def rclone(*flags: str) -> Callable[[Line, Path], list]:
        def command(line: Line, into: Path) -> list:
            made = ["rclone", "--config", "", "copy", f":sftp:{line.tree}", into, "--sftp-host", "127.0.0.1"]
            made += ["--sftp-port", line.port, "--sftp-user", line.user, "--sftp-key-file", line.cluster.key]
            return [*made, "--sftp-known-hosts-file", line.known_hosts, "--transfers", "4", *flags]

        return command

    def paramiko(line: Line, into: Path) -> list:
        where = ["127.0.0.1", line.port, line.user, line.cluster.key, line.known_hosts, line.tree, into]
        return [args.python, "-c", PARAMIKO, *where]

    def sftp(line: Line, into: Path) -> list:
        return ["sftp", "-q", "-b", "-", *line.ssh, "-P", line.port, f"{line.user}@127.0.0.1"]

    def rsync(line: Line, into: Path) -> list:
        shell = " ".join(["ssh", "-p", str(line.port), *line.ssh])
        return ["rsync", "-a", "-e", shell, f"{line.user}@127.0.0.1:{line.tree}/", f"{into}/"]

    def lftp(line: Line, into: Path) -> list:
        program = " ".join(["ssh", "-a", "-x", *line.ssh])
        script = f'set sftp:connect-program "{program}"; set cmd:fail-exit yes; mirror -P4 {line.tree} {into}; quit'
        return ["lftp", "-u", f"{line.user},x", "-p", line.port, "-e", script, "sftp://127.0.0.1"]

    tuned = ["--sftp-chunk-size", "255k", "--sftp-concurrency", "64"]
    return [
        Client(EMBSTORE, embstore()),
        Client("embstore sync --verify never", embstore("--verify", "never")),
        Client("embstore sync --transport ssh2", embstore("--transport", "ssh2")),
        Client("paramiko get", paramiko, missing_paramiko(args.python)),
        Client("OpenSSH sftp", sftp, missing("sftp"), lambda line, into: f"get {line.tree}/* {into}/\n"),
        Client("rsync -e ssh", rsync, missing("rsync")),
        Client("rclone, 4 transfers", rclone(), missing("rclone")),
        Client("rclone, tuned", rclone(*tuned), missing("rclone")),
        Client("lftp -P4", lftp, missing("lftp")),
    ]


class Bench:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.folder = Path(tempfile.mkdtemp(prefix="embstore-bench-", dir=args.out))
        self.folder.chmod(0o755)
        self.tables: list[str] = []

    def run(self, client: Client, line: Line) -> float:
        into = self.folder / "into"
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir()
        command = [str(word) for word in client.command(line, into)]
        began = time.perf_counter()
        done = subprocess.run(command, input=client.stdin(line, into).encode(), capture_output=True)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(f"✗ {client.label} failed:\n{done.stdout.decode()}{done.stderr.decode()}")
        names = [path.name for path in line.tree.iterdir()]
        _, differ, absent = filecmp.cmpfiles(line.tree, into, names, shallow=False)
        if differ or absent:
            raise SystemExit(f"✗ {client.label} has fetched something else: {differ or absent}")
        shutil.rmtree(into)
        return seconds

    def line(self, cluster: Cluster, port: int, tree: Path, name: str = "bench") -> Line:
        known_hosts = self.folder / f"known_hosts-{name}"
        known_hosts.write_text(cluster.known_hosts(port=port))
        line = Line(cluster, port, tree, known_hosts, self.folder / "credentials")
        line.login(name, line.credentials)
        return line

    # The figures ------------------------------------------------------------------------------------------------------

    def fetch(self) -> None:
        tree = self.folder / "remote"
        tree.mkdir()
        for number in range(self.args.files):
            write_random(tree / f"cluster1_gpu{number}.pkl", self.args.size << 20)
        total = self.args.files * (self.args.size << 20)
        everyone = clients(self.args)
        present = [client for client in everyone if not client.missing]
        for client in everyone:
            if client.missing:
                print(f"⚠ NOT RUN: {client.label}: {client.missing} is not installed", file=sys.stderr)
        cluster = Cluster("bench", **AS_INSTALLED)
        try:
            medians = {latency: self.at(latency, cluster, tree, present) for latency in self.args.latency}
        finally:
            cluster.remove()
            shutil.rmtree(tree)
        head = f"| {self.args.files} × {self.args.size} MiB | " + " | ".join(f"{ms:g} ms" for ms in self.args.latency)
        rows = [head + " |", "|---" * (1 + len(self.args.latency)) + "|"]
        for client in everyone:
            cells = [f"{client.missing} is not installed" for _ in medians]
            if not client.missing:
                cells = [cell(made[client.label], made[EMBSTORE], total) for made in medians.values()]
            rows.append(f"| {client.label} | " + " | ".join(cells) + " |")
        self.tables.append("\n".join(rows))

    def at(self, latency: float, cluster: Cluster, tree: Path, present: list[Client]) -> dict[str, float]:
        """Median seconds of every client."""
        relay = Relay(cluster.port, rtt=latency / 1000) if latency else None
        try:
            line = self.line(cluster, relay.port if relay else cluster.port, tree)
            times: dict[str, list[float]] = {client.label: [] for client in present}
            for rep in range(self.args.reps):
                for client in present if rep % 2 == 0 else reversed(present):
                    seconds = self.run(client, line)
                    times[client.label].append(seconds)
                    print(f"{latency:g} ms, {client.label}: {seconds:.2f} s", file=sys.stderr, flush=True)
        finally:
            if relay:
                relay.close()
        return {label: statistics.median(made) for label, made in times.items()}

    def overlap(self) -> None:
        """``run`` beside ``sync`` and then ``merge``: two clusters, eight checkpoints each."""
        made = self.folder / "made"
        maker = [sys.executable, ROOT / "scripts" / "make_checkpoints.py", made, "--rows", str(self.args.rows + 10)]
        maker += ["--articles", str(self.args.rows)]
        subprocess.run(list(map(str, maker)), check=True, stdout=subprocess.DEVNULL)
        rows = ["| run beside sync, then merge | sync | merge | together | run | saved |", "|---|---|---|---|---|---|"]
        clusters = [Cluster(f"bench{number}", **AS_INSTALLED) for number in (1, 2)]
        try:
            trees = []
            for number, cluster in enumerate(clusters, 1):
                tree = self.folder / f"remote{number}"
                tree.mkdir()
                for path in sorted((made / "embeddings").glob(f"cluster{number}_*.pkl")):
                    path.chmod(0o644)
                    path.rename(tree / path.name)
                trees.append(tree)
            for latency in self.args.latency:
                sync, merge, run = self.both(latency, clusters, trees, made / "wikipedia.pkl")
                cells = [f"{seconds:.2f} s" for seconds in (sync, merge, sync + merge, run, sync + merge - run)]
                rows.append(f"| {self.args.rows:,} rows, {latency:g} ms | " + " | ".join(cells) + " |")
        finally:
            for cluster in clusters:
                cluster.remove()
        self.tables.append("\n".join(rows))

    def both(self, latency: float, clusters: list[Cluster], trees: list[Path], articles: Path) -> tuple:
        relays = [Relay(cluster.port, rtt=latency / 1000) for cluster in clusters] if latency else []
        ports = [relay.port for relay in relays] or [cluster.port for cluster in clusters]
        known_hosts = self.folder / "known_hosts"
        text = ""
        for number, (cluster, port, tree) in enumerate(zip(clusters, ports, trees), 1):
            text += self.line(cluster, port, tree, f"bench{number}").known_hosts.read_text()
        known_hosts.write_text(text)
        into = self.folder / "into"
        source = ["--clusters", "bench1", "bench2", "--credentials", self.folder / "credentials", "--quiet"]
        source += ["--known-hosts", known_hosts, "--ssh-config", "/dev/null", *self.args.flags]
        store = ["--rows", self.args.rows, "--articles", articles]
        commands = {
            "sync": ["sync", "-o", into / "embeddings", *source],
            "merge": ["merge", into / "embeddings", "-o", into / "store.npy", *store, "--quiet"],
            "run": ["run", "--checkpoints", into / "embeddings", "-o", into / "store.npy", *store, *source],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        try:
            for rep in range(self.args.reps):
                for turn in (["sync", "merge"], ["run"]) if rep % 2 == 0 else (["run"], ["sync", "merge"]):
                    shutil.rmtree(into, ignore_errors=True)
                    into.mkdir()
                    for name in turn:
                        began = time.perf_counter()
                        subprocess.run([self.args.binary, *map(str, commands[name])], check=True)
                        times[name].append(time.perf_counter() - began)
                        print(f"{latency:g} ms, {name}: {times[name][-1]:.2f} s", file=sys.stderr, flush=True)
        finally:
            shutil.rmtree(into, ignore_errors=True)
            for relay in relays:
                relay.close()
        return tuple(statistics.median(times[name]) for name in commands)

    def report(self) -> str:
        head = (
            f"`{' '.join(['python', 'benches/sync_side_by_side.py', *map(shown, sys.argv[1:])])}` on {machine()}; "
            f"medians of {self.args.reps}; × is how many times as long as embstore sync."
        )
        return "\n\n".join([head, *self.tables])


def cell(seconds: float, ours: float, total: int) -> str:
    return f"{seconds:.2f} s, {total / seconds / 1e6:.0f} MB/s, {seconds / ours:.2f}×"


def write_random(path: Path, size: int) -> None:
    with open(path, "wb") as file:
        for start in range(0, size, 1 << 20):
            file.write(os.urandom(min(1 << 20, size - start)))
    path.chmod(0o644)


FIGURES = {"fetch": Bench.fetch, "run": Bench.overlap}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    parser.add_argument("--out", type=Path, default=memory, help="folder to work in [default: in memory if possible]")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--size", type=int, default=48, help="MiB of a file")
    parser.add_argument("--latency", type=float, nargs="+", default=[0, 20, 50], help="round trip in milliseconds")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--rows", type=int, default=250_000, help="rows of run's job")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="flags for embstore, at the end")
    parser.add_argument("--python", default=sys.executable, help="a Python that has paramiko")
    default = ROOT / "target" / "release" / "embstore"
    parser.add_argument("--binary", type=Path, default=Path(os.environ.get("EMBSTORE_BIN", default)))
    args = parser.parse_args()
    bench = Bench(args)
    try:
        for name in args.only:
            FIGURES[name](bench)
    finally:
        shutil.rmtree(bench.folder, ignore_errors=True)
    print(bench.report())
    return 0


if __name__ == "__main__":
    sys.exit(main())
