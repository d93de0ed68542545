"""`netgain compare-reports A B`: two studies, or one study in two ledgers, side by side, from their ledgers alone.

A declared contrast that both made is asked the second-order question too: does A's difference differ from B's? Where
both measured the same items it is answered pairwise, item by item; where not, the two stand beside each other unjudged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from netgain.errors import UserError
from netgain.ledger.items import higher_is_better
from netgain.ledger.store import Ledger
from netgain.report.console import plain_table
from netgain.report.frame import Frame, Matrix
from netgain.report.jsonable import tree
from netgain.report.noted import study_of
from netgain.report.study import Judged, Report, Score, build
from netgain.report.words import interval, seconds, style_of, word_of
from netgain.spec.study import Study
from netgain.stats.verdict import Verdict, contrast

Question = tuple[str, str, str, str, str, float | None]
"""arm, versus, task, metric, checkpoint, margin."""


@dataclass(frozen=True)
class Side:
    """One study of one ledger."""

    name: str
    report: Report
    frame: Frame


@dataclass(frozen=True)
class Pair:
    """One declared question on both sides; `difference` is B's benefit minus A's where both can be paired."""

    question: Question
    first: Judged | None
    second: Judged | None
    difference: Verdict | None
    why: str
    """Why there is no difference, or what it rests on."""


@dataclass(frozen=True)
class Beside:
    """Two reports, question by question."""

    first: Side
    second: Side
    settings: tuple[tuple[str, str, str], ...]
    """(field of the study file, A's value, B's value) for each that is not the same."""
    pairs: tuple[Pair, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "first": _about(self.first),
            "second": _about(self.second),
            "settings": [dict(zip(("field", "first", "second"), each, strict=True)) for each in self.settings],
            "contrasts": [
                {
                    **dict(zip(("arm", "versus", "task", "metric", "checkpoint", "margin"), p.question, strict=True)),
                    "first": None if p.first is None else {"word": p.first.word, **tree(p.first.verdict.answer)},
                    "second": None if p.second is None else {"word": p.second.word, **tree(p.second.verdict.answer)},
                    "difference": None if p.difference is None else tree(p.difference.answer),
                    "why": p.why,
                }
                for p in self.pairs
            ],
            "scores": [
                {"arm": a, "task": t, "metric": m, "checkpoint": c, "first": _score(one), "second": _score(two)}
                for (a, t, m, c), one, two in self.scores()
            ],
        }

    def scores(self) -> Iterator[tuple[tuple[str, str, str, str], Score | None, Score | None]]:
        """Every score that either side has, the first side's order first."""
        mine, theirs = ({(s.arm, s.task, s.metric, s.checkpoint): s for s in side.report.scores} for side in self.sides)
        for key in dict.fromkeys((*mine, *theirs)):
            yield key, mine.get(key), theirs.get(key)

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.first, self.second

    def render(self, out: Console) -> None:
        """For people, at 80 columns."""
        for letter, side in zip("AB", self.sides, strict=True):
            done = sum(each.done for each in side.report.completeness)
            planned = sum(each.planned for each in side.report.completeness)
            found = [str(f.severity) for f in side.report.findings]
            said = ", ".join(f"{found.count(name)} {name}s" for name in ("error", "warning") if name in found)
            line = Text(f"{letter}  {side.name}", style="bold")
            line.append(f": {done} of {planned} runs done; audit: {said or 'nothing open'}; ", style="not bold")
            cost = side.report.cost
            line.append(f"{seconds(cost['train_seconds'] + cost['measure_seconds'])}", style="not bold")
            out.print(line)
            out.print(Padding(Text(side.report.study.question), (0, 0, 0, 3)))
        if self.settings:
            out.print()
            table = plain_table("asked differently", "A", "B")
            for name, one, two in self.settings:
                table.add_row(Text(name), Text(one), Text(two))
            out.print(table)
        _render_pairs(self.pairs, out)
        out.print()
        table = plain_table("score of", "on", "A", "B")
        for (arm, task, metric, checkpoint), one, two in self.scores():
            mark = "" if checkpoint == "final" else f" ({checkpoint})"
            table.add_row(Text(f"{arm}{mark}"), Text(f"{task}/{metric}"), _said(one), _said(two))
        out.print(table)


def _render_pairs(pairs: Sequence[Pair], out: Console) -> None:
    for pair in pairs:
        arm, versus, task, metric, checkpoint, margin = pair.question
        asked = "gained?" if margin is None else f"forgotten? (margin {margin:g})"
        mark = "" if checkpoint == "final" else f" ({checkpoint})"
        out.print()
        out.print(Text(f"{arm} against {versus}, {task}/{metric}{mark}: {asked}", style="bold"))
        for letter, each in (("A", pair.first), ("B", pair.second)):
            line = Text(f"  {letter}  ")
            if each is None:
                line.append("not asked, or no finished run", style="dim")
            else:
                number, between = interval(each.verdict.answer)
                line.append(word_of(each), style=f"bold {style_of(each)}")
                line.append(f"  {number} ({between}; n = {each.verdict.n}, {each.verdict.tuned_seeds} seeds)")
            out.print(line)
        line = Text("  B - A, + is better: ")
        if pair.difference is not None and pair.first is not None:
            scale = pair.first.verdict.answer.scale
            number, between = interval(replace(pair.difference.answer, scale=scale))
            word = {"gain": "B's is better", "loss": "A's is better"}.get(pair.difference.word, "cannot tell")
            line.append(word, style="bold")
            line.append(f"  {number} ({between}); {pair.why}")
        else:
            line.append(pair.why, style="dim")
        out.print(line)


