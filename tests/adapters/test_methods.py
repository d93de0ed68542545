"""Every method begins at the base, can learn at once, comes back from its file, and keeps to its budget."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from netgain.adapters.bitfit import Bitfit
from netgain.adapters.bottleneck import Bottleneck
from netgain.adapters.budget import allowed
from netgain.adapters.full import Full
from netgain.adapters.ia3 import Ia3
from netgain.adapters.lora import Lora
from netgain.adapters.method import Adapter, Method
from netgain.adapters.trajectory import Trajectory
from netgain.data.chat import Encoded
from netgain.data.view import View
from netgain.errors import UserError
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.spec.identity import torch_stream
from netgain.spec.run import BASE, ModelSpec, OptimSpec, Weighted
from netgain.training.arms import Arm, Reference, Solo, base_reference
from netgain.training.loop import Training, train

torch.set_num_threads(1)
METHODS: dict[str, Method] = {
    "full": Full(),
    "lora": Lora(r=4),
    "ia3": Ia3(),
    "bitfit": Bitfit(),
    "bottleneck": Bottleneck(width=6),
    "trajectory": Trajectory(ranks=(6, 4, 2)),
    "trajectory-hidden": Trajectory(form="hidden", ranks=(6, 4, 2)),
}
OWN = [name for name in METHODS if name != "full"]
FEW = [name for name in OWN if name not in ("lora", "ia3")]
LENGTH = 4


def small() -> LM:
    config = {"hidden_size": 32, "num_hidden_layers": 2, "initializer_range": 0.2}
    return load(ModelSpec.model_validate({"id": "config:bert", "config": config, "denoise": {"length": LENGTH}}))


def view(lm: LM, step: int = 0) -> View:
    rows = [
        Encoded(f"r{i}", [1, *range(40, 44 + i), 2, 80 + i % 2, 2], [False] * (6 + i) + [True, True], end=1)
        for i in range(9)
    ]
    return lm.family.view(rows, lm.pad_id, torch.Generator().manual_seed(step))


@torch.no_grad()
def logits(lm: LM) -> Tensor:
    made = view(lm)
    return lm.head.logits(lm.hidden(made)[made.scored])


def attached(lm: LM, name: str, *, changed: bool) -> Adapter:
    adapter = METHODS[name].attach(lm, torch_stream(0, "init"))
    if changed:
        g = torch.Generator().manual_seed(1)
        adapter.set_state({n: t + 0.05 * torch.randn(t.shape, generator=g) for n, t in adapter.state().items()})
    return adapter


def training(lm: LM, adapter: Adapter, objective: dict[str, Any] | None = None, **references: Reference) -> Training:
    terms = {name: Weighted.model_validate(each) for name, each in (objective or {"ce": "ce"}).items()}
    arm = Arm("arm", adapter, terms, OptimSpec(learning_rate=1e-2, steps=4, batch=9, warmup=1, clip=1.0))
    return Training(Solo(adapter), [arm], lambda k: view(lm, k), 0, references=references)


@pytest.mark.parametrize("name", METHODS)
def test_it_begins_at_the_base_and_every_tensor_learns(name: str) -> None:
    """One zero too many, in both factors of a product, and most tensors would stay where they began."""
    lm = small()
    base = logits(lm)
    adapter = attached(lm, name, changed=False)
    assert torch.equal(logits(lm), base)
    before = {n: tensor.clone() for n, tensor in adapter.state().items()}
    for each in train(training(lm, adapter)):
        record = each.arms[0]
        assert record is not None
        assert record.grad_norm > 0
    assert [n for n, tensor in adapter.state().items() if torch.equal(tensor, before[n])] == []
    assert not torch.equal(logits(lm), base)


@pytest.mark.parametrize("name", METHODS)
def test_off_and_removed_it_is_the_base_bit_for_bit(name: str) -> None:
    lm = small()
    base = logits(lm)
    adapter = attached(lm, name, changed=True)
    tuned = logits(lm)
    assert not torch.allclose(tuned, base)
    with adapter.off():
        assert torch.equal(logits(lm), base)
    assert torch.equal(logits(lm), tuned)
    adapter.remove()
    assert torch.equal(logits(lm), base)
    assert not any(tensor.requires_grad for tensor in lm.net.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_what_is_saved_is_what_is_loaded(name: str, tmp_path: Path) -> None:
    lm, other = small(), small()
    attached(lm, name, changed=True).save(tmp_path)
    attached(other, name, changed=False).load(tmp_path)
    assert torch.equal(logits(lm), logits(other))


def test_plain_peft_reads_the_rescaling_vectors(tmp_path: Path) -> None:
    from peft import PeftModel

    lm = small()
    attached(lm, "ia3", changed=True).save(tmp_path)
    with pytest.warns(FutureWarning, match="is_gradient_checkpointing"):
        theirs = PeftModel.from_pretrained(small().net, str(tmp_path)).eval()
    made = view(lm)
    with torch.no_grad():
        found = theirs(input_ids=made.input_ids, attention_mask=made.attention_mask.long()).logits[made.scored]
    assert torch.allclose(found, logits(lm), atol=1e-5)


@pytest.mark.parametrize("name", FEW)
def test_the_file_of_another_size_is_refused(name: str, tmp_path: Path) -> None:
    lm = small()
    attached(lm, name, changed=False).save(tmp_path)
    other = "bitfit" if name != "bitfit" else "bottleneck"
    with pytest.raises(UserError, match="other tensors"):
        attached(small(), other, changed=False).load(tmp_path)


def test_counts_are_those_of_the_formulae() -> None:
    lm = small()
    hidden, inner, layers = 32, 128, 2
    linear = 4 * (2 * hidden) + 2 * (hidden + inner)
    expected = {
        "lora": 4 * (layers * linear + 2 * hidden) + 4 * 2 * hidden,
        "bottleneck": layers * 2 * (2 * 6 * hidden + 6 + hidden),
        "trajectory": 6 * layers * linear,
        "trajectory-hidden": 2 * sum(2 * r * hidden + r for r in (6, 4, 2)),
    }
    pooler = lm.net.base_model.pooler is not None  # type: ignore[union-attr]
    if not pooler:
        expected["lora"] -= 4 * 2 * hidden
    for name, count in expected.items():
        adapter = attached(lm, name, changed=False)
        assert adapter.count == count, name
        adapter.remove()


@pytest.mark.parametrize(
    "method",
    [Lora(budget="10%"), Bottleneck(budget="10%"), Trajectory(budget="10%"), Trajectory(form="hidden", budget="10%")],
    ids=lambda m: f"{m.kind}-{getattr(m, 'form', '')}",
)
def test_a_budget_is_met_by_every_method(method: Method) -> None:
    lm = small()
    count = method.attach(lm, torch_stream(0, "init")).count
    assert count == pytest.approx(allowed("10%", lm), rel=0.15)


def test_the_rank_follows_what_is_still_hidden() -> None:
    """Only rows that are masked as much as a phase asks for change by what that phase alone may use."""
    lm = small()
    adapter = attached(lm, "trajectory", changed=False)
    clean = torch.tensor([[1, 50, 60, 2, 70, 71, 72, 2]] * 3)
    ids = clean.clone()
    for row, hidden in enumerate((4, 2, 1)):  # early, middle, late
        ids[row, 4 : 4 + hidden] = lm.mask_id
    with torch.no_grad():
        base = lm.hidden(ids)
        for name, tensor in adapter.parameters().items():
            if name.endswith(".b"):
                tensor[:, 2:4] = 0.5  # what early and middle use, late does not
        moved = (lm.hidden(ids) - base).abs().amax((1, 2))
    assert moved[0] > 1e-3
    assert moved[1] > 1e-3
    assert moved[2] == 0


def test_a_trajectory_needs_a_model_that_has_one() -> None:
    with pytest.raises(UserError, match="only a masked-diffusion model has a trajectory"):
        Trajectory().attach(load(ModelSpec(id="config:llama")), torch_stream(0, "init"))


def test_the_objectives_terms_work_on_masked_views_with_no_code_of_their_own() -> None:
    """An anchor to the base and distillation from another denoiser, which reads the very same masks."""
    lm, teacher = small(), small()
    further = attached(teacher, "lora", changed=True)
    further.set_state({name: 2 * tensor for name, tensor in further.state().items()})
    adapter = attached(lm, "lora", changed=True)
    seen: list[View] = []

    def other(view: View) -> Any:
        from netgain.objectives.term import Reading

        seen.append(view)
        return Reading(teacher.hidden(view)[view.scored], teacher.head)

    objective = {"ce": "ce", "anchor": {"term": {"kind": "kl", "reference": BASE}, "weight": 0.5}}
    objective["distil"] = {"term": {"kind": "kl", "reference": "teacher"}, "weight": 2.0}
    made = training(lm, adapter, objective, **{BASE: base_reference(Solo(adapter)), "teacher": other})
    record = next(train(made)).arms[0]
    assert record is not None
    raw = {name: value for name, (value, _) in record.terms.items()}
    assert raw["anchor"] > 1e-4
    assert raw["distil"] > 1e-4
    assert record.loss == pytest.approx(raw["ce"] + 0.5 * raw["anchor"] + 2 * raw["distil"], rel=1e-4)
    assert seen
    assert torch.equal(seen[0].input_ids, view(lm).input_ids)
