"""`netgain rejudge`: sealed answers rated by another judge, alone or against another run's, and what that is worth."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from netgain.errors import UserError
from netgain.execute.rejudge import Versus, head_to_head, rejudge
from netgain.execute.rollouts import bench_of
from netgain.judges._base import Judge
from netgain.judges.endpoint import Endpoint
from netgain.ledger.items import Item
from netgain.ledger.store import Ledger
from netgain.spec.plugin import JudgePlugin
from netgain.stats.intervals import score
from netgain.stats.judged import win_rate
from netgain.stats.result import Estimate


@dataclass(frozen=True)
class Rejudged:
    """What a judge said of one run's answers, and of another's beside them."""

    run: str
    task: str
    name: str
    checkpoint: str
    mean: Estimate | None
    missing: dict[str, int]
    wins: Estimate | None
    preferred: Versus | None

    def to_json(self) -> dict[str, Any]:
        share = None if self.preferred is None else self.preferred.share
        return {**asdict(self), "preferred_share": share}

    def sentences(self) -> list[str]:
        """For people."""
        said = [f"{self.run}, {self.task}: no answer was rated." if self.mean is None else self.mean.sentence()]
        if self.missing:
            said.append(f"Without a rating: {', '.join(f'{n} {why}' for why, n in self.missing.items())}.")
        if self.wins is not None:
            said.append(self.wins.sentence())
        if self.preferred is not None:
            swap = self.preferred.swap
            said.append("No pair has both verdicts." if swap is None else swap.sentence())
        return said


def read_judge(file: Path) -> Judge:
    """A file with one judge as a study has it: {kind: reward, model: ./judge}."""
    if not file.is_file():
        raise UserError(f"{file}: no such file; write a judge as a study has it, such as kind: overlap.")
    try:
        found = JudgePlugin.parse(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"{file}: {' '.join(str(error).split())}") from None
    if not isinstance(found, Judge):
        raise UserError(f'{file}: "{found.kind}" is no judge.')
    return found


def judge_again(
    ledger: Ledger, run: str, task: str, file: Path, name: str, checkpoint: str, versus: str | None, device: str
) -> Rejudged:
    """Rate the answers of a run, and of another one if asked: A is the first. Rows go to LEDGER/judged."""
    judge, bench = read_judge(file), bench_of(file.resolve().parent, device)
    own = ledger.find(run)
    rows = rejudge(own, task, name, judge, bench, checkpoint)
    other = None if versus is None else ledger.find(versus)
    wins = preferred = None
    if other is not None and isinstance(judge, Endpoint):
        preferred = head_to_head(own, other, task, judge, bench, checkpoint)
    elif other is not None:
        wins = _wins(rows, rejudge(other, task, name, judge, bench, checkpoint), log_odds=judge.kind == "reward")
    missing = Counter(str(row.reason) for row in rows if row.value is None)
    return Rejudged(
        own.sig, task, name, checkpoint, _mean(rows, f"{own.sig} {task}/{name}"), dict(missing), wins, preferred
    )


def _by_item(rows: Sequence[Item]) -> dict[str, tuple[float, str]]:
    """item -> (mean of its ratings, cluster); items without any are left out."""
    found: dict[str, list[Item]] = {}
    for row in rows:
        if row.value is not None:
            found.setdefault(row.item, []).append(row)
    return {
        item: (sum(row.value or 0.0 for row in each) / len(each), each[0].cluster or item)
        for item, each in found.items()
    }


def _mean(rows: Sequence[Item], what: str) -> Estimate | None:
    found = list(_by_item(rows).values())
    if len(found) < 2:
        return None
    return score(np.array([value for value, _ in found]), clusters=[cluster for _, cluster in found], what=what)


def _wins(rows: Sequence[Item], others: Sequence[Item], log_odds: bool) -> Estimate | None:
    """How often the first run's answers win; only differences of log-odds say that."""
    ours, theirs = _by_item(rows), _by_item(others)
    shared = [item for item in ours if item in theirs]
    if not log_odds or len(shared) < 2:
        return None
    values = (np.array([side[item][0] for item in shared]) for side in (ours, theirs))
    return win_rate(*values, clusters=[ours[item][1] for item in shared])
