"""An SFTP server (version 3) that misbehaves: ``Subsystem sftp python fake_sftp.py FILE``; the file names a behaviour.

It has three files; the second is the one that misbehaves where a behaviour is about a file. Their bytes are made from
their names, so that the tests know them. The behaviours are the classes below ``Server``, by their names.
"""

from __future__ import annotations

import os
import random
import select
import struct
import sys

INIT, VERSION, OPEN, CLOSE, READ, LSTAT, FSTAT, OPENDIR, READDIR, REALPATH, STAT = 1, 2, 3, 4, 5, 7, 8, 11, 12, 16, 17
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, UNSUPPORTED = 0, 1, 2, 3, 4, 8
FILE, FOLDER, LINK, PIPE = 0o100644, 0o040755, 0o120777, 0o010644

GOOD, BAD, LAST = b"cluster1_gpu0.pkl", b"cluster1_gpu1.pkl", b"cluster1_gpu2.pkl"
SIZE = 700_000
MODIFIED = 1_600_000_000


def content(name: bytes, size: int = SIZE) -> bytes:
    return random.Random(name).randbytes(size)


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


def u64(value: int) -> bytes:
    return struct.pack(">Q", value)


def string(value: bytes) -> bytes:
    return u32(len(value)) + value


def attrs(size: int = SIZE, mode: int = FILE, modified: int = MODIFIED) -> bytes:
    return u32(1 | 4 | 8) + u64(size) + u32(mode) + u32(modified) + u32(modified)


def packet(kind: int, body: bytes) -> bytes:
    return u32(len(body) + 1) + bytes([kind]) + body


def status(request: int, code: int, text: bytes = b"") -> bytes:
    return packet(STATUS, u32(request) + u32(code) + string(text) + string(b""))


class Server:
    """Honest, and the base of all that are not."""

    def __init__(self) -> None:
        self.pending = b""
        self.contents: dict[bytes, bytes] = {}
        self.folders: dict[bytes, int] = {}
        self.sent = 0

    # What a behaviour may change --------------------------------------------------------------------------------------

    def greet(self) -> bytes:
        return packet(VERSION, u32(3))

    def entries(self) -> list[tuple[bytes, bytes]]:
        names = [(name, self.attributes(name)) for name in (GOOD, BAD, LAST)]
        return [(b".", attrs(4096, FOLDER)), (b"..", attrs(4096, FOLDER)), *names]

    def attributes(self, name: bytes) -> bytes:
        return attrs()

    def open(self, request: int, name: bytes) -> bytes:
        return packet(HANDLE, u32(request) + string(name))

    def read(self, request: int, name: bytes, offset: int, length: int) -> bytes:
        data = self.bytes_of(name)[offset : offset + length]
        return self.data(request, data) if data else status(request, EOF)

    def list(self, request: int, calls: int) -> bytes:
        if calls:
            return status(request, EOF)
        entries = self.entries()
        body = b"".join(string(name) + string(b"-rw-r--r-- " + name) + attributes for name, attributes in entries)
        return packet(NAME, u32(request) + u32(len(entries)) + body)

    def data(self, request: int, data: bytes) -> bytes:
        return packet(DATA, u32(request) + string(data))

    # The rest ---------------------------------------------------------------------------------------------------------

    def bytes_of(self, name: bytes) -> bytes:
        if name not in self.contents:
            self.contents[name] = content(name)
        return self.contents[name]

    def answer(self, kind: int, body: bytes) -> bytes:
        if kind == INIT:
            return self.greet()
        request, rest = struct.unpack_from(">I", body)[0], body[4:]
        text, rest = rest[4 : 4 + (length := struct.unpack_from(">I", rest)[0])], rest[4 + length :]
        name = text.rsplit(b"/", 1)[-1]
        if kind == OPENDIR:
            self.folders[b"folder"] = 0
            return packet(HANDLE, u32(request) + string(b"folder"))
        if kind == READDIR:
            calls = self.folders[text]
            self.folders[text] += 1
            return self.list(request, calls)
        if kind in (LSTAT, STAT, FSTAT):
            is_file = kind == FSTAT or name.endswith(b".pkl")
            return packet(ATTRS, u32(request) + (self.attributes(name) if is_file else attrs(4096, FOLDER)))
        if kind == OPEN:
            return self.open(request, name)
        if kind == READ:
            return self.read(request, text, *struct.unpack(">QI", rest))
        if kind == CLOSE:
            return status(request, OK)
        if kind == REALPATH:
            return packet(NAME, u32(request) + u32(1) + string(b"/") + string(b"/") + u32(0))
        return status(request, UNSUPPORTED, b"not here")

    def requests(self):
        """What the client asks, one after another; whatever has arrived is in ``self.pending``."""
        while True:
            while len(self.pending) >= 4:
                end = 4 + struct.unpack(">I", self.pending[:4])[0]
                if len(self.pending) < end:
                    break
                request, self.pending = self.pending[4:end], self.pending[end:]
                yield request[0], request[1:]
            arrived = os.read(0, 1 << 18)
            if not arrived:
                return
            self.pending += arrived

    def send(self, reply: bytes) -> None:
        view = memoryview(reply)
        while view:
            view = view[os.write(1, view) :]

    def serve(self) -> None:
        for kind, body in self.requests():
            self.send(self.answer(kind, body))


