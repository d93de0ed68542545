"""On a policy small enough to enumerate, every credit's gradient is the exact one, and baselines make it less noisy."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from netgain.objectives import rollout

torch.set_num_threads(1)

RNG = np.random.default_rng(0)
ANSWERS = 5
LOGITS = torch.tensor(RNG.standard_normal(ANSWERS))
POINTS = RNG.standard_normal((ANSWERS, 3))
DISTANCE = np.linalg.norm(POINTS[:, None] - POINTS[None], axis=-1)
QUALITY = RNG.random(ANSWERS)
RIGHT = np.array([True, False, False, True, False])
REFERENCE = np.log(RNG.dirichlet(np.ones(ANSWERS)))
DRAWS = 6000

Answers = np.ndarray
Score = Callable[[Answers], float]
Credit = Callable[[Answers, np.ndarray], np.ndarray]


def spread(answers: Answers) -> float:
    """Mean distance of pairs."""
    return float(np.mean([DISTANCE[a, b] for a, b in itertools.combinations(answers, 2)]))


def exact(score: Callable[[Answers], float], n: int) -> np.ndarray:
    """d E[S] / d logits, by enumeration of all ordered sets."""
    logits = LOGITS.clone().requires_grad_()
    logp = logits.log_softmax(-1)
    total = torch.zeros((), dtype=torch.float64)
    for answers in itertools.product(range(ANSWERS), repeat=n):
        total = total + logp[list(answers)].sum().exp() * score(np.array(answers))
    (gradient,) = torch.autograd.grad(total, logits)
    return gradient.numpy()


def sampled(credit: Credit, n: int, seed: int = 1) -> np.ndarray:
    """(DRAWS, answers) gradients of the negative surrogate, one a set."""
    logits = LOGITS.clone().requires_grad_()
    logp: Tensor = logits.log_softmax(-1)
    drawn = np.random.default_rng(seed).choice(ANSWERS, size=(DRAWS, n), p=logp.detach().exp().numpy())
    plain = logp.detach().numpy()
    basis = np.stack([torch.autograd.grad(logp[a], logits, retain_graph=True)[0].numpy() for a in range(ANSWERS)])
    return np.stack([credit(answers, plain[answers]) @ basis[answers] for answers in drawn])


def agrees(found: np.ndarray, wanted: np.ndarray) -> None:
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    assert np.abs(wanted).max() > 20 * error.max() / 4  # the test could see a difference
    assert (np.abs(found.mean(axis=0) - wanted) < 4 * error).all()


def pairs(answers: Answers) -> np.ndarray:
    return DISTANCE[np.ix_(answers, answers)]


def distinct(answers: Answers) -> float:
    return len(set(answers.tolist())) / len(answers)


def best_of(k: int) -> Score:
    return lambda answers: float(np.mean([RIGHT[list(s)].any() for s in itertools.combinations(answers, k)]))


@pytest.mark.parametrize(
    ("score", "credit", "n"),
    [
        (spread, lambda y, _: rollout.pairwise(pairs(y)), 4),
        (spread, lambda y, _: rollout.marginal(lambda i: spread(y[list(i)]), len(y)), 4),
        (distinct, lambda y, _: rollout.marginal(lambda i: distinct(y[list(i)]), len(y)), 3),
        (best_of(2), lambda y, _: rollout.pass_at_k(RIGHT[y], 2), 4),
        (best_of(1), lambda y, _: rollout.pass_at_k(RIGHT[y], 1), 3),
        (best_of(3), lambda y, _: rollout.pass_at_k(RIGHT[y], 3), 3),
    ],
    ids=["pairwise", "marginal spread", "marginal distinct", "pass@2 of 4", "pass@1", "pass@3 of 3"],
)
def test_the_sampled_gradient_is_the_exact_one(score: Score, credit: Credit, n: int) -> None:
    agrees(sampled(credit, n), exact(score, n))


def test_sets_with_one_advantage_for_all_members_have_the_exact_gradient() -> None:
    def polychromic(answers: Answers) -> float:
        return float(QUALITY[answers].mean()) * spread(answers)

    def credit(answers: Answers, _: np.ndarray) -> np.ndarray:
        scores = np.array([polychromic(answers[i : i + 3]) for i in (0, 3, 6)])
        return np.repeat(rollout.sets(scores), 3)

    agrees(sampled(credit, 9), exact(polychromic, 3))


def test_the_pull_toward_the_reference_is_minus_the_gradient_of_the_divergence() -> None:
    logits = LOGITS.clone().requires_grad_()
    logp = logits.log_softmax(-1)
    divergence = (logp.exp() * (logp - torch.tensor(REFERENCE))).sum()
    (gradient,) = torch.autograd.grad(-divergence, logits)
    agrees(sampled(lambda y, logp: rollout.toward(logp, REFERENCE[y]), 3), gradient.numpy())


def test_own_share_is_the_part_of_the_gradient_that_goes_through_the_answers_own_reward() -> None:
    """E[ 1/n sum_i q_i D_i grad log pi(y_i) ] by enumeration: n identical terms."""
    n = 4
    logp = LOGITS.log_softmax(-1).numpy()
    p = np.exp(logp)
    basis = np.eye(ANSWERS) - p
    wanted = sum(
        np.exp(logp[list(y)].sum()) * QUALITY[y[0]] * np.mean([DISTANCE[y[0], other] for other in y[1:]]) * basis[y[0]]
        for y in itertools.product(range(ANSWERS), repeat=n)
    )
    agrees(sampled(lambda y, _: rollout.own_share(QUALITY[y], pairs(y)), n), np.asarray(wanted))


@pytest.mark.parametrize(("n", "share"), [(3, 0.7), (5, 0.5)])
def test_a_baseline_makes_the_gradient_less_noisy(n: int, share: float) -> None:
    plain = sampled(lambda y, _: np.full(n, spread(y)), n)
    better = sampled(lambda y, _: rollout.pairwise(pairs(y)), n)
    assert better.var(axis=0).sum() < share * plain.var(axis=0).sum()


def test_pairwise_credit_is_the_marginal_one_but_for_pairs_that_do_not_count() -> None:
    """Both are linear in the same distances: pairs without i appear in neither's expectation."""
    same = np.ones((5, 5)) - np.eye(5)
    assert rollout.pairwise(same) == pytest.approx(np.zeros(5))
    odd = same.copy()
    odd[0, 1:] = odd[1:, 0] = 2
    assert rollout.pairwise(odd).argmax() == 0


