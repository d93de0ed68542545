"""The ledger on disk: a folder a run; `record.json`, written last, means finished and names every file's hash.

LEDGER/runs/<sig>/   spec.json env.json data.json metrics.jsonl items.parquet adapter/ adapter-best/ record.json
                     checkpoint/ and parts/ while the run is alive; failure.json instead of record.json
LEDGER/studies/      which runs a study is made of
LEDGER/locks/        who is working on what (claims.py)
"""

import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from netgain.errors import UserError
from netgain.ledger.claims import Claim, Lost, Vigil
from netgain.ledger.files import Readings, canonical_sum, file_name, sha256, storage_error, write_bytes, write_json
from netgain.ledger.items import SCHEMA, Item, table

State = Literal["done", "failed", "running", "missing", "corrupt"]

FORMAT = 1
ADAPTERS = ("adapter", "adapter-best", "adapter-retained")
RECORDED = ("spec.json", "env.json", "data.json", "metrics.jsonl", "items.parquet", *ADAPTERS)
TRANSIENT = ("checkpoint", "parts", "failure.json")
LOG = "log.txt"
"""What happened to a run and when, for people: no evidence, so not sealed."""


class Corrupt(UserError):
    """A file of a finished run is not the file that its record describes."""


class RunFolder:
    """One run's folder. Reading verifies; writing is atomic; finishing seals.

    While it is claimed, nothing is written once another process has taken the run over: that raises Lost.
    """

    def __init__(self, ledger: "Ledger", sig: str) -> None:
        self.ledger = ledger
        self.sig = sig
        self.path = ledger.root / "runs" / sig
        self._claim: Claim | None = None

    # ---- state
    def state(self) -> State:
        """What the folder says, without reading its data; running when a live process holds it."""
        found = self.state_on_disk()
        return "running" if found in ("missing", "failed") and self.ledger.locked(self.sig) else found

    def state_on_disk(self) -> State:
        """What the folder says, whoever holds it."""
        if (self.path / "record.json").exists():
            try:
                self.record()
            except Corrupt:
                return "corrupt"
            return "done"
        return "failed" if (self.path / "failure.json").exists() else "missing"

    @contextmanager
    def claim(self, vigil: Vigil | None = None) -> Iterator[None]:
        """Hold this run; raises Busy when another process does. A vigil takes it from one that no longer goes."""
        claim, taken = (vigil or Vigil(None)).take(self.ledger.root / "locks" / self.sig)
        try:
            if taken and self.state_on_disk() != "done":
                self._part_from(claim)
            self._claim = claim
            yield
        finally:
            self._claim = None
            claim.release()

    def hold(self) -> None:
        """Raise Lost when another process has taken the claim over."""
        if self._claim is not None and not self._claim.held():
            raise Lost(self.sig)

    def _part_from(self, claim: Claim) -> None:
        """Give the run new files: what the one before had open, and may go on writing, is no longer the run's."""
        if self.path.is_dir():
            draft, left = (claim.path.with_name(f".{self.sig}.{name}") for name in ("new", "left"))
            for aside in (draft, left):
                shutil.rmtree(aside, ignore_errors=True)
            shutil.copytree(self.path, draft)
            self.path.rename(left)
            draft.rename(self.path)
            shutil.rmtree(left)

    # ---- writing
    def start(self, spec: Mapping[str, Any], env: Mapping[str, Any]) -> None:
        """Open the folder for work: what was asked, and on what it runs."""
        self.hold()
        (self.path / "failure.json").unlink(missing_ok=True)
        self.write("spec.json", spec)
        self.write("env.json", env)

    def write(self, name: str, tree: Any) -> None:
        """A JSON file of the run."""
        write_json(self.path / name, tree, self.hold)

    def metrics_up_to(self, step: int) -> None:
        """Drop the metric rows after `step`: what a resumed run will measure again."""
        path = self.path / "metrics.jsonl"
        if path.exists():
            kept = [row for row in _json_lines(path) if row["step"] <= step]
            write_bytes(path, "".join(json.dumps(row) + "\n" for row in kept).encode(), self.hold)

    def append_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows to metrics.jsonl; readable while the run is alive."""
        self.hold()
        path = self.path / "metrics.jsonl"
        try:
            with path.open("a", encoding="utf-8") as out:
                out.write("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))
        except OSError as error:
            raise storage_error(path, error) from error

    def note(self, words: str) -> None:
        """Add a line with the time of day to the run's log."""
        self.hold()
        path = self.path / LOG
        try:
            with path.open("a", encoding="utf-8") as out:
                out.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {' '.join(words.split())}\n")
        except OSError as error:
            raise storage_error(path, error) from error

    def part(self, name: str) -> Path:
        """Where the finished items of one task at one checkpoint wait for the others."""
        return self.path / "parts" / f"{file_name(name)}.parquet"

    def write_part(self, name: str, items: Iterable[Item]) -> None:
        """Keep the items of one task, so that a killed evaluation never measures them again."""
        write_bytes(self.part(name), _parquet(table(items, self.sig)), self.hold)

    def seal_items(self, names: Iterable[str]) -> None:
        """Join the parts, in the given order, into items.parquet."""
        tables = [pq.read_table(self.part(name), schema=SCHEMA) for name in names]
        write_bytes(self.path / "items.parquet", _parquet(pa.concat_tables(tables)), self.hold)

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write record.json last: from now on the run is finished and its files are fixed."""
        files = {str(f.relative_to(self.path)): sha256(f) for f in self._recorded()}
        tree = {**record, "format": FORMAT, "sig": self.sig, "files": files}
        self.write("record.json", {**tree, "sum": canonical_sum(tree)})
        for name in TRANSIENT:
            _remove(self.path / name)

    def fail(self, reason: str, details: Mapping[str, Any] | None = None) -> None:
        """Say why the run ended without a result; its checkpoint stays."""
        self.write("failure.json", {"reason": reason, **(details or {})})

    def forget(self) -> None:
        """Delete the folder, to do the run again."""
        self.hold()
        _remove(self.path)

    def _recorded(self) -> Iterator[Path]:
        for name in RECORDED:
            path = self.path / name
            if path.is_dir():
                yield from sorted(f for f in path.rglob("*") if f.is_file())
            elif path.exists():
                yield path

    # ---- reading
    def record(self) -> dict[str, Any]:
        """The sealed record, not to be changed; raises Corrupt when it is not what was sealed."""
        try:
            return self.ledger.read.of(self.path / "record.json", self._unsealed)
        except FileNotFoundError:
            raise Corrupt(f"{self.path / 'record.json'}: missing.") from None

    def _unsealed(self, path: Path) -> dict[str, Any]:
        tree = self.json(path.name)
        if not isinstance(tree, dict) or tree.pop("sum", None) != canonical_sum(tree):
            raise Corrupt(f"{path}: changed since it was sealed; run again with --redo {self.sig}.")
        return tree

    def text(self, name: str) -> str | None:
        """A text file of the run as it is; None when there is none."""
        path = self.path / name
        return self.ledger.read.of(path, _text) if path.exists() else None

    def verified(self, name: str) -> Path:
        """The path of a file of a finished run, after checking its hash."""
        path = self.path / name
        expected = self.record()["files"].get(name)
        if expected is None or not path.exists():
            raise Corrupt(f"{path}: missing; run again with --redo {self.sig}.")
        if self._sum(path) != expected:
            raise Corrupt(f"{path}: damaged (its hash is not the recorded one); run again with --redo {self.sig}.")
        return path

    def _sum(self, path: Path) -> str:
        """sha256 of a file; of JSON, of the text that its readers are given."""
        if path.suffix != ".json":
            return self.ledger.read.of(path, sha256)
        try:
            return hashlib.sha256(self.ledger.read.of(path, _text).encode()).hexdigest()
        except UnicodeDecodeError:
            return "no text"

    def verify(self) -> None:
        """Check every file of a finished run, as it is on disk now."""
        self.ledger.read.forget()
        for name in self.record()["files"]:
            self.verified(name)

    def verify_evidence(self) -> None:
        """Check what reports, rules and queries read: every file but the adapters', which are checked when loaded."""
        for name in self.record()["files"]:
            if name.partition("/")[0] not in ADAPTERS:
                self.verified(name)

    def json(self, name: str) -> Any:
        """A JSON file of the run."""
        path = self.path / name
        try:
            return json.loads(self.ledger.read.of(path, _text))
        except FileNotFoundError:
            raise Corrupt(f"{path}: missing.") from None
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise Corrupt(f"{path}: not valid JSON; run again with --redo {self.sig}.") from None

    def items(self) -> pa.Table:
        """The verified items of a finished run."""
        return pq.read_table(self.verified("items.parquet"), schema=SCHEMA)

    def metrics(self) -> list[dict[str, Any]]:
        """The metric rows written so far; a half-written last line is not a row yet."""
        path = self.path / "metrics.jsonl"
        return list(_json_lines(path)) if path.exists() else []


