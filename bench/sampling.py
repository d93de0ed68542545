"""What one sampling step costs over many words: top-k first and then a draw from k, against HF's warpers.

    python bench/sampling.py [--vocab V] [--rows B] [--top-k K] [--rounds N] [--threads N] [--dtype bfloat16] [--gpu]

HF generate masks all but the k likeliest of V logits, takes a softmax over V and draws from V. netgain keeps k numbers
and inverts their cumulative distribution at a uniform number a row. Both take turns on the same logits, and the
distribution is checked: each token that netgain draws is the one that HF's own probabilities give for its number.
Target: netgain / HF <= 1/15 at V = 151,936.
"""

import argparse
import time

import torch
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper

from claim import Claim, copy_rate, extra
from netgain.models.generate import Sampling

TARGET = 1 / 15


def probabilities(logits: Tensor, temperature: float, k: int) -> Tensor:
    """HF's, over V."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature), TopKLogitsWarper(k)])
    return torch.softmax(warpers(torch.zeros(1, dtype=torch.long, device=logits.device), logits.float()), dim=-1)  # type: ignore[arg-type]


def theirs(logits: Tensor, temperature: float, k: int) -> Tensor:
    """A step of HF generate behind the head."""
    return torch.multinomial(probabilities(logits, temperature, k), num_samples=1).squeeze(1)


def wrong(logits: Tensor, sampling: Sampling, rounds: int) -> int:
    """Tokens whose share of HF's distribution, likeliest first, does not hold the number that drew them."""
    assert sampling.top_k is not None
    found = 0
    mass, order = probabilities(logits, sampling.temperature, sampling.top_k).double().sort(-1, descending=True)
    upper = mass.cumsum(-1)
    for _ in range(rounds):
        uniform = torch.rand(len(logits), dtype=torch.float64, device=logits.device)
        token = sampling.choose(logits, uniform)
        place = (order == token[:, None]).int().argmax(-1, keepdim=True)
        top = upper.gather(-1, place)[:, 0]
        bottom = top - mass.gather(-1, place)[:, 0]
        found += int(((uniform < bottom - 1e-6) | (uniform > top + 1e-6)).sum())
    return found


def main() -> None:
    """One claim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("vocab", 151_936), ("rows", 32), ("top-k", 50), ("rounds", 15), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--toy", action="store_true", help="few words on the CPU, to see that nothing breaks")
    asked = parser.parse_args()
    if asked.toy:
        asked.vocab, asked.rounds, asked.threads = 2000, 2, 1
    device = "cuda" if asked.gpu and not asked.toy else "cpu"
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    logits = (3 * torch.randn(asked.rows, asked.vocab)).to(device, getattr(torch, asked.dtype))
    sampling = Sampling(asked.temperature, asked.top_k)
    ratios: list[float] = []
    ours: list[float] = []
    for number in range(asked.rounds + 2):
        uniform = torch.rand(asked.rows, dtype=torch.float64, device=device)
        start = time.perf_counter()
        sampling.choose(logits, uniform).tolist()
        middle = time.perf_counter()
        theirs(logits, asked.temperature, asked.top_k).tolist()
        end = time.perf_counter()
        if number > 1:
            ratios.append((middle - start) / (end - middle))
            ours.append(middle - start)
    bad = wrong(logits, sampling, 20)
    floor = logits.nbytes / copy_rate(device)
    what = f"sampling step, {asked.rows} x {asked.vocab:,}, top {asked.top_k}, {asked.dtype}"
    limit = f"{min(ours) * 1e3:.2f} ms, {min(ours) / floor:.2g}x reading the logits once ({floor * 1e3:.2f} ms)"
    own, other = (extra(work, device) for work in (
        lambda: sampling.choose(logits, torch.rand(asked.rows, dtype=torch.float64, device=device)),
        lambda: theirs(logits, asked.temperature, asked.top_k),
    ))  # fmt: skip
    agree, drawn = f"{bad} of {20 * asked.rows} draws differ", "a sampling step, 152k words: HF generate's"
    Claim("sampling.py", what, ratios, TARGET, "x", own, other, limit, agree, drawn).say()
    if bad:
        raise SystemExit("netgain draws from another distribution than HF")


if __name__ == "__main__":
    main()
