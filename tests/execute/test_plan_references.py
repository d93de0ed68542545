"""The plan of references: counted without torch, true afterwards, and loud about what nobody uses."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netgain.execute.plan import make
from netgain.execute.plan_references import hidden_size
from netgain.ledger.store import Ledger
from netgain.models.load import load
from netgain.spec.identity import essence
from netgain.spec.run import ModelSpec, Run
from netgain.spec.study import Study


def study_of(run: Run, **fields: Any) -> Study:
    return Study.model_validate({"name": "s", "question": "?", "base": essence(run), "seeds": [0, 1], **fields})


def test_a_plan_counts_rows_and_afterwards_says_that_they_are_there(
    scene: Any, make_run: Callable[..., Run], tmp_path: Path
) -> None:
    study = study_of(make_run(), vary={"objective.kd.weight": [0.0, 0.1, 0.5]})
    [before] = make(study, Ledger(tmp_path / "ledger")).references
    assert (before.name, before.rows, before.cached, before.keeps) == ("teacher", 24, 0, "mean")
    assert "few_shot, shots 3" in before.sentence
    assert "0 rows cached" in before.sentence
    here = scene(make_run())
    facts = here.references().summary["teacher"]
    [after] = make(study, Ledger(tmp_path / "ledger")).references
    assert (after.rows, after.cached, after.tokens, after.folder) == (24, 24, facts["tokens"], facts["folder"])
    assert "all of it cached" in after.sentence
    assert after.bytes == pytest.approx(facts["bytes"], rel=0.3)
    assert before.tokens == pytest.approx(after.tokens, rel=0.5)


def test_references_of_other_data_and_controls_are_counted_apart(make_run: Callable[..., Run], tmp_path: Path) -> None:
    vary = {"teacher": {"gold": {}, "shuffled": {"references.teacher.answers": "shuffled"}}}
    found = make(study_of(make_run(), vary=vary), Ledger(tmp_path)).references
    assert [reference.rows for reference in found] == [24, 24]
    assert len({reference.folder for reference in found}) == 2


def test_a_reference_that_no_term_compares_with_is_a_warning(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run({"teacher": {"kind": "few_shot", "shots": 1}, "spare": "base"})
    warnings = make(study_of(run), Ledger(tmp_path)).warnings
    assert "references.spare is declared and no term compares with it" in warnings
    off = make(study_of(run, vary={"objective.kd.weight": [0.0]}), Ledger(tmp_path))
    assert "references.teacher is declared and no term compares with it" in off.warnings
    assert off.references == ()


def test_a_run_that_is_not_there_yet_is_said_and_not_raised(make_run: Callable[..., Run], tmp_path: Path) -> None:
    [found] = make(study_of(make_run({"teacher": {"kind": "run", "run": "abc"}})), Ledger(tmp_path)).references
    assert 'no run with a sig that begins with "abc"' in found.sentence


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gpt2"])
def test_widths_are_those_of_the_models(name: str) -> None:
    assert hidden_size(ModelSpec(id=name)) == load(ModelSpec(id=name)).head.weight.shape[1]


def test_counting_loads_no_torch() -> None:
    code = "import sys, netgain.execute.plan_references, netgain.execute.plan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
