"""Arms that train together in one forward pass are the arms trained alone, and stay adapters of their own."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from test_step_counts import forwards
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from netgain.adapters._torch.packed import PackedLinear, Routing
from netgain.adapters.lora import Lora
from netgain.adapters.packed import pack, packable
from netgain.data.view import View
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.objectives.terms.ce import Ce
from netgain.objectives.terms.kl import Kl
from netgain.spec.identity import torch_stream
from netgain.spec.run import DevSpec, ModelSpec, OptimSpec, Runtime, Weighted
from netgain.training.arms import Arm, Solo, Student, base_reference
from netgain.training.loop import Diverged, StepRecord, Training, train
from netgain.training.probes import measure
from netgain.training.stop import watch

torch.set_num_threads(1)
Views = Callable[..., Callable[[int], View]]
STEPS = 50
METHODS = {"lora": Lora(r=4, alpha=8), "rslora": Lora(r=4, alpha=8, use_rslora=True, dropout=0.1)}
WEIGHTS = (0.0, 0.5, 2.0, 0.1)
OPTIMS = (
    OptimSpec(learning_rate=3e-3, steps=STEPS, batch=4),
    OptimSpec(learning_rate=1e-2, steps=STEPS, batch=4, schedule="linear", warmup=5, clip=0.05),
    OptimSpec(learning_rate=5e-3, steps=20, batch=4, schedule="constant", clip=None, weight_decay=0.1),
    OptimSpec(learning_rate=1e30, steps=STEPS, batch=4, schedule="constant", clip=None),
)
"""The third is shorter than the others, the last one breaks."""


def model(name: str, double: bool = True) -> LM:
    lm = load(ModelSpec(id=name))
    if double:
        lm.net.double()
    return lm


def objective(k: int) -> dict[str, Weighted]:
    return {"ce": Weighted(term=Ce()), "kl": Weighted(term=Kl(), weight=WEIGHTS[k])}


def training(student: Student, adapters: list[Any], views: Callable[[int], View], ks: list[int]) -> Training:
    arms = [Arm(f"arm {k}", adapter, objective(k), OPTIMS[k]) for k, adapter in zip(ks, adapters, strict=True)]
    return Training(student, arms, views, 0, Runtime(micro_batch=3), references={"base": base_reference(student)})


def alone(lm: LM, method: Lora, views: Callable[[int], View], k: int) -> Training:
    adapter = method.attach(lm, torch_stream(0, "init"))
    return training(Solo(adapter), [adapter], views, [k])


def together(lm: LM, method: Lora, views: Callable[[int], View], ks: list[int]) -> Training:
    student = pack(method, lm, [0] * len(ks))
    return training(student, list(student.adapters), views, ks)


def watched(made: Training, views: Callable[[int], View]) -> Iterator[StepRecord]:
    return watch(train(made), made, [views(1000)], DevSpec(every=10, patience=3), lambda arm: None)


def difference(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    a, b = (torch.cat([tensors[name].flatten() for name in sorted(theirs)]) for tensors in (ours, theirs))
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize(
    ("name", "method", "double"),
    [
        ("tiny-llama", "rslora", True),
        ("tiny-llama", "lora", False),
        ("tiny-gpt2", "lora", True),
        ("tiny-gpt2", "lora", False),
    ],
)
def test_an_arm_of_a_pack_is_the_arm_alone(view_of: Views, name: str, method: str, double: bool) -> None:
    lm = model(name, double)
    views = view_of(lm, batch=4)
    packed = together(lm, METHODS[method], views, [0, 1, 2, 3])
    records = list(watched(packed, views))
    states = [{n: t.clone() for n, t in arm.adapter.state().items()} for arm in packed.arms]
    starts = [arm.adapter.fingerprint() for arm in packed.arms]
    packed.arms[0].adapter.remove()
    assert packed.arms[3].diverged
    for k in range(4):
        single = alone(lm, METHODS[method], views, k)
        assert single.arms[0].adapter.fingerprint() == starts[k]
        if k == 3:
            with pytest.raises(Diverged, match=f"at step {packed.arms[k].diverged}"):
                list(watched(single, views))
            single.arms[0].adapter.remove()
            continue
        steps = list(watched(single, views))
        ours = [record.arms[k] for record in records if record.arms[k]]
        assert len(ours) == len(steps) <= OPTIMS[k].steps
        assert packed.arms[k].ended == single.arms[0].ended
        assert packed.arms[k].best.step == single.arms[0].best.step
        limit = 1e-5 if double else 1e-3
        assert difference(states[k], single.arms[0].adapter.state()) <= limit
        assert ours[-1].loss == pytest.approx(steps[-1].arms[0].loss, rel=limit)  # type: ignore[union-attr]
        single.arms[0].adapter.remove()


def moved(lm: LM, arms: int) -> Any:
    """A pack whose arms are all different and far from the base."""
    student = pack(Lora(r=4, alpha=8), lm, [0] * arms)
    g = torch.Generator().manual_seed(1)
    for adapter in student.adapters:
        adapter.set_state({n: t + 0.1 * torch.randn(t.shape, generator=g) for n, t in adapter.state().items()})
    return student


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gpt2"])
def test_plain_peft_reads_the_file_of_an_arm(view_of: Views, name: str, tmp_path: Path) -> None:
    lm = model(name, double=False)
    view = view_of(lm)(0)
    student = moved(lm, 3)
    with torch.no_grad():
        ours = lm.head.logits(student.states(view))
    student.adapters[1].save(tmp_path / "arm")
    merged = student.adapters[2].merged()
    fresh = model(name, double=False).net
    peft = PeftModel.from_pretrained(fresh, str(tmp_path / "arm")).eval()
    with torch.no_grad():
        theirs = peft(input_ids=view.input_ids, attention_mask=view.attention_mask.long()).logits[view.scored]
        folded = merged(input_ids=view.input_ids, attention_mask=view.attention_mask.long()).logits[view.scored]
    assert (ours[1] - theirs).abs().max() <= 1e-4 * theirs.abs().max()
    assert (ours[2] - folded).abs().max() <= 1e-4 * folded.abs().max()
    assert (ours[0] - ours[1]).abs().max() > 0.1
    student.adapters[0].load(tmp_path / "arm")
    assert difference(student.adapters[0].state(), student.adapters[1].state()) == 0
    student.remove()


def test_off_is_the_base_bit_for_bit_and_so_is_a_removed_pack(view_of: Views) -> None:
    lm, untouched = model("tiny-llama", double=False), model("tiny-llama", double=False)
    view = view_of(lm)(0)
    student = moved(lm, 2)
    with torch.no_grad():
        expected = untouched.hidden(view)
        with student.off():
            assert torch.equal(lm.hidden(view), expected)
        assert not torch.allclose(student.states(view)[0], expected[view.scored])
        student.remove()
        assert torch.equal(lm.hidden(view), expected)


@pytest.mark.parametrize("owners", [[0, 1, 2, 0, 1, 2], [2, 2, 2, 0, 0, 1], [1], [0, 0, 1, 1, 2, 2]])
def test_rows_of_any_arm_may_stand_anywhere(view_of: Views, owners: list[int]) -> None:
    lm = model("tiny-llama")
    view = view_of(lm)(0)
    student = moved(lm, 3)
    rows = view.rows(range(len(owners)))
    with torch.no_grad():
        student.assign(torch.tensor(owners))
        mixed = lm.hidden(rows)
        for row, arm in enumerate(owners):
            student.assign(torch.tensor([arm]))
            one = lm.hidden(view.rows([row]))
            length = one.shape[1]
            assert torch.allclose(mixed[row, :length], one[0], atol=1e-9)
    student.remove()


@pytest.mark.parametrize("owners", [None, [1, 0, 2, 1]])
def test_arms_over_a_half_wide_base_are_measured_in_its_width(owners: list[int] | None) -> None:
    made: set[torch.dtype] = set()

    class Widths(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and out.numel() >= 4 * 5 * 64:
                made.add(out.dtype)
            return out

    frozen, routing = nn.Linear(64, 96).bfloat16().requires_grad_(False), Routing(3)
    a, b, x = torch.randn(3, 4, 64), torch.randn(3, 4, 96), torch.randn(4, 5, 64).bfloat16()
    layer = PackedLinear(frozen, (a, b), (torch.zeros_like(a), torch.zeros_like(b)), 0.5, None, routing)
    if owners is None:
        routing.sole = 1
    else:
        routing.assign(torch.tensor(owners))
    with torch.no_grad(), Widths():
        out = layer(x)
    arms = torch.tensor(owners or [1, 1, 1, 1])
    exact = frozen(x).float() + 0.5 * x.float() @ a[arms].transpose(1, 2) @ b[arms]
    assert (out - exact).norm() <= 0.01 * exact.norm()
    assert made == {torch.bfloat16}


def test_an_arm_that_broke_reaches_no_other_when_they_are_measured(view_of: Views) -> None:
    lm = model("tiny-llama", double=False)
    view = view_of(lm)(0)
    student = moved(lm, 2)
    with torch.no_grad():
        student.adapters[0].parameters()[next(iter(student.adapters[0].parameters()))].fill_(math.nan)
    student.silence(0)
    with torch.no_grad():
        student.assign(torch.tensor([1, 0, 1]))
        assert lm.hidden(view.rows(range(3))).isfinite().all()
    student.remove()


def test_different_seeds_start_differently() -> None:
    lm = model("tiny-llama", double=False)
    student = pack(Lora(r=4), lm, [0, 1, 0])
    prints = [adapter.fingerprint() for adapter in student.adapters]
    student.remove()
    expected = []
    for seed in (0, 1, 0):
        adapter = Lora(r=4).attach(lm, torch_stream(seed, "init"))
        expected.append(adapter.fingerprint())
        adapter.remove()
    assert prints == expected


def test_only_methods_that_are_linear_in_the_input_are_packed() -> None:
    assert packable(Lora(use_rslora=True, dropout=0.1))
    assert not packable(Lora(use_dora=True))


def test_one_arm_is_probed_for_all_while_they_are_equal_and_each_for_itself_afterwards(view_of: Views) -> None:
    lm, ks = model("tiny-llama"), [0, 1, 2]
    views = view_of(lm, batch=4)
    made = together(lm, METHODS["rslora"], views, ks)
    singles = [alone(model("tiny-llama"), METHODS["rslora"], views, k) for k in ks]
    for each in (arm for run in (made, *singles) for arm in run.arms):  # away from the base, and all to one place
        each.adapter.set_state({name: tensor + 0.01 for name, tensor in each.adapter.state().items()})
    for rows in (1, 3):
        with forwards(lm) as seen:
            probes = measure(made)
        for one, own in zip(probes, singles, strict=True):
            (right,) = measure(own)
            assert one.keys() == right.keys()
            for name, found in one.items():
                for part in ("grad_norm", "grad_share", "grad_cosine"):
                    assert getattr(found, part) == pytest.approx(getattr(right[name], part), rel=1e-9, abs=1e-12)
        assert max(seen) == 3 * rows  # micro-batches of three
        for each in (made, *singles):
            next(train(each))


def test_what_an_arm_learns_is_its_own_again_after_it_stood_for_all(view_of: Views) -> None:
    lm = model("tiny-llama")
    views = view_of(lm, batch=4)
    probed, plain = (together(model("tiny-llama"), METHODS["lora"], views, [0, 1]) for _ in range(2))
    measure(probed)
    for _ in range(3):
        next(train(probed))
        next(train(plain))
    for one, other in zip(probed.arms, plain.arms, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
