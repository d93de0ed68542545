"""Files that are either whole or absent: write to a sibling, sync, rename."""

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from netgain.errors import UserError

T = TypeVar("T")


def write_bytes(path: Path, content: bytes, check: Callable[[], object] = lambda: None) -> None:
    """Replace `path` by `content` in one step; a full disk leaves the old file and one sentence.

    `check` is called when the content is on disk and not yet in its place; what it raises leaves the old file.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        check()
        draft.replace(path)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        with suppress(OSError):  # whatever refused the file may refuse this too
            draft.unlink(missing_ok=True)


def write_json(path: Path, tree: Any, check: Callable[[], object] = lambda: None) -> None:
    """`tree` as indented JSON, in one step."""
    write_bytes(path, (json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(), check)


def file_name(name: str) -> str:
    """A name that a file may have: the name itself, or as much of it as can be read and a hash of all of it."""
    plain = re.sub(r"[^\w@.+=,-]", "_", name)
    if plain == name and len(name.encode()) <= 100:
        return name
    return f"{plain[:20]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def storage_error(path: Path, error: Exception) -> UserError:
    """The sentence for a failed write."""
    code = _number(error)
    if code in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"{path}: the disk is full; free some space and run again, nothing finished was lost.")
    words = os.strerror(code) if code else str(error)
    if code in (errno.EROFS, errno.EACCES, errno.EPERM):
        return UserError(f"{path}: cannot be written ({words}); choose another folder with --ledger.")
    return UserError(f"{path}: cannot be written: {words}.")


def _number(error: Exception) -> int:
    """The system's number of an error; safetensors has it only in its words, as `(os error 28)`. 0 for none."""
    if isinstance(error, OSError):
        return error.errno or 0
    spelled = re.search(r"\(os error (\d+)\)", str(error))
    return int(spelled[1]) if spelled else 0


def sha256(path: Path) -> str:
    """The hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Readings:
    """What was made of files, kept for as long as each is the same file: its inode, size and times."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Path, str], tuple[tuple[int, ...], Any]] = {}

    def of(self, path: Path, make: Callable[[Path], T]) -> T:
        """make(path), unless that is known; what it raises is raised again next time. The value is shared."""
        place, stamp = (path, make.__name__), _stamp(path)
        known = self._kept.get(place)
        if known is None or known[0] != stamp:
            known = self._kept[place] = stamp, make(path)
        return known[1]

    def forget(self) -> None:
        """Read everything anew."""
        self._kept.clear()


def _stamp(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def canonical_sum(tree: Any) -> str:
    """sha256 of a JSON tree's canonical form."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
