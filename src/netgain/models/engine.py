"""Another engine that writes answers, with adapters loaded while it runs, trusted only after a probe.

    agreement = mean over probe prompts of (tokens that both write before they part) / (tokens of the longer answer)

It takes greedy answers only: sampled ones are drawn with netgain's own random numbers, which no other engine has.
"""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from netgain.errors import UserError
from netgain.models.generate import Generation, generate
from netgain.models.lm import LM

NEEDED = 0.9
"""Kernels that round differently part late and seldom; a wrong adapter, template or position parts at once."""
PROBES = 8


class Engine(Protocol):
    """What another engine has to do."""

    name: str

    def write(
        self, prompts: Sequence[list[int]], adapter: Path | None, budget: int, stop_ids: Sequence[int]
    ) -> list[list[int]]:
        """The greedy ids behind each prompt, with the id that ended it, `budget` at most; the base without adapter."""
        ...


Writer = Callable[[Sequence[list[int]], int, Sequence[int]], list[Generation]]
"""(prompts, budget, stop ids) -> a greedy answer to each."""


def agreement(ours: Sequence[list[int]], theirs: Sequence[list[int]]) -> float:
    """See the module; two empty answers agree."""
    shares: list[float] = []
    for a, b in zip(ours, theirs, strict=True):
        alike = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        shares.append(alike / max(len(a), len(b)) if a or b else 1.0)
    return sum(shares) / len(shares)


def write(
    engine: Engine, lm: LM, adapter: Path | None, prompts: Sequence[list[int]], budget: int, stop_ids: Sequence[int]
) -> tuple[list[Generation], float]:
    """(what the engine writes, its agreement with the network as it is now on the first prompts), or a refusal.

    The network must hold what `adapter` holds.
    """
    theirs = engine.write(prompts, adapter, budget, stop_ids)
    if len(theirs) != len(prompts):
        raise UserError(f"{engine.name} answered {len(theirs)} of {len(prompts)} prompts; leave --generate-with out.")
    found = [_generation(lm, ids, budget, frozenset(stop_ids or lm.eos_ids)) for ids in theirs]
    own = generate(lm, prompts[:PROBES], max_new_tokens=budget, stop_ids=stop_ids, batch=PROBES)
    alike = agreement([each.ids for each in own], [each.ids for each in found[:PROBES]])
    if alike < NEEDED:
        raise UserError(
            f"{engine.name} is not trusted: of what the network itself writes behind {len(own)} probe prompts it "
            f"writes {alike:.0%} (needed: {NEEDED:.0%}); leave --generate-with out."
        )
    return found, alike


def _generation(lm: LM, ids: list[int], budget: int, stop: frozenset[int]) -> Generation:
    """An answer up to the first id that ends it, and no longer than the budget."""
    end = next((k for k, token in enumerate(ids[:budget]) if token in stop), None)
    kept = ids[:budget] if end is None else ids[:end]
    text = lm.tok.decode(kept, skip_special_tokens=True)
    assert isinstance(text, str)
    return Generation(kept, text, truncated=end is None, tokens=len(kept) + (end is not None))


class Vllm:
    """vLLM with LoRA adapters in PEFT's format. It holds its own copy of the model, in the memory that is left."""

    name = "vllm"

    def __init__(self, model: str, dtype: str, rank: int) -> None:
        self._vllm: Any = _library("vllm")
        self._request: Any = _library("vllm.lora.request").LoRARequest
        self._engine: Any = self._vllm.LLM(
            model=model, dtype=dtype, enable_lora=rank > 0, **({"max_lora_rank": rank} if rank else {})
        )
        self._numbers: dict[Path, int] = {}

    def write(
        self, prompts: Sequence[list[int]], adapter: Path | None, budget: int, stop_ids: Sequence[int]
    ) -> list[list[int]]:
        settings = self._vllm.SamplingParams(temperature=0.0, max_tokens=budget, stop_token_ids=list(stop_ids))
        lora = None
        if adapter is not None:
            number = self._numbers.setdefault(adapter, len(self._numbers) + 1)
            lora = self._request(f"adapter-{number}", number, str(adapter))
        asked = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        found = self._engine.generate(asked, settings, lora_request=lora, use_tqdm=False)
        return [list(each.outputs[0].token_ids) for each in found]


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "vllm":
            raise
        raise UserError("--generate-with vllm: vLLM is not installed: pip install vllm, or leave it out.") from None
