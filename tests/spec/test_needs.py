"""Runs that rest on other runs: what a reference to an arm means for sigs and order, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from netgain.errors import UserError
from netgain.spec.load import load
from netgain.spec.study import Study, expand, planned

TREE: dict[str, Any] = {
    "name": "needs",
    "question": "Does a student of a student learn?",
    "base": {
        "model": "tiny-llama",
        "method": "lora",
        "data": {"sources": {"rows": {"kind": "embedded", "suite": "sentiment", "n": 20}}},
        "optim": {"learning_rate": 1e-3, "steps": 4, "batch": 4},
        "tasks": {"sentiment": {"kind": "sentiment", "source": {"kind": "embedded", "suite": "sentiment", "n": 8}}},
    },
    "seeds": [0, 1],
    "vary": {
        "arm": {
            "student": {
                "references": {"teacher": {"kind": "run", "run": {"arm": "teacher"}}},
                "objective": {"kd": {"term": {"kind": "kl", "reference": "teacher"}, "weight": 0.5}},
            },
            "base": {"method": "none"},
            "teacher": {},
        }
    },
}


def study(**arms: Any) -> Study:
    return Study.model_validate({**TREE, "vary": {"arm": {**TREE["vary"]["arm"], **arms}}})


def sigs(asked: Study) -> dict[tuple[str, int | None], str]:
    return {(each.arm, each.seed): each.sig for each in planned(asked)}


def test_a_reference_to_an_arm_is_that_arms_run_at_the_same_seed_and_comes_first() -> None:
    wanted = planned(study())
    order = [(each.arm, each.seed) for each in wanted]
    known = sigs(study())
    for seed in (0, 1):
        student = next(each for each in wanted if (each.arm, each.seed) == ("student", seed))
        assert student.needs == (known["teacher", seed],)
        assert order.index(("teacher", seed)) < order.index(("student", seed))


def test_the_sig_of_a_run_changes_with_what_it_rests_on_and_with_nothing_else() -> None:
    before = sigs(study())
    taught = sigs(study(teacher={"optim.learning_rate": 2e-3}))
    assert taught["teacher", 0] != before["teacher", 0]
    assert taught["student", 0] != before["student", 0]
    assert taught["base", None] == before["base", None]
    student = TREE["vary"]["arm"]["student"]
    renamed = {**student, "references": {"teacher": {"kind": "run", "run": {"arm": "other"}}}}
    assert sigs(study(other={}, student=renamed))["student", 0] == before["student", 0]


def test_expanded_arms_rest_on_the_first_seed() -> None:
    arm = next(each for each in expand(study()) if each.name == "student")
    assert arm.run.references["teacher"].model_dump()["run"]["sig"] == sigs(study())["teacher", 0]


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ("teachr", 'is no arm of this study. Did you mean "teacher"'),
        ("base", "has no adapter to build on"),
        ("student", "student -> student"),
    ],
)
def test_what_cannot_come_first_is_refused_at_its_line(tmp_path: Path, arm: str, said: str) -> None:
    tree = {**TREE, "vary": {"arm": {**TREE["vary"]["arm"]}}}
    student = dict(tree["vary"]["arm"]["student"])
    student["references"] = {"teacher": {"kind": "run", "run": {"arm": arm}}}
    tree["vary"]["arm"]["student"] = student
    file = tmp_path / "needs.yaml"
    file.write_text(yaml.safe_dump(tree, sort_keys=False))
    with pytest.raises(UserError, match=said) as error:
        load(file)
    line = int(str(error.value).split(":")[1])
    wanted = "student" if arm == "student" else f"arm: {arm}"
    assert wanted in file.read_text().splitlines()[line - 1]
