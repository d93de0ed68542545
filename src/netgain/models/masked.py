"""Masked language models: where their body is, what lies between it and the head, and how a tokenizer renders for them.

The state at a position predicts the token at that very position. What a family computes between its encoder and the
linear read-out (a dense layer, an activation, a norm) belongs to the body, so that a head is a matrix and a bias.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from netgain.errors import UserError
from netgain.models.lm import Frame

Transform = Callable[[Tensor], Tensor]


def is_masked(architectures: list[str] | None) -> bool:
    """Whether a config names a masked language model."""
    return any("MaskedLM" in name for name in architectures or ())


def frame(net: PreTrainedModel, name: str) -> Frame:
    """The body of a masked language model and what comes between it and its linear head."""
    transform, head = _transform(net), net.get_output_embeddings()
    if transform is None or not isinstance(head, nn.Linear):
        raise UserError(
            f"{name}: netgain does not know where a {type(net).__name__} keeps its prediction head; it knows BERT, "
            "RoBERTa, ModernBERT, DistilBERT and models built like them."
        )
    return Frame(body=net.base_model, transform=transform, causal=False)


def _transform(net: Any) -> Transform | None:
    """Looked up at every call, since a method may put its own layers in their place."""
    if hasattr(getattr(net, "cls", None), "predictions"):  # BERT
        return lambda states: net.cls.predictions.transform(states)
    if hasattr(net, "vocab_transform"):  # DistilBERT
        return lambda states: net.vocab_layer_norm(net.activation(net.vocab_transform(states)))
    if hasattr(net, "lm_head") and hasattr(net.lm_head, "dense"):  # RoBERTa
        return lambda states: net.lm_head.layer_norm(nn.functional.gelu(net.lm_head.dense(states)))
    if hasattr(net, "head") and hasattr(net, "decoder"):  # ModernBERT
        return lambda states: net.head(states)
    return None


def prepare(tok: PreTrainedTokenizerBase, name: str) -> None:
    """Give the tokenizer of a masked language model what answering takes: an end, and a separator before the answer.

    With nothing of its own it renders [CLS] question [SEP] answer [SEP]: two segments, as it was pretrained to read.
    """
    if tok.mask_token_id is None:
        raise UserError(f"{name}: its tokenizer has no mask token, so its answers cannot be masked.")
    if tok.eos_token is None:
        tok.eos_token = tok.sep_token
    if tok.eos_token is None:
        raise UserError(f"{name}: its tokenizer has neither an end nor a separator token, so an answer cannot end.")
    if tok.chat_template is None:
        first = tok.cls_token or tok.bos_token or ""
        tok.chat_template = (
            f"{{{{ {first!r} }}}}{{% for message in messages %}}{{{{ message['content'] }}}}"
            f"{{{{ {str(tok.eos_token)!r} }}}}{{% endfor %}}"
        )


def name_mask(tok: PreTrainedTokenizerBase, mask: str | int, name: str) -> None:
    """Tell a tokenizer which of its tokens, given by text or number, hides another."""
    token = tok.convert_ids_to_tokens(mask) if isinstance(mask, int) else mask
    if token not in tok.get_vocab():
        raise UserError(f"{name}: model.denoise.mask: its tokenizer has no token {mask!r}.")
    tok.mask_token = token
