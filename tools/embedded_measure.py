"""What an embedded tiny model can do, measured on rows of suites that its pretraining never met."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from netgain.data.chat import Template
from netgain.data.embedded import SUITES, rows
from netgain.data.source import Example

ASKED_SEED, SHOWN_SEED = 0, 1
"""Queries and demonstrations come from two cells, both outside of PRETRAINING_CELLS."""
TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Score:
    """Accuracy over n rows with a number of demonstrations in context."""

    suite: str
    shots: int
    accuracy: float
    n: int
    how: str


def prompts(
    tok: PreTrainedTokenizerBase, suite: str, shots: int, n: int, room: int, chat: bool
) -> list[tuple[Example, list[int]]]:
    """(row, its prompt behind `shots` demonstrations, fewer where they leave no `room` for prompt and answer)."""
    template = Template(tok, chat)
    asked, shown = rows(suite, n, ASKED_SEED), rows(suite, 400, SHOWN_SEED)
    rng = np.random.Generator(np.random.PCG64(shots))
    ready = []
    for example in asked:
        chosen = [shown[int(i)] for i in rng.choice(len(shown), size=shots, replace=False)]
        while True:
            ids = template.prompt(example.turns, chosen)
            if len(ids) + len(template.answer(example.turns, example.answer)) <= room or not chosen:
                break
            chosen.pop()
        ready.append((example, ids))
    return ready


@torch.no_grad()
def scored(net: PreTrainedModel, sequences: Sequence[tuple[list[int], list[int]]]) -> list[tuple[float, bool]]:
    """(log p(answer | prompt), is greedy decoding the answer) of every (prompt, answer)."""
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i][0]) + len(sequences[i][1]))
    result: list[tuple[float, bool]] = [(0.0, False)] * len(sequences)
    start = 0
    while start < len(order):
        size = max(1, TOKENS // (len(sequences[order[start]][0]) + 64))
        chosen = order[start : start + size]
        start += size
        width = max(len(sequences[i][0]) + len(sequences[i][1]) for i in chosen)
        ids = torch.zeros(len(chosen), width, dtype=torch.long)
        mask = torch.zeros(len(chosen), width, dtype=torch.long)
        for row, i in enumerate(chosen):
            whole = [*sequences[i][0], *sequences[i][1]]
            ids[row, : len(whole)] = torch.tensor(whole)
            mask[row, : len(whole)] = 1
        logits = net(input_ids=ids, attention_mask=mask).logits.float()
        for row, i in enumerate(chosen):
            begin, answer = len(sequences[i][0]), torch.tensor(sequences[i][1])
            here = logits[row, begin - 1 : begin - 1 + len(answer)]
            picked = here.log_softmax(-1).gather(1, answer[:, None]).sum().item()
            result[i] = (picked, bool((here.argmax(-1) == answer).all()))
    return result


def accuracy(
    net: PreTrainedModel, tok: PreTrainedTokenizerBase, suite: str, shots: int, n: int, chat: bool = True
) -> Score:
    """Most likely label (classify) or exact match of greedy decoding (everything else) with `shots` demonstrations."""
    template = Template(tok, chat)
    ready = prompts(tok, suite, shots, n, 512, chat)
    choices = SUITES[suite].labels if SUITES[suite].kind == "classify" else ()
    pairs = [
        (ids, template.answer(example.turns, answer))
        for example, ids in ready
        for answer in (choices or (example.answer,))
    ]
    found = scored(net, pairs)
    if not choices:
        return Score(suite, shots, sum(exact for _, exact in found) / n, n, "exact")
    width = len(choices)
    right = sum(
        choices[int(np.argmax([found[i * width + j][0] for j in range(width)]))] == example.answer
        for i, (example, _) in enumerate(ready)
    )
    return Score(suite, shots, right / n, n, "label")


def nll(net: PreTrainedModel, tok: PreTrainedTokenizerBase, documents: Sequence[str]) -> float:
    """Mean nats a token of documents, each behind <bos>."""
    pairs: list[tuple[list[int], list[int]]] = []
    for text in documents:
        first, *rest = tok(text)["input_ids"]
        pairs.append(([first], rest))
    return -sum(total for total, _ in scored(net, pairs)) / sum(len(ids) for _, ids in pairs)


def shuffled(documents: Sequence[str], seed: int = 0) -> list[str]:
    """The same words of every document in random order."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return [" ".join(np.array(text.split())[rng.permutation(len(text.split()))]) for text in documents]


