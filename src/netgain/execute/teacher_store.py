"""What references have said about training rows, on disk: computed once, for all arms and seeds that share it.

LEDGER/teachers/<key>/   reference.json   what the numbers are of; its content is what the key is a hash of
                         <sum>.safetensors, <sum>.json   the numbers of some rows, and which rows; the JSON is written
                                          last and names the hash of the other
                         head.safetensors, head.json     the head of a model that is not the run's own
                         locks/           who is computing which rows; the kernel frees a lock with its process

A row is found again by what was shown, asked and answered, so nothing that changes any of it reads an old number.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from netgain.data.source import Example, digest
from netgain.errors import UserError
from netgain.ledger.claims import Busy, Vigil
from netgain.ledger.files import canonical_sum, sha256, write_bytes, write_json
from netgain.objectives.references._base import Reference
from netgain.objectives.references._stamp import files_of
from netgain.spec.identity import essence
from netgain.spec.run import DataSpec, ModelSpec

FORMAT = 1
"""Raised when the same rows must get other numbers."""

KEY_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """One row's numbers: `count` tokens of a file from `start` on.

    text     what was shown, asked and answered (`row_text`)
    ids      sha256 over the ids that the reference read and those of the answer
    answer   sha256 over the ids of the answer
    read     how many ids the reference read
    """

    text: str
    ids: str
    answer: str
    read: int
    count: int
    start: int
    file: Path


def row_text(example: Example, shown: Sequence[Example], data: DataSpec) -> str:
    """A hash of all that a row's ids are made of, besides the tokenizer and its template."""
    turns = [f"{turn.role}\x1e{turn.text}" for each in (*shown, example) for turn in (*each.turns,)]
    answers = [each.answer for each in (*shown, example)]
    cut = f"{data.max_len}" if data.truncate == "left" and not shown else ""
    return digest(str(len(shown)), cut, *turns, *answers)


def ids_sum(*parts: Sequence[int]) -> str:
    """A hash of some lists of ids."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:KEY_LENGTH]


def description(
    model: ModelSpec, reference: Reference, kept: str, dtype: str, ledger: Path, folder: Path | None
) -> dict[str, Any]:
    """What numbers depend on besides the rows: the models with their files, the reference, and what is kept of it."""
    return {
        "format": FORMAT,
        "model": essence(model),
        "files": files_of(model.id),
        "reference": essence(reference),
        "stamp": reference.stamp(ledger, folder),
        "kept": kept,
        "dtype": dtype,
    }


class Store:
    """The folder of one reference's numbers."""

    def __init__(self, cache: Path, described: Mapping[str, Any]) -> None:
        self.described = json.loads(json.dumps(described))
        self.path = cache / canonical_sum(self.described)[:KEY_LENGTH]
        self._read: dict[str, list[Entry]] = {}

    # ---- reading
    def entries(self, template: str | None = None) -> dict[str, Entry]:
        """Every row that is there, by its text; with a template's fingerprint, only those that it rendered."""
        found: dict[str, Entry] = {}
        for index in sorted(self.path.glob("rows-*.json")) if self.path.is_dir() else ():
            if not index.with_suffix(".safetensors").exists():
                continue
            if index.name not in self._read:
                self._read[index.name] = self._entries(index)
            if template is None or index.name.split("-")[1] == template:
                found.update((entry.text, entry) for entry in self._read[index.name])
        return found

    def _entries(self, index: Path) -> list[Entry]:
        file, start, found = index.with_suffix(".safetensors"), 0, list[Entry]()
        for text, ids, answer, read, count in _index(index)["rows"]:
            found.append(Entry(text, ids, answer, read, count, start, file))
            start += count
        return found

    def size(self) -> int:
        """The size in bytes of all numbers that are there."""
        return sum(file.stat().st_size for file in self.path.glob("*.safetensors")) if self.path.is_dir() else 0

    # ---- writing
    def add(self, template: str, rows: Sequence[tuple[str, str, str, int, int]], content: bytes) -> None:
        """Keep the numbers of some rows; (text, ids, answer, read, count) each, in the order of the numbers."""
        total = hashlib.sha256(content).hexdigest()
        name = f"rows-{template}-{total[:KEY_LENGTH]}"
        self.keep(name, content, {"rows": list(rows)})

    def keep(self, name: str, content: bytes, notes: Mapping[str, Any]) -> None:
        """Write `name`.safetensors, then `name`.json with its hash: from then on it is there."""
        write_json(self.path / "reference.json", self.described)
        write_bytes(self.path / f"{name}.safetensors", content)
        tree = {**notes, "sha256": hashlib.sha256(content).hexdigest()}
        write_bytes(self.path / f"{name}.json", (json.dumps({**tree, "sum": canonical_sum(tree)}) + "\n").encode())

    @contextmanager
    def claim(self, name: str, vigil: Vigil) -> Iterator[bool]:
        """Hold a piece of the work; False when another process does. Two that compute the same do no harm."""
        try:
            claim, _ = vigil.take(self.path / "locks" / name)
        except Busy:
            yield False
            return
        try:
            yield True
        finally:
            claim.release()


def verified(file: Path) -> Path:
    """A file of numbers, after checking its hash; once a process."""
    stat = file.stat()
    _verify(file, stat.st_size, stat.st_mtime_ns)
    return file


@cache
def _verify(file: Path, size: int, changed: int) -> None:
    if sha256(file) != _index(file.with_suffix(".json"))["sha256"]:
        raise _damaged(file)


def notes(file: Path) -> dict[str, Any]:
    """What was noted beside a file of numbers."""
    return _index(file.with_suffix(".json"))


def _index(index: Path) -> dict[str, Any]:
    try:
        tree = json.loads(index.read_text(encoding="utf-8"))
        total = tree.pop("sum", None)
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError):
        raise _damaged(index) from None
    if total != canonical_sum(tree):
        raise _damaged(index)
    return tree


def _damaged(file: Path) -> UserError:
    return UserError(f"{file}: damaged (its hash is not the recorded one); delete it, and its rows are computed again.")
