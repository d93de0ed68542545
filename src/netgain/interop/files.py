"""Files that others wrote, read within limits: bounded sizes, and a sentence for what is not what it claims to be."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netgain.errors import UserError

HEAD = 1 << 16
"""Bytes looked at to tell what a file is."""
MAX_JSON = 256 << 20
"""A JSON document is parsed whole, so it has a limit."""
MAX_LINE = 32 << 20
"""One record of a JSON-lines file."""
MAX_DIGITS = 4000


def head(path: Path) -> bytes:
    """The first bytes of a file."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from None


def text_head(path: Path) -> str:
    """The first characters of a text file; a sentence when it is empty or no text at all."""
    raw = head(path).removeprefix(b"\xef\xbb\xbf")
    if not raw.strip():
        raise UserError(f"{path}: the file is empty.")
    if b"\0" in raw:
        raise UserError(f"{path}: holds NUL bytes, so it is no text file; is it binary or damaged?")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        if len(raw) - error.start < 4 and len(raw) > HEAD - 8:
            return raw[: error.start].decode()
        raise UserError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 text.") from None


def looks_like_json(path: Path, opening: str = "{") -> bool:
    """Does the file begin as a JSON document does?"""
    return head(path).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == opening.encode()


def parse(text: str | bytes, where: str) -> Any:
    """A JSON value; NaN and Infinity are accepted, since Python tools write them."""
    try:
        tree = json.loads(text)
        escaped = b"\\ud" if isinstance(text, bytes) else "\\ud"
        return whole_text(tree) if escaped in text else tree  # pyright: ignore[reportOperatorIssue]
    except json.JSONDecodeError as error:
        position = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{where}: not valid JSON at {position} ({error.msg}); is the file cut short?") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: byte {error.start} is not UTF-8 text.") from None
    except RecursionError:
        raise UserError(f"{where}: JSON nested too deeply to be a log.") from None
    except ValueError:
        raise UserError(f"{where}: holds a number of more than {MAX_DIGITS} digits.") from None


def whole_text(tree: Any) -> Any:
    """The same tree with half surrogate pairs (a cut emoji) replaced: they cannot be written as UTF-8."""
    if isinstance(tree, str):
        return tree.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(tree, list):
        return [whole_text(each) for each in tree]
    if isinstance(tree, dict):
        return {whole_text(name): whole_text(each) for name, each in tree.items()}
    return tree


def json_document(path: Path) -> dict[str, Any]:
    """A file that is one JSON object."""
    size = path.stat().st_size
    if size > MAX_JSON:
        raise UserError(f"{path}: {size >> 20} MB of JSON in one document; the limit is {MAX_JSON >> 20} MB.")
    text_head(path)
    tree = parse(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), str(path))
    if not isinstance(tree, dict):
        raise UserError(f"{path}: expected a JSON object, found {kind(tree)}.")
    return tree


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of each line that is not blank."""
    text_head(path)
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE):
            number += 1
            if len(line) == MAX_LINE:
                raise UserError(f"{path}, line {number}: longer than {MAX_LINE >> 20} MB; is it a JSON-lines file?")
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            tree = parse(line, f"{path}, line {number}")
            if not isinstance(tree, dict):
                raise UserError(f"{path}, line {number}: expected a JSON object, found {kind(tree)}.")
            yield number, tree


def first_line(path: Path) -> dict[str, Any] | None:
    """The first object of a JSON-lines file, or None when the file is none."""
    if not looks_like_json(path):
        return None
    for _, tree in json_lines(path):
        return tree
    return None


def kind(tree: Any) -> str:
    """What a JSON value is, in words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(tree), "null")


def member(tree: dict[str, Any], name: str, wanted: type, where: str) -> Any:
    """tree[name] of the wanted JSON type, or a sentence."""
    if name not in tree:
        raise UserError(f'{where}: field "{name}" is missing.')
    if not isinstance(tree[name], wanted):
        raise UserError(f'{where}: field "{name}" is {kind(tree[name])}.')
    return tree[name]