class Ledger:
    """A folder of runs and of the studies that use them. `read` keeps what was read of their files."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.read = Readings()

    def run(self, sig: str) -> RunFolder:
        """The folder of a run, existing or not."""
        return RunFolder(self, sig)

    def runs(self) -> list[RunFolder]:
        """Every run that has a folder."""
        folder = self.root / "runs"
        return [self.run(path.name) for path in sorted(folder.iterdir())] if folder.is_dir() else []

    def find(self, prefix: str) -> RunFolder:
        """The one run whose sig begins with `prefix`."""
        found = [run for run in self.runs() if run.sig.startswith(prefix)]
        if len(found) != 1:
            what = "no run" if not found else f"{len(found)} runs"
            raise UserError(f'{self.root}: {what} with a sig that begins with "{prefix}".')
        return found[0]

    def locked(self, sig: str) -> bool:
        """Is a process executing this run now?"""
        lock = self.root / "locks" / sig
        if not lock.exists():
            return False
        with lock.open("rb") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def write_study(self, key: str, tree: Mapping[str, Any]) -> None:
        """Note which runs a study is made of."""
        write_json(self.root / "studies" / f"{key}.json", tree)

    def studies(self) -> dict[str, dict[str, Any]]:
        """Every study noted here, by its key."""
        folder = self.root / "studies"
        files = sorted(folder.glob("*.json")) if folder.is_dir() else []
        return {file.stem: json.loads(self.read.of(file, _text)) for file in files}


def _text(path: Path) -> str:
    """Byte for byte: no line end is made another."""
    return path.read_bytes().decode()


def _parquet(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
