"""Hand over what was learned: the adapter, or the network with the adapter merged, after checking that it computes
what the run computed. What differs is not written."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from netgain.adapters.method import Adapter
from netgain.errors import UserError
from netgain.models.lm import LM

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""The largest allowed |exported - tuned| logit, as a share of the largest |tuned| logit, by the dtype of the weights.
A merge rounds base + delta to that dtype once."""


@dataclass(frozen=True)
class Parity:
    """How far the exported model's logits are from the run's, over every position of the probe prompts."""

    difference: float
    tolerance: float
    same_choice: float  # share of positions where both rank the same token first
    positions: int

    @property
    def holds(self) -> bool:
        """Whether the difference is a number within the tolerance."""
        return self.difference <= self.tolerance


def export(adapter: Adapter, folder: Path, probes: Sequence[Sequence[int]], *, merged: bool) -> Parity:
    """Write the adapter (its own format) or the merged model with its tokenizer to `folder`, which must not exist.

    What is compared is what was read back from the written files: a merged model as a plain network, an adapter by
    loading it in place, which must leave every logit as it was.
    """
    if folder.exists():
        raise UserError(f"{folder}: exists already; name a folder that does not.")
    lm = adapter.lm
    tuned = _logits(lm, probes)
    draft = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        if merged:
            adapter.merged().save_pretrained(str(draft))
            lm.tok.save_pretrained(str(draft))
            back = _net_logits(_read(lm, draft), probes)
        else:
            adapter.save(draft)
            adapter.load(draft)
            back = _logits(lm, probes)
        parity = compare(tuned, back, lm.dtype)
        if not parity.holds:
            raise UserError(
                f"{folder}: not written. The {'merged model' if merged else 'adapter'} computes other logits than the "
                f"run (largest difference {parity.difference:.2g} of the largest logit, allowed {parity.tolerance:.2g} "
                f"in {str(lm.dtype).removeprefix('torch.')})."
            )
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return parity


def compare(tuned: Sequence[Tensor], back: Sequence[Tensor], dtype: torch.dtype) -> Parity:
    """max |back - tuned| / max |tuned| over the probes, and how often both choose the same token."""
    a, b = torch.cat(list(tuned)), torch.cat(list(back))
    difference = float((a - b).abs().max() / a.abs().max())
    same = float((a.argmax(-1) == b.argmax(-1)).double().mean())
    return Parity(difference, TOLERANCE[dtype], same, len(a))


def _read(lm: LM, folder: Path) -> nn.Module:
    net = type(lm.net).from_pretrained(str(folder), dtype=lm.dtype, local_files_only=True)
    assert isinstance(net, PreTrainedModel)
    return net.to(device=lm.device).eval()  # type: ignore[arg-type]


@torch.no_grad()
def _logits(lm: LM, probes: Sequence[Sequence[int]]) -> list[Tensor]:
    return [lm.head.logits(lm.hidden(_ids(lm, probe)))[0].double() for probe in probes]


@torch.no_grad()
def _net_logits(net: nn.Module, probes: Sequence[Sequence[int]]) -> list[Tensor]:
    device = next(net.parameters()).device
    ids = [torch.tensor([list(probe)], device=device) for probe in probes]
    return [net(input_ids=probe, use_cache=False).logits[0].double() for probe in ids]


def _ids(lm: LM, probe: Sequence[int]) -> Tensor:
    return torch.tensor([list(probe)], device=lm.device)
