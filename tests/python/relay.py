"""A slow link: a relay between a client and a server on loopback, in a process of its own.

Delays what passes by half a round trip each way, caps the bandwidth, counts the bytes, cuts connections and refuses new
ones. ``Relay`` starts it and gives it orders; run as a program it obeys them, one JSON object a line, and answers each.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

PIECE = 256 * 1024
# What one direction of one connection holds at most: 50 ms of 10 Gbit/s. A slow link has no room for so much.
HOLD, SLOW_HOLD = 64 << 20, 128 << 10


class Relay:
    """A running relay to ``port`` on loopback; clients connect to ``self.port``."""

    def __init__(self, port: int, rtt: float = 0.0, rate: float = 0.0, most: int = 0) -> None:
        """``rtt`` in seconds, ``rate`` in bytes a second each way; after ``most`` connections others are refused."""
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), str(port), str(rtt), str(rate), str(most)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port: int = self._answer()["port"]

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _answer(self) -> dict:
        return json.loads(self.process.stdout.readline())

    def _order(self, **order) -> dict:
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def counts(self) -> tuple[int, int]:
        """Bytes handed on so far: to the server, to the client."""
        answer = self._order()
        return answer["up"], answer["down"]

    def connections(self) -> int:
        """Accepted so far."""
        return self._order()["connections"]

    def cut(self) -> None:
        """Ends all connections now, as a broken link would: without a farewell."""
        self._order(cut=0)

    def cut_after(self, down: int) -> None:
        """Ends all connections once so many more bytes have gone to the client."""
        self._order(cut=down)

    def refuse(self, yes: bool = True) -> None:
        """New connections are refused, or are taken again."""
        self._order(refuse=yes)

    def stall(self, yes: bool = True) -> None:
        """Nothing passes any more, and nobody is told; or it passes again."""
        self._order(stall=yes)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Line:
    """Bytes on their way in one direction of one connection."""

    def __init__(self, link: "Link", source: socket.socket, target: socket.socket, direction: str) -> None:
        self.link, self.source, self.target, self.direction = link, source, target, direction
        self.pieces: deque[tuple[float, bytes]] = deque()
        self.held = 0
        self.changed = threading.Condition()
        for work in (self.take, self.give):
            threading.Thread(target=work, daemon=True).start()

    def take(self) -> None:
        delay = self.link.relay.rtt / 2
        hold = HOLD if delay or not self.link.relay.rate else SLOW_HOLD
        while True:
            try:
                piece = self.source.recv(PIECE)
            except OSError:
                piece = b""
            with self.changed:
                self.changed.wait_for(lambda: self.held < hold)
                self.pieces.append((time.monotonic() + delay, piece))
                self.held += len(piece)
                self.changed.notify_all()
            if not piece:
                return

    def give(self) -> None:
        relay = self.link.relay
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.pieces)
                due, piece = self.pieces.popleft()
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
            if not piece:
                # Half of the connection ends; the other half may go on.
                try:
                    self.target.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                return
            for small in relay.paced(piece, self.direction):
                relay.moving.wait()
                try:
                    self.target.sendall(small)
                except OSError:
                    return self.link.cut()
                relay.count(self.direction, len(small))
            with self.changed:
                self.held -= len(piece)
                self.changed.notify_all()


class Link:
    """One connection."""

    def __init__(self, relay: "Server", client: socket.socket) -> None:
        self.relay, self.client = relay, client
        self.server = socket.socket()
        if relay.rate:
            # Else what the server has sent waits in the system, megabytes of it, and comes though the server is dead.
            self.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_HOLD)
            self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
        self.server.connect(("127.0.0.1", relay.target))
        for end in (self.client, self.server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Line(self, self.client, self.server, "up")
        Line(self, self.server, self.client, "down")

    def cut(self) -> None:
        for end in (self.client, self.server):
            try:
                # Reset, not closed.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
                end.close()
            except OSError:
                pass


class Server:
    def __init__(self, target: int, rtt: float, rate: float, most: int) -> None:
        self.target, self.rtt, self.rate, self.most = target, rtt, rate, most
        self.counted = {"up": 0, "down": 0}
        self.paid = {"up": 0.0, "down": 0.0}
        self.links: list[Link] = []
        self.accepted = 0
        self.cut_at: int | None = None
        self.lock = threading.Lock()
        self.moving = threading.Event()
        self.moving.set()
        self.port = 0
        self.listener: socket.socket | None = None
        self.listen()

    def listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self.port = listener.getsockname()[1]
        self.listener = listener
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                link = Link(self, client)
            except OSError:
                client.close()
                continue
            with self.lock:
                self.accepted += 1
                self.links.append(link)
            if self.accepted == self.most:
                return self.refuse()

    def refuse(self) -> None:
        if self.listener:
            # What waits in accept() is woken by this, and by nothing else.
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None

    def paced(self, piece: bytes, direction: str):
        """The piece, in smaller ones with pauses where the bandwidth is capped. All connections share it."""
        if not self.rate:
            yield piece
            return
        for start in range(0, len(piece), 16 * 1024):
            small = piece[start : start + 16 * 1024]
            with self.lock:
                due = max(self.paid[direction], time.monotonic()) + len(small) / self.rate
                self.paid[direction] = due
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
            yield small

    def count(self, direction: str, length: int) -> None:
        with self.lock:
            self.counted[direction] += length
            is_due = self.cut_at is not None and self.counted["down"] >= self.cut_at
            if is_due:
                self.cut_at = None
        if is_due:
            self.cut()

    def cut(self) -> None:
        with self.lock:
            links, self.links = self.links, []
        for link in links:
            link.cut()

    def obey(self, order: dict) -> dict:
        if "refuse" in order:
            self.refuse()
            if not order["refuse"]:
                self.listen()
        if "stall" in order:
            self.moving.clear() if order["stall"] else self.moving.set()
        if order.get("cut") == 0:
            self.cut()
        elif "cut" in order:
            with self.lock:
                self.cut_at = self.counted["down"] + order["cut"]
        with self.lock:
            return {**self.counted, "connections": self.accepted}


def main() -> None:
    target, rtt, rate, most = sys.argv[1:]
    server = Server(int(target), float(rtt), float(rate), int(most))
    print(json.dumps({"port": server.port}), flush=True)
    for line in sys.stdin:
        print(json.dumps(server.obey(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
