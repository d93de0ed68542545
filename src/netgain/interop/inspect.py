"""Inspect logs, `.json` and `.eval` (a zip, its paths never used): samples with their scores, epochs as samples."""

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from netgain.errors import UserError
from netgain.interop.files import head, json_document, kind, looks_like_json, parse
from netgain.interop.lm_eval import only_cluster, text_of
from netgain.interop.samples import Samples, Source, require_unique, row_table
from netgain.interop.values import from_json
from netgain.ledger.files import canonical_sum, sha256

LETTERS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
"""Correct, incorrect, partial, no answer."""
NO_ANSWER = "N"
ZIP = b"PK\x03\x04"
ZSTANDARD = 93
MAX_MEMBERS = 1_000_000
MAX_MEMBER = 128 << 20
MAX_TOTAL = 8 << 30
MAX_RATIO = 200
"""Text compresses a hundredfold at best; a zip bomb does a thousandfold."""
WRITTEN = ("metric", "item", "sample", "value", "reason", "cluster", "label", "prediction", "output", "parsed",
           "truncated", "tokens", "document", "prompt")  # fmt: skip


@dataclass
class Columns:
    """Rows being collected, column by column."""

    values: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in WRITTEN})
    left_out: set[str] = field(default_factory=set)
    unscored: list[dict[str, Any]] = field(default_factory=list)
    """Samples without any score, with the reason; they get a row for each metric that the others have."""

    def add(self, row: Mapping[str, Any]) -> None:
        for name in WRITTEN:
            self.values[name].append(row.get(name))


def can_read(path: Path) -> bool:
    """An .eval file, or a .json file whose beginning has Inspect's first fields."""
    if not path.is_file():
        return False
    if path.suffix == ".eval":
        return True
    return path.suffix == ".json" and looks_like_json(path) and b'"eval"' in head(path)[:400]


def read(path: Path, roles: Mapping[str, str] | None = None) -> Samples:
    """The only role that can be stated is `cluster`: a field of the samples' metadata."""
    cluster = only_cluster(path, roles)
    zipped = head(path)[:4] == ZIP
    if path.suffix == ".eval" and not zipped:
        raise UserError(f"{path}: not an Inspect log (an .eval file is a zip archive).")
    header, found = from_zip(path) if zipped else from_document(path)
    task, model, version = spec_of(header, path)
    columns = Columns()
    for name, tree in found:
        collect(tree, cluster, columns, f"{path}, {name}")
    fill_unscored(columns)
    count = len(columns.values["item"])
    if not count:
        raise UserError(f"{path}: the log holds no scored sample (status: {header.get('status', 'unknown')}).")
    constant = {"task": task, "arm": model, "run": model}
    rows = row_table(count, {**columns.values, **{name: pa.repeat(text, count) for name, text in constant.items()}})
    require_unique(rows, path)
    notes = [f"{name} is no number, letter or truth value; left out." for name in sorted(columns.left_out)]
    if header.get("status") != "success":
        notes.append(f"the evaluation did not finish (status: {header.get('status', 'unknown')}).")
    return Samples(Source(path, sha256(path), "Inspect", version, {"item": "id"}), rows, notes=tuple(notes))


def spec_of(header: dict[str, Any], path: Path) -> tuple[str, str, str | None]:
    """(task, model, Inspect's version)."""
    spec = header.get("eval")
    if not isinstance(spec, dict):
        raise UserError(f'{path}: field "eval" is {kind(spec)}; is this an Inspect log?')
    task, model, packages = spec.get("task"), spec.get("model"), spec.get("packages")
    version = packages.get("inspect_ai") if isinstance(packages, dict) else None
    if not isinstance(task, str) or not isinstance(model, str):
        raise UserError(f'{path}: fields "eval.task" and "eval.model" must be text.')
    return task, model, version if isinstance(version, str) else None