class Honest(Server):
    pass


# Names and kinds ------------------------------------------------------------------------------------------------------


class Names(Server):
    """Names that lead elsewhere, that a terminal obeys, or that are none."""

    def entries(self):
        names = [
            b"cluster1_gpu1.pkl/../../x_gpu.pkl",
            b"cluster1/../../../cluster1_gpu1.pkl",
            b"cluster1_gpu0/cluster1_gpu1.pkl",
            b"cluster1\\_gpu1.pkl",
            b"cluster1\n_gpu1.pkl",
            b"cluster1\x1b[2J\x1b]0;owned\x07_gpu3.pkl",
            b"cluster1_gpu\xff.pkl",
            b"cluster1_gpu\x00.pkl",
            "cluster1\u202e_gpu4.pkl".encode(),
            b"cluster1_gpu" + b"5" * 5000 + b".pkl",
            # These do not match the usual pattern.
            b"",
            b"../cluster1_gpu1.pkl",
            b"/tmp/cluster1_gpu1.pkl",
            b"cluster1_gpu1.pkl\n",
        ]
        return super().entries() + [(name, attrs()) for name in names]


class OwnNames(Server):
    """Names of what sync itself keeps in the download folder."""

    def entries(self):
        names = [BAD + b".part", BAD + b".part.json", b"fake.manifest.jsonl", b"other.manifest.jsonl"]
        return super().entries() + [(name, attrs()) for name in names]


class Kinds(Server):
    """A folder, a link, a pipe and a device in place of files."""

    def entries(self):
        kinds = {b"cluster1_gpu3.pkl": FOLDER, b"cluster1_gpu4.pkl": LINK, b"cluster1_gpu5.pkl": PIPE}
        kinds[b"cluster1_gpu6.pkl"] = 0o060644
        return super().entries() + [(name, attrs(mode=mode)) for name, mode in kinds.items()]


class Link(Server):
    """A file that is a link when it is looked at again."""

    looks = 0

    def attributes(self, name):
        self.looks += name == BAD
        return attrs(mode=LINK if name == BAD and self.looks > 1 else FILE)


class Twice(Server):
    """One name several times, with different sizes."""

    def entries(self):
        return super().entries() + [(BAD, self.attributes(BAD))] * 3


class BareListing(Server):
    """A listing without attributes, which the protocol allows."""

    def entries(self):
        return [(name, u32(0)) for name, _ in super().entries()]


# Sizes ----------------------------------------------------------------------------------------------------------------


class OfSize(Server):
    size = 0

    def attributes(self, name):
        return attrs(self.size if name == BAD else SIZE)


class Size63(OfSize):
    size = 1 << 63


class Size60(OfSize):
    size = 1 << 60


class SizeAll(OfSize):
    size = (1 << 64) - 1


class Empty(OfSize):
    """A file of no bytes."""

    size = 0


