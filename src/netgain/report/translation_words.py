"""Translated adapters in words and tables, the same in the terminal, in Markdown and on the page."""

from collections.abc import Iterator, Sequence

from netgain.report.translation import POOLED, Cell, Gate, Translated
from netgain.stats.result import say, say_range

Block = tuple[str, Sequence[str], list[list[str]], tuple[str, ...]]


def blocks(found: Translated) -> Iterator[Block]:
    """(title, columns, rows, sentences) of every table, the gate first."""
    gates = [_gate(each) for each in found.gates]
    said = tuple(found.sentences())
    yield "The gate: what the oracles gained", ("held out", "domain", "metric", "base", "oracle", "gain", "interval",
        "counts"), gates, said[: len(gates)]  # fmt: skip
    yield from _main(found, said[len(gates) :])
    for each in found.varied:
        rows = [[str(value), Cell(POOLED, each.how, None, ratio).words()] for value, ratio in each.points]
        more = (f"Tried on one problem and the best taken: {each.best.sentence()}",) if each.best else ()
        yield f"Experiment 2: {each.how} by {each.what}", (each.what, "gap recovered"), rows, more
    if found.pools:
        rows = [[each.problem, each.how.rpartition(" ")[2], _score(each), each.words()] for each in found.pools]
        yield (
            "Experiment 3: from the anchors of one domain",
            ("held out", "anchors", "score", "gap recovered"),
            rows,
            (),
        )
    if found.selections:
        picked = [[arm, ", ".join(names)] for arm, names in found.selections]
        yield "Which anchors the top-k methods mixed", ("arm", "anchors, first seed"), picked, ()


def _main(found: Translated, claims: tuple[str, ...]) -> Iterator[Block]:
    """Experiment 1: methods, then baselines apart; a column of shares for each problem, and pooled."""
    problems = [*dict.fromkeys(each.problem for each in found.methods or found.baselines)]
    columns = ["how", *(f"{name}: score; gap recovered" for name in problems if name != POOLED), "pooled"]
    for title, cells, said in (
        ("Experiment 1: methods", found.methods, claims),
        ("Experiment 1: baselines, which know nothing of the source adapter", found.baselines, ()),
    ):
        if cells:
            yield title, columns, _rows(cells), said


def _rows(cells: Sequence[Cell]) -> list[list[str]]:
    """A line a method."""
    rows: dict[str, list[str]] = {}
    for cell in cells:
        words = cell.words() if cell.score is None else f"{_score(cell)}; {cell.words()}"
        rows.setdefault(cell.how, [cell.how]).append(words)
    return list(rows.values())


def _gate(each: Gate) -> list[str]:
    answer = each.gain.checkpoint
    numbers = [f"{each.base:.4g}", f"{each.oracle:.4g}", say(answer.estimate, answer.scale)]
    between = say_range(answer.low, answer.high, answer.scale)
    return [each.problem, each.domain, each.metric, *numbers, between, "yes" if each.open else "no"]


def _score(cell: Cell) -> str:
    return "-" if cell.score is None else f"{cell.score:.4g}"
