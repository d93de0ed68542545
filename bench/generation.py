"""What generation and label scoring cost in batches, against HF generate one by one and one forward pass a pair.

    python bench/generation.py [--sizes 15M] [--dtype float32] [--rounds N] [--threads N] [--toy]

Both sides take turns in one process on the same prompts, and must agree: every greedy token in float32, every label
score to 5e-5. `arms` writes the answers of K adapters to the same prompts in one batch, against one adapter after the
other. Memory is what operators have alive at once beside the model. Targets: >= 6x (>= 10x in bfloat16) for 16 prompts
of 48 new tokens, >= 5x for questions of 4 labels (>= 10x at V = 151,936).
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from claim import Claim, copy_rate, extra
from netgain.adapters.lora import Lora
from netgain.adapters.packed import pack
from netgain.models.generate import Owners, generate
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.models.score import label_logprobs
from netgain.spec.run import ModelSpec

SIZES: dict[str, dict[str, int]] = {
    "15M": {"hidden_size": 256, "num_hidden_layers": 8, "vocab_size": 32_000},
    "45M": {"hidden_size": 256, "num_hidden_layers": 8, "vocab_size": 151_936},
    "89M": {"hidden_size": 640, "num_hidden_layers": 14, "vocab_size": 32_000},
    "toy": {"hidden_size": 128, "num_hidden_layers": 2, "vocab_size": 500},
}
LABELS, ARMS = 4, 4


@dataclass
class Numbers:
    """How much is asked."""

    prompts: int = 16
    new: int = 48
    questions: int = 12


NUMBERS = Numbers()


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
            max_new_tokens=NUMBERS.new,
            min_new_tokens=NUMBERS.new,
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


class Arms:
    """K adapters that have learned different things, over one base, and the same prompts for each."""

    def __init__(self, lm: LM, prompts: list[list[int]]) -> None:
        self.lm, self.prompts = lm, prompts[: NUMBERS.prompts // 2]
        self.crew = pack(Lora(r=8, alpha=16), lm, list(range(ARMS)))
        for k, adapter in enumerate(self.crew.adapters):
            generator = torch.Generator().manual_seed(k)
            moved = {n: t + 0.05 * torch.randn(t.shape, generator=generator) for n, t in adapter.state().items()}
            adapter.set_state(moved)

    def together(self) -> list[list[int]]:
        owners = Owners(torch.arange(ARMS).repeat_interleave(len(self.prompts)), self.crew.assign)
        written = generate(
            self.lm, self.prompts * ARMS, max_new_tokens=NUMBERS.new, stop_ids=[-1], batch=ARMS * len(self.prompts),
            owners=owners,
        )  # fmt: skip
        return [each.ids for each in written]

    def in_turn(self) -> list[list[int]]:
        found: list[list[int]] = []
        for k in range(ARMS):
            with self.crew.only(k):
                found += one_by_one(self.lm, self.prompts)
        return found


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
    prompts = [texts.draw(16, 64) for _ in range(NUMBERS.prompts)]
    questions = [texts.draw(64, 128) for _ in range(NUMBERS.questions)]
    labels = [[texts.draw(3, 10) for _ in range(LABELS)] for _ in range(NUMBERS.questions)]
    sides: dict[str, Callable[[], Any]] = {
        "hf": lambda: one_by_one(lm, prompts),
        "batched": lambda: [
            x.ids for x in generate(lm, prompts, max_new_tokens=NUMBERS.new, stop_ids=[-1], batch=NUMBERS.prompts)
        ],
        "pairs": lambda: pair_by_pair(lm, questions, labels),
        "tree": lambda: label_logprobs(lm, questions, labels, batch=4),
    }
    arms = None if name == "89M" else Arms(model(size, dtype), prompts)
    if arms is not None:
        sides |= {"arms in turn": arms.in_turn, "arms": arms.together}
    once = {  # a side that does one thing after the other needs no more for all of them
        "hf": lambda: one_by_one(lm, prompts[:1]),
        "pairs": lambda: pair_by_pair(lm, questions[:1], labels[:1]),
        "arms in turn": lambda: one_by_one(lm, prompts[:1]),
    }
    seconds, answers = timed(sides, rounds)
    same = alike(answers["hf"], answers["batched"])
    pairs = zip(answers["pairs"], answers["tree"], strict=True)
    apart = max(abs(a - b) for x, y in pairs for a, b in zip(x, y, strict=True))
    target, short = {"float32": (1 / 6, "fp32"), "bfloat16": (1 / 10, "bf16")}[dtype]
    read = sum(p.nbytes for p in lm.net.parameters()) / copy_rate()
    token = min(seconds["batched"]) / NUMBERS.new
    floor = f"{token * 1e3:.1f} ms for a token of every answer; reading the weights once takes {read * 1e3:.1f} ms"
    say = Say(f"{name}, {dtype}", seconds, {each: extra(once.get(each, run)) for each, run in sides.items()})
    words = f"greedy generation of {NUMBERS.prompts} prompts"
    say(("hf", "batched"), words, target, f"{same:.1%} of the tokens are the same", floor,
        f"16 greedy answers, {short}: HF generate one by one")  # fmt: skip
    say(("pairs", "tree"), f"scores of {LABELS} labels", 1 / 5, f"scores differ by {apart:.0e}", "",
        f"4 labels a question, {short}: a forward pass each")  # fmt: skip
    found = {
        "tokens/s": NUMBERS.prompts * NUMBERS.new / statistics.median(seconds["batched"]),
        "same_tokens": same,
        "score_difference": apart,
    }
    if arms is not None:
        found["same_tokens_of_arms"] = same = alike(answers["arms in turn"], answers["arms"])
        words = f"the answers of {ARMS} adapters to {NUMBERS.prompts // 2} prompts in one batch"
        say(("arms in turn", "arms"), words, target, f"{same:.1%} of the tokens are the same", "", "")
    return found


def alike(these: list[list[int]], those: list[list[int]]) -> float:
    """The share of tokens that are the same."""
    same = [a == b for x, y in zip(these, those, strict=True) for a, b in zip(x, y, strict=True)]
    return sum(same) / len(same)


@dataclass(frozen=True)
class Say:
    """Claims of one model: what the second of two sides takes of the first."""

    model: str
    seconds: dict[str, list[float]]
    memory: dict[str, float]

    def __call__(self, pair: tuple[str, str], words: str, target: float, agree: str, limit: str, drawn: str) -> None:
        slow, fast = pair
        turns = [b / a for a, b in zip(self.seconds[slow], self.seconds[fast], strict=True)]
        what = f"{words}, {self.model}, against one by one"
        memory = self.memory[fast], self.memory[slow]
        Claim("generation.py", what, turns, target, "x", *memory, limit, agree, drawn).say()


def main() -> None:
    """Print one line of JSON a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=["15M"])
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--toy", action="store_true", help="a toy model and few tokens, to see that nothing breaks")
    asked = parser.parse_args()
    if asked.toy:
        asked.sizes, asked.rounds, NUMBERS.prompts, NUMBERS.new, NUMBERS.questions = ["toy"], 1, 4, 5, 2
    torch.set_num_threads(asked.threads)
    for name in asked.sizes:
        found = measure(name, SIZES[name], asked.dtype, asked.rounds)
        print(json.dumps({"size": name, "dtype": asked.dtype, **{k: float(f"{v:.4g}") for k, v in found.items()}}))
        exact = found["same_tokens"] == 1 == found.get("same_tokens_of_arms", 1)
        if asked.dtype == "float32" and not (exact and found["score_difference"] <= 5e-5):
            raise SystemExit(f"{name}: the batched answers differ from those given one by one")


if __name__ == "__main__":
    main()
