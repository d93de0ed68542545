"""A report as Markdown for a repository: answers, completeness, contrasts, scores, cost, how to reproduce."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from netgain.report.words import interval, percent, seconds, word_of
from netgain.spec.study import as_yaml

if TYPE_CHECKING:
    from netgain.report.study import Report


def markdown(report: "Report") -> str:
    """The whole report as one Markdown document."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: "Report") -> Iterator[str]:
    yield f"# {report.study.key}"
    yield ""
    yield f"**{report.study.question}**"
    yield ""
    for answer in report.answers():
        yield f"- {_escape(answer)}"
    yield from ("", "## What there is", "")
    yield from table(
        ("arm", "planned", "done", "failed", "why"),
        [(c.arm, c.planned, c.done, c.failed, "; ".join(c.reasons)) for c in report.completeness],
    )
    yield from ("", "## Declared contrasts", "")
    yield from table(
        ("arm", "against", "on", "question", "verdict", "difference", "interval", "n", "seeds", "method"),
        [
            (
                j.arm,
                j.versus,
                f"{j.task}/{j.metric} ({j.checkpoint})",
                j.question if j.margin is None else f"{j.question} margin {j.margin:g}",
                f"**{word_of(j)}**",
                *interval(j.verdict.answer),
                j.verdict.n,
                j.verdict.tuned_seeds,
                j.verdict.answer.method,
            )
            for j in report.judged
        ],
    )
    if report.judged:
        yield from ("", f"Family of declared contrasts: {report.judged[0].family}. Each interval is of one contrast.")
    yield from ("", "## Scores", "")
    yield from table(
        (
            "arm",
            "task",
            "checkpoint",
            "score",
            "interval",
            "n",
            "seeds",
            "missing",
            "no answer",
            "cut",
            "chance",
            "majority",
        ),
        [
            (
                s.arm,
                f"{s.task}/{s.metric}",
                s.checkpoint,
                *interval(s.estimate),
                s.estimate.n,
                s.seeds,
                s.missing,
                percent(s.unparsed),
                percent(s.truncated),
                percent(s.chance),
                percent(s.majority),
            )
            for s in report.scores
        ],
    )
    yield from ("", "## What it cost", "")
    cost = report.cost
    yield (
        f"Training {seconds(cost['train_seconds'])}, measuring {seconds(cost['measure_seconds'])}, "
        f"{cost['tokens']:,.0f} tokens learned from; {report.provenance['processor']}, {report.provenance['device']}."
    )
    yield from ("", "## Provenance", "")
    packages = ", ".join(f"{name} {version}" for name, version in report.provenance["packages"].items() if version)
    yield f"{packages}. Commit {report.provenance['commit'] or 'unknown'}."
    yield ""
    yield from table(
        ("run", "seed", "hash of the initial adapter"),
        [(sig, r["seed"], (r["adapter"] or "-")[:16]) for sig, r in report.provenance["runs"].items()],
    )
    yield from ("", "The study, as it was asked:", "", "```yaml", as_yaml(report.study).rstrip(), "```")


def table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """A Markdown table; None is a dash, and a bar inside a cell stays inside."""
    names = list(columns)
    yield "| " + " | ".join(names) + " |"
    yield "|" + "---|" * len(names)
    for row in rows:
        yield "| " + " | ".join("-" if cell is None else _escape(str(cell)) for cell in row) + " |"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
