"""A model that has collapsed to one answer grows diverse again by sampled credit, and its answers stay good ones."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from netgain.adapters.full import Full
from netgain.data.chat import Encoded
from netgain.data.view import Autoregressive
from netgain.execute.rollouts import set_score
from netgain.measure import diversity
from netgain.measure.embedder import embedder
from netgain.models.generate import generate
from netgain.models.lm import LM
from netgain.objectives.sampling import Answers, Rollout, TaskQuality
from netgain.objectives.terms.ce import Ce
from netgain.objectives.terms.diversity import Diversity
from netgain.spec.run import OptimSpec, Weighted
from netgain.stats.frontier import common, reached
from netgain.training.arms import Arm, Solo
from netgain.training.loop import Training, train

torch.set_num_threads(1)
Model = Callable[..., LM]
ANIMALS = ("a red fox", "a blue jay", "the old eel", "my gray wolf", "one tiny ant", "some wet owl")
PROMPTS = ("who?", "what?", "name one:", "say it:")
OFTEN = 0.9
DRAWN = 32
STARTS = range(0, DRAWN * len(PROMPTS), DRAWN)
EMBED = embedder("hashed")


def judge(term: Rollout, origin: int, texts: Sequence[str]) -> Answers:
    """Wording apart; an answer is good when it is one of the animals."""
    quality = np.array([float(text in ANIMALS) for text in texts])
    return Answers(tuple(texts), set_score("semantic_distance", texts, EMBED), quality)


def row(lm: LM, prompt: str, answer: str) -> Encoded:
    before, after = lm.tok.encode(prompt, add_special_tokens=False), lm.tok.encode(answer, add_special_tokens=False)
    ids = [*before, *after, lm.eos_ids[0]]
    return Encoded(f"{prompt} {answer}", ids, [i >= len(before) for i in range(len(ids))])


def collapsed(lm: LM, seed: int) -> Training:
    """Taught by cross-entropy that the answer is the first animal, nine times out of ten."""
    rng = np.random.default_rng(seed)
    rows = [
        row(lm, prompt, ANIMALS[0 if rng.random() < OFTEN else int(rng.integers(1, len(ANIMALS)))])
        for prompt in PROMPTS
        for _ in range(24)
    ]

    def views(k: int):  # type: ignore[no-untyped-def]
        chosen = np.random.default_rng([seed, k]).choice(len(rows), 16, replace=False)
        return Autoregressive().view([rows[i] for i in chosen], lm.pad_id, torch.Generator())

    adapter = Full().attach(lm, torch.Generator().manual_seed(seed))
    optim = OptimSpec(learning_rate=3e-3, steps=160, batch=16, schedule="constant")
    training = Training(Solo(adapter), [Arm("arm", adapter, {"ce": Weighted(term=Ce())}, optim)], views, seed)
    list(train(training))
    return training


def places(lm: LM, seed: int, temperatures: Sequence[float]) -> list[tuple[float, float, float]]:
    """(share of good answers, Distinct-2, semantic distance) at each temperature, means over prompts."""
    prompts = [lm.tok.encode(prompt, add_special_tokens=False) for prompt in PROMPTS]
    found = []
    for temperature in temperatures:
        drawn = generate(
            lm,
            prompts,
            max_new_tokens=16,
            temperature=temperature,
            samples=DRAWN,
            generator=torch.Generator().manual_seed(1000 + seed),
            batch=DRAWN * len(prompts),
        )
        found.append(np.mean([scores([g.text for g in drawn[i : i + DRAWN]]) for i in STARTS], axis=0))
    return [(float(q), float(d), float(s)) for q, d, s in found]


def scores(texts: Sequence[str]) -> tuple[float, float, float]:
    distinct = diversity.distinct([diversity.tokens(text) for text in texts], 2)
    assert isinstance(distinct, float)
    apart = set_score("semantic_distance", texts, EMBED)(range(len(texts)))
    return float(np.mean([text in ANIMALS for text in texts])), distinct, apart


def gained(model: Model, seed: int) -> tuple[float, float]:
    """What 60 steps add to Distinct-2 and to semantic distance, over the qualities that temperatures give both."""
    torch.manual_seed(seed)
    lm = model()
    before = collapsed(lm, seed)
    base = places(lm, seed, (0.7, 1.0, 1.3, 1.6, 2.0))
    term = Diversity(prompts=4, samples=8, max_new_tokens=16, quality=TaskQuality(task="animals"))
    optim = OptimSpec(learning_rate=4e-4, steps=60, batch=16, schedule="constant")
    arm = Arm("arm", before.arms[0].adapter, {"diversity": Weighted(term=term, weight=1.0)}, optim)
    list(train(Training(before.student, [arm], before.views, seed, judge=judge)))
    after = places(lm, seed, (0.3, 0.5, 0.7, 1.0))
    distinct, semantic = ([[(each[0], each[i]) for each in found] for found in (after, base)] for i in (1, 2))
    between = common(*distinct)
    assert between is not None, f"no quality in common: {base}, {after}"
    grid = np.linspace(*between, 33)
    return tuple(float((reached(a, grid) - reached(b, grid)).mean()) for a, b in (distinct, semantic))  # type: ignore[return-value]


@pytest.mark.slow
def test_sixty_steps_raise_diversity_at_matched_quality(model: Model) -> None:
    found = [gained(model, seed) for seed in range(6)]
    assert sum(distinct > 0 and semantic > 0 for distinct, semantic in found) >= 5, found
