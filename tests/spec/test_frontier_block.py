"""A frontier without several temperatures is refused, and its tasks are measured at each of them."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from netgain.spec.frontier import Decision, Frontier
from netgain.spec.load import load
from netgain.spec.study import Study

STUDY = Path(__file__).parents[2] / "studies" / "diversity.yaml"
REPLIES = {
    "versus": "sft",
    "task": {"kind": "replies", "samples": 4},
    "temperatures": [0.5, 1.0],
    "quality": "reference_f1",
    "diversity": "distinct2",
}


def test_every_arm_measures_every_temperature() -> None:
    found = Frontier.model_validate(REPLIES).tasks("replies")
    assert {name: getattr(task, "temperature", None) for name, task in found.items()} == {
        "replies-t0_5": 0.5,
        "replies-t1": 1.0,
    }
    study = load(STUDY, "tiny")
    assert {"replies-t0_7", "replies-t1", "replies-t1_3", "sums-t0_7", "sums-t1", "english"} == set(study.base.tasks)
    assert Study.model_validate(study.to_dict()) == study.model_copy(update={"scale": None, "folder": None})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperatures": [1.0]}, "at least 2"),
        ({"temperatures": [1.0, 0.5]}, "rise"),
        ({"diversity": None}, "two axes"),
        ({"quality": "f1"}, "no metric"),
        ({"task": {"kind": "ppl", "source": {"kind": "embedded", "suite": "text", "n": 4}}}, "temperature"),
    ],
)
def test_what_no_frontier_can_be_read_from_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Frontier.model_validate({**REPLIES, **change})


def test_a_decision_names_what_it_reads() -> None:
    assert Decision(say="x", frontier="sums", measure="pass@8", above=0).tries == 8
    with pytest.raises(ValidationError, match="which frontier"):
        Decision(say="x", above=0)
