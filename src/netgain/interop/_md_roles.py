"""What a column holds: inferred from its name and cells, or said by a sidecar file."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from netgain.interop._md_model import Cell, Column
from netgain.interop._md_numbers import cell_value, plain, uses_decimal_comma

ROLES = (
    "arm", "task", "metric", "parameter", "planned", "actual", "axis", "best_axis", "seed", "n", "n_seeds", "spread",
    "interval", "p", "delta", "ratio", "score", "text",
)  # fmt: skip

_AXIS = (
    r"λ|lambda|lam|α|alpha|β|beta|γ|gamma|τ|tau|lr|learning[ _]rate|rank|r|k|top[-_ ]?k|temperature|steps?|epochs?|"
    r"kl[ _]coef\w*|coef\w*|weight|n_anchors|anchors|margin|dropout|size|shots?|#?\s?shots?|budget|layers?|width"
)
_NAMED: tuple[tuple[str, str], ...] = (
    ("seed", r"(random |rng )?seeds?"),
    ("n_seeds", r"(n|num|number of|#)[ _]?(seeds|runs)"),
    ("n", r"n|n[ _](items|test|questions|examples|samples)|#\s?(items|questions|examples)?|items|questions|examples"),
    ("p", r"p|p[- _]?values?|p \(.*\)|adjusted p|p[ _]adj\w*"),
    ("interval", r".*\b(ci|confidence|interval|95 ?%|90 ?%)\b.*"),
    ("spread", r".*(\bstd\b|\bs\.?d\.?\b|\bstderr\b|\bse\b|\bs\.e\.|std\.? ?dev|deviation|standard error|±).*"),
    ("best_axis", rf"(best|optimal|ideal|chosen|selected) ({_AXIS})"),
    ("ratio", r".*(gap[ _]?recover|recovered|\bratio\b|relative gain|% of (the )?oracle).*"),
    ("delta", r"(.*\b)?(delta|Δ.*|gain|change|diff(erence)?|improvement|drop|uplift)(\b.*)?|vs\.? (base|sft).*"),
    ("axis", rf"({_AXIS})( \(.*\))?"),
    ("parameter", r"(hyper-?)?param(eter)?s?|setting|option|hyper-?parameter|key|knob|config key"),
    ("planned", r"planned|plan|intended|expected|target"),
    ("actual", r"actual|used|observed|realised|realized|as run|in fact"),
    ("metric", r"metrics?|measure|quantity"),
    ("task", r"(held-?out )?(tasks?|datasets?|benchmarks?|domains?|languages?|subsets?|suites?|categor(y|ies))"),
    (
        "arm",
        r"methods?|models?|arms?|systems?|config(uration)?s?|variants?|runs?|experiments?|approach|names?|recipes?",
    ),
    ("text", r"status|verdict|issue|rationale|why|notes?|comment|remark|reason|decision|claim"),
)
_COMPILED = tuple((role, re.compile(rf"^(?:{pattern})$", re.I)) for role, pattern in _NAMED)
_TEXTUAL = {"arm", "task", "metric", "parameter"}


def columns(names: Sequence[str], rows: Sequence[tuple[int, Sequence[str]]], said: Mapping[str, str]) -> list[Column]:
    """The columns of a table, each with its role; `said` maps a column name to a role and wins."""
    made: list[Column] = []
    for index, name in enumerate(names):
        bare = plain(name).strip()
        texts = [row[index] for _, row in rows]
        comma = uses_decimal_comma(texts)
        cells = tuple(Cell(plain(row[index]), line, cell_value(row[index], comma)) for line, row in rows)
        percent = "%" in bare or 2 * sum(c.value is not None and c.value.unit == "%" for c in cells) > len(cells) > 0
        made.append(Column(bare, said.get(bare) or _role(bare, cells), percent, cells))
    return _second_look(made, said)


def _role(name: str, cells: Sequence[Cell]) -> str:
    bare = re.sub(r"\s*\((?:%|pp|s|h|\$)\)\s*$", "", name).strip()
    filled = [c for c in cells if c.text]
    numeric = sum(c.value is not None for c in filled)
    mostly = bool(filled) and 2 * numeric >= len(filled)
    for role, pattern in _COMPILED:
        if not pattern.match(bare):
            continue
        if role in _TEXTUAL and mostly:
            return "axis" if _rising(cells) else "score"
        if role in ("planned", "actual", "text", "best_axis", "p", "interval", "delta"):
            return role
        if role in _TEXTUAL or mostly:
            return role
    return "score" if mostly else "text"


def _rising(cells: Sequence[Cell]) -> bool:
    numbers = [c.value.number for c in cells if c.value is not None]
    return len(numbers) > 2 and all(a < b for a, b in pairwise(numbers))


def _second_look(made: list[Column], said: Mapping[str, str]) -> list[Column]:
    """Rules that need the whole table: settings have no scores; the first word column of a score table is its arms."""
    roles = {c.role for c in made}
    if "parameter" in roles:
        keep = {"parameter", "planned", "actual", "text"}
        return [c if c.role in keep or c.name in said else _as(c, "setting") for c in made]
    if not roles & {"arm", "task", "metric", "axis"} and "score" in roles and made[0].role == "text":
        return [_as(made[0], "arm"), *made[1:]]
    return made


def _as(column: Column, role: str) -> Column:
    return Column(column.name, role, column.percent, column.cells)
