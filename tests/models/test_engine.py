"""Another engine is believed when it writes what the network writes, and refused when it does not."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from netgain.adapters.lora import Lora
from netgain.adapters.method import Adapter
from netgain.errors import UserError
from netgain.models import engine
from netgain.models.generate import generate
from netgain.models.load import load
from netgain.spec.identity import torch_stream
from netgain.spec.run import ModelSpec

torch.set_num_threads(1)
STOP = [7, 40]
BUDGET = 12


def lm_and_adapter() -> Adapter:
    lm = load(ModelSpec(id="config:llama", config={"seed": 3, "initializer_range": 0.3}))
    adapter = Lora(r=4).attach(lm, torch_stream(0, "init"))
    g = torch.Generator().manual_seed(1)
    adapter.set_state({n: t + 0.5 * torch.randn(t.shape, generator=g) for n, t in adapter.state().items()})
    return adapter


class Twin:
    """A network of its own, with the adapter of the folder that it is given: what a right engine does."""

    name = "twin"

    def __init__(self, change: Callable[[list[int]], list[int]] = lambda ids: ids, deaf: bool = False) -> None:
        self.lm = load(ModelSpec(id="config:llama", config={"seed": 3, "initializer_range": 0.3}))
        self.change, self.deaf = change, deaf

    def write(
        self, prompts: Sequence[list[int]], adapter: Path | None, budget: int, stop_ids: Sequence[int]
    ) -> list[list[int]]:
        own = Lora(r=4).attach(self.lm, torch_stream(5, "init"))
        if adapter is not None and not self.deaf:
            own.load(adapter)
        found = generate(self.lm, prompts, max_new_tokens=budget, stop_ids=stop_ids, batch=2)
        own.remove()
        return [self.change(each.ids if each.truncated else [*each.ids, stop_ids[0]]) for each in found]


def prompts() -> list[list[int]]:
    g = torch.Generator().manual_seed(0)
    return [torch.randint(4, 200, (n,), generator=g).tolist() for n in (3, 9, 5, 12, 7, 4, 8, 6, 11, 10)]


def test_a_right_engine_writes_what_the_network_writes(tmp_path: Path) -> None:
    adapter = lm_and_adapter()
    adapter.save(tmp_path / "adapter")
    found, alike = engine.write(Twin(), adapter.lm, tmp_path / "adapter", prompts(), BUDGET, STOP)
    own = generate(adapter.lm, prompts(), max_new_tokens=BUDGET, stop_ids=STOP)
    assert found == own
    assert alike == 1.0
    with adapter.off():
        base = generate(adapter.lm, prompts(), max_new_tokens=BUDGET, stop_ids=STOP)
        again, _ = engine.write(Twin(), adapter.lm, None, prompts(), BUDGET, STOP)
    assert again == base
    assert base != own, "the adapter changes what is written, so a deaf engine can be told"


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda: Twin(deaf=True), id="without the adapter"),
        pytest.param(lambda: Twin(lambda ids: [(token + 1) % 200 for token in ids]), id="other tokens"),
        pytest.param(lambda: Twin(lambda ids: ids[: len(ids) // 2]), id="half an answer"),
        pytest.param(lambda: Twin(lambda ids: []), id="silent"),
    ],
)
def test_a_wrong_engine_is_refused(wrong: Callable[[], Twin], tmp_path: Path) -> None:
    adapter = lm_and_adapter()
    adapter.save(tmp_path / "adapter")
    with pytest.raises(UserError, match="twin is not trusted"):
        engine.write(wrong(), adapter.lm, tmp_path / "adapter", prompts(), BUDGET, STOP)


def test_what_an_engine_writes_behind_the_end_is_cut(tmp_path: Path) -> None:
    adapter = lm_and_adapter()
    adapter.save(tmp_path / "adapter")
    late = Twin(lambda ids: [*ids, 9, 9, 9])
    found, _ = engine.write(late, adapter.lm, tmp_path / "adapter", prompts(), BUDGET, STOP)
    own = generate(adapter.lm, prompts(), max_new_tokens=BUDGET, stop_ids=STOP)
    assert found == own


def test_agreement_counts_up_to_where_two_answers_part() -> None:
    assert engine.agreement([[1, 2, 3, 4]], [[1, 2, 9, 4]]) == 0.5
    assert engine.agreement([[1, 2]], [[1, 2, 3, 4]]) == 0.5
    assert engine.agreement([[], [1]], [[], [1]]) == 1.0


def test_vllm_is_asked_as_its_documentation_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A stand-in that notes the call: vLLM itself does not run here."""
    calls: list[dict[str, object]] = []

    class LLM:
        def __init__(self, **about: object) -> None:
            calls.append(about)

        def generate(self, asked: list[dict[str, list[int]]], settings: dict, **more: object) -> list[object]:
            calls.append({"asked": asked, **settings, **more})
            return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=(5, 7))]) for _ in asked]

    fake = SimpleNamespace(LLM=LLM, SamplingParams=lambda **about: about)
    monkeypatch.setitem(sys.modules, "vllm", fake)
    request = SimpleNamespace(LoRARequest=lambda name, number, path: (name, number, path))
    monkeypatch.setitem(sys.modules, "vllm.lora.request", request)
    made = engine.Vllm("folder", "bfloat16", 8)
    assert made.write([[1, 2]], tmp_path, 4, [7]) == [[5, 7]]
    made.write([[1]], tmp_path / "other", 4, [7])
    made.write([[1]], None, 4, [7])
    assert calls[0] == {"model": "folder", "dtype": "bfloat16", "enable_lora": True, "max_lora_rank": 8}
    assert calls[1]["lora_request"] == ("adapter-1", 1, str(tmp_path))
    assert calls[2]["lora_request"] == ("adapter-2", 2, str(tmp_path / "other"))
    assert calls[3]["lora_request"] is None


def test_without_vllm_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match="vLLM is not installed"):
        engine.Vllm("folder", "float32", 0)
