"""Teachers that are not the run's own base: another model, and a finished run of a ledger."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from netgain.errors import UserError
from netgain.execute.local import execute
from netgain.ledger.store import Ledger
from netgain.models.load import load
from netgain.spec.identity import essence, torch_stream
from netgain.spec.run import ModelSpec, Run, Runtime
from netgain.spec.study import Study, planned

OTHER = {"id": "config:qwen3", "config": {"hidden_size": 32, "seed": 3, "initializer_range": 0.2}}
MSE = {"kind": "logit_mse", "reference": "teacher"}


@pytest.fixture
def small(make_run: Callable[..., Run]) -> Callable[..., Run]:
    """A run of a random model, so that other random models share its tokenizer."""

    def make(reference: Any, term: Any = None, **fields: Any) -> Run:
        return make_run({"teacher": reference}, term, rows=10, model="config:llama", **fields)

    return make


@pytest.mark.parametrize("term", [None, MSE])
def test_another_model_teaches_over_the_same_vocabulary(
    scene: Any, small: Callable[..., Run], term: Any, passes: list[int]
) -> None:
    here = scene(small({"kind": "model", "model": OTHER}, term))
    view = here.view([3, 0, 7])
    other = load(ModelSpec.model_validate(OTHER))
    expected = other.head.logits(other.hidden(view)[view.scored]).detach()
    passes.clear()
    reading = here.references()["teacher"](view)
    if term is None:
        p = expected.softmax(-1)
        assert torch.allclose(reading.mean, p @ here.lm.head.weight, atol=1e-5)
        assert torch.allclose(reading.entropy_term, (p * p.log()).sum(-1), atol=1e-5)
    else:
        assert reading.hidden.shape[1] == 32, "its own states, which its own head reads"
        assert torch.allclose(reading.head.logits(reading.hidden), expected, atol=1e-4)
    assert passes[-2:] == [10, 10], "the teacher and the untrained student, after the check of the loaded model"
    passes.clear()
    again = scene(here.run).references()["teacher"](view)
    assert passes == [], "neither model is asked again"
    assert (again.hidden is None) == (reading.hidden is None)


def test_another_model_of_other_tokens_is_refused(scene: Any, small: Callable[..., Run]) -> None:
    with pytest.raises(UserError, match="tiny-llama cannot teach config:llama"):
        scene(small({"kind": "model", "model": "tiny-llama"})).references()


def test_a_finished_run_teaches_what_it_learned(scene: Any, small: Callable[..., Run]) -> None:
    elder = small("base", objective={"ce": "ce"}, optim={"learning_rate": 0.05, "steps": 3, "batch": 4})
    here = scene(small({"kind": "run", "run": "nothing"}, MSE))
    ledger = Ledger(here.cache.parent)
    study = Study.model_validate({"name": "elder", "question": "?", "base": essence(elder)})
    [each] = planned(study)
    with pytest.raises(UserError, match='no run with a sig that begins with "nothing"'):
        here.references()
    assert execute(study, ledger, Runtime(threads=1)) == 0
    folder = ledger.run(each.sig).path
    said = []
    for name in (each.sig[:6], str(folder)):
        there = scene(small({"kind": "run", "run": name}, MSE))
        reading = there.references()["teacher"](there.view([1, 5]))
        said.append(reading.head.logits(reading.hidden))
    lm = load(elder.model)
    adapter = elder.method.attach(lm, torch_stream(0, "init"))  # type: ignore[attr-defined]
    adapter.load(folder / "adapter")
    view = there.view([1, 5])
    expected = lm.head.logits(lm.hidden(view)[view.scored]).detach()
    assert torch.allclose(said[0], expected, atol=1e-4)
    assert said[0].equal(said[1])
    with adapter.off():
        base = lm.head.logits(lm.hidden(view)[view.scored]).detach()
    assert (expected - base).abs().max() > 1e-2, "it had learned something"


def test_a_run_that_kept_no_such_adapter_is_said(scene: Any, small: Callable[..., Run], tmp_path: Path) -> None:
    here = scene(small({"kind": "run", "run": str(tmp_path / "runs" / "abc")}))
    (tmp_path / "runs" / "abc").mkdir(parents=True)
    with pytest.raises(UserError, match=r"abc: this run is missing; only a finished one can be a reference"):
        here.references()
