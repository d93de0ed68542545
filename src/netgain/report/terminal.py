"""The terminal: at 80 columns, in colour and in words, and the same text when piped."""

from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from netgain.audit.finding import Finding, Severity
from netgain.report.console import console, plain_table
from netgain.report.denoised_words import blocks as denoised_blocks
from netgain.report.diversity import Diversity
from netgain.report.diversity_words import blocks as diversity_blocks
from netgain.report.diversity_words import charts as diversity_charts
from netgain.report.forgetting_words import answers, worth_a_terminal
from netgain.report.markdown import Block
from netgain.report.sparks import BLOCKS, PLAIN, learned
from netgain.report.study import Report
from netgain.report.sweep import Sweep
from netgain.report.sweep_words import tables
from netgain.report.translation import Translated
from netgain.report.translation_words import blocks as translation_blocks
from netgain.report.words import energy, interval, percent, seconds, style_of, word_of

FIRST = 3
"""Findings of one kind that are written out; the others are counted."""


def show_report(report: Report, out: Console | None = None, an_hour: float | None = None) -> None:
    """What there is, the scores, then each declared question with its answer and what that rests on."""
    out = out or console()
    out.print(Text(report.study.question, style="bold"))
    for each in report.completeness:
        if each.done < each.planned:
            failed = f", {each.failed} failed" if each.failed else ""
            out.print(Text(f"{each.arm}: {each.done} of {each.planned} runs done{failed}", style="yellow"))
            for reason in each.reasons:
                out.print(Text(f"  {reason}", style="red"))
    scores = plain_table("arm", "task", "score", "95 % interval", "n", "seeds", "no answer", right=("n", "seeds"))
    for each in (each for each in report.scores if "@" not in each.checkpoint):
        mark = "" if each.checkpoint == "final" else f" ({each.checkpoint})"
        number, between = interval(each.estimate)
        scores.add_row(
            f"{each.arm}{mark}",
            f"{each.task}/{each.metric}",
            number,
            between,
            str(each.estimate.n),
            str(each.seeds),
            percent(each.unparsed) or "-",
        )
    out.print()
    out.print(scores)
    out.print()
    for each in report.judged:
        word = word_of(each)
        line = Text(each.question.capitalize(), style="bold")
        line.append(f" {word}", style=f"bold {style_of(each)}")
        line.append(f"   {each.arm} against {each.versus}, {each.task}/{each.metric}", style="not bold")
        out.print(line)
        out.print(Padding(Text(each.told().removeprefix(f"{each.word}: ")), (0, 0, 1, 2)))
    _show_learning(report, out)
    _show_findings(report, out)
    if worth_a_terminal(report):
        _show_blocks(answers(report), out)
    if report.sweep is not None:
        _show_sweep(report.sweep, out)
    if report.translation is not None:
        _show_translation(report.translation, out)
    if report.diversity is not None:
        _show_diversity(report.diversity, out, an_hour)
    if report.denoised is not None:
        _show_blocks(denoised_blocks(report.denoised), out)
    cost = report.cost
    spent = f"training {seconds(cost['train_seconds'])}, measuring {seconds(cost['measure_seconds'])}"
    if cost.get("joules"):
        spent += f", energy {energy(cost['joules'])}"
    if an_hour is not None:
        spent += f", price {(cost['train_seconds'] + cost['measure_seconds']) / 3600 * an_hour:,.4f}"
    out.print(Text(spent, style="dim"))


def _show_diversity(found: Diversity, out: Console, an_hour: float | None) -> None:
    """Frontiers and pass@k as charts, then the decisions and the tables that they rest on."""
    for title, lines, key in diversity_charts(found, out.width):
        out.print(Text(title, style="bold"))
        for line in (*lines, *key, ""):
            out.print(Text(line), no_wrap=True, overflow="crop")
    _show_blocks(diversity_blocks(found, an_hour), out)


def _show_translation(found: Translated, out: Console) -> None:
    """The gate, the methods beside the baselines, and what was varied."""
    _show_blocks(translation_blocks(found), out)


def _show_blocks(blocks: Iterable[Block], out: Console) -> None:
    """Titled tables with the sentences that belong to them."""
    for title, columns, rows, sentences in blocks:
        out.print(Text(title, style="bold"))
        shown = plain_table(*columns)
        for row in rows:
            shown.add_row(*row)
        out.print(shown)
        for sentence in sentences:
            out.print(Padding(Text(sentence), (0, 0, 0, 2)))
        out.print()


def _show_learning(report: Report, out: Console) -> None:
    """A line an arm: how its loss fell, the mean over seeds."""
    rows = list(learned(report, BLOCKS if out.encoding.startswith("utf") else PLAIN))
    if rows:
        out.print(Text("Learning, means over seeds", style="bold"))
        table = plain_table("arm", "over the steps", "")
        for arm, curve, words in rows:
            table.add_row(Text(arm), Text(curve), Text(words))
        out.print(table)
        out.print()


def _show_findings(report: Report, out: Console) -> None:
    """Errors and warnings of the audit, the first of each kind one a line; the others and the notes are counted."""
    if not report.findings:
        return
    out.print(Text("Open findings of the audit", style="bold"))
    groups: dict[tuple[str, Severity], list[Finding]] = {}
    for each in report.findings:
        if each.severity is not Severity.NOTE:
            groups.setdefault((each.code, each.severity), []).append(each)
    for (code, severity), alike in groups.items():
        style = "red" if severity is Severity.ERROR else "yellow"
        for each in alike[:FIRST]:
            line = Text(f"{code} {severity} ", style=style)
            out.print(Padding(line.append(each.evidence, style="default"), (0, 0, 0, 2)))
        if len(alike) > FIRST:
            out.print(Padding(Text(f"and {len(alike) - FIRST} more of {code} {severity}.", style="dim"), (0, 0, 0, 2)))
    notes = sum(each.severity is Severity.NOTE for each in report.findings)
    more = f"{notes} note{'s' if notes > 1 else ''} besides; " if notes else ""
    last = Text(f"{more}netgain audit {report.ledger} says how to mend or silence each.", style="dim")
    out.print(Padding(last, (0, 0, 1, 2)))


def _show_sweep(sweep: Sweep, out: Console) -> None:
    """The summary, then each task's levels and what they allow to say."""
    for title, (columns, rows), sentences in tables(sweep):
        out.print(Text(title, style="bold"))
        shown = plain_table(*columns)
        for row in rows:
            shown.add_row(*row)
        out.print(shown)
        for sentence in sentences:
            out.print(Padding(Text(sentence), (0, 0, 0, 2)))
        out.print()
