"""The metric rows of runs at work: each file is read once, and then only what was added to it."""

import json
import os
import threading
from dataclasses import dataclass, field
from typing import Any

from netgain.ledger.store import RunFolder


@dataclass
class _Read:
    rows: list[dict[str, Any]] = field(default_factory=list)
    offset: int = 0
    inode: int = 0


class Follow:
    """metrics.jsonl of any number of runs; safe to ask from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: dict[str, _Read] = {}

    def rows(self, folder: RunFolder) -> list[dict[str, Any]]:
        """Every whole row that was written so far; a file that a resumed run wrote anew is read anew."""
        with self._lock:
            known = self._read.setdefault(folder.sig, _Read())
            try:
                with (folder.path / "metrics.jsonl").open("rb") as file:
                    now = os.fstat(file.fileno())
                    if now.st_ino != known.inode or now.st_size < known.offset:
                        known = self._read[folder.sig] = _Read(inode=now.st_ino)
                    file.seek(known.offset)
                    added = file.read()
            except FileNotFoundError:
                self._read[folder.sig] = _Read()
                return []
            whole = added[: added.rfind(b"\n") + 1]
            known.offset += len(whole)
            known.rows += [json.loads(line) for line in whole.splitlines()]
            return list(known.rows)
