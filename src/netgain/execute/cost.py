"""What a method costs to use and to learn, on one probe that is the same for every method: numbers for the record.

parameters    of the base; `trainable` / `parameters` is the share that a budget limits
flops         multiplications and additions a token, as PyTorch counts them: `forward` of the body, `step` of a forward
              and a backward pass with the head, and `base`, the body's without the method
seconds       of one forward pass of the probe, the fastest of a few, with (`seconds`) and without it (`base_seconds`);
              taken in turns, so that whatever else the machine does slows both
"""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from netgain.adapters.method import Adapter
from netgain.models.lm import LM

ROWS, LENGTH, TURNS = 4, 32, 3
SEED = 20240613


def cost(lm: LM, adapter: Adapter) -> dict[str, Any]:
    """What `adapter`, attached to `lm` and in place, costs."""
    ids = _probe(lm)
    tokens = ids.numel()
    with torch.no_grad():
        forward = _flops(lambda: lm.hidden(ids))
        with adapter.off():
            base = _flops(lambda: lm.hidden(ids))
        seconds, base_seconds = _timed(lm, adapter, ids)
    step = _flops(lambda: _learn(lm, adapter, ids))
    return {
        "parameters": lm.size,
        "rows": len(ids),
        "tokens": tokens,
        "flops": {"forward": forward / tokens, "base": base / tokens, "step": step / tokens},
        "seconds": seconds,
        "base_seconds": base_seconds,
    }


def _probe(lm: LM) -> Tensor:
    """Rows of random tokens; where answers are masked, at the end of each row and as evenly over time as may be."""
    length = min(LENGTH, lm.max_positions or LENGTH)
    ids = torch.randint(lm.vocab, (ROWS, length), generator=torch.Generator().manual_seed(SEED))
    if not lm.causal:
        answer = min(lm.denoise.length, length - 1)
        for row in range(ROWS):
            hidden = -(-answer * (row + 1) // ROWS)
            ids[row, length - answer : length - answer + hidden] = lm.mask_id
    return ids.to(lm.device)


def _flops(work: Callable[[], object]) -> int:
    # The fused kernels of a CPU are not counted, their plain form is.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def _learn(lm: LM, adapter: Adapter, ids: Tensor) -> None:
    """One backward pass to what learns; its gradients are dropped."""
    learned = list(adapter.parameters().values())
    logits = lm.head.logits(lm.hidden(ids).flatten(0, 1))
    if logits.requires_grad:
        torch.autograd.grad(F.cross_entropy(logits.float(), ids.flatten()), learned, allow_unused=True)


def _timed(lm: LM, adapter: Adapter, ids: Tensor) -> tuple[float, float]:
    own, base = [], []
    for _ in range(TURNS):
        own.append(_seconds(lm, ids))
        with adapter.off():
            base.append(_seconds(lm, ids))
    return min(own), min(base)


def _seconds(lm: LM, ids: Tensor) -> float:
    start = time.perf_counter()
    lm.hidden(ids)
    if lm.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