def from_document(path: Path) -> tuple[dict[str, Any], Iterator[tuple[str, dict[str, Any]]]]:
    """(header, samples) of a .json log."""
    tree = json_document(path)
    samples = tree.get("samples") or []
    if not isinstance(samples, list):
        raise UserError(f'{path}: field "samples" is {kind(samples)}.')

    def each() -> Iterator[tuple[str, dict[str, Any]]]:
        for i, sample in enumerate(samples):
            if not isinstance(sample, dict):
                raise UserError(f"{path}, samples[{i}]: expected an object, found {kind(sample)}.")
            yield f"samples[{i}]", sample

    return tree, each()


def from_zip(path: Path) -> tuple[dict[str, Any], Iterator[tuple[str, dict[str, Any]]]]:
    """(header, samples) of an .eval log. A later member of one name replaces an earlier one, as in every zip reader."""
    try:
        archive = zipfile.ZipFile(path)
        members = {info.filename: info for info in archive.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path}: damaged .eval archive ({error}).") from None
    refuse_bomb(path, list(members.values()))
    first = members.get("header.json") or members.get("_journal/start.json")
    if first is None:
        raise UserError(f"{path}: the archive has no header.json; is it an Inspect log?")
    file = path.open("rb")
    header = member_json(file, first, path)
    samples = [info for name, info in members.items() if name.startswith("samples/") and name.endswith(".json")]

    def each() -> Iterator[tuple[str, dict[str, Any]]]:
        with file:
            for info in samples:
                yield info.filename, member_json(file, info, path)

    archive.close()
    return header, each()


def refuse_bomb(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Bounds on what the archive claims; `member_json` holds each member to its claim."""
    total = sum(info.file_size for info in members)
    packed = path.stat().st_size
    if len(members) > MAX_MEMBERS or total > MAX_TOTAL or total > MAX_RATIO * packed + (1 << 20):
        raise UserError(
            f"{path}: unpacks to {total >> 20} MB in {len(members)} members from {packed >> 10} kB; refused as unsafe."
        )
    for info in members:
        if info.file_size > MAX_MEMBER:
            raise UserError(
                f"{path}, {info.filename}: {info.file_size >> 20} MB in one sample; the limit is {MAX_MEMBER >> 20} MB."
            )


def member_json(file: BinaryIO, info: zipfile.ZipInfo, path: Path) -> dict[str, Any]:
    """One member, unpacked in memory: stored, deflated or Zstandard (which Inspect uses and `zipfile` lacks)."""
    where = f"{path}, {info.filename}"
    try:
        file.seek(info.header_offset)
        local = file.read(30)
        names, extra = struct.unpack("<26x2H", local)
        file.seek(names + extra, 1)
        tree = parse(unpack(file.read(info.compress_size), info), where)
    except (OSError, ValueError, struct.error, zlib.error, pa.ArrowException) as error:
        raise UserError(f"{where}: damaged ({error}).") from None
    if not isinstance(tree, dict):
        raise UserError(f"{where}: expected a JSON object, found {kind(tree)}.")
    return tree


def unpack(packed: bytes, info: zipfile.ZipInfo) -> bytes:
    """The member's bytes: exactly as many as it claims, and of the claimed checksum."""
    if info.flag_bits & 1:
        raise ValueError("it is encrypted")
    if info.compress_type == zipfile.ZIP_STORED:
        content = packed
    elif info.compress_type == zipfile.ZIP_DEFLATED:
        content = zlib.decompressobj(-15).decompress(packed, info.file_size + 1)
    elif info.compress_type == ZSTANDARD:
        content = pa.decompress(packed, decompressed_size=info.file_size, codec="zstd", asbytes=True)
    else:
        raise ValueError(f"compression {info.compress_type} is unknown")
    if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
        raise ValueError("its checksum does not match")
    return content


def collect(tree: dict[str, Any], cluster: str | None, columns: Columns, where: str) -> None:
    """One sample at one epoch: a row for each score."""
    shared = facts(tree, cluster, where)
    scores = tree.get("scores") or {}
    if not isinstance(scores, dict):
        raise UserError(f'{where}: field "scores" is {kind(scores)}.')
    if not scores:
        columns.unscored.append(shared | {"reason": "error" if tree.get("error") else "unscored"})
        return
    for scorer, entry in scores.items():
        if not isinstance(entry, dict) or "value" not in entry:
            raise UserError(f'{where}: field "scores.{scorer}" has no value.')
        said = entry.get("answer")
        prediction = said if isinstance(said, str) else None
        for metric, raw in named_values(scorer, entry["value"]):
            scored = one_score(raw)
            if scored is None:
                columns.left_out.add(metric)
                continue
            value, reason = scored
            parsed = False if raw == NO_ANSWER else (None if prediction is None else True)
            row = {"metric": metric, "value": value, "reason": reason, "prediction": prediction, "parsed": parsed}
            columns.add(shared | row)


def facts(tree: dict[str, Any], cluster: str | None, where: str) -> dict[str, Any]:
    """What a sample says about itself, whatever its scores."""
    item, epoch = tree.get("id"), tree.get("epoch", 1)
    if isinstance(item, bool) or not isinstance(item, int | str):
        raise UserError(f'{where}: field "id" is {kind(item)}.')
    if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch < 1 << 31:
        raise UserError(f'{where}: field "epoch" is no ordinary whole number.')
    output = tree.get("output")
    output = output if isinstance(output, dict) else {}
    usage, choices = output.get("usage"), output.get("choices")
    tokens = usage.get("output_tokens") if isinstance(usage, dict) else None
    stop = (
        choices[0].get("stop_reason")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict)
        else None
    )
    target, messages = tree.get("target"), tree.get("messages")
    completion = output.get("completion")
    return {
        "item": str(item),
        "sample": max(epoch - 1, 0),
        "label": ", ".join(map(str, target)) if isinstance(target, list) else text_of(target),
        "output": completion if isinstance(completion, str) else None,
        "truncated": None
        if stop is None and not tree.get("limit")
        else stop == "max_tokens" or bool(tree.get("limit")),
        "tokens": tokens if isinstance(tokens, int) and 0 <= tokens < 1 << 31 else None,
        "document": canonical_sum([tree.get("input"), target]) if plain(tree.get("input")) else None,
        "prompt": canonical_sum(sent(messages)) if isinstance(messages, list) and messages else None,
        "cluster": None if cluster is None else metadata_of(tree, cluster, where),
    }


