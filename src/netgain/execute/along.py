"""References of a masked-diffusion student: they read along, since other tokens are hidden at every step.

The reference sees what the student sees of an answer, the same tokens hidden, behind whatever it is shown first. So
nothing can be kept on disk, and a step costs one more forward pass for each reference.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from netgain.data.view import View
from netgain.models.diffusion import answer_states
from netgain.models.lm import LM
from netgain.objectives.references._base import Host, Reference
from netgain.objectives.term import Reading


class Along:
    """One reference. `prompts` are the ids that it reads before the answer of each training row."""

    def __init__(self, reference: Reference, host: Host, prompts: Mapping[int, list[int]]) -> None:
        self.reference, self.host, self.prompts = reference, host, prompts
        self._kept = ExitStack()
        self._model: LM | None = None

    def facts(self) -> dict[str, Any]:
        """What the record says."""
        return {"kind": self.reference.kind, "cached": False, "why": "masks differ by step"}

    def read(self, view: View) -> Reading:
        """Its states at the scored positions; a row that is none of the training rows is read as it is fed."""
        prompts, answers, hidden = self._apart(view)
        with torch.no_grad(), self._lm() as lm:
            states = answer_states(lm, prompts, answers, None)[hidden.to(lm.device)]
            head = lm.head
            bias = None if head.bias is None else head.bias.detach()
            return Reading(states, replace(head, weight=head.weight.detach(), bias=bias))

    def _lm(self) -> AbstractContextManager[LM]:
        """The run's own base only while it is asked; another model is loaded once and stays."""
        if self.reference.own:
            return self.reference.lm(self.host)
        if self._model is None:
            self._model = self._kept.enter_context(self.reference.lm(self.host))
        return nullcontext(self._model)

    def _apart(self, view: View) -> tuple[list[list[int]], Tensor, Tensor]:
        """(prompts, answers (B, L), which of their tokens are scored (B, L)): an answer is the end of its row."""
        length = self.host.lm.denoise.length
        ids, scored = view.input_ids.cpu(), view.scored.cpu()
        ends = view.attention_mask.sum(1).cpu()
        places = ends[:, None] - length + torch.arange(length)
        fed = [row[: int(end) - length].tolist() for row, end in zip(ids, ends, strict=True)]
        prompts = [self.prompts.get(i, own) for i, own in zip(view.origin.tolist(), fed, strict=True)]
        return prompts, ids.gather(1, places), scored.gather(1, places)
