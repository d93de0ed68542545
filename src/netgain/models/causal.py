"""Causal language models: where their body and head are, verified on a probe before anything rests on it."""

import inspect

import torch
from torch import nn
from transformers import PreTrainedModel

from netgain.errors import UserError
from netgain.models.lm import LM, Frame

PROBE_LENGTH = 6


def frame(net: PreTrainedModel, name: str) -> Frame:
    """The body of a network, and the scale and soft cap that some families put on their logits."""
    body, head = net.get_decoder(), net.get_output_embeddings()
    if not isinstance(body, nn.Module) or body is net or not isinstance(head, nn.Linear):
        raise UserError(f"{name}: a {type(net).__name__} is no causal language model with a linear head.")
    config = net.config.get_text_config()
    scale: float | None = getattr(config, "logit_scale", None)
    divisor: float | None = getattr(config, "logits_scaling", None)
    if divisor is not None:
        scale = 1.0 / divisor
    parameters = inspect.signature(body.forward).parameters
    return Frame(
        body=body,
        scale=scale,
        softcap=getattr(config, "final_logit_softcapping", None),
        takes_positions="position_ids" in parameters,
    )


@torch.no_grad()
def verify(lm: LM) -> None:
    """head(hidden(x)) == net(x) on two rows, one padded; otherwise this family puts something else in between."""
    ids = torch.arange(2 * PROBE_LENGTH, device=lm.device).view(2, PROBE_LENGTH) % lm.vocab
    mask = torch.ones_like(ids)
    mask[1, -2:] = 0
    ours = lm.head.logits(lm.hidden(ids, mask)).float()[mask.bool()]
    keywords = {"use_cache": False} if lm.causal else {}
    theirs = lm.net(input_ids=ids, attention_mask=lm.seen(ids, mask), **keywords).logits.float()[mask.bool()]
    tolerance = 1e-5 if lm.dtype == torch.float32 else 2e-2
    if ours.shape != theirs.shape or not torch.allclose(ours, theirs, rtol=tolerance, atol=tolerance):
        raise UserError(
            f"{lm.name}: the logits of {type(lm.net).__name__} are not a linear read-out of its last hidden state, "
            "so netgain cannot train or score it."
        )
