"""Examples, and where they come from: embedded suites, JSONL, CSV/TSV, Parquet, Hugging Face datasets.

An example is the turns that are asked and the answer that is wanted. Its group is what no split may divide. Its id
depends on its content alone, so that adding rows to a file renames none.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from netgain.data.fields import Pattern, lookup, written
from netgain.data.files import Row, csv_rows, hf_rows, jsonl_rows, locate, parquet_rows
from netgain.errors import UserError, did_you_mean
from netgain.spec.run import CsvSource, EmbeddedSource, HfSource, JsonlSource, RowSource, Source

ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "prompter": "user"}
"""What other data sets call the roles that chat templates know."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """What is asked (`turns`), what is wanted (`answer`), and the group that no split may divide."""

    id: str
    group: str
    turns: tuple[Turn, ...]
    answer: str
    labels: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)


def digest(*parts: str) -> str:
    """The first 16 hexadecimal digits of the sha256 of some texts."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def read(source: Source, folder: Path | None) -> list[Example]:
    """The examples of a source, in the order of its file; relative paths as `files.locate` says."""
    if isinstance(source, EmbeddedSource):
        from netgain.data import embedded

        return embedded.rows(source.suite, source.n, source.seed, source.convention)
    if isinstance(source, HfSource):
        where, rows, names = hf_rows(source, folder)
    else:
        path, names = locate(source.path, folder), {}
        where = str(path)
        if isinstance(source, JsonlSource):
            rows = jsonl_rows(path)
        elif isinstance(source, CsvSource):
            rows = csv_rows(path, source.separator, source.header)
        else:
            rows = parquet_rows(path)
    if source.where:
        rows = (row for row in rows if all(written(lookup(row, name)) == v for name, v in source.where.items()))
    if source.shuffle_seed is None:
        rows = islice(rows, source.limit)
    reader = _Reader(source, names)
    examples = _named([reader.example(row) for row in rows], where, source.id is not None)
    if not examples:
        raise UserError(f"{where}: holds no rows.")
    if source.shuffle_seed is not None:
        examples.sort(key=lambda example: digest(f"{source.shuffle_seed}", example.id))
        examples = examples[: source.limit]
    return examples


class _Reader:
    """Rows to examples, by the templates of a source; `names` are the label names that a data set itself declares."""

    def __init__(self, source: RowSource, names: Mapping[str, Sequence[str]]) -> None:
        self.source = source
        self.prompt = Pattern(source.prompt, bare_is_field=True) if source.prompt else None
        self.answer = Pattern(source.answer, bare_is_field=True) if source.answer is not None else None
        self.system = Pattern(source.system, bare_is_field=False) if source.system is not None else None
        declared = names.get(self.answer.only_field or "", ()) if self.answer else ()
        self.names = tuple(declared)
        self.labels = tuple(dict.fromkeys(source.labels.values())) if source.labels else self.names

    def example(self, row: Row) -> Example:
        """One example; its id is a hash of its content until `_named` settles repeats."""
        source = self.source
        if source.messages is not None:
            turns, answer = _conversation(row, source.messages)
        elif self.prompt is None:
            assert self.answer is not None
            turns, answer = (), self._label(row, self.answer.fill(row))
        else:
            assert self.answer is not None
            turns, answer = (Turn("user", self.prompt.fill(row)),), self._label(row, self.answer.fill(row))
        if self.system is not None:
            if turns and turns[0].role == "system":
                raise UserError(f"{row.where}: the conversation has a system turn of its own; leave `system` out.")
            turns = (Turn("system", self.system.fill(row)), *turns)
        asked = [turn.text for turn in turns if turn.role != "system"] or [answer]
        group = written(lookup(row, source.group)) if source.group is not None else " ".join(asked).casefold()
        name = digest(*(f"{turn.role}:{turn.text}" for turn in turns), answer)
        return Example(
            id=written(lookup(row, source.id)) if source.id is not None else name,
            group=digest(" ".join(group.split())),
            turns=turns,
            answer=answer,
            labels=self.labels,
        )

    def _label(self, row: Row, raw: str) -> str:
        """The word for a raw label: through the data set's own names, then through the source's `labels`."""
        keys = (raw,)
        if self.names:
            known = dict(enumerate(self.names))
            name = raw if raw in self.names else known.get(int(raw)) if raw.lstrip("-").isdigit() else None
            if name is None:
                raise UserError(f'{row.where}: label "{raw}" is none of {", ".join(self.names)}.')
            keys = (name, str(self.names.index(name)))
        if self.source.labels is None:
            return keys[0]
        for key in keys:
            if key in self.source.labels:
                return self.source.labels[key]
        known_words = tuple(self.source.labels)
        raise UserError(
            f'{row.where}: label "{raw}" is not in `labels` ({", ".join(known_words)}).{did_you_mean(raw, known_words)}'
        )


def _conversation(row: Row, name: str) -> tuple[tuple[Turn, ...], str]:
    """(the turns before the last answer, that answer) of a chat in {role, content} or {from, value} form."""
    messages = lookup(row, name)
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise UserError(f'{row.where}: "{name}" is no list of messages.')
    turns: list[Turn] = []
    for message in messages:
        role, text = _message(message)
        if role is None or text is None:
            raise UserError(f'{row.where}: a message of "{name}" has no role and content (or from and value) text.')
        turns.append(Turn(ROLES.get(role, role), text))
    if len(turns) < 2 or turns[-1].role != "assistant":
        raise UserError(f'{row.where}: the last message of "{name}" is no assistant\'s answer to another one.')
    return tuple(turns[:-1]), turns[-1].text


def _message(message: Any) -> tuple[str | None, str | None]:
    if not isinstance(message, Mapping):
        return None, None
    role = message.get("role", message.get("from"))
    text = message.get("content", message.get("value"))
    return role if isinstance(role, str) else None, text if isinstance(text, str) else None


def _named(examples: Iterable[Example], where: str, explicit: bool) -> list[Example]:
    """Unique ids: an explicit id must not repeat; a repeated content is numbered in the order of the file."""
    seen: Counter[str] = Counter()
    named: list[Example] = []
    for example in examples:
        seen[example.id] += 1
        if seen[example.id] > 1:
            if explicit:
                raise UserError(f'{where}: the id "{example.id}" appears twice; name a field that tells rows apart.')
            example = replace(example, id=f"{example.id}-{seen[example.id]}")
        named.append(example)
    return named