def plain(raw: Any) -> bool:
    """Is the input text? Chat inputs carry message ids that differ from run to run."""
    return isinstance(raw, str)


def sent(messages: list[Any]) -> list[Any]:
    """(role, content) of the messages before the first answer."""
    out: list[Any] = []
    for message in messages:
        if not isinstance(message, dict) or message.get("role") == "assistant":
            break
        out.append([message.get("role"), message.get("content")])
    return out


def metadata_of(tree: dict[str, Any], name: str, where: str) -> str:
    """A field of the sample's metadata."""
    metadata = tree.get("metadata")
    if not isinstance(metadata, dict) or name not in metadata:
        known = ", ".join(metadata) if isinstance(metadata, dict) and metadata else "none"
        raise UserError(f'{where}: the metadata has no field "{name}" to cluster by; it has {known}.')
    return str(metadata[name])


def named_values(scorer: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(metric, raw value): one for a plain score, one for each key of a score that is an object."""
    if isinstance(value, dict):
        yield from ((f"{scorer}/{key}", each) for key, each in value.items())
    else:
        yield scorer, value


def one_score(raw: Any) -> tuple[float | None, str | None] | None:
    """(value, reason); NaN is how Inspect writes "unscored"."""
    if isinstance(raw, str) and raw in LETTERS:
        return LETTERS[raw], None
    if isinstance(raw, float) and raw != raw:
        return None, "unscored"
    return from_json(raw)


def fill_unscored(columns: Columns) -> None:
    """A sample that failed before it was scored has no value in any metric, and says why."""
    metrics = list(dict.fromkeys(columns.values["metric"])) or (["score"] if columns.unscored else [])
    for shared in columns.unscored:
        for metric in metrics:
            columns.add(shared | {"metric": metric})
