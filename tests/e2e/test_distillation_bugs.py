"""Study one run for real, small: its audit has no error, and has one when a bug of the original is put back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from netgain.audit import run
from netgain.audit.finding import Severity
from netgain.data.view import View
from netgain.execute.local import describe, work
from netgain.ledger.store import Ledger
from netgain.measure import evaluate
from netgain.objectives import selection
from netgain.spec.load import load
from netgain.spec.run import Runtime
from netgain.spec.study import planned

torch.set_num_threads(1)

FILE = Path(__file__).parents[2] / "studies" / "distillation_lambda.yaml"
ROWS = {"kind": "embedded", "suite": "pos"}


def reduced(folder: Path, **rows: Any) -> Path:
    """The study's own file with one more scale: the tiny model, three weights, one seed, four steps, 24 sentences."""
    tree = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    task = {"kind": "pos", "source": {**ROWS, "n": 24, **rows}, "train": {**ROWS, "n": 96, "seed": 1, **rows}}
    tree["scales"]["reduced"] = {
        "base.model": "tiny-llama",
        "base.data": {"sources": {"rows": {"kind": "task", "task": task}}, "dev": 8},
        "base.tasks.pos": task,
        "base": {"optim": {"learning_rate": 1e-3, "steps": 4, "warmup": 1}, "dev": {"every": 4}},
        "vary.lambda": {"lambda=0.5": None, "zero-shot": None},
        "contrasts": [{"arm": "*", "versus": "lambda=0 pos", "task": "pos", "metric": "accuracy"}],
        "seeds": [0],
    }
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return file


def errors(folder: Path, **rows: Any) -> dict[str, str]:
    """Code and evidence of what `netgain audit LEDGER` calls an error, after the study has run to its end."""
    study = load(reduced(folder, **rows), "reduced")
    ledger, todo = Ledger(folder / "ledger"), planned(study)
    ledger.write_study(study.key, describe(study, todo))
    work(todo, ledger, Runtime(), study, lambda _: None)
    assert [ledger.run(each.sig).state() for each in todo] == ["done"] * 3
    return {f.code: f.evidence for f in run([ledger.root]).findings if f.severity is Severity.ERROR}


def test_the_study_as_it_is_has_no_error(tmp_path: Path) -> None:
    assert errors(tmp_path) == {}


def test_an_answer_budget_of_four_tokens_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nobody had refused it: every answer is cut, whatever the weight."""
    monkeypatch.setattr(evaluate, "_budget", lambda template, name, requests: 4)
    found = errors(tmp_path)
    assert "100.0% of 24 answers" in found["NG506"]
    assert "cut by the budget" in found["NG506"]


def test_a_label_list_that_is_off_by_one_everywhere_is_found(tmp_path: Path) -> None:
    """In the prompts, in what is learned and in what is measured: all agree, so only the words give it away."""
    found = errors(tmp_path, convention="shift")
    assert "Universal Dependencies says" in found["NG704"]


def shifted(view: View, kind: Any, *more: Any) -> Tensor:
    """Which tokens a term sees, one position late: the prediction of the second token where the first one's was."""
    on = SEEN(view, kind, *more)
    return torch.cat([on.new_zeros(1), on[:-1]]) if kind == "content" else on


SEEN: Callable[..., Tensor] = selection.seen


def test_distillation_one_position_late_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss falls as before, but no answer's first token is ever taught, and what ends it is."""
    monkeypatch.setattr(selection, "seen", shifted)
    found = errors(tmp_path)
    assert found["NG608"].endswith(
        'the term "kd" saw the first token of 0% of 8 answers and what the template adds to 100% of them.'
    )
