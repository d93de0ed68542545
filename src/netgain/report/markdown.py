"""A report as Markdown for a repository: answers, completeness, contrasts, scores, cost, how to reproduce."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from netgain.report.denoised_words import blocks as denoised_blocks
from netgain.report.diversity_words import blocks as diversity_blocks
from netgain.report.diversity_words import details as diversity_details
from netgain.report.forgetting_words import answers, evidence
from netgain.report.sweep_words import markdown_blocks
from netgain.report.translation_words import blocks as translation_blocks
from netgain.report.words import energy, interval, percent, seconds, word_of
from netgain.spec.study import as_yaml

if TYPE_CHECKING:
    from netgain.report.study import Report


Block = tuple[str, Sequence[str], Sequence[Sequence[str]], Sequence[str]]
"""(title, columns, rows, sentences) of a table that a study's own section shows."""
SCORE_COLUMNS = (
    "arm", "task", "checkpoint", "score", "interval", "n", "seeds", "missing", "no answer", "cut", "chance", "majority",
)  # fmt: skip
CONTRAST_COLUMNS = (
    "arm", "against", "on", "question", "answer", "difference", "interval", "n", "seeds", "method",
)  # fmt: skip


def markdown(report: "Report", an_hour: float | None = None) -> str:
    """The whole report as one Markdown document, with money where an hour of the machine has a price."""
    sections = (
        *(_head, _completeness, _contrasts, _forgetting, _translation, _sweep),
        *(partial(_diversity, an_hour=an_hour), _denoised, _findings, _scores, partial(_cost, an_hour=an_hour)),
        _provenance,
    )
    return "\n".join(line for section in sections for line in (*section(report), "")).rstrip() + "\n"


def _head(report: "Report") -> Iterator[str]:
    yield from (f"# {report.study.key}", "", f"**{report.study.question}**", "")
    for answer in report.answers():
        yield f"- {_escape(answer)}"


def _completeness(report: "Report") -> Iterator[str]:
    yield from ("## What there is", "")
    rows = [(c.arm, c.planned, c.done, c.failed, "; ".join(c.reasons)) for c in report.completeness]
    yield from table(("arm", "planned", "done", "failed", "why"), rows)


def _contrasts(report: "Report") -> Iterator[str]:
    yield from ("## Declared contrasts", "")
    rows = [
        (
            each.arm,
            each.versus,
            f"{each.task}/{each.metric} ({each.checkpoint})",
            each.question if each.margin is None else f"{each.question} margin {each.margin:g}",
            f"**{word_of(each)}**",
            *interval(each.verdict.answer),
            each.verdict.n,
            each.verdict.tuned_seeds,
            each.verdict.answer.method,
        )
        for each in report.judged
    ]
    yield from table(CONTRAST_COLUMNS, rows)
    if report.judged:
        yield from ("", f"Family of declared contrasts: {report.judged[0].family}. Each interval is of one contrast.")


def _findings(report: "Report") -> Iterator[str]:
    yield from ("## Open findings of the audit", "")
    if not report.findings:
        yield "None."
        return
    rows = [
        (each.code, each.severity, ", ".join(each.arms) or "all", ", ".join(each.tasks) or "all", each.evidence)
        for each in report.findings
    ]
    yield from table(("code", "severity", "arms", "tasks", "what"), rows)
    yield from ("", "A verdict on an arm and a task with an open error reads invalid, with the code.")


def _sweep(report: "Report") -> Iterator[str]:
    if report.sweep is not None:
        for block in markdown_blocks(report.sweep):
            yield from ((_escape(block),) if isinstance(block, str) else table(*block))
            yield ""


def _forgetting(report: "Report") -> Iterator[str]:
    if report.forgetting is not None:
        yield from _blocks("Kept and forgotten", [*answers(report), *evidence(report)])


def _diversity(report: "Report", an_hour: float | None) -> Iterator[str]:
    if report.diversity is not None:
        found = [*diversity_blocks(report.diversity, an_hour), *diversity_details(report.diversity)]
        yield from _blocks("Diversity at equal quality", found)


def _denoised(report: "Report") -> Iterator[str]:
    if report.denoised is not None:
        yield from _blocks("Methods on a masked-diffusion model", denoised_blocks(report.denoised))


def _translation(report: "Report") -> Iterator[str]:
    if report.translation is not None:
        yield from _blocks("Translated adapters", translation_blocks(report.translation))


def _blocks(heading: str, blocks: Iterable[Block]) -> Iterator[str]:
    """A study's own section: a table under each title, and the sentences that belong to it."""
    yield from (f"## {heading}", "")
    for title, columns, rows, said in blocks:
        yield from (f"### {_escape(title)}", "", *table(columns, rows), "")
        for sentence in said:
            yield from (_escape(sentence), "")


def _scores(report: "Report") -> Iterator[str]:
    yield from ("## Scores", "")
    rows = [
        (
            each.arm,
            f"{each.task}/{each.metric}",
            each.checkpoint,
            *interval(each.estimate),
            each.estimate.n,
            each.seeds,
            each.missing,
            *(percent(share) for share in (each.unparsed, each.truncated, each.chance, each.majority)),
        )
        for each in report.scores
    ]
    yield from table(SCORE_COLUMNS, rows)


def _cost(report: "Report", an_hour: float | None) -> Iterator[str]:
    yield from ("## What it cost", "")
    cost = report.cost
    spent = f", energy {energy(cost['joules'])}" if cost.get("joules") else ""
    if an_hour is not None:
        spent += f", price {(cost['train_seconds'] + cost['measure_seconds']) / 3600 * an_hour:,.4f}"
    yield (
        f"Training {seconds(cost['train_seconds'])}, measuring {seconds(cost['measure_seconds'])}, "
        f"{cost['tokens']:,.0f} tokens learned from{spent}; {report.provenance['processor']}, "
        f"{report.provenance['device']}."
    )


def _provenance(report: "Report") -> Iterator[str]:
    yield from ("## Provenance", "")
    packages = ", ".join(f"{name} {version}" for name, version in report.provenance["packages"].items() if version)
    yield from (f"{packages}. Commit {report.provenance['commit'] or 'unknown'}.", "")
    rows = [(sig, run["seed"], (run["adapter"] or "-")[:16]) for sig, run in report.provenance["runs"].items()]
    yield from table(("run", "seed", "hash of the initial adapter"), rows)
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
