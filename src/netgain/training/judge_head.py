"""A reward model that learns its head alone: an encoder as it is, read at one of its layers, and a line through it.

    r(conversation) = w . mean over tokens of h_l

The mean is written as one more attention layer that looks at all tokens alike, so that what comes out is a plain BERT
with l + 1 layers and one output, which any library loads.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from transformers import BertForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from netgain.data.source import Example
from netgain.errors import UserError
from netgain.judges._reward import Rendered, render
from netgain.training.judge import REJECTED, PairIds

LOUD = 1e6
"""How much louder the mean is than what the first token held before it."""
FLAT = 1e-3
"""tanh(x) = x to 1e-6 x^2 / 3 for an x that is this much smaller."""


def cut_to(rendered: Rendered, limit: int) -> tuple[list[int], bool]:
    """(at most `limit` ids, whether the answer lost its end). A long prompt loses its beginning first, but keeps a
    quarter of the room."""
    ids, before = rendered.ids, rendered.before
    room = limit - min(before, limit // 4)
    answer = ids[before:]
    cut = len(answer) > room
    if cut:
        answer = [*answer[: room - 1], ids[-1]]
    excess = max(0, before + len(answer) - limit)
    return [*ids[:1], *ids[1 + excess : before], *answer] if before else answer, cut


def cut_pairs(tok: PreTrainedTokenizerBase, pairs: Sequence[Example], limit: int) -> tuple[list[PairIds], np.ndarray]:
    """(pairs within the limit, (n,) whether one of the answers lost its end)."""
    found: list[PairIds] = []
    cuts: list[bool] = []
    for pair in pairs:
        sides = [render(tok, pair.turns, text) for text in (pair.answer, pair.meta[REJECTED])]
        (better, one), (worse, other) = (cut_to(side, limit) for side in sides)
        found.append(PairIds(better, worse))
        cuts.append(one or other)
    return found, np.array(cuts)


@torch.no_grad()
def differences(net: PreTrainedModel, pairs: Sequence[PairIds], batch: int) -> dict[str, np.ndarray]:
    """layer -> (n, H) mean state of the chosen conversation - that of the rejected one, behind each layer."""
    rows = [ids for pair in pairs for ids in (pair.chosen, pair.rejected)]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    layers = int(net.config.num_hidden_layers)
    found = np.empty((layers, len(rows), int(net.config.hidden_size)))
    for start in range(0, len(order), batch):
        places = order[start : start + batch]
        longest = len(rows[places[-1]])
        ids = torch.full((len(places), longest), int(net.config.pad_token_id or 0), dtype=torch.long)
        mask = torch.zeros(len(places), longest, dtype=torch.long)
        for i, place in enumerate(places):
            ids[i, : len(rows[place])] = torch.tensor(rows[place])
            mask[i, : len(rows[place])] = 1
        ids, mask = ids.to(net.device), mask.to(net.device)
        states = net.base_model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        for layer in range(layers):
            mean = (states[layer + 1] * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            # What the added layer's norm makes of it.
            normal = torch.nn.functional.layer_norm(mean, mean.shape[-1:])
            found[layer, places] = normal.double().cpu().numpy()
    return {str(layer + 1): each[0::2] - each[1::2] for layer, each in enumerate(found)}


@torch.no_grad()
def with_head(net: PreTrainedModel, layer: int, w: np.ndarray) -> BertForSequenceClassification:
    """The network that computes w . layer_norm(mean state of that layer), as a plain BERT."""
    if not isinstance(net, BertForSequenceClassification):
        raise UserError(f"{type(net).__name__}: a head alone is trained on a BERT; train the whole of this encoder.")
    config = deepcopy(net.config)
    config.num_hidden_layers, config.num_labels = layer + 1, 1
    made = BertForSequenceClassification(config)
    made.bert.embeddings.load_state_dict(net.bert.embeddings.state_dict())
    for i in range(layer):
        made.bert.encoder.layer[i].load_state_dict(net.bert.encoder.layer[i].state_dict())
    last: Any = made.bert.encoder.layer[layer]
    eye = torch.eye(config.hidden_size)
    for parameter in last.parameters():
        parameter.zero_()
    last.attention.self.value.weight.copy_(eye)
    last.attention.output.dense.weight.copy_(LOUD * eye)
    last.attention.output.LayerNorm.weight.fill_(1)
    last.output.LayerNorm.weight.fill_(1)
    assert made.bert.pooler is not None
    made.bert.pooler.dense.weight.copy_(FLAT * eye)
    made.bert.pooler.dense.bias.zero_()
    made.classifier.weight.copy_(torch.tensor(w, dtype=torch.float32)[None] / FLAT)
    made.classifier.bias.zero_()
    torch.nn.Module.to(made, net.device)
    return made.eval()
