"""What the loop does to each arm: rates, clipping, ends, divergence, and terms that are not there."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Literal

import pytest
import torch
from torch import Tensor
from transformers import get_scheduler

from netgain.adapters.full import Full
from netgain.adapters.lora import Lora
from netgain.data.view import View
from netgain.models.lm import LM
from netgain.objectives.term import Scores, Term
from netgain.objectives.terms.ce import Ce
from netgain.spec.identity import torch_stream
from netgain.spec.run import DevSpec, OptimSpec, Schedule, Weighted
from netgain.training.arms import Arm, Solo, base_reference, learning_rate
from netgain.training.loop import Diverged, Training, train
from netgain.training.stop import dev_losses, watch

torch.set_num_threads(1)
Make = Callable[..., Training]
Model = Callable[..., LM]
CE = Weighted(term=Ce())


class Drift(Term):
    """KL(base || student)."""

    kind: Literal["test_drift"] = "test_drift"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"base"})

    def values(self, student: Scores, references: Mapping[str, Scores]) -> Tensor:
        p = references["base"].logp
        return (p.exp() * (p - student.logp)).sum(-1)


class Together:
    """K arms, each on its own copy of the same model: a pack without the packing."""

    def __init__(self, solos: list[Solo]) -> None:
        self.solos, self.lm, self.noise = solos, solos[0].lm, None

    def states(self, view: View) -> Tensor:
        return torch.cat([solo.states(view) for solo in self.solos])

    @contextmanager
    def learning(self) -> Iterator[None]:
        with ExitStack() as stack:
            for solo in self.solos:
                stack.enter_context(solo.learning())
            yield

    @contextmanager
    def off(self) -> Iterator[None]:
        with ExitStack() as stack:
            for solo in self.solos:
                stack.enter_context(solo.off())
            yield

    def zero_grad(self) -> None:
        for solo in self.solos:
            solo.zero_grad()


OPTIMS = [
    OptimSpec(learning_rate=5e-3, steps=6, batch=8),
    OptimSpec(learning_rate=2e-2, steps=6, batch=8, schedule="linear", warmup=2, clip=0.05),
    OptimSpec(learning_rate=1e-2, steps=4, batch=8, schedule="constant", clip=None, weight_decay=0.1),
]
OBJECTIVES = [
    {"ce": CE},
    {"ce": CE, "drift": Weighted(term=Drift(), weight=0.5)},
    {"ce": Weighted(term=Ce(), weight=2.0)},
]


def arm(lm: LM, k: int) -> Arm:
    return Arm(f"arm {k}", Lora(r=4).attach(lm, torch_stream(0, "init")), OBJECTIVES[k], OPTIMS[k])


def alone(model: Model, view_of: Callable[..., Callable[[int], View]], k: int) -> Training:
    lm = model()
    one = arm(lm, k)
    solo = Solo(one.adapter)
    return Training(solo, [one], view_of(lm), 0, references={"base": base_reference(solo)})


def together(model: Model, view_of: Callable[..., Callable[[int], View]], ks: range = range(3)) -> Training:
    arms = [arm(model(), k) for k in ks]
    student = Together([Solo(one.adapter) for one in arms])
    return Training(student, arms, view_of(student.lm), 0, references={"base": base_reference(student)})


def test_arms_together_are_the_arms_alone(model: Model, view_of: Callable[..., Callable[[int], View]]) -> None:
    pack = together(model, view_of)
    records = list(train(pack))
    assert len(records) == 6
    for k in range(3):
        single = alone(model, view_of, k)
        steps = [record.arms[0] for record in train(single)]
        ours = [record.arms[k] for record in records if record.arms[k]]
        assert len(ours) == len(steps) == OPTIMS[k].steps
        for a, b in zip(ours, steps, strict=True):
            assert a is not None
            assert b is not None
            assert a.loss == pytest.approx(b.loss, rel=1e-5)
            assert a.lr == b.lr
            assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-4)
        for name, tensor in single.arms[0].adapter.state().items():
            other = pack.arms[k].adapter.state()[name]
            assert (tensor - other).norm() <= 1e-4 * tensor.norm(), name


def test_one_arm_diverges_and_the_others_go_on(model: Model, view_of: Callable[..., Callable[[int], View]]) -> None:
    pack = together(model, view_of, range(2))
    steps = train(pack)
    next(steps)
    with torch.no_grad():
        pack.arms[0].parameters()[0].fill_(math.nan)
    record = next(steps)
    assert record.arms[0] is None
    assert record.arms[1] is not None
    assert pack.arms[0].diverged == 2
    rest = list(steps)
    assert [r.step for r in rest] == [3, 4, 5, 6]
    assert all(r.arms[1] is not None and math.isfinite(r.arms[1].loss) for r in rest)
    assert all(p.isfinite().all() for p in pack.arms[1].parameters())


def test_divergence_names_the_step_and_updates_nothing(make: Make, model: Model) -> None:
    training = make(model(), steps=5)
    steps = train(training)
    next(steps)
    broken = training.arms[0].parameters()[0]
    with torch.no_grad():
        broken[0, 0] = math.inf
    before = [p.detach().clone() for p in training.arms[0].parameters()[1:]]
    with pytest.raises(Diverged, match="diverged at step 2"):
        next(steps)
    assert training.step == 1
    assert all(torch.equal(a, b) for a, b in zip(before, training.arms[0].parameters()[1:], strict=True))


def test_a_term_of_weight_zero_leaves_the_run_bit_identical(make: Make, model: Model) -> None:
    runs = [
        make(model(), objective=objective)
        for objective in ({"ce": CE}, {"ce": CE, "drift": Weighted(term=Drift(), weight=0.0)})
    ]
    assert "base" not in runs[1].references, "a removed term asks for nothing"
    for a, b in zip(train(runs[0]), train(runs[1]), strict=True):
        assert a.arms == b.arms
    first, second = (run.arms[0].adapter.state() for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("method", [Lora(r=4, dropout=0.1), Full()], ids=["lora", "full"])
def test_the_base_is_a_reference_that_never_moves(make: Make, model: Model, method: Lora | Full) -> None:
    lm, untouched = model(), model()
    late = Weighted(term=Drift(), weight=Schedule(value=1.0, start=0.5))
    training = make(lm, method, steps=4, objective={"ce": CE, "drift": late})
    training.references = {"base": base_reference(training.student)}
    records = [record.arms[0] for record in train(training)]
    assert [set(r.terms) for r in records if r] == [{"ce"}, {"ce"}, {"ce", "drift"}, {"ce", "drift"}]
    view = training.views(0)
    with torch.no_grad():
        reading = base_reference(training.student)(view)
        assert reading.hidden is not None
        assert torch.equal(
            reading.head.logits(reading.hidden), untouched.head.logits(untouched.hidden(view)[view.scored])
        )
    last = records[-1]
    assert last is not None
    assert last.terms["drift"][0] > 0


def test_a_bfloat16_base_is_trained_by_float32_adapters(make: Make, model: Model) -> None:
    lm = model("llama", "bfloat16")
    training = make(lm, Lora(r=4, dropout=0.1), steps=12, learning_rate=2e-2, batch=24)
    losses = [record.arms[0].loss for record in train(training) if record.arms[0]]
    assert lm.dtype == torch.bfloat16
    assert {p.dtype for p in training.arms[0].parameters()} == {torch.float32}
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("warmup", [0, 3, 20])
def test_rates_are_those_of_transformers(schedule: Literal["constant", "linear", "cosine"], warmup: int) -> None:
    optim = OptimSpec(learning_rate=0.3, steps=10, schedule=schedule, warmup=warmup)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    rates = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=10)
    for k in range(10):
        assert learning_rate(optim, k) == pytest.approx(rates.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        rates.step()


def test_what_is_recorded_adds_up(make: Make, model: Model) -> None:
    training = make(model(), objective={"ce": Weighted(term=Ce(), weight=0.5)})
    rows = [row for record in train(training) for row in record.rows()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["progress"] for row in rows] == [k / 6 for k in range(6)]
    for row in rows:
        assert row["loss"] == pytest.approx(sum(t["raw"] * t["weight"] for t in row["terms"].values()), rel=1e-6)
    expected = sum(int(training.views(k).attention_mask.sum()) for k in range(6))
    assert rows[-1]["tokens"] == expected


def test_the_dev_loss_is_the_mean_over_tokens(make: Make, model: Model) -> None:
    training = make(model())
    views = [training.views(k) for k in range(3)]
    (ours,), (drift,) = dev_losses(training.student, 1, views, chunk=7)
    lm = training.student.lm
    with torch.no_grad():
        parts = [
            torch.nn.functional.cross_entropy(lm.head.logits(lm.hidden(v)[v.scored]), v.targets, reduction="none")
            for v in views
        ]
    assert ours == pytest.approx(float(torch.cat(parts).mean()), rel=1e-6)
    assert abs(drift) < 1e-6, "an adapter that has learned nothing is its base"


def test_the_best_is_kept_and_patience_ends_the_run(make: Make, model: Model) -> None:
    training = make(model(), steps=40, learning_rate=0.05, schedule="constant")
    dev = [training.views(100)]
    kept: dict[int, dict[str, Tensor]] = {}

    def keep_best(arm: Arm) -> None:
        kept[training.step] = {name: tensor.clone() for name, tensor in arm.adapter.state().items()}

    records = list(watch(train(training), training, dev, DevSpec(every=2, patience=3), keep_best))
    losses = {r.step: r.dev[0] for r in records if r.dev}
    best = training.arms[0].best
    assert training.step < 40, "random bytes cannot be learned, so the dev loss must rise"
    assert training.arms[0].ended == training.step == best.step + 6
    assert (best.step, best.loss) == min(losses.items(), key=lambda item: item[1])
    assert max(kept) == best.step
    training.arms[0].adapter.set_state(kept[best.step])
    (loss,), (drift,) = dev_losses(training.student, 1, dev, None)
    assert loss == pytest.approx(best.loss)
    assert drift > 0
    row = records[-1].rows()[-1]
    assert (row["event"], row["step"], row["loss"]) == ("dev", training.step, losses[training.step])
    assert row["kl_base"] > drift, "it drifts on after its best"


def test_an_arm_whose_dev_loss_is_no_number_has_diverged(make: Make, model: Model) -> None:
    training = make(model(), steps=6)
    records = watch(train(training), training, [], DevSpec(every=2), lambda arm: pytest.fail("nothing is best"))
    rows = [row for record in records for row in record.rows()]
    assert training.arms[0].diverged == training.arms[0].ended == 2
    assert [(row["step"], row.get("event")) for row in rows] == [(1, None), (2, None)]
