"""A copy of finished runs at any URL that fsspec reads: a shared folder, an s3-compatible store, Google's.

URL/runs/<sig>/ holds what the ledger's folder holds. `record.json` goes last, and names every file's hash, so a copy
is either whole or absent; both directions compare the bytes with it.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from netgain.errors import UserError
from netgain.ledger.store import Corrupt, RunFolder


class Mirror:
    """Push finished runs, pull them elsewhere."""

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs

            self.fs, self.root = url_to_fs(url)
        except ImportError as error:
            raise UserError(f"--mirror {url}: {error}; install what it names.") from error
        except ValueError as error:
            raise UserError(f"--mirror {url}: {error}.") from error
        self.url = url

    def push(self, folder: RunFolder) -> None:
        """Copy a finished run, its record last; one that failed leaves its reason."""
        state = folder.state_on_disk()
        if state == "done" and self._record(folder.sig) != folder.record():
            for name, expected in folder.record()["files"].items():
                self._send(folder.verified(name), f"{folder.sig}/{name}", expected)
            self._send(folder.path / "record.json", f"{folder.sig}/record.json", None)
        elif state == "failed":
            self._send(folder.path / "failure.json", f"{folder.sig}/failure.json", None)

    def pull(self, folder: RunFolder) -> None:
        """Bring a run that is finished there and not here; what fails its hash is refused."""
        if folder.state_on_disk() == "done":
            return
        record = self._record(folder.sig)
        if record is None:
            self._pull_failure(folder)
            return
        draft = folder.path.with_name(f".{folder.sig}.pulled")
        shutil.rmtree(draft, ignore_errors=True)
        for name, expected in record["files"].items():
            path = _inside(draft, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._bytes(f"{folder.sig}/{name}", expected))
        (draft / "record.json").write_bytes(self._bytes(f"{folder.sig}/record.json", None))
        shutil.rmtree(folder.path, ignore_errors=True)
        draft.rename(folder.path)

    def _pull_failure(self, folder: RunFolder) -> None:
        path = self._at(f"{folder.sig}/failure.json")
        if self.fs.exists(path) and not folder.path.exists():
            folder.path.mkdir(parents=True)
            (folder.path / "failure.json").write_bytes(self.fs.cat_file(path))

    def _record(self, sig: str) -> dict[str, Any] | None:
        """The record of a run that is whole there."""
        path = self._at(f"{sig}/record.json")
        if not self.fs.exists(path):
            return None
        try:
            tree = json.loads(self.fs.cat_file(path))
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise Corrupt(f"{self.url}/runs/{sig}/record.json: not valid JSON; delete it there.") from None
        tree.pop("sum", None)
        return tree

    def _send(self, path: Path, name: str, expected: str | None) -> None:
        target = self._at(name)
        self.fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        self.fs.pipe_file(target, path.read_bytes())
        if expected is not None:
            self._bytes(name, expected)

    def _bytes(self, name: str, expected: str | None) -> bytes:
        content = self.fs.cat_file(self._at(name))
        if expected is not None and hashlib.sha256(content).hexdigest() != expected:
            raise Corrupt(f"{self.url}/runs/{name}: damaged (its hash is not the recorded one); delete that run there.")
        return content

    def _at(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/runs/{name}"


def _inside(folder: Path, name: str) -> Path:
    """The path of a recorded file, which never leaves its folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise Corrupt(f'{folder.name}: its record names a file outside of the run: "{name}".')
    return path
