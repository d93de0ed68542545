"""Who works on what: a lock of the kernel, and a beat that shows that its holder still goes.

The kernel frees the lock with its process, even after kill -9. But a process that was stopped, or a machine that
hangs, keeps its locks. So a holder writes into the lock's file every few seconds, and whoever waits may put a new file
in the place of one that was not written for long enough, and hold that. The old holder then has a file without a name,
which it notices before it writes anything.

No two clocks are compared: whoever waits counts by its own, and only the time in which it looked.
"""

import fcntl
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from netgain.ledger.files import storage_error

BEAT_SECONDS = 4.0
BEATS = 3
"""A claim is never taken over before this many beats could have been seen."""
WIDTH = 128

Mark = tuple[int, bytes]
"""What a lock's file is and says: which file, and its content."""


class Busy(Exception):
    """Another process holds this."""


class Lost(Exception):
    """Another process has taken this over; nothing more may be written."""


class Claim:
    """A lock that this process holds, and its beat."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle
        self._count = 0
        self._over = threading.Event()
        self._write()
        self._thread = threading.Thread(target=self._beat, name=f"beat {path.name}", daemon=True)
        self._thread.start()

    def held(self) -> bool:
        """Whether it is still this process that holds it."""
        return _named(self._handle, self.path)

    def release(self) -> None:
        self._over.set()
        self._thread.join()
        os.close(self._handle)

    def _write(self) -> None:
        self._count += 1
        words = f"{socket.gethostname()} {os.getpid()} {self._count}"
        os.pwrite(self._handle, words.encode()[:WIDTH].ljust(WIDTH), 0)

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            try:
                self._write()
                os.fdatasync(self._handle)  # other machines see what was synced
            except OSError:
                continue  # a disk that is full or away for a moment: the next beat may come through


@dataclass
class _Seen:
    mark: Mark
    looked: float
    still: float = 0.0


class Vigil:
    """Takes what is free, and what others hold but have not beaten for `patience` seconds; None: never that."""

    def __init__(self, patience: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.patience = None if patience is None else max(patience, BEATS * BEAT_SECONDS)
        self.clock = clock
        self._seen: dict[Path, _Seen] = {}

    def take(self, path: Path) -> tuple[Claim, bool]:
        """The claim, and whether it was taken from another process; raises Busy."""
        try:
            claim = take(path)
        except Busy:
            mark = self._abandoned(path)
            if mark is None:
                raise
            claim = _take_over(path, mark)
            del self._seen[path]
            return claim, True
        self._seen.pop(path, None)
        return claim, False

    def _abandoned(self, path: Path) -> Mark | None:
        """What the file has said for too long."""
        now, mark = self.clock(), _mark(path)
        before = self._seen.get(path)
        if self.patience is None or mark is None or before is None or before.mark != mark:
            if mark is not None:
                self._seen[path] = _Seen(mark, now)
            return None
        # Whoever waits may have been stopped too: only what lies between two looks in a row counts.
        before.still += min(now - before.looked, BEAT_SECONDS)
        before.looked = now
        return mark if before.still >= self.patience else None


def take(path: Path) -> Claim:
    """Hold what nobody holds; raises Busy."""
    handle = _opened(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _named(handle, path):  # put aside between opening and locking
            raise Busy(path.name)
        return Claim(path, handle)
    except (OSError, Busy) as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            raise Busy(path.name) from None
        if isinstance(error, OSError):
            raise storage_error(path, error) from error
        raise


def _take_over(path: Path, seen: Mark) -> Claim:
    """Put a file of one's own in the place of one that still says `seen`."""
    with _one_at_a_time(path.parent / ".taking-over"):
        if _mark(path) != seen:
            raise Busy(path.name)
        draft = path.with_name(f".{path.name}.{os.getpid()}.part")
        draft.unlink(missing_ok=True)
        handle = _opened(draft)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.replace(path)
        try:
            return Claim(path, handle)
        except OSError as error:
            os.close(handle)
            raise storage_error(path, error) from error


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    handle = _opened(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Busy(path.name) from None
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise storage_error(path, error) from error


def _named(handle: int, path: Path) -> bool:
    """Whether the open file is the one under this name."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(handle)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _mark(path: Path) -> Mark | None:
    """None for a file that has no beat yet."""
    try:
        with path.open("rb") as file:
            said = file.read(WIDTH)
            return (os.fstat(file.fileno()).st_ino, said) if said else None
    except FileNotFoundError:
        return None
