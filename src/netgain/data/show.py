"""What a model will really see: decoded rows with their supervised tokens marked, lengths, mixture, overlap.

The same facts go to a terminal (`report`) and into every run's data.json (`facts`).
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from netgain.data.chat import Encoded, Encoding
from netgain.data.mix import Mixture
from netgain.data.overlap import Overlap

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEARNED = "bold green"
QUANTILES = {"shortest": 0.0, "median": 0.5, "p95": 0.95, "longest": 1.0}


def segments(tok: "PreTrainedTokenizerBase", row: Encoded) -> list[tuple[str, bool]]:
    """(decoded text, supervised) of each run of tokens that share a mask; special tokens are kept as text."""
    pairs = zip(row.ids, row.supervised, strict=True)
    runs = ((learned, [i for i, _ in run]) for learned, run in groupby(pairs, key=lambda pair: pair[1]))
    return [(str(tok.decode(ids, skip_special_tokens=False)), learned) for learned, ids in runs]


def render_examples(tok: "PreTrainedTokenizerBase", rows: Sequence[Encoded], n: int) -> list[Text]:
    """The first n rows as the model sees them, supervised tokens coloured and their line breaks made visible."""
    shown: list[Text] = []
    for row in rows[:n]:
        text = Text(f"{row.id}  {len(row.ids)} tokens, {sum(row.supervised)} supervised", style="dim")
        if row.truncated:
            text.append(f", {row.truncated} cut from the left", style="yellow")
        text.append("\n")
        for part, learned in segments(tok, row):
            text.append(part.replace("\n", "⏎\n") if learned else part, style=LEARNED if learned else "not dim")
        shown.append(text)
    return shown


def facts(tok: "PreTrainedTokenizerBase", encoding: Encoding, mixture: Mixture, overlap: Overlap) -> dict[str, Any]:
    """Rows, lengths, truncation, mixture, overlap and three decoded rows, as JSON."""
    rows = encoding.rows
    lengths = np.array([len(row.ids) for row in rows])
    answers = np.array([sum(row.supervised) for row in rows])
    asked = len(rows) + len(encoding.dropped)
    return {
        "rows": len(rows),
        "dropped": list(encoding.dropped),
        "cut": encoding.cut,
        "truncation_rate": (encoding.cut + len(encoding.dropped)) / asked if asked else 0.0,
        "tokens": int(lengths.sum()),
        "supervised": int(answers.sum()),
        "length": _quantiles(lengths),
        "answer_length": _quantiles(answers),
        "mixture": mixture.to_json(),
        "overlap": overlap.to_json(),
        "examples": [
            {"id": row.id, "segments": [{"text": text, "supervised": on} for text, on in segments(tok, row)]}
            for row in rows[:3]
        ],
    }


def _quantiles(lengths: np.ndarray) -> dict[str, int]:
    if not len(lengths):
        return {}
    return {name: int(np.quantile(lengths, q, method="higher")) for name, q in QUANTILES.items()}


def report(
    tok: "PreTrainedTokenizerBase",
    encoding: Encoding,
    found: Mapping[str, Any],
    n: int,
    taught: Mapping[str, Encoded] | None = None,
) -> RenderableType:
    """What `netgain show-data` prints: n rows, a row as each of the references in `taught` reads it, and the tables of
    `facts`."""
    return Group(*_report(tok, encoding, found, n, taught or {}))


def _report(
    tok: "PreTrainedTokenizerBase",
    encoding: Encoding,
    found: Mapping[str, Any],
    n: int,
    taught: Mapping[str, Encoded],
) -> Iterator[RenderableType]:
    for text in render_examples(tok, encoding.rows, n):
        yield text
        yield Text()
    for name, row in taught.items():
        yield Text(f'What the reference "{name}" reads before it scores the same answer:', style="bold")
        yield from render_examples(tok, [row], 1)
        yield Text()
    yield Text.assemble("Coloured: ", ("learned", LEARNED), ". Everything else is only read.")
    length, answer = found["length"], found["answer_length"]
    yield Text(
        f"{found['rows']:,} rows, {found['tokens']:,} tokens, {found['supervised']:,} supervised; "
        f"lengths {_spread(length)}; answers {_spread(answer)}."
    )
    lost = f"{found['cut']} prompts shortened, {len(found['dropped'])} rows dropped"
    yield Text(
        f"Truncation: {found['truncation_rate']:.1%} ({lost}).", style="yellow" if found["truncation_rate"] else ""
    )
    yield _mixture(found["mixture"])
    yield _overlap(found["overlap"])


def _spread(quantiles: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in quantiles.items()) or "none"


def _mixture(mixture: Mapping[str, Any]) -> Table:
    table = Table("source", *("share planned", "rows planned", "rows drawn", "share drawn", "rows there are"), box=None)
    total = sum(mixture["drawn"].values())
    for name, share in mixture["share"].items():
        drawn = mixture["drawn"][name]
        cells = (f"{mixture['planned'][name]:,}", f"{drawn:,}", f"{drawn / total:.1%}" if total else "-")
        table.add_row(name, f"{share:.1%}", *cells, f"{mixture['available'][name]:,}")
    return table


def _overlap(pairs: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("of the rows of", "share with", "rows", "id", "group", "text", "13 words", "such as", box=None)
    for pair in pairs:
        counts = [pair[name] for name in ("ids", "groups", "texts", "ngrams")]
        style = "red" if any(counts[:3]) else "yellow" if counts[3] else ""
        numbers = [str(count) for count in (pair["right_rows"], *counts)]
        table.add_row(pair["right"], pair["left"], *numbers, pair["example"] or "", style=style)
    return table