class Shrinks(Server):
    """Ends in the middle, whatever its size is said to be."""

    def read(self, request, name, offset, length):
        if name == BAD and offset + length > SIZE // 2:
            data = self.bytes_of(name)[offset : max(offset, SIZE // 2)]
            return self.data(request, data) if data else status(request, EOF)
        return super().read(request, name, offset, length)


class Grows(Server):
    """Larger each time that it is looked at."""

    looks = 0

    def attributes(self, name):
        self.looks += name == BAD
        return attrs(SIZE + (1000 * self.looks if name == BAD else 0), modified=MODIFIED)

    def bytes_of(self, name):
        return super().bytes_of(name) + bytes(1000 * 1000 if name == BAD else 0)


class Endless(Grows):
    """Has bytes to give wherever one asks."""

    def read(self, request, name, offset, length):
        return self.data(request, bytes(length)) if name == BAD else super().read(request, name, offset, length)


class Touched(Server):
    """Has another time each time that it is looked at."""

    looks = 0

    def attributes(self, name):
        self.looks += name == BAD
        return attrs(modified=MODIFIED + (self.looks if name == BAD else 0))


class TouchedOnce(Server):
    """Is another version when it has been read, and stays that one."""

    looks = 0

    def attributes(self, name):
        self.looks += name == BAD
        return attrs(modified=MODIFIED + (77 if name == BAD and self.looks > 1 else 0))


# Answers --------------------------------------------------------------------------------------------------------------


class ShortReads(Server):
    """Gives less than asked for, as the protocol allows."""

    def read(self, request, name, offset, length):
        return super().read(request, name, offset, min(length, 10_007))


class OutOfOrder(Server):
    """Answers what has been asked at once from the last to the first, as the protocol allows."""

    def serve(self):
        replies = []
        for kind, body in self.requests():
            replies.append(self.answer(kind, body))
            if kind != READ or (not self.pending and not select.select([0], [], [], 0.02)[0]):
                while replies:
                    self.send(replies.pop())


class WrongIds(Server):
    def data(self, request, data):
        return super().data(request + 1000, data)


class Repeats(Server):
    """Every answer twice."""

    def data(self, request, data):
        return super().data(request, data) * 2


class Overlong(Server):
    """More bytes than asked for."""

    def data(self, request, data):
        return super().data(request, data + b"x")


class NoBytes(Server):
    """An answer of no bytes in place of an end."""

    def data(self, request, data):
        return super().data(request, b"")


class HugePacket(Server):
    """A packet of 4 GiB is announced."""

    def data(self, request, data):
        return b"\xff\xff\xff\xff" + super().data(request, data)[4:]


class HugeString(Server):
    """More bytes than the packet has."""

    def data(self, request, data):
        return packet(DATA, u32(request) + u32(0xFFFFFFF0) + data)


class HugeCount(Server):
    """Four thousand million names in a packet of none."""

    def list(self, request, calls):
        return packet(NAME, u32(request) + u32(0xFFFFFFFF))


class EndlessListing(Server):
    def list(self, request, calls):
        names = b"".join(string(b"other%d" % (1000 * calls + i)) + string(b"") + u32(0) for i in range(1000))
        return packet(NAME, u32(request) + u32(1000) + names)


class Garbage(Server):
    """What a login script prints, in place of SFTP."""

    def greet(self):
        return b"Welcome to the cluster!\nYou have mail.\n" + super().greet()


class NotAVersion(Server):
    def greet(self):
        return packet(STATUS, u32(0) + u32(FAILURE) + string(b"no") + string(b""))


class Denied(Server):
    def open(self, request, name):
        return status(request, PERMISSION_DENIED, b"Permission denied") if name == BAD else super().open(request, name)


class Vanished(Server):
    def open(self, request, name):
        return status(request, NO_SUCH_FILE, b"gone") if name == BAD else super().open(request, name)


class Rude(Server):
    """An error whose words a terminal would obey, and that are many."""

    def open(self, request, name):
        if name == BAD:
            words = b"\x1b[2J\x1b]0;owned\x07disk trouble\n\xe2\x9c\x93 all is well"
            return status(request, FAILURE, words + b"!" * 50_000)
        return super().open(request, name)


# Silence and death ----------------------------------------------------------------------------------------------------


def be_silent() -> None:
    """Until the client goes."""
    while os.read(0, 1 << 18):
        pass
    sys.exit()


class SilentAtOnce(Server):
    def greet(self):
        be_silent()


class SilentInside(Server):
    """Says nothing any more from the middle of a file on, whoever asks."""

    def read(self, request, name, offset, length):
        if name == BAD and offset + length > SIZE // 2:
            be_silent()
        return super().read(request, name, offset, length)


class Dies(Server):
    """Ends when it has sent a packet or two of a file, each time; what has landed is not asked for again."""

    def read(self, request, name, offset, length):
        self.sent += name == BAD
        if self.sent > 1:
            sys.exit(1)
        return super().read(request, name, offset, length)


class DiesAlways(Server):
    """Never gives a byte of one file."""

    def read(self, request, name, offset, length):
        if name == BAD:
            sys.exit(1)
        return super().read(request, name, offset, length)


def behaviours() -> dict[str, type[Server]]:
    found, left = {}, [Server]
    while left:
        for below in left.pop().__subclasses__():
            found[below.__name__] = below
            left.append(below)
    return found


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        name = file.read()
    behaviours()[name]().serve()
