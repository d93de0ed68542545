"""What a step and a study compute, in counts: a clock on a shared machine cannot guard speed, a count can."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from netgain.adapters.lora import Lora
from netgain.adapters.packed import pack
from netgain.data.view import View
from netgain.execute.local import work
from netgain.execute.teachers import Desk
from netgain.ledger.store import Ledger
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.objectives.linear import soft_statistic
from netgain.objectives.term import Reading
from netgain.objectives.terms.ce import Ce
from netgain.objectives.terms.js import Js
from netgain.objectives.terms.kl import Kl
from netgain.spec.load import load as load_study
from netgain.spec.run import ModelSpec, OptimSpec, Runtime, Weighted
from netgain.spec.study import planned
from netgain.training.arms import Arm, Reference, Solo, base_reference
from netgain.training.loop import Training, train
from netgain.training.probes import probe

torch.set_num_threads(1)
Views = Callable[..., Callable[[int], View]]
VOCAB, CHUNK = 6000, 4


def wide() -> LM:
    """A narrow model of many words."""
    return load(ModelSpec(id="config:llama", config={"vocab_size": VOCAB, "tie_word_embeddings": True}))


def started(lm: LM, views: Callable[[int], View], arms: int, anchor: Any, *, cached: bool) -> Training:
    """Arms with a cross-entropy and an anchor of different weights; the base is asked at each step, or remembered."""
    method, optim = Lora(r=4, alpha=8), OptimSpec(learning_rate=1e-3, steps=60, batch=4)
    if arms == 1:
        adapter = method.attach(lm, torch.Generator())
        student, adapters = Solo(adapter), [adapter]
    else:
        student = pack(method, lm, [0] * arms)
        adapters = list(student.adapters)
    made = [
        Arm(f"{k}", each, {"ce": Weighted(term=Ce()), "anchor": Weighted(term=anchor, weight=0.1 + k)}, optim)
        for k, each in enumerate(adapters)
    ]
    base = base_reference(student)
    references = {"base": remembered(lm, base) if cached else base}
    return Training(student, made, views, 0, Runtime(chunk=CHUNK), references=references)


def remembered(lm: LM, base: Reference) -> Reference:
    """The base's H + 1 numbers a token, made the first time that a View is seen."""
    known: dict[int, Reading] = {}

    @torch.no_grad()
    def read(view: View) -> Reading:
        key = int(view.input_ids.sum())
        if key not in known:
            reading = base(view)
            assert reading.hidden is not None
            mean, constant, _ = soft_statistic(reading.hidden, reading.head, lm.head, CHUNK)
            known[key] = Reading(None, lm.head, mean, constant)
        return known[key]

    return read


@contextmanager
def forwards(lm: LM) -> Iterator[list[int]]:
    """The rows of every forward pass through the body."""
    seen: list[int] = []
    hook = lm.body.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    try:
        yield seen
    finally:
        hook.remove()


class Watch(TorchDispatchMode):
    """How many operators ran, and the largest tensor that any of them wrote; views and the frozen head are nobody's."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.largest = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {a.untyped_storage().data_ptr() for a in args if isinstance(a, Tensor)}
        out = func(*args, **(kwargs or {}))
        self.calls += 1
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in given:
                self.largest = max(self.largest, tensor.numel())
        return out


@pytest.mark.parametrize(("arms", "cached", "expected"), [(1, True, [4]), (3, True, [12]), (1, False, [4, 4])])
def test_a_step_is_one_forward_pass_and_one_of_a_base_that_is_not_remembered(
    view_of: Views, arms: int, cached: bool, expected: list[int]
) -> None:
    lm = wide()
    training = started(lm, view_of(lm, batch=4), arms, Kl(), cached=cached)
    if cached:
        training.references["base"](training.view())
    with forwards(lm) as seen:
        next(train(training))
    assert sorted(seen) == expected


def test_a_probe_costs_one_more_forward_pass_in_twenty_five_steps_and_the_first_that_of_one_arm(view_of: Views) -> None:
    lm = wide()
    training = started(lm, view_of(lm, batch=4), 2, Kl(), cached=True)
    training.references["base"](training.view())
    records = probe(train(training), training)
    with forwards(lm) as seen:
        for _ in range(26):
            next(records)
    assert seen.count(8) == 26 + 1
    assert seen.count(4) == 1 + 25  # the base reads each step's rows once, the first step's above


def test_more_arms_are_more_rows_and_hardly_more_operators(view_of: Views) -> None:
    calls: dict[int, int] = {}
    for arms in (2, 6):
        lm = wide()
        training = started(lm, view_of(lm, batch=4), arms, Kl(), cached=True)
        steps = train(training)
        next(steps)
        training.references["base"](training.view())
        with Watch() as watch:
            next(steps)
        calls[arms] = watch.calls
    assert calls[6] <= calls[2] + 4 * 40


@pytest.mark.parametrize(("anchor", "arms"), [(Kl(), 1), (Kl(), 3), (Js(), 1)])
def test_no_step_makes_the_logits_of_all_its_tokens(view_of: Views, anchor: Any, arms: int) -> None:
    lm = wide()
    training = started(lm, view_of(lm, batch=4), arms, anchor, cached=isinstance(anchor, Kl))
    view = training.view()
    training.references["base"](view)
    with Watch() as watch:
        next(train(training))
    scored, tokens = len(view.targets), view.input_ids.numel()
    assert scored > 3 * CHUNK
    widest = 4 * lm.net.config.hidden_size * tokens * arms
    assert watch.largest <= max(widest, CHUNK * VOCAB)
    assert watch.largest < scored * VOCAB


STUDY = """
name: counted
question: How often is the teacher asked?
base:
  model: tiny-llama
  method: {kind: lora, r: 2, alpha: 4}
  data: {sources: {reviews: {kind: embedded, suite: sentiment, n: 12, seed: 1}}, dev: 0}
  references: {teacher: {kind: few_shot, shots: 2}}
  objective: {ce: ce, kd: {term: {kind: kl, reference: teacher}, weight: 0.0}}
  optim: {learning_rate: 1e-3, steps: 6, batch: 4}
  tasks: {english: {kind: ppl, source: {kind: embedded, suite: text, n: 1}, characters: 40}}
vary:
  arm:
    weak: {objective.kd.weight: 0.1}
    strong: {objective.kd.weight: 1.0}
"""


@pytest.mark.parametrize("packed", ["auto", "off"])
def test_a_study_asks_its_teacher_once_about_each_row(packed: Any, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    study, ledger = load_study(path), Ledger(tmp_path / "ledger")
    asked: list[int] = []
    read = Desk._read

    def counted(self: Desk, lm: LM, rows: Any, batch: list[int]) -> Any:
        asked.append(len(batch))
        return read(self, lm, rows, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Desk, "_read", counted)
        work(planned(study), ledger, Runtime(device="cpu", threads=1, pack=packed), study, lambda event: None)
    records = [json.loads((ledger.run(each.sig).path / "record.json").read_text()) for each in planned(study)]
    assert {record["references"]["teacher"]["rows"] for record in records} == {12}
    assert sum(asked) == 12 + 12  # the teacher, and the untrained student for the record
