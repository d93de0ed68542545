"""Diversity metrics against the usual routes, the same numbers from both, time and memory of each.

    python bench/diversity.py [--texts N] [--rows N] [--checked N] [--samples N] [--size 15M] [--toy]

Self-BLEU of N texts: nltk's loop gives every text all the others as references. It is timed on `checked` of the texts
(all of them with --checked 0) and scaled; netgain scores all N, and must give the same numbers to 1e-9. Semantic
distance of N rows of 384 numbers: the closed form against the N x N matrix of cosines and against scikit-learn's, each
in a process of its own, so that its peak memory is its own. N sampled answers to each of some prompts: one batch
that reads every prompt once against HF generate, one answer at a time; with one token to choose from, both must write
the same. Targets: Self-BLEU >= 1,000x, answers >= 4x; distances equal to 1e-6, since the matrices are of float32.
"""

import argparse
import importlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from claim import Claim, high_water_mb
from netgain.measure import selfbleu
from netgain.measure.diversity import in_blocks, semantic_distance

WIDTH = 384
ROUTES = ("closed", "matrix", "sklearn")
WAYS = ("batch", "one")
PROMPTS, NEW = 2, 48
TOY = {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 500}
MEASURED = ("seconds", "peak_mb")


def corpus(count: int, length: int = 40) -> list[list[str]]:
    """Texts of up to `length` words by Zipf's law: each one of count / 5 originals, a third of its words changed."""
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, 3001)
    weights /= weights.sum()
    originals = rng.choice(3000, size=(max(2, count // 5), length), p=weights)
    texts = originals[rng.integers(len(originals), size=count)]
    texts = np.where(rng.random(texts.shape) < 0.3, rng.choice(3000, size=texts.shape, p=weights), texts)
    ends = rng.integers(length - 8, length + 1, size=count)
    return [[f"w{i}" for i in text[:end]] for text, end in zip(texts, ends, strict=True)]


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Median of several rounds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def self_bleu(count: int, checked: int) -> dict[str, float]:
    """netgain on all texts against nltk on some (scaled) or all."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    texts = corpus(count)
    chosen = range(count) if checked == 0 else range(0, count, max(1, count // checked))
    smooth = SmoothingFunction().method1
    start = time.perf_counter()
    theirs = [sentence_bleu(texts[:i] + texts[i + 1 :], texts[i], smoothing_function=smooth) for i in chosen]
    nltk = (time.perf_counter() - start) * count / len(chosen)
    ours = seconds(lambda: selfbleu.scores(texts), 7)
    gap = float(np.abs(selfbleu.scores(texts)[list(chosen)] - np.array(theirs, dtype=np.float64)).max())
    return {"texts": count, "nltk_s": nltk, "netgain_s": ours, "nltk/netgain": nltk / ours, "max_difference": gap}


def distance(route: str, rows: int) -> dict[str, float]:
    """One route in this process: its value, median time, and how much its peak memory rose."""
    generator = np.random.default_rng(0)
    table = generator.standard_normal((rows, WIDTH), dtype=np.float32) + np.float32(0.3)

    def matrix() -> float:
        unit = table / np.linalg.norm(table, axis=1, keepdims=True)
        cosines = unit @ unit.T
        return 1 - float((cosines.sum(dtype=np.float64) - np.trace(cosines, dtype=np.float64)) / (rows * (rows - 1)))

    def closed() -> float:
        found = semantic_distance(in_blocks(table))
        assert isinstance(found, float)
        return found

    def sklearn() -> float:
        from sklearn.metrics.pairwise import cosine_similarity

        cosines = cosine_similarity(table)
        return 1 - float(cosines[np.triu_indices(rows, 1)].mean(dtype=np.float64))

    work = {"closed": closed, "matrix": matrix, "sklearn": sklearn}[route]
    if route == "sklearn":
        importlib.import_module("sklearn.metrics.pairwise")  # the import is not what is measured
    before = high_water_mb(forget=True)
    value = work()
    return {"value": value, "peak_mb": high_water_mb() - before, "seconds": seconds(work, 3)}


def written(way: str, size: str, samples: int) -> dict[str, Any]:
    """N answers to each prompt in this process: time, peak memory, and what is written when there is no choice."""
    import torch

    from generation import SIZES, Texts, model
    from netgain.models.generate import generate

    torch.set_num_threads(1)
    torch.manual_seed(0)
    lm = model(SIZES.get(size, TOY), "float32")
    texts = Texts(lm.vocab)
    prompts = [texts.draw(48, 64) for _ in range(PROMPTS)]

    def batch(count: int, top_k: int | None, top_p: float | None) -> list[list[int]]:
        drawn = generate(
            lm, prompts, max_new_tokens=NEW, stop_ids=[lm.vocab], temperature=0.9, top_k=top_k, top_p=top_p,
            samples=count, generator=torch.Generator().manual_seed(1), batch=count * PROMPTS,
        )  # fmt: skip
        return [each.ids for each in drawn]

    def one(count: int, top_k: int | None, top_p: float | None) -> list[list[int]]:
        found = []
        for prompt in (prompt for prompt in prompts for _ in range(count)):
            out = lm.net.generate(  # type: ignore[operator]
                torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=True,
                temperature=0.9, top_k=top_k or 0, top_p=top_p or 1.0, max_new_tokens=NEW, min_new_tokens=NEW,
                pad_token_id=lm.pad_id,
            )  # fmt: skip
            found.append(out[0, len(prompt) :].tolist())
        return found

    work = {"batch": batch, "one": one}[way]
    alike = work(1, 1, None)
    before = high_water_mb(forget=True)
    took = seconds(lambda: work(samples, None, 0.9), 3)
    return {"alike": alike, "peak_mb": high_water_mb() - before, "seconds": took}


def answers(size: str, samples: int) -> dict[str, float]:
    """A batch against one answer at a time, each in a process of its own."""
    batch, one = (_alone("--way", way, "--size", size, "--samples", str(samples)) for way in WAYS)
    return {
        "answers": PROMPTS * samples,
        **{f"{way}_{name}": each[name] for way, each in zip(WAYS, (batch, one), strict=True) for name in MEASURED},
        "one/batch": one["seconds"] / batch["seconds"],
        "max_difference": float(batch["alike"] != one["alike"]),
    }


def _alone(*arguments: str) -> dict[str, Any]:
    """One route in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def distances(rows: int) -> dict[str, float]:
    """All routes, each in a process of its own."""
    found: dict[str, dict[str, float]] = {}
    for route in ROUTES:
        found[route] = _alone("--route", route, "--rows", str(rows))
    closed, matrix = found["closed"], found["matrix"]
    return {
        "rows": rows,
        **{f"{route}_{name}": each[name] for route, each in found.items() for name in MEASURED},
        "matrix/closed": matrix["seconds"] / closed["seconds"],
        "sklearn/closed": found["sklearn"]["seconds"] / closed["seconds"],
        "max_difference": max(abs(closed["value"] - found[route]["value"]) for route in ROUTES),
    }


def _self_bleu(found: dict[str, float]) -> Claim:
    what = f"Self-BLEU of {found['texts']:,.0f} texts against nltk's loop"
    agree = f"difference {found['max_difference']:.0e}"
    return Claim("diversity.py", what, [found["netgain_s"] / found["nltk_s"]], 0.001, agree=agree)


def _distances(found: dict[str, float]) -> Claim:
    what = f"mean distance of {found['rows']:,.0f} x {WIDTH}, closed form against the matrix of cosines"
    memory = max(found["closed_peak_mb"], 0.0), found["matrix_peak_mb"]
    agree = f"difference {found['max_difference']:.0e}; scikit-learn's {found['sklearn/closed']:.0f} times as long"
    return Claim("diversity.py", what, [1 / found["matrix/closed"]], None, "x", *memory, agree=agree)


def _answers(found: dict[str, float]) -> Claim:
    what = f"{found['answers']:.0f} sampled answers to {PROMPTS} prompts in one batch against one at a time"
    memory, agree = (found["batch_peak_mb"], found["one_peak_mb"]), "the same words where there is no choice"
    return Claim("diversity.py", what, [1 / found["one/batch"]], 0.25, "x", *memory, agree=agree)


def main() -> None:
    """Print one line of JSON a measurement and one a claim; fail when a number differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--checked", type=int, default=30)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--size", default="15M", help="Of the random model that writes; see generation.py.")
    parser.add_argument("--route", choices=ROUTES)
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--toy", action="store_true", help="toy sizes, to see that nothing breaks")
    if "--toy" in sys.argv:
        parser.set_defaults(texts=60, checked=10, rows=400, samples=2, size="toy")
    asked = parser.parse_args()
    if asked.route:
        print(json.dumps(distance(asked.route, asked.rows)))
        return
    if asked.way:
        print(json.dumps(written(asked.way, asked.size, asked.samples)))
        return
    claims: tuple[tuple[Callable[[], dict[str, float]], float, Callable[[dict[str, float]], Claim]], ...] = (
        (lambda: self_bleu(asked.texts, asked.checked), 1e-9, _self_bleu),
        (lambda: distances(asked.rows), 1e-6, _distances),
        (lambda: answers(asked.size, asked.samples), 0.0, _answers),
    )
    for measure, gap, claim in claims:
        found = measure()
        print(
            json.dumps({key: round(value, 12 if "difference" in key else 5) for key, value in found.items()}),
            flush=True,
        )
        if found["max_difference"] > gap:
            sys.exit("the routes disagree")
        claim(found).say()


if __name__ == "__main__":
    main()
