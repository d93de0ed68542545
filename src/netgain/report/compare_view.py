"""How a comparison looks on a terminal: a table of verdicts, then each task in sentences, then what changed."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from netgain.report.console import plain_table
from netgain.report.words import BAD, GOOD, percent
from netgain.stats.result import say, say_p, say_range

if TYPE_CHECKING:
    from netgain.interop.find import Side
    from netgain.report.compare import Comparison, Flip, Rates, Result

DETAILED = 8
"""From this many results on, only those that say something get their sentences."""


def show(made: "Comparison", out: Console) -> None:
    """The whole comparison; foreign text is never read as markup."""
    out.print(describe("base ", made.base))
    out.print(describe("tuned", made.tuned))
    out.print(Text("Differences are tuned - base on the same items.", style="dim"))
    for note in made.notes:
        out.print(Text(note, style="yellow"))
    for sentence in made.dropped:
        out.print(Text(f"Dropped: {sentence}", style="yellow"))
    out.print()
    out.print(verdicts(made))
    told = [each for each in made.results if each.verdict.word != "cannot tell"]
    detailed = made.results if len(made.results) <= DETAILED else told
    for each in detailed:
        show_result(each, out)
    if len(detailed) < len(made.results):
        out.print()
        out.print(Text(f"The other {len(made.results) - len(detailed)} cannot tell; --task shows one, --json all."))
    out.print()
    if len(made.results) > 1:
        out.print(Text(made.family.sentence()))
    if made.overall is not None:
        out.print(Text(made.overall.sentence(), style="bold"))


def describe(name: str, which: "Side") -> Text:
    """Which evidence stands on this side."""
    runs = len(which.rows["run"].unique())
    version = f" {which.samples.source.version}" if which.samples.source.version else ""
    line = Text(f"{name} ", style="bold")
    line.append(which.name, style="bold")
    line.append(f"  ({which.samples.source.tool}{version}; {runs} run{'s' if runs > 1 else ''} of {which.arm})", "dim")
    return line


def verdicts(made: "Comparison") -> object:
    """One line a task: both scores, the difference, its interval, the verdict."""
    many = len(made.results) > 1
    names = ["task", "n", "base", "tuned", "difference", f"{100 * made.level:g} % interval"]
    table = plain_table(*names, *(["p (Holm)"] if many else []), "verdict", right=("n", "base", "tuned"))
    before = None
    for each in made.results:
        answer = each.verdict.answer
        metric = f"{each.metric}{'' if each.verdict.higher_is_better else ' (lower better)'}"
        title = f"  {metric}" if each.task == before else f"{each.task}\n  {metric}"
        before = each.task
        between = say_range(answer.low, answer.high, answer.scale).removesuffix(" points") if answer.n else "-"
        cells = [
            Text(title),
            Text(str(each.verdict.n)),
            Text(say(each.base, each.scale)),
            Text(say(each.tuned, each.scale)),
            Text(say(answer.estimate, answer.scale)),
            Text(between),
        ]
        if many:
            cells.append(Text(say_p(each.adjusted_p).removeprefix("p ").removeprefix("= ")))
        cells.append(Text(each.verdict.word, style=f"bold {colour(each.verdict.word)}"))
        table.add_row(*cells)
    return table


def colour(word: str) -> str:
    """The colour of a verdict; the word itself always stands there too."""
    return "green" if word in GOOD else "red" if word in BAD else "yellow"


def show_result(each: "Result", out: Console) -> None:
    """One task in sentences."""
    out.print()
    out.print(Text(each.title, style="bold"))
    out.print(Text(each.verdict.sentence()))
    if each.needed is not None:
        out.print(Text(f"To tell a true difference of this size from none, {each.needed.sentence()}."))
    for name, rates in (("base", each.base_rates), ("tuned", each.tuned_rates)):
        line = say_rates(rates)
        if line:
            out.print(Text(f"{name}: {line}", style="yellow"))
    for note in each.notes:
        out.print(Text(note, style="yellow"))
    for flip in each.flips:
        show_flip(flip, out)


def say_rates(rates: "Rates") -> str:
    """Shares worth a line; none when every answer was parsed and whole."""
    parts = []
    if rates.unparsed:
        parts.append(f"{percent(rates.unparsed)} of the answers not parsed")
    if rates.truncated:
        parts.append(f"{percent(rates.truncated)} truncated")
    parts += [f"{count} without a value ({reason})" for reason, count in rates.missing.items()]
    return ", ".join(parts)


def show_flip(flip: "Flip", out: Console) -> None:
    """One changed item, a few lines."""
    out.print(Text(f"  {flip.way}  item {flip.item}" + (f", label {flip.label}" if flip.label is not None else "")))
    if flip.base is not None or flip.tuned is not None:
        for name, said in (("base ", flip.base), ("tuned", flip.tuned)):
            out.print(
                Text(f"    {name} {said if said is not None else '-'}", style="dim", overflow="ellipsis"), no_wrap=True
            )
