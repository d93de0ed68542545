"""What is handed over computes what the run computed, or is not written."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from netgain.adapters.export import compare, export
from netgain.adapters.full import Full
from netgain.adapters.lora import Lora
from netgain.adapters.method import Adapter, Method
from netgain.errors import UserError
from netgain.models.load import load
from netgain.spec.identity import torch_stream
from netgain.spec.run import ModelSpec

torch.set_num_threads(1)
PROBES = [[4, 9, 30, 77], [100, 5, 60, 61, 62, 8]]


def tuned(method: Method, family: str = "llama", dtype: str = "float32", size: float = 0.05) -> Adapter:
    lm = load(ModelSpec.model_validate({"id": f"config:{family}", "dtype": dtype}))
    adapter = method.attach(lm, torch_stream(0, "init"))
    g = torch.Generator().manual_seed(1)
    adapter.set_state({n: t + size * torch.randn(t.shape, generator=g) for n, t in adapter.state().items()})
    return adapter


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
@pytest.mark.parametrize("method", [Lora(r=4, use_rslora=True), Lora(r=4, use_dora=True), Full()], ids=str)
def test_a_merged_folder_is_a_plain_model_with_the_same_logits(family: str, method: Method, tmp_path: Path) -> None:
    adapter = tuned(method, family)
    out = tmp_path / "merged"
    parity = export(adapter, out, PROBES, merged=True)
    assert parity.difference <= 1e-5
    assert parity.same_choice == 1.0
    assert parity.positions == 10
    net = AutoModelForCausalLM.from_pretrained(str(out))
    assert AutoTokenizer.from_pretrained(str(out)).get_vocab() == adapter.lm.tok.get_vocab()
    ids = torch.tensor([PROBES[1]])
    with torch.no_grad():
        assert torch.allclose(net(input_ids=ids).logits, adapter.lm.head.logits(adapter.lm.hidden(ids)), atol=2e-5)


def test_an_adapter_folder_is_written_exactly(tmp_path: Path) -> None:
    parity = export(tuned(Lora(r=4)), tmp_path / "adapter", PROBES, merged=False)
    assert parity.difference == 0
    assert {p.name for p in (tmp_path / "adapter").iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}


def test_what_differs_is_not_written(tmp_path: Path) -> None:
    adapter = tuned(Lora(r=4))
    merged = adapter.merged()
    with torch.no_grad():
        next(p for n, p in merged.named_parameters() if "down_proj" in n).mul_(1.5)
    adapter.merged = lambda: merged  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"not written\. The merged model computes other logits"):
        export(adapter, tmp_path / "merged", PROBES, merged=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        export(tuned(Lora(r=4)), tmp_path, PROBES, merged=False)


def test_a_logit_that_is_no_number_is_a_difference() -> None:
    a = [torch.tensor([[1.0, 2.0]])]
    assert not compare(a, [torch.tensor([[1.0, float("nan")]])], torch.float32).holds


def test_a_bfloat16_merge_is_within_its_stated_rounding(tmp_path: Path) -> None:
    parity = export(tuned(Lora(r=4), dtype="bfloat16", size=0.01), tmp_path / "merged", PROBES, merged=True)
    assert 0 < parity.difference <= parity.tolerance
