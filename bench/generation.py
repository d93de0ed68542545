"""What generation and label scoring cost in batches, against HF generate one by one and one forward pass a pair.

    python bench/generation.py [--sizes 15M] [--dtype float32] [--rounds N] [--threads N]

Both sides take turns in one process on the same prompts, and must agree: every greedy token in float32, every label
score to 5e-5. Targets: >= 6x for 16 prompts of 48 new tokens, >= 5x for questions of 4 labels (>= 10x at V = 151,936).
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from claim import Claim
from netgain.models.generate import generate
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.models.score import label_logprobs
from netgain.spec.run import ModelSpec

SIZES: dict[str, dict[str, int]] = {
    "15M": {"hidden_size": 256, "num_hidden_layers": 8, "vocab_size": 32_000},
    "45M": {"hidden_size": 256, "num_hidden_layers": 8, "vocab_size": 151_936},
    "89M": {"hidden_size": 640, "num_hidden_layers": 14, "vocab_size": 32_000},
}
PROMPTS, NEW, QUESTIONS, LABELS = 16, 48, 12, 4


def model(size: dict[str, int], dtype: str) -> LM:
    """A random Qwen3 of the size, with weights large enough that its choices are no ties."""
    heads = size["hidden_size"] // 64
    shape = {
        "intermediate_size": 3 * size["hidden_size"],
        "num_attention_heads": heads,
        "num_key_value_heads": max(1, heads // 2),
        "head_dim": 64,
        "max_position_embeddings": 1024,
        "initializer_range": 0.06,
    }
    return load(ModelSpec.model_validate({"id": "config:qwen3", "dtype": dtype, "config": {**size, **shape}}))


class Texts:
    """Random texts of random length, the same in every round."""

    def __init__(self, vocab: int) -> None:
        self.vocab = vocab
        self.generator = torch.Generator().manual_seed(3)

    def draw(self, low: int, high: int) -> list[int]:
        """Between `low` and `high` tokens."""
        n = int(torch.randint(low, high + 1, (1,), generator=self.generator))
        return torch.randint(4, self.vocab, (n,), generator=self.generator).tolist()


def one_by_one(lm: LM, prompts: list[list[int]]) -> list[list[int]]:
    """HF generate, a prompt at a time."""
    net: Any = lm.net
    found: list[list[int]] = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        out = net.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW,
            min_new_tokens=NEW,
            do_sample=False,
            eos_token_id=-1,
            pad_token_id=lm.pad_id,
        )
        found.append(out[0, len(prompt) :].tolist())
    return found


@torch.no_grad()
def pair_by_pair(lm: LM, prompts: list[list[int]], labels: list[list[list[int]]]) -> list[list[float]]:
    """One forward pass of the whole network for each prompt with each of its labels."""

    def score(prompt: list[int], label: list[int]) -> float:
        logits = lm.net(input_ids=torch.tensor([prompt + label]), use_cache=False).logits[0].float().log_softmax(-1)
        return float(logits[len(prompt) - 1 : -1].gather(1, torch.tensor(label)[:, None]).sum())

    return [[score(prompt, label) for label in each] for prompt, each in zip(prompts, labels, strict=True)]


def timed(sides: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """(seconds of every round, the last answers) of sides that take turns; the first round only warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    answers: dict[str, Any] = {}
    for number in range(rounds + 1):
        for name, run in sides.items():
            start = time.perf_counter()
            answers[name] = run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds, answers


def measure(name: str, size: dict[str, int], dtype: str, rounds: int) -> dict[str, float]:
    """Ratios against the peers, tokens a second, and how far the answers agree."""
    lm, texts = model(size, dtype), Texts(size["vocab_size"])
    prompts = [texts.draw(16, 64) for _ in range(PROMPTS)]
    questions = [texts.draw(64, 128) for _ in range(QUESTIONS)]
    labels = [[texts.draw(3, 10) for _ in range(LABELS)] for _ in range(QUESTIONS)]
    sides: dict[str, Callable[[], Any]] = {
        "hf": lambda: one_by_one(lm, prompts),
        "batched": lambda: [x.ids for x in generate(lm, prompts, max_new_tokens=NEW, stop_ids=[-1], batch=PROMPTS)],
        "pairs": lambda: pair_by_pair(lm, questions, labels),
        "tree": lambda: label_logprobs(lm, questions, labels, batch=4),
    }
    seconds, answers = timed(sides, rounds)
    ratio = {
        (slow, fast): statistics.median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))
        for slow, fast in (("hf", "batched"), ("pairs", "tree"))
    }
    same = [a == b for x, y in zip(answers["hf"], answers["batched"], strict=True) for a, b in zip(x, y, strict=True)]
    apart = [
        abs(a - b) for x, y in zip(answers["pairs"], answers["tree"], strict=True) for a, b in zip(x, y, strict=True)
    ]
    target = {"float32": 1 / 6, "bfloat16": 1 / 10}[dtype]
    for words, (slow, fast), limit, agree in (
        (f"greedy generation of {PROMPTS} prompts", ("hf", "batched"), target, f"{sum(same) / len(same):.1%} same"),
        (f"scores of {LABELS} labels", ("pairs", "tree"), 1 / 5, f"scores differ by {max(apart):.0e}"),
    ):
        turns = [b / a for a, b in zip(seconds[slow], seconds[fast], strict=True)]
        what = f"{words}, {name}, {dtype}, against one by one"
        Claim("generation.py", what, turns, limit, agree=agree).say()
    return {
        "tokens/s": PROMPTS * NEW / statistics.median(seconds["batched"]),
        "hf/netgain": ratio["hf", "batched"],
        "same_tokens": sum(same) / len(same),
        "pairs/tree": ratio["pairs", "tree"],
        "score_difference": max(apart),
    }


def main() -> None:
    """Print one line of JSON a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=["15M"])
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    for name in asked.sizes:
        found = measure(name, SIZES[name], asked.dtype, asked.rounds)
        print(json.dumps({"size": name, "dtype": asked.dtype, **{k: float(f"{v:.4g}") for k, v in found.items()}}))
        if asked.dtype == "float32" and (found["same_tokens"] < 1 or found["score_difference"] > 5e-5):
            raise SystemExit(f"{name}: the batched answers differ from those given one by one")


if __name__ == "__main__":
    main()
