"""Files that are either whole or absent: write to a sibling, sync, rename."""

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from netgain.errors import UserError


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step; a full disk leaves the old file and one sentence."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise storage_error(path, error) from error


def write_json(path: Path, tree: Any) -> None:
    """`tree` as indented JSON, in one step."""
    write_bytes(path, (json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def storage_error(path: Path, error: OSError) -> UserError:
    """The sentence for a failed write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"{path}: the disk is full; free some space and run again, nothing finished was lost.")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return UserError(f"{path}: cannot be written ({error.strerror}); choose another folder with --ledger.")
    return UserError(f"{path}: cannot be written: {error.strerror or error}.")


def sha256(path: Path) -> str:
    """The hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_sum(tree: Any) -> str:
    """sha256 of a JSON tree's canonical form."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
