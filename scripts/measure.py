"""What the tests, the long scripts and the benchmarks share about memory, limits and caches of a child process.

Linux has all of it; elsewhere the functions that cannot work say so with ``Unsupported``.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20


class Unsupported(Exception):
    """This machine or this user cannot do it."""


@dataclass
class Usage:
    """What one run took. ``peak_anon`` is sampled every 2 ms, so a shorter spike can be missed: RLIMIT_DATA is the
    proof, this is the figure. ``peak_resident`` is the kernel's own high-water mark and includes mapped file pages."""

    code: int
    seconds: float
    peak_anon: int
    peak_resident: int
    out: str
    err: str


def _status(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    fields = (line.split() for line in lines if line.startswith(("RssAnon:", "VmHWM:")))
    return {name.rstrip(":"): int(value) * 1024 for name, value, *_ in fields}


def run_sampled(command: list, **options) -> Usage:
    """Run a command and watch its memory. Extra options go to ``subprocess.Popen``."""
    if not Path("/proc/self/status").exists():
        raise Unsupported("no /proc to sample memory from")
    began = time.perf_counter()
    child = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )
    peaks = {"RssAnon": 0, "VmHWM": 0}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.002):
            for name, value in _status(child.pid).items():
                peaks[name] = max(peaks[name], value)

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, err = child.communicate()
    seconds = time.perf_counter() - began
    ended.set()
    watcher.join()
    return Usage(child.returncode, seconds, peaks["RssAnon"], peaks["VmHWM"], out, err)


def data_limit(limit: int):
    """A ``preexec_fn`` that caps private writable memory: it counts every second copy and no mapped file."""
    if not sys.platform.startswith("linux"):
        raise Unsupported("RLIMIT_DATA does not count mapped memory outside Linux")
    return lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def hog(size: int) -> list[str]:
    """The negative control: a command that allocates ``size`` bytes, and must fail under the limit to be trusted."""
    return [sys.executable, "-c", f"bytearray({size})"]


def drop_from_cache(path: Path) -> None:
    """Make a file cold: write it back, then ask the kernel to forget its pages. Works without being root."""
    if not hasattr(os, "posix_fadvise"):
        raise Unsupported("no posix_fadvise")
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_into_cache(path: Path) -> None:
    """Make a file warm."""
    with open(path, "rb", buffering=0) as file:
        while file.read(8 * MIB):
            pass


def _own_group(controller: str) -> str | None:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path.lstrip("/")
    return None


def _new_group(limit: int) -> Path:
    name = f"embstore-test-{os.getpid()}"
    v1 = Path("/sys/fs/cgroup/memory")
    if (v1 / "memory.limit_in_bytes").exists():
        group = v1 / (_own_group("memory") or "") / name
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(limit))
        return group
    # In v2 a group with processes has no controllers for its children: climb to the first that hands memory down.
    at = Path("/sys/fs/cgroup") / (_own_group("") or "")
    while "memory" not in (at / "cgroup.subtree_control").read_text().split():
        if at == Path("/sys/fs/cgroup"):
            raise Unsupported("no group above hands the memory controller down")
        at = at.parent
    group = at / name
    group.mkdir()
    (group / "memory.max").write_text(str(limit))
    if (group / "memory.swap.max").exists():
        (group / "memory.swap.max").write_text("0")
    return group


@contextmanager
def memory_group(limit: int):
    """A memory cgroup of the given size (v1 or v2): yields a ``preexec_fn`` that enters it."""
    group = None
    try:
        group = _new_group(limit)
        tasks = str(group / "cgroup.procs")
        # Entering it here would charge this very process: only the child does.
        with open(tasks, "a"):
            pass
    except OSError as error:
        if group is not None:
            group.rmdir()
        raise Unsupported(f"no memory cgroup can be made here: {error}") from error

    def enter() -> None:
        with open(tasks, "w") as file:
            file.write("0")

    try:
        yield enter
    finally:
        group.rmdir()
