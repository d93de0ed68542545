"""Study three, reduced: what the file says of every scale, and one run of it from nothing to a decided report."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console

from netgain.audit import run as audit
from netgain.audit.finding import Severity
from netgain.execute.local import execute
from netgain.ledger.store import Ledger
from netgain.objectives.sampling import rollouts_of
from netgain.report.study import Report, build
from netgain.report.terminal import show_report
from netgain.spec.load import load
from netgain.spec.run import Runtime
from netgain.spec.study import Study, expand, planned

torch.set_num_threads(1)
FILE = Path(__file__).parents[2] / "studies" / "diversity.yaml"
REDUCED: dict[str, Any] = {
    "base.data.rows": 24,
    "base.data.dev": 4,
    "base.optim.steps": 3,
    "base.objective.diversity.term.max_new_tokens": 8,
    "base.objective.diversity.term.every": 1,
    "base.tasks.english.source.n": 2,
    "frontiers.replies.temperatures": [0.7, 1.2],
    "frontiers.replies.task.limit": 6,
    "frontiers.replies.task.samples": 3,
    "frontiers.sums.task.limit": 6,
    "frontiers.sums.task.max_new_tokens": 6,
    "vary.arm": {"lambda=0.3": None, "lambda=2": None, "entropy": None, "set": None, "gem": None},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The tiny scale with less of everything: plain and weight 1, two seeds."""
    tree = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    tree["scales"]["reduced"] = {**tree["scales"]["tiny"], **REDUCED}
    tree["scales"]["reduced"]["vary.arm"] = {**tree["scales"]["tiny"]["vary.arm"], **REDUCED["vary.arm"]}
    path = tmp_path_factory.mktemp("study") / "diversity.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return load(path, "reduced")


@pytest.fixture(scope="module")
def ledger(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    made = Ledger(tmp_path_factory.mktemp("spread"))
    assert execute(study, made, Runtime()) == 0
    return made


@pytest.fixture(scope="module")
def report(study: Study, ledger: Ledger) -> Report:
    return build(study, ledger)


def test_every_scale_has_the_control_the_term_and_two_seeds() -> None:
    for scale, least in (("tiny", 7), ("small", 3), ("embedded", 3), ("full", 7)):
        at = load(FILE, scale)
        arms = {arm.name: arm.run for arm in expand(at)}
        assert len(arms) >= least
        assert len(at.seeds) >= 2
        assert not rollouts_of(arms["sft"].objective)
        assert rollouts_of(arms["lambda=1"].objective)
        assert arms["gem"].objective["more"].term.kind == "gem"
        assert all(each.versus == "sft" and len(each.temperatures) >= 2 for each in at.frontiers.values())
        assert at.decisions[-1].above is at.decisions[-1].below is None, "something is said of every arm"
    full = load(FILE, "full")
    weights = {arm.run.objective["diversity"].weight for arm in expand(full)}
    assert {0, 0.3, 1, 2} <= weights
    assert full.frontiers["code"].task.longest is None, "all of MBPP"  # type: ignore[attr-defined]
    assert {each.task.kind for each in full.frontiers.values()} == {"replies", "gsm8k", "mbpp", "humaneval"}
    assert (full.base.method.r, full.base.method.alpha) == (16, 16)  # type: ignore[attr-defined]


def test_it_ends_with_a_frontier_and_something_decided_of_every_arm(report: Report) -> None:
    found = report.diversity
    assert found is not None
    (read,) = found.frontiers
    assert {(place.arm, place.temperature) for place in read.places} == {
        (arm, t) for arm in ("sft", "lambda=1") for t in (0.7, 1.2)
    }
    assert {arm for arm, _ in read.compared} == {"lambda=1"} == {each.arm for each in found.decided}
    assert {len(each.curve) for each in found.tries} == {8}
    assert {share.term for share in found.shares if share.arm == "lambda=1"} == {"ce", "diversity"}
    assert next(each.answers for each in found.cost if each.arm == "lambda=1") == 3 * 2 * 6
    out = io.StringIO()
    show_report(report, Console(file=out, width=100, highlight=False))
    for words in ("Decided by the table declared before running", "frontier against sft", "pass@k in %", "a1"):
        assert words in out.getvalue()


def test_the_weight_moves_the_parameters(study: Study, ledger: Ledger) -> None:
    """Both arms begin with the same loss; after the first step they have parted."""
    rows = {}
    for each in planned(study):
        if each.seed == 0:
            rows[each.arm] = [row["terms"]["ce"]["raw"] for row in ledger.run(each.sig).metrics() if "terms" in row]
    assert rows["sft"][0] == pytest.approx(rows["lambda=1"][0], rel=1e-5)
    assert rows["sft"][2] != pytest.approx(rows["lambda=1"][2], rel=1e-3)


def test_the_audit_has_no_error(ledger: Ledger, report: Report) -> None:
    assert [f.code for f in audit([ledger.root]).findings if f.severity is Severity.ERROR] == []
    assert not any(each.invalid for each in report.diversity.decided)  # type: ignore[union-attr]
