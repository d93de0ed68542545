"""Off is the base bit for bit, files are PEFT's own, and the same seed gives the same initial tensors."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from netgain.adapters.full import Full
from netgain.adapters.lora import Lora
from netgain.adapters.method import Adapter, Method
from netgain.adapters.none import Untouched
from netgain.errors import UserError
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.spec.identity import torch_stream
from netgain.spec.run import ModelSpec

torch.set_num_threads(1)
FAMILIES = ("llama", "gpt2", "qwen3", "gemma3")
METHODS = {
    "lora": Lora(r=4),
    "rslora": Lora(r=4, use_rslora=True),
    "dora": Lora(r=4, use_dora=True),
    "dropout": Lora(r=4, dropout=0.2),
    "gaussian": Lora(r=4, init="gaussian"),
    "full": Full(),
}
IDS = torch.arange(4, 24).view(2, 10)


def small(family: str = "llama") -> LM:
    return load(ModelSpec(id=f"config:{family}"))


@torch.no_grad()
def logits(lm: LM) -> Tensor:
    return lm.head.logits(lm.hidden(IDS, torch.ones_like(IDS)))


def attached(lm: LM, method: Method, seed: int = 0, *, changed: bool = True) -> Adapter:
    """The method in `lm`, its tensors moved away from where they began."""
    adapter = method.attach(lm, torch_stream(seed, "init"))
    if changed:
        g = torch.Generator().manual_seed(1)
        adapter.set_state({n: t + 0.05 * torch.randn(t.shape, generator=g) for n, t in adapter.state().items()})
    return adapter


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", METHODS)
def test_an_adapter_switched_off_is_the_base_bit_for_bit(family: str, name: str) -> None:
    lm = small(family)
    base = logits(lm)
    adapter = attached(lm, METHODS[name])
    tuned = logits(lm)
    assert not torch.equal(tuned, base)
    with adapter.off():
        assert torch.equal(logits(lm), base)
    assert torch.equal(logits(lm), tuned)
    adapter.remove()
    assert torch.equal(logits(lm), base)
    assert not any(p.requires_grad for p in lm.net.parameters())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", [name for name in METHODS if name != "full"])
def test_plain_peft_loads_the_folder_and_gives_the_same_logits(family: str, name: str, tmp_path: Path) -> None:
    from peft import PeftModel

    lm = small(family)
    attached(lm, METHODS[name]).save(tmp_path)
    with pytest.warns(FutureWarning, match="is_gradient_checkpointing"):
        theirs = PeftModel.from_pretrained(small(family).net, str(tmp_path)).eval()
    with torch.no_grad():
        assert torch.equal(theirs(input_ids=IDS).logits, logits(lm))


@pytest.mark.parametrize("name", METHODS)
def test_what_is_saved_is_what_is_loaded(name: str, tmp_path: Path) -> None:
    lm, other = small(), small()
    attached(lm, METHODS[name]).save(tmp_path)
    METHODS[name].attach(other, torch_stream(5, "init")).load(tmp_path)
    assert torch.equal(logits(lm), logits(other))


def test_an_adapter_of_another_shape_is_refused(tmp_path: Path) -> None:
    attached(small(), Lora(r=4)).save(tmp_path)
    with pytest.raises(UserError, match="other tensors"):
        attached(small(), Lora(r=8)).load(tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", METHODS)
def test_merging_changes_no_logit(family: str, name: str) -> None:
    lm = small(family)
    adapter = attached(lm, METHODS[name])
    with torch.no_grad():
        merged = adapter.merged()(input_ids=IDS).logits
    assert torch.allclose(merged, logits(lm), atol=2e-5)


def test_a_fresh_lora_is_the_base_and_full_counts_every_weight() -> None:
    lm = small()
    base = logits(lm)
    adapter = attached(lm, Lora(r=4), changed=False)
    assert torch.equal(logits(lm), base)
    assert adapter.count == sum(p.numel() for p in lm.net.parameters() if p.requires_grad)
    adapter.remove()
    assert attached(lm, Full(), changed=False).count == sum(p.numel() for p in lm.net.parameters())


def test_the_seed_decides_the_initial_adapter_in_every_process() -> None:
    code = (
        "from netgain.adapters.lora import Lora\n"
        "from netgain.models.load import load\n"
        "from netgain.spec.identity import torch_stream\n"
        "from netgain.spec.run import ModelSpec\n"
        "lm = load(ModelSpec(id='config:llama'))\n"
        "print(Lora(r=4).attach(lm, torch_stream(3, 'init')).fingerprint())"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    torch.manual_seed(99)
    before = torch.get_rng_state()
    here = attached(small(), Lora(r=4), 3)
    assert here.fingerprint() == elsewhere, "the fingerprint is of the initial tensors, in any process"
    assert torch.equal(before, torch.get_rng_state()), "attaching draws nothing from the global stream"
    assert attached(small(), Lora(r=4), 4).fingerprint() != elsewhere


def test_targets_are_named_or_refused() -> None:
    lm = small()
    adapter = attached(lm, Lora(r=4, targets=("q_proj", "v_proj")))
    assert {name.split(".")[-3] for name in adapter.parameters()} == {"q_proj", "v_proj"}
    adapter.remove()
    with pytest.raises(UserError, match=r'"q_prj" is no linear layer.*Did you mean "q_proj"'):
        Lora(r=4, targets=("q_prj",)).attach(lm, torch_stream(0, "init"))
    with pytest.raises(UserError, match="leave the head out"):
        Lora(r=4, targets=("lm_head",)).attach(lm, torch_stream(0, "init"))


def test_full_needs_float32_weights() -> None:
    lm = load(ModelSpec(id="config:llama", dtype="bfloat16"))
    with pytest.raises(UserError, match=r"model\.dtype to float32"):
        Full().attach(lm, torch_stream(0, "init"))


def test_the_untouched_base_learns_nothing() -> None:
    lm = small()
    adapter = Untouched().attach(lm, torch_stream(0, "init"))
    assert adapter.count == 0
    assert not Untouched.learns
    with pytest.raises(UserError, match="nothing learns"):
        adapter.learning()
