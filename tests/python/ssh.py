"""Real SSH servers on loopback, for the tests of sync.

A ``Cluster`` is one sshd with a folder, host keys and a log of its own. As root it has users of its own, made for this
process and removed at its end, with password and key login; otherwise the user who runs the tests logs in by key.
Each test has folders of its own on a cluster, and a ``Desk`` (desk.py) on its own side.
"""

from __future__ import annotations

import atexit
import itertools
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import pytest

HERE = Path(__file__).resolve().parent
IS_ROOT = os.geteuid() == 0
SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")
SHELL, NO_SHELL = "/bin/sh", "/usr/sbin/nologin"
PREFIX = "embt"

needs_root = pytest.mark.skipif(
    not IS_ROOT, reason="platform: not root, so there is no user with a password; the same is tested with keys"
)


def wait_until(is_so: Callable[[], object], what: str, seconds: float = 20.0):
    """Waits for what must happen soon; what it returned when it was so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = is_so()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError(f"in {seconds} s never: {what}")


# Users ----------------------------------------------------------------------------------------------------------------


@dataclass
class Account:
    """Who logs in."""

    name: str
    home: Path
    password: str | None


_accounts: dict[str, Account] = {}


def account(shell: str) -> Account:
    """As root, a user with this shell, made once a process; otherwise whoever runs the tests."""
    if not IS_ROOT:
        me = pwd.getpwuid(os.getuid())
        return Account(me.pw_name, Path(me.pw_dir), None)
    if shell not in _accounts:
        if not _accounts:
            remove_stale_accounts()
        name = f"{PREFIX}{os.getpid()}{'s' if shell == SHELL else 'n'}"
        subprocess.run(["useradd", "-m", "-s", shell, name], check=True, capture_output=True)
        password = "pw " + secrets.token_urlsafe(12) + " 'ü\"$"
        subprocess.run(["chpasswd"], input=f"{name}:{password}".encode(), check=True)
        _accounts[shell] = Account(name, Path(pwd.getpwnam(name).pw_dir), password)
        atexit.register(remove_account, name)
    return _accounts[shell]


def remove_account(name: str) -> None:
    """The user, and whatever still runs in its name."""
    uid = pwd.getpwnam(name).pw_uid
    kill([pid for pid in processes() if owner(pid) == uid])
    wait_until(lambda: not any(owner(pid) == uid for pid in processes()), f"nothing of {name} runs")
    subprocess.run(["userdel", "-r", name], capture_output=True)


def remove_stale_accounts() -> None:
    """Those that a killed run has left behind."""
    for entry in pwd.getpwall():
        found = re.fullmatch(PREFIX + r"(\d+)[sn]", entry.pw_name)
        if found and not Path("/proc", found.group(1)).exists():
            subprocess.run(["userdel", "-r", entry.pw_name], capture_output=True)


# Processes ------------------------------------------------------------------------------------------------------------


def processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def owner(pid: int) -> int | None:
    """The user of a process; none where it has gone, or is only waited for."""
    try:
        has_ended = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
        return None if has_ended else Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None


def all_children() -> dict[int, list[int]]:
    """Every process with those that it has started."""
    below: dict[int, list[int]] = {}
    for pid in processes():
        try:
            parent = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        below.setdefault(parent, []).append(pid)
    return below


def children_of(pid: int, below: dict[int, list[int]] | None = None) -> list[int]:
    """The processes below one, parents first."""
    below = all_children() if below is None else below
    found, left = [], [pid]
    while left:
        found += (more := below.get(left.pop(0), []))
        left += more
    return found


def command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]


# Keys -----------------------------------------------------------------------------------------------------------------


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "", form: str | None = None) -> Path:
    size = ["-b", "2048"] if kind == "rsa" else []
    form_of = ["-m", form] if form else []
    command = ["ssh-keygen", "-q", "-t", kind, *size, *form_of, "-N", passphrase, "-C", "tests", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def fingerprint(public: Path) -> str:
    done = subprocess.run(["ssh-keygen", "-l", "-f", str(public)], check=True, capture_output=True, text=True)
    return done.stdout.split()[1]


# Servers --------------------------------------------------------------------------------------------------------------


class Cluster:
    """One sshd.

    ``shell``: without one the user can run nothing but SFTP. ``settings`` are lines of sshd_config and come before
    the ones of the harness, of which sshd then takes no notice. ``fake``: a behaviour of fake_sftp.py, which then is
    the SFTP server.
    """

    _numbers = itertools.count()

    def __init__(self, name: str, *, shell: bool = True, keys=("ed25519",), fake: str | None = None, **settings):
        if SSHD is None:
            pytest.skip("no sshd: scripts/test_servers.sh installs one")
        self.name = name
        self.folder = self.make_folder(name)
        atexit.register(self.remove)
        self.user = account(SHELL if shell else NO_SHELL)
        if fake is not None and IS_ROOT:
            self.user = fake_account(self.user)
        self.port = free_port()
        self.key = make_key(self.folder / "user_key")
        self.allow(self.key)
        self.host_keys = [make_key(self.folder / f"host_{kind}", kind) for kind in keys]
        self.settings = {"Subsystem": "sftp internal-sftp", **settings}
        if not shell and not IS_ROOT:
            self.settings["ForceCommand"] = "internal-sftp"
        if fake is not None:
            self.settings["Subsystem"] = f"sftp {self.fake_command()}"
            self.behave(fake)
        self.process: subprocess.Popen | None = None
        self.start()

    @staticmethod
    def make_folder(name: str) -> Path:
        """Not below pytest's own folders, which the users cannot enter."""
        folder = Path(tempfile.mkdtemp(prefix=f"embstore-{name}-"))
        folder.chmod(0o755)
        return folder

    def fake_command(self) -> str:
        script = self.folder / "fake_sftp.py"
        shutil.copy(HERE / "fake_sftp.py", script)
        return f"{python_of(self.user)} -I {script} {self.folder}/behaviour"

    def behave(self, behaviour: str) -> None:
        """What the fake server does, from the next connection on."""
        (self.folder / "behaviour").write_text(behaviour)

    def allow(self, *keys: Path) -> None:
        """Which keys may log in."""
        public = "".join(Path(f"{key}.pub").read_text() for key in keys)
        (self.folder / "authorized_keys").write_text(public)

    def config(self) -> str:
        lines = [f"{key} {value}" for key, value in self.settings.items() if key != "HostKey"]
        lines += [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            *(f"HostKey {key}" for key in self.host_keys),
            f"PidFile {self.folder}/sshd.pid",
            "UsePAM no",
            f"PasswordAuthentication {'yes' if self.user.password else 'no'}",
            "KbdInteractiveAuthentication no",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            "StrictModes no",
            f"AllowUsers {self.user.name}",
            "PermitRootLogin prohibit-password",
            "MaxStartups 200:30:400",
            "MaxAuthTries 6",
            "UseDNS no",
            "PrintMotd no",
            # The default of newer ones takes a third of a second a login on a slow machine.
            "KexAlgorithms curve25519-sha256",
            "LogLevel VERBOSE",
        ]
        return "\n".join(lines) + "\n"

    def start(self) -> None:
        if IS_ROOT:
            Path("/run/sshd").mkdir(exist_ok=True)
        path = self.folder / "sshd_config"
        path.write_text(self.config())
        command = [SSHD, "-D", "-f", str(path), "-E", str(self.folder / "sshd.log")]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        wait_until(self.answers, "sshd listens")

    def answers(self) -> bool:
        assert self.process and self.process.poll() is None, f"sshd ended:\n{self.log()}"
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as link:
                return link.recv(4) == b"SSH-"
        except OSError:
            return False

    def log(self) -> str:
        path = self.folder / "sshd.log"
        return path.read_text(errors="replace") if path.exists() else "(no log)"

    def sessions(self) -> list[int]:
        """The process of each connection that is logged in; below it are those of its channels."""
        below = all_children()
        mine = children_of(self.process.pid, below) if self.process else []
        logged_in = [pid for pid in mine if "@" in " ".join(command_line(pid))]
        channels = {channel for pid in logged_in for channel in children_of(pid, below)}
        return [pid for pid in logged_in if pid not in channels]

    def kill_session(self, pid: int | None = None) -> bool:
        """Kills the server's process of one connection. Whether there was one."""
        victims = [pid] if pid else self.sessions()[:1]
        kill([below for pid in victims for below in [*children_of(pid), pid]])
        return bool(victims)

    def stop(self) -> None:
        """No more connections: refused from now on, and those that there are end."""
        if self.process:
            below = children_of(self.process.pid)
            self.process.kill()
            self.process.wait()
            kill(below)
            self.process = None

    def refuse(self) -> None:
        """No new connections; those that there are go on."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What is on it ----------------------------------------------------------------------------------------------------

    def tree(self) -> Path:
        """A new folder on this cluster."""
        folder = self.folder / f"tree{next(self._numbers)}"
        folder.mkdir()
        return folder

    # What others know of it -------------------------------------------------------------------------------------------

    def known_hosts(self, address: str = "127.0.0.1", port: int | None = None, keys=None, marker: str = "") -> str:
        """Lines for known_hosts. ``keys`` are private keys, whose public ones lie beside them."""
        port = self.port if port is None else port
        name = address if port == 22 else f"[{address}]:{port}"
        lines = (Path(f"{key}.pub").read_text().split() for key in keys or self.host_keys)
        return "".join(f"{marker + ' ' if marker else ''}{name} {kind} {key}\n" for kind, key, *_ in lines)

    def credentials(self, tree: Path | None, **fields) -> dict:
        """What goes into the credentials file; a field given as ``None`` is left out."""
        made = {"address": "127.0.0.1", "port": self.port, "username": self.user.name}
        if self.user.password:
            made["password"] = self.user.password
        else:
            made["identity_file"] = str(self.key)
        made["remote_dir"] = None if tree is None else str(tree)
        return {key: value for key, value in {**made, **fields}.items() if value is not None}


def fake_account(user: Account) -> Account:
    """Who runs the fake server: a user of its own, or the one who runs the tests where only that one has a Python."""
    return user if python_of(user, required=False) else Account(pwd.getpwuid(os.getuid()).pw_name, Path.home(), None)


def python_of(user: Account, required: bool = True) -> str | None:
    """A Python that this user may run."""
    is_me = user.name == pwd.getpwuid(os.getuid()).pw_name
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3", "/usr/local/bin/python3"):
        identity = {} if is_me else {"user": user.name, "group": pwd.getpwnam(user.name).pw_gid, "extra_groups": []}
        try:
            if subprocess.run([python, "-I", "-c", "0"], capture_output=True, cwd="/", **identity).returncode == 0:
                return python
        except OSError:
            continue
    assert not required, f"{user.name} can run no Python"
    return None
