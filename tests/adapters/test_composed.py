"""Finished adapters put together: sums of what they do, a router that begins at their mean, in runs that wait."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from netgain.adapters._torch.modules import read_all
from netgain.adapters._torch.peft import from_folder
from netgain.adapters.bitfit import Bitfit
from netgain.adapters.composed import Composed
from netgain.adapters.lora import Lora
from netgain.adapters.method import Shop
from netgain.adapters.routed import Routed
from netgain.errors import UserError
from netgain.execute.local import execute
from netgain.ledger.store import Ledger
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.spec.identity import torch_stream
from netgain.spec.run import ModelSpec, RunRef, Runtime
from netgain.spec.study import Study, planned

torch.set_num_threads(1)
MODEL = {"id": "config:bert", "config": {"initializer_range": 0.2, "hidden_size": 32}, "denoise": {"length": 4}}
REFS = tuple(RunRef(sig=f"{k:016x}") for k in range(3))


def base(kind: str = "bert") -> LM:
    return load(ModelSpec.model_validate({**MODEL, "id": f"config:{kind}"}))


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """Three finished adapters of different ranks and scales, in folders named like runs."""
    lm = base()
    for k, ref in enumerate(REFS):
        adapter = Lora(r=2 + k, alpha=4.0 + k, use_rslora=k == 2).attach(lm, torch_stream(k, "init"))
        g = torch.Generator().manual_seed(k)
        adapter.set_state({n: t + 0.2 * torch.randn(t.shape, generator=g) for n, t in adapter.state().items()})
        adapter.save(tmp_path / str(ref.sig) / "adapter")
        adapter.remove()
    return tmp_path


def built(method: Composed, modules: Path, lm: LM) -> Path:
    out = modules / "built"

    def trial(ref: RunRef) -> Any:
        raise AssertionError("nothing is tried")

    method.build(out, Shop(lambda ref: modules / str(ref.sig), lm, 0, trial))
    return out


@pytest.mark.parametrize(
    ("fields", "weights"),
    [
        ({"how": "uniform"}, (1 / 3, 1 / 3, 1 / 3)),
        ({"how": "arithmetic"}, (1.0, 1.0, 1.0)),
        ({"how": "arithmetic", "weights": (0.5, 0.0, -1.0)}, (0.5, 0.0, -1.0)),
    ],
)
def test_the_sum_does_what_its_parts_do(fields: dict[str, Any], weights: tuple[float, ...], modules: Path) -> None:
    out = built(Composed.model_validate({"modules": REFS, **fields}), modules, base())
    parts = read_all([modules / str(ref.sig) / "adapter" for ref in REFS])
    config, tensors = (
        json.loads((out / "adapter_config.json").read_text()),
        load_file(out / "adapter_model.safetensors"),
    )
    scale = config["lora_alpha"] / config["r"]
    assert config["r"] == 2 + 3 + 4
    for site in parts[0].products:
        whole = scale * tensors[f"{site}.lora_B.weight"] @ tensors[f"{site}.lora_A.weight"]
        expected = sum(
            w * part.products[site][1] @ part.products[site][0] for w, part in zip(weights, parts, strict=True)
        )
        assert torch.allclose(whole, expected, atol=1e-5), site  # type: ignore[arg-type]


@torch.no_grad()
def test_a_router_begins_at_the_uniform_composition_and_weighs_rows_apart(modules: Path) -> None:
    ids = torch.tensor([[1, 50, 60, 2, *[4] * 4], [1, 70, 80, 2, *[4] * 4]])
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    lm = base()
    ids[ids == 4] = lm.mask_id
    plain = lm.hidden(ids, mask)
    adapter = from_folder(lm, built(Composed(how="uniform", modules=REFS), modules, lm))
    expected = lm.hidden(ids, mask)
    adapter.remove()
    method = Routed(modules=REFS, features=8, width=6)
    routed = method.attach_to(lm, torch_stream(0, "init"), lambda ref: modules / str(ref.sig))
    assert routed.count == 8 * 6 + 6 + 6 * 3 + 3
    assert torch.allclose(lm.hidden(ids, mask), expected, atol=1e-4)
    alone = []
    for j in range(3):
        state = {n: torch.zeros_like(t) for n, t in routed.state().items()}
        state["router.second_bias"][j] = 50.0
        routed.set_state(state)
        alone.append(lm.hidden(ids, mask))
        module = from_folder(base(), modules / str(REFS[j].sig) / "adapter")
        assert torch.allclose(alone[-1][mask.bool()], module.lm.hidden(ids, mask)[mask.bool()], atol=1e-4)
    generator = torch.Generator().manual_seed(0)
    routed.set_state({n: torch.randn(t.shape, generator=generator) * 0.3 for n, t in routed.state().items()})
    lm.hidden(ids, mask)
    weights = routed.modules["router"].weights  # type: ignore[attr-defined]
    assert torch.allclose(weights.sum(1), torch.ones(2))
    assert not torch.allclose(weights[0], weights[1], atol=1e-2)
    routed.remove()
    assert torch.equal(lm.hidden(ids, mask), plain)


def test_what_cannot_be_put_together_is_refused(modules: Path) -> None:
    other = base()
    Bitfit().attach(other, torch_stream(0, "init")).save(modules / "b" / "adapter")
    with pytest.raises(UserError, match="only plain LoRA adapters can be put together"):
        read_all([modules / str(REFS[0].sig) / "adapter", modules / "b" / "adapter"])
    Lora(r=2, targets=("query",)).attach(base(), torch_stream(0, "init")).save(modules / "c" / "adapter")
    with pytest.raises(UserError, match="only one of them changes"):
        read_all([modules / str(REFS[0].sig) / "adapter", modules / "c" / "adapter"])
    with pytest.raises(UserError, match="reads an answer token by token"):
        Routed(modules=REFS).attach_to(base("llama"), torch_stream(0, "init"), lambda ref: modules / str(ref.sig))
    with pytest.raises(ValueError, match="3 modules need as many weights"):
        Composed(how="arithmetic", modules=REFS, weights=(1.0,))


def test_compositions_are_runs_that_wait_for_their_modules(tmp_path: Path) -> None:
    rows = {"kind": "embedded", "suite": "sentiment", "n": 24, "seed": 1}
    parts = [{"arm": "one"}, {"arm": "two"}]
    study = Study.model_validate(
        {
            "name": "modules",
            "question": "What do two adapters do together?",
            "base": {
                "model": {**MODEL, "denoise": {"length": 16}},
                "method": {"kind": "lora", "r": 2, "alpha": 4},
                "data": {"sources": {"reviews": rows}, "dev": 4},
                "optim": {"learning_rate": 1e-2, "steps": 3, "batch": 4},
                "tasks": {"s": {"kind": "sentiment", "source": {**rows, "n": 8, "seed": 2}}},
            },
            "seeds": [0],
            "vary": {
                "arm": {
                    "routed": {"method": {"kind": "routed", "modules": parts, "width": 8}},
                    "sum": {"method": {"kind": "composed", "how": "arithmetic", "modules": parts}},
                    "one": {},
                    "two": {"optim.steps": 4},
                }
            },
        }
    )
    ledger = Ledger(tmp_path)
    assert execute(study, ledger, Runtime(threads=1)) == 0
    records = {each.arm: ledger.run(each.sig).record() for each in planned(study)}
    assert records["sum"]["built"]["weights"] == [1.0, 1.0]
    assert records["routed"]["trainable"] == 256 * 8 + 8 + 2 * 8 + 2
    assert records["routed"]["steps"] == 3
    for record in records.values():
        assert record["cost"]["flops"]["forward"] > record["cost"]["flops"]["base"]
        assert record["cost"]["seconds"] > 0
    for name in ("one", "two", "routed"):
        assert records[name]["reach"]["moved"] > 1e-5
