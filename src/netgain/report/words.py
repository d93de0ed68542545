"""The words of reports: intervals, shares, durations, verdicts."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from netgain.stats.result import Estimate, say, say_range

if TYPE_CHECKING:
    from netgain.report.study import Judged

GOOD = ("gain", "gained", "retained")
BAD = ("loss", "forgotten")


def interval(found: Estimate) -> tuple[str, str]:
    """(number, interval) as text."""
    return say(found.estimate, found.scale), say_range(found.low, found.high, found.scale)


def span(counts: Iterable[int]) -> str:
    """`60`, or `20 to 60`."""
    found = sorted(set(counts))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def percent(share: float | None) -> str | None:
    """12.5 %; None stays None."""
    return None if share is None else f"{100 * share:.1f} %"


def seconds(value: float) -> str:
    """12 s, 3 min 20 s, 2 h 05 min."""
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def energy(joules: float) -> str:
    """850 J, 12.5 Wh, 3.2 kWh; "-" for nothing."""
    if not joules:
        return "-"
    if joules < 3600:
        return f"{joules:.0f} J"
    return f"{joules / 3600:.1f} Wh" if joules < 3.6e6 else f"{joules / 3.6e6:.1f} kWh"


ANSWERS = {
    ("gained?", "gain"): "yes",
    ("gained?", "loss"): "no, it lost",
    ("forgotten?", "forgotten"): "yes",
    ("forgotten?", "retained"): "no, retained",
    ("forgotten?", "gained"): "no, it gained",
}
"""What a verdict's word answers to the question that was declared; other words answer for themselves."""


def word_of(judged: "Judged") -> str:
    """The verdict as an answer to its question; `invalid: NGxxx` when the evidence has an open error."""
    if judged.invalid:
        return judged.word
    word = judged.verdict.word
    return ANSWERS.get((judged.question, word), word)


def style_of(judged: "Judged") -> str:
    """The colour that goes with the answer; the answer itself always stands there too."""
    if judged.invalid:
        return "red"
    word = judged.verdict.word
    return "green" if word in GOOD else "red" if word in BAD else "yellow"
