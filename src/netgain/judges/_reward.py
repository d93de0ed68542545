"""The network of a reward model: conversations to ids by its own chat template, ids to one logit each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from netgain.data.source import Turn
from netgain.errors import UserError
from netgain.judges._base import Case, Rating
from netgain.measure.batches import free_memory, in_batches

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as the reward model reads it: its ids, of which the first `before` come before the answer."""

    ids: list[int]
    before: int

    def within(self, limit: int) -> list[int] | None:
        """The ids cut from behind the first one until they fit; None when the answer itself would be cut."""
        excess = len(self.ids) - limit
        if excess <= 0:
            return self.ids
        return None if excess >= self.before else [self.ids[0], *self.ids[1 + excess :]]


def render(tok: PreTrainedTokenizerBase, turns: Sequence[Turn], answer: str) -> Rendered:
    """The whole conversation through the tokenizer's chat template, the answer as its last turn."""
    messages = [{"role": turn.role, "content": turn.text} for turn in (*turns, Turn("assistant", answer))]
    text = tok.apply_chat_template(messages, tokenize=False)
    assert isinstance(text, str)
    place = text.rfind(answer.strip())
    ids: list[int] = tok.encode(text, add_special_tokens=False)
    before: list[int] = tok.encode(text[: max(place, 0)], add_special_tokens=False)
    return Rendered(ids, min(len(before), len(ids)))


class RewardModel:
    """A sequence-classification network with one output, in evaluation mode."""

    def __init__(self, net: PreTrainedModel, tok: PreTrainedTokenizerBase, name: str) -> None:
        self.net, self.tok, self.name = net, tok, name
        if not tok.chat_template:
            raise UserError(f"{name}: its tokenizer has no chat template, so nobody knows how it reads a conversation.")
        if net.config.num_labels != 1:
            raise UserError(f"{name}: has {net.config.num_labels} outputs; a reward model has one.")
        positions = getattr(net.config.get_text_config(), "max_position_embeddings", None)
        self.positions: int = min(positions or 2**31, tok.model_max_length or 2**31)
        known = [i for i in (tok.pad_token_id, tok.eos_token_id) if isinstance(i, int)]
        self.pad = known[0] if known else 0
        net.config.pad_token_id = self.pad
        net.requires_grad_(False)
        net.eval()

    @classmethod
    def load(cls, place: str, dtype: str, revision: str | None, device: str) -> "RewardModel":
        """From a folder or the hub; a folder without a trained score head is refused."""
        try:
            loaded: Any = AutoModelForSequenceClassification.from_pretrained(
                place, revision=revision, dtype=DTYPES[dtype], use_safetensors=True, output_loading_info=True
            )
            tok = AutoTokenizer.from_pretrained(place, revision=revision)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise UserError(f"{place}: cannot be loaded as a reward model ({first}).") from None
        net, info = loaded
        if info["missing_keys"]:
            lacking = sorted(info["missing_keys"])[0]
            raise UserError(
                f'{place}: is no reward model: its weights lack "{lacking}"; netgain train-judge makes one.'
            )
        return cls(net.to(device), tok, place)

    def rate(self, cases: Sequence[Case], max_len: int | None, batch: int) -> list[Rating]:
        """One logit for each case; missing where the answer is longer than what the model reads, or memory ran out."""
        limit = min(max_len or self.positions, self.positions)
        ids = [render(self.tok, case.turns, case.answer).within(limit) for case in cases]
        fitting = [i for i, each in enumerate(ids) if each is not None]
        found = in_batches(
            [len(ids[i] or ()) for i in fitting],
            batch,
            lambda rows: self.logits([ids[fitting[row]] or [] for row in rows]).tolist(),
            release=free_memory,
            progress=lambda done: None,
        )
        ratings = [Rating(None, "judge_too_long")] * len(cases)
        for i, answer in zip(fitting, found, strict=True):
            ratings[i] = _rating(answer.value)
        return ratings

    @torch.no_grad()
    def logits(self, rows: Sequence[list[int]]) -> Tensor:
        """(B,) scores of B conversations, padded on the right."""
        return scores(self.net, rows, self.pad)


def scores(net: PreTrainedModel, rows: Sequence[list[int]], pad: int) -> Tensor:
    """(B,) = the one output of a sequence-classification network, float32."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return net(input_ids=ids.to(net.device), attention_mask=mask.to(net.device)).logits[:, 0].float()


def _rating(value: float | None) -> Rating:
    if value is None:
        return Rating(None, "oom")
    return Rating(value) if value - value == 0 else Rating(None, "undefined")
