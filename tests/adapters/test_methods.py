"""Every method begins at the base, can learn at once, comes back from its file, and keeps to its budget."""

import re
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
from netgain.adapters.prefix import Prefix
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
    "prefix": Prefix(length=5),
    "prefix-joined": Prefix(form="joined", length=5),
    "trajectory": Trajectory(ranks=(6, 4, 2)),
    "trajectory-hidden": Trajectory(form="hidden", ranks=(6, 4, 2)),
    "trajectory-told": Trajectory(ranks=(6, 4, 2), conditioning=8),
    "trajectory-hidden-told": Trajectory(form="hidden", ranks=(6, 4, 2), conditioning=8),
}
MOVED = ("prefix-joined",)
"""Methods that do not begin at the base, and say so."""
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
        adapter.set_state({n: t + 0.1 * torch.randn(t.shape, generator=g) for n, t in adapter.state().items()})
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
    assert torch.equal(logits(lm), base) == (name not in MOVED)
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
        "trajectory-told": 6 * layers * (linear + 6 * 8),
        "prefix": layers * (2 * 5 * hidden + lm.net.config.num_attention_heads),
        "prefix-joined": layers * 2 * 5 * hidden,
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
    [
        Lora(budget="10%"),
        Bottleneck(budget="10%"),
        Prefix(budget="10%"),
        Prefix(form="joined", budget="10%"),
        Trajectory(budget="10%"),
        Trajectory(form="hidden", budget="10%"),
        Trajectory(budget="10%", conditioning=8),
        Trajectory(form="hidden", budget="10%", conditioning=8),
    ],
    ids=lambda m: f"{m.kind}-{getattr(m, 'form', '')}{getattr(m, 'conditioning', '')}",
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


