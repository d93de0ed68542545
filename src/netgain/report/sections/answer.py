"""The answer: both questions in a sentence each, with numbers and interval."""

from collections import Counter
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from netgain.report.html.basis import counted, direction, of_judged
from netgain.report.html.markup import element
from netgain.report.html.page import Page
from netgain.report.study import Judged
from netgain.report.words import word_of
from netgain.stats.result import say, say_level, say_range

PLACE = 0
TITLE = "The answer"
LISTED = 4
"""Contrasts that the answer names one by one; of more, it counts the verdicts and names the extremes."""
TONES = {"yes": "good", "no, it harms": "bad"}


def section(page: Page) -> Iterator[Markup]:
    judged = page.report.judged
    gains = [each for each in judged if each.margin is None]
    kept = [each for each in judged if each.margin is not None]
    asked = {"Gained?": gains, "Forgotten?": kept}
    answers = [_answer(page, question, found) for question, found in asked.items() if found]
    answers = [*_translated(page), *answers, *_swept(page), *_decided(page)]
    if not answers:
        words = "This study declared no contrasts, so there is nothing to conclude; its scores are below."
        yield element("div", page.paragraph(words), class_="answers")
        return
    yield element("div", answers, class_="answers")
    overall = [element("li", _overall(page, arm)) for arm, _ in page.report.retention if len(kept) > 1]
    if overall:
        yield page.details("Retention over all benchmarks, arm by arm", element("ul", overall))


def _answer(page: Page, question: str, asked: Sequence[Judged]) -> Markup:
    if len(asked) == 1:
        each = asked[0]
        basis = of_judged(each, page.rows((each.arm, each.versus), each.task, each.metric, each.checkpoint))
        about = f"{each.arm} against {each.versus} on {each.task}/{each.metric}"
        sentence = f"{about}: {basis.said} ({basis.interval}; {basis.n})."
        head, tone = word_of(each), page.tone(each)
    else:
        head, tone, sentence = _many(page, asked)
        basis = counted(f"{question} over all contrasts", sentence, "each contrast below with its own rows")
    return _said_of(page, page.bind(f"answer/{question}", basis), question, (head, tone), sentence)


def _said_of(page: Page, identity: str, question: str, verdict: tuple[str, str], sentence: str) -> Markup:
    """One answer, bound as a whole: the question, the verdict (word, tone), the sentence."""
    word, tone = verdict
    mark = element("span", word, class_=f"verdict {tone}")
    words = page.handle(identity, sentence)
    return element("p", element("strong", question), " ", mark, " ", words, class_="answer", data_bound=identity)


def _swept(page: Page) -> list[Markup]:
    """What the level that the dev rows chose gained, curve by curve, when a study sweeps an ordered axis."""
    sweep = page.report.sweep
    if sweep is None:
        return []
    made: list[Markup] = []
    for i, curve in enumerate(sweep.curves[:LISTED]):
        identity = f"answer/sweep/{i}"
        first = next(curve.sentences())
        arms = [point.arm for point in curve.points]
        basis = counted(f"{curve.name}, {curve.metric}", first, page.rows(arms, curve.task, curve.metric, "final"))
        page.bind(identity, basis)
        words = page.handle(identity, f"{first} As good as any: {', '.join(curve.winners.names)}.")
        head = element("strong", f"Which {sweep.axis}? {curve.name}: ")
        made.append(element("p", head, words, class_="answer", data_bound=identity))
    return made


def _decided(page: Page) -> list[Markup]:
    """What the table that was declared beforehand says of each arm."""
    found = page.report.diversity
    made: list[Markup] = []
    for each in found.decided if found else ():
        identity = page.bind(f"answer/decided/{each.arm}", counted(f"{each.arm}: decided", each.say, each.why))
        verdict = each.say, "bad" if each.invalid else "open"
        made.append(_said_of(page, identity, f"{each.arm}?", verdict, each.why))
    return made


def _translated(page: Page) -> list[Markup]:
    """What the translated adapters recover of what the oracles gained."""
    found = page.report.translation
    if found is None or found.answer is None:
        return []
    word, sentence = found.answer
    identity = page.bind("answer/translated", counted("gap recovered", sentence, "the table of methods, below"))
    return [_said_of(page, identity, "Translated?", (word, TONES.get(word, "open")), sentence)]


def _many(page: Page, asked: Sequence[Judged]) -> tuple[str, str, str]:
    """(word, tone, sentence): every contrast with its interval, or the counts and both extremes when there are many."""
    counts = Counter(word_of(each) for each in asked)
    tones = {page.tone(each) for each in asked}
    head, tone = (next(iter(counts)), tones.pop()) if len(counts) == 1 else ("it depends", "open")
    tally = ", ".join(f"{n} {word}" for word, n in counts.items())
    tell = _said if len({each.versus for each in asked}) == 1 else _said_against
    if len(asked) <= LISTED:
        on = dict.fromkeys(f"{each.task}/{each.metric}" for each in asked)
        said = [(name, [tell(each) for each in asked if f"{each.task}/{each.metric}" == name]) for name in on]
        return head, tone, " ".join(f"On {name}: {'; '.join(words)}." for name, words in said)
    if len({(each.task, each.metric) for each in asked}) > 1:
        return head, tone, f"Of {len(asked)} declared contrasts: {tally}."
    ranked = sorted(asked, key=lambda each: direction(each).estimate)
    return (
        head,
        tone,
        f"Of {len(asked)} declared contrasts: {tally}. Best: {tell(ranked[-1])}; worst: {tell(ranked[0])}.",
    )


def _said(each: Judged) -> str:
    """`sft +14.8 points (95 %: +6.8 to +22.6 points)`, + being better."""
    return f"{each.arm} {_interval(each)}"


def _said_against(each: Judged) -> str:
    """The same where arms are held against different ones: `sft against base +14.8 points (...)`."""
    return f"{each.arm} against {each.versus} {_interval(each)}"


def _interval(each: Judged) -> str:
    signed, scale = direction(each), each.verdict.answer.scale
    return f"{say(signed.estimate, scale)} ({say_level(signed.level)}: {say_range(signed.low, signed.high, scale)})"


def _overall(page: Page, arm: str) -> Markup:
    found = dict(page.report.retention)[arm]
    mine = [each for each in page.report.judged if each.arm == arm and each.margin is not None]
    codes = dict.fromkeys(code for each in mine for code in each.invalid)
    mark = f"invalid: {', '.join(codes)}; without that: " if codes else ""
    basis = counted(f"{arm}, retention overall", found.method, f"{len(mine)} declared retention contrasts of {arm}")
    return page.number(f"retention/{arm}", f"{arm}: {mark}{found.sentence()}", basis)