def text_report(net: PreTrainedModel, tok: PreTrainedTokenizerBase, n: int = 100) -> dict[str, float]:
    """NLL of held-out stories and facts, of the stories' words in random order, and of the uniform distribution."""
    stories = [row.answer for row in rows("stories", n, ASKED_SEED)]
    facts = [row.answer for row in rows("facts", n, ASKED_SEED)]
    return {
        "stories": nll(net, tok, stories),
        "facts": nll(net, tok, facts),
        "shuffled": nll(net, tok, shuffled(stories)),
        "uniform": math.log(len(tok)),
    }


@torch.no_grad()
def masked_accuracy(net: PreTrainedModel, tok: PreTrainedTokenizerBase, n: int = 200) -> tuple[float, float]:
    """(accuracy on the masked 15 % of held-out text, the same of always saying the most frequent token)."""
    rng = np.random.Generator(np.random.PCG64(0))
    right, total, golds = 0, 0, []
    for row in rows("text", n, ASKED_SEED):
        ids = torch.tensor(tok(row.answer)["input_ids"])[:256]
        hidden = torch.from_numpy(rng.random(len(ids)) < 0.15)
        hidden[0] = hidden[-1] = False
        if not hidden.any():
            continue
        fed = torch.where(hidden, torch.tensor(tok.mask_token_id), ids)
        guess = net(input_ids=fed[None], attention_mask=torch.ones(1, len(ids), dtype=torch.long)).logits[0].argmax(-1)
        right += int((guess[hidden] == ids[hidden]).sum())
        total += int(hidden.sum())
        golds += ids[hidden].tolist()
    return right / total, max(np.bincount(golds)) / total


SHOTS = (0, 2, 4, 6, 8)
ROWS = 300
HEADER = """---
license: apache-2.0
library_name: transformers
---
"""


def causal_card(model: str, net: PreTrainedModel, tok: PreTrainedTokenizerBase) -> str:
    """The model card of tiny-llama or tiny-gpt2, with every number measured now."""
    lines = []
    for name, suite in SUITES.items():
        if suite.kind == "text" or name == "replies":
            continue
        scores = [accuracy(net, tok, name, shots, ROWS) for shots in SHOTS]
        cells = " | ".join(f"{100 * score.accuracy:.1f}" for score in scores)
        chance = suite.chance if suite.chance and suite.kind != "tag" else 0.0
        lines.append(f"| {name} | {scores[0].how} | {100 * chance:.1f} | {cells} |")
    text = text_report(net, tok)
    return f"""{HEADER}
# {model}

{sum(p.numel() for p in net.parameters()):,} parameters, {len(tok):,} tokens, {type(net).__name__}, made by
`python tools/train_embedded.py --model {model}` from generated text alone. It is a test object, not a product.

Accuracy (%) by the number of demonstrations in its context, on {ROWS} rows of seed {ASKED_SEED} with demonstrations
of seed {SHOWN_SEED}, the suites' default conventions, chat template. "label" is the most likely label, "exact" an exact
match of greedy decoding; where 512 tokens do not hold all demonstrations, fewer are shown.

| suite | how | chance | {" | ".join(f"{shots} shots" for shots in SHOTS)} |
| --- | --- | --- | {" | ".join("---" for _ in SHOTS)} |
{chr(10).join(lines)}

Nats a token: held-out stories {text["stories"]:.2f}, facts {text["facts"]:.2f}; the stories' words in random order
{text["shuffled"]:.2f}; a uniform guess {text["uniform"]:.2f}.

It knows the closed vocabulary of the embedded suites, their questions, and the facts of an invented world. In
pretraining every suite came under several conventions (label words exchanged, other tag names, other forms of an
answer), so that without demonstrations it cannot know which is in force: that is why demonstrations help, and why
fine-tuning does. It does not know English beyond those suites, or anything about the real world.
"""


def masked_card(net: PreTrainedModel, tok: PreTrainedTokenizerBase) -> str:
    """The model card of tiny-mlm."""
    right, usual = masked_accuracy(net, tok)
    return f"""{HEADER}
# tiny-mlm

{sum(p.numel() for p in net.parameters()):,} parameters, {len(tok):,} tokens (cased WordPiece), {type(net).__name__},
made by `python tools/train_embedded.py --model tiny-mlm` from generated text alone. It is a test object, not a product.

Of the masked 15 % of held-out text it fills in {100 * right:.1f} % rightly; always saying the most frequent token is
right in {100 * usual:.1f} %.

It was trained to fill in any token (10 to 50 % masked) and whole answers (50 to 100 % masked) behind a prompt, laid out
as `[CLS]prompt[SEP]answer[SEP]`, so it can serve as a masked-diffusion denoiser. As in the causal models' pretraining
the conventions of answers varied, so which label word is meant has to be learned. It knows the embedded suites and
nothing else.
"""