def test_the_published_trajectory_has_the_published_size() -> None:
    """622,720 early, 507,968 in the middle, 421,904 late: 768 features, told by 256 numbers of the input."""
    config = {"hidden_size": 768, "num_hidden_layers": 1, "num_attention_heads": 12, "intermediate_size": 64}
    lm = load(ModelSpec.model_validate({"id": "config:bert", "config": config}))
    method = Trajectory(form="hidden", conditioning=256)
    assert (method.ranks, method.scales) == ((64, 32, 8), (1.0, 0.5, 0.25))
    sizes = [0, 0, 0]
    for name, tensor in method.attach(lm, torch_stream(0, "init")).parameters().items():
        sizes[int(name.rsplit(".", 1)[1]) // 2] += tensor.numel()
    assert sizes == [622_720, 507_968, 421_904]
    assert sum(sizes) == 1_552_592


def test_the_hidden_form_adds_what_its_formula_says() -> None:
    """h_last + sigma(t) sum_k U_tk relu(D_tk h_last + c_tk), of the phase that each row is in."""
    lm = small()
    adapter = attached(lm, "trajectory-hidden", changed=True)
    own = adapter.state()
    ids = torch.tensor([[1, 50, 60, 2, 70, 71, 72, 2]] * 3)
    for row, hidden in enumerate((4, 2, 1)):
        ids[row, 4 : 4 + hidden] = lm.mask_id
    with torch.no_grad():
        tuned = lm.body(input_ids=ids).last_hidden_state
        with adapter.off():
            h = lm.body(input_ids=ids).last_hidden_state
    for phase, sigma in enumerate((1.0, 0.5, 0.25)):
        added = torch.zeros_like(h[phase])
        for k in (2 * phase, 2 * phase + 1):
            inner = (h[phase] @ own[f"body.down.{k}"].T + own[f"body.bias.{k}"]).relu()
            added += inner @ own[f"body.up.{k}"].T
        assert torch.allclose(tuned[phase], h[phase] + sigma * added, atol=1e-5)


def test_what_a_row_says_decides_what_a_told_adapter_adds_to_it() -> None:
    """Rows that differ in their prompts alone, at the same phase: c differs, and nothing of the answer is in it."""
    lm = small()
    adapter = attached(lm, "trajectory-hidden-told", changed=False)
    for name, tensor in adapter.parameters().items():
        if "beta" in name:
            tensor.data += 0.1
    ids = torch.tensor([[1, 50, 60, 2, *[lm.mask_id] * 4], [1, 51, 60, 2, *[lm.mask_id] * 4]])
    with torch.no_grad():
        tuned = lm.body(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        with adapter.off():
            base = lm.body(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    one, other = (tuned - base)[:, 0]
    assert not torch.allclose(one, other, atol=1e-4)


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


@torch.no_grad()
def test_low_rank_bounds_the_nuclear_norm_and_orthogonality_counts_what_overlaps() -> None:
    from netgain.objectives.terms.low_rank import LowRank
    from netgain.objectives.terms.orthogonality import Orthogonality

    lm = small()
    for name in ("lora", "trajectory", "trajectory-hidden", "bottleneck"):
        adapter = attached(lm, name, changed=True)
        own = adapter.parameters()
        ends = {n: t for n, t in own.items() if re.search(r"\.(lora_B\.weight|b|up|up\.\d)$", n)}
        starts = {n: t for n, t in own.items() if re.search(r"\.(lora_A\.weight|a|down|down\.\d)$", n)}
        assert len(ends) == len(starts), name
        nuclear = sum(
            float(torch.linalg.svdvals(b @ a).sum()) for a, b in zip(starts.values(), ends.values(), strict=True)
        )
        low = LowRank().value(own, {})
        assert float(low) >= nuclear > 0
        overlap = Orthogonality().value(own, {})
        assert overlap > 0
        if name == "trajectory-hidden":
            u = list(ends.values())
            by_hand = sum(float((u[i].T @ u[j]).square().sum()) for i in range(6) for j in range(i + 1, 6))
            assert float(overlap) == pytest.approx(by_hand, rel=1e-4)
        if name == "lora":
            columns = [t.T @ t for t in ends.values()]
            by_hand = sum(float((g.square().sum() - g.diagonal().square().sum()) / 2) for g in columns)
            assert float(overlap) == pytest.approx(by_hand, rel=1e-4)
        adapter.remove()
    orthogonal = {"x.a": torch.randn(3, 4), "x.b": torch.eye(5)[:, :3]}
    assert float(Orthogonality().value(orthogonal, {})) == 0
    with pytest.raises(UserError, match="learns no product"):
        LowRank().value(attached(lm, "bitfit", changed=False).parameters(), {})


def test_the_regularisers_are_terms_of_any_objective() -> None:
    lm = small()
    adapter = attached(lm, "trajectory", changed=True)
    objective = {"ce": "ce", "rank": {"term": "low_rank", "weight": 0.01}}
    objective["apart"] = {"term": "orthogonality", "weight": 0.001}
    record = next(train(training(lm, adapter, objective))).arms[0]
    assert record is not None
    raw = {name: value for name, (value, _) in record.terms.items()}
    assert raw["rank"] > 0
    assert raw["apart"] > 0
    assert record.loss == pytest.approx(raw["ce"] + 0.01 * raw["rank"] + 0.001 * raw["apart"], rel=1e-4)


def test_clipping_measures_exactly_what_learns() -> None:
    """A clip list without the model never clips: every method's list is all that has a gradient, and nothing else."""
    for name in METHODS:
        lm = small()
        adapter = attached(lm, name, changed=True)
        made = training(lm, adapter)
        learned = {id(tensor) for tensor in made.arms[0].parameters()}
        assert {id(t) for t in lm.net.parameters() if t.requires_grad} <= learned, name
        lm.head.logits(lm.hidden(view(lm))).square().mean().backward()
        with_gradient = {id(t) for t in [*lm.net.parameters(), *adapter.parameters().values()] if t.grad is not None}
        assert with_gradient <= learned, name


def test_what_a_method_costs_is_in_its_record() -> None:
    from netgain.execute.cost import cost

    lm = small()
    found = {}
    for name in OWN:
        adapter = attached(lm, name, changed=False)
        found[name] = cost(lm, adapter)
        adapter.remove()
    for name, each in found.items():
        flops = each["flops"]
        assert each["parameters"] == lm.size, name
        assert flops["base"] <= flops["forward"] < flops["step"], name
        assert each["seconds"] > 0
        assert each["base_seconds"] > 0
    for name in ("lora", "prefix", "bottleneck", "trajectory", "trajectory-hidden"):
        assert found[name]["flops"]["forward"] > found[name]["flops"]["base"], name
    assert found["bitfit"]["flops"]["forward"] == found["bitfit"]["flops"]["base"]