def beside(first: str, second: str) -> Beside:
    """Both sides read and judged; A and B are LEDGER or LEDGER:STUDY."""
    one = side(first)
    two = side(second, like=one.report.study.key)
    asked = dict.fromkeys(_question(each) for s in (one, two) for each in s.report.judged)
    return Beside(one, two, tuple(_settings(one, two)), tuple(_pair(one, two, question) for question in asked))


def side(name: str, like: str | None = None) -> Side:
    """A study of a ledger; of several, the one called `like`."""
    root, _, key = (name, "", "") if Path(name).is_dir() else name.rpartition(":")
    ledger = Ledger(root)
    studies = ledger.studies()
    if not studies:
        raise UserError(f"{root or name}: no ledger with a study in it; name one as LEDGER or LEDGER:STUDY.")
    chosen = key or (next(iter(studies)) if len(studies) == 1 else like if like in studies else "")
    if chosen not in studies:
        raise UserError(f"{root}: holds {', '.join(studies)}; say which as {root}:STUDY.")
    study = study_of(studies[chosen])
    return Side(f"{root}:{chosen}", build(study, ledger), Frame(study, ledger))


def _question(each: Judged) -> Question:
    return each.arm, each.versus, each.task, each.metric, each.checkpoint, each.margin


def _pair(one: Side, two: Side, question: Question) -> Pair:
    mine, theirs = ({_question(each): each for each in s.report.judged}.get(question) for s in (one, two))
    if mine is None or theirs is None:
        return Pair(question, mine, theirs, None, "asked on one side only")
    gains = [_benefits(s.frame, question) for s in (one, two)]
    if gains[0] is None or gains[1] is None:
        return Pair(question, mine, theirs, None, "an arm and its baseline have no seeds in common to subtract")
    (a, left), (b, right) = gains[0], gains[1]
    if a.items != b.items:
        return Pair(question, mine, theirs, None, "measured on different items, so not subtracted")
    if _same_runs(one, two, question):
        return Pair(question, mine, theirs, None, "both sides rest on the same runs")
    found = contrast(right, left, item_weights=a.weights, clusters=a.clusters, binary=False, paired_seeds=False)
    both = f"the same {found.n} items on both sides"
    return Pair(question, mine, theirs, replace(found, flips=None) if found.n else None, both)


def _benefits(frame: Frame, question: Question) -> tuple[Matrix, np.ndarray] | None:
    """(S, n) of tuned - base by seed and item, + is better; a base without seeds is subtracted from each."""
    arm, versus, task, metric, checkpoint, _ = question
    tuned, base = frame.matrix(arm, task, metric, checkpoint), frame.matrix(versus, task, metric, checkpoint)
    if tuned is None or base is None or tuned.items != base.items:
        return None
    sign = 1.0 if higher_is_better(metric) else -1.0
    if len(base.seeds) == 1 and base.seeds != tuned.seeds:
        return tuned, sign * (tuned.values - base.values)
    if tuned.seeds != base.seeds:
        return None
    return tuned, sign * (tuned.values - base.values)


def _same_runs(one: Side, two: Side, question: Question) -> bool:
    """Do both sides stand on the very same runs, arm and baseline alike?"""
    mine, theirs = ({m.folder.sig for name in question[:2] for m in s.frame.members.get(name, ())} for s in (one, two))
    return mine == theirs and one.frame.ledger.root.resolve() == two.frame.ledger.root.resolve()


def _settings(one: Side, two: Side) -> Iterator[tuple[str, str, str]]:
    """Where the two study files differ, field by field."""
    mine, theirs = (_flat(s.report.study) for s in (one, two))
    for name in dict.fromkeys((*mine, *theirs)):
        if mine.get(name) != theirs.get(name):
            yield name, _short(mine.get(name, "-")), _short(theirs.get(name, "-"))


def _flat(study: Study) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(inner, f"{path}.{key}" if path else str(key))
        else:
            found[path] = value

    walk({k: v for k, v in study.to_dict().items() if k not in ("question", "scales")}, "")
    return found


def _short(value: Any) -> str:
    words = str(value)
    return words if len(words) <= 60 else f"{words[:57]}..."


def _said(each: Score | None) -> Text:
    return Text("-" if each is None else "{} ({})".format(*interval(each.estimate)))


def _score(each: Score | None) -> dict[str, Any] | None:
    return None if each is None else {**tree(each.estimate), "seeds": each.seeds}


def _about(which: Side) -> dict[str, Any]:
    return {
        "name": which.name,
        "question": which.report.study.question,
        "completeness": tree(which.report.completeness),
        "findings": [each.code for each in which.report.findings],
        "cost": which.report.cost,
    }