def test_wrong_answers_and_answers_that_others_could_replace_earn_nothing() -> None:
    assert rollout.pass_at_k([True, True, True, False], 2) == pytest.approx([1 / 6, 1 / 6, 1 / 6, 0])
    assert rollout.pass_at_k([True] * 4, 2) == pytest.approx(np.zeros(4))
    assert rollout.pass_at_k([False] * 4, 2) == pytest.approx(np.zeros(4))
    with pytest.raises(ValueError, match="between 1 and 2"):
        rollout.pass_at_k([True, False], 3)


def test_the_surrogate_moves_the_policy_up_the_score() -> None:
    logits = LOGITS.clone().requires_grad_()
    answers = [0, 1, 2]
    loss = rollout.surrogate(logits.log_softmax(-1)[answers], np.array([1.0, 0.0, -1.0]))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[0] < 0 < gradient[2]
    assert rollout.surrogate(logits.log_softmax(-1)[answers], np.zeros(3)).grad_fn is not None


def test_length_neutral_credit_moves_long_and_short_answers_alike() -> None:
    """Two answers of equal per-token log-probability and opposite credit, four tokens against one: nothing moves."""
    per_token = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    sums = torch.stack([4 * per_token, per_token])
    advantages = np.array([1.0, -1.0])
    (plain,) = torch.autograd.grad(rollout.surrogate(sums, advantages), per_token, retain_graph=True)
    (neutral,) = torch.autograd.grad(rollout.surrogate(sums, advantages, tokens=[4, 1]), per_token)
    assert (float(plain), float(neutral)) == pytest.approx((-3.0, 0.0))
