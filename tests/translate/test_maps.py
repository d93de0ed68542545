"""Methods that mix anchors: parity with scikit-learn, exact leave-one-out, what is recovered and what is not."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from netgain.errors import UserError
from netgain.spec.translation import MIXING
from netgain.translate.gauge import Bundle, Update, cross_inner
from netgain.translate.maps import (
    Grams,
    cosines,
    left_out_errors,
    mean,
    nearest,
    ridge,
    ridge_path,
    top_k_ridge,
    weights,
)

LEARNED = tuple(name for name in MIXING if name not in ("zero", "mean", "random"))


def vectors(seed: int, n: int = 12, p: int = 40, q: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Anchors x (n, p) and y (n, q) that share four factors, and x* (p,)."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n + 1, 4))
    x = z @ rng.standard_normal((4, p)) + 0.3 * rng.standard_normal((n + 1, p))
    y = z @ rng.standard_normal((4, q)) + 0.3 * rng.standard_normal((n + 1, q))
    return x[:n], y[:n], x[n]


def grams_of(x: np.ndarray, y: np.ndarray, star: np.ndarray) -> Grams:
    return Grams(x @ x.T, y @ y.T, x @ star, float(star @ star))


@pytest.mark.parametrize("seed", range(3))
def test_dual_ridge_is_the_primal_ridge_with_an_intercept(seed: int) -> None:
    x, y, star = vectors(seed)
    path = ridge_path(grams_of(x, y, star))
    for lam in path.lams[[2, 9, 15]]:
        primal = Ridge(alpha=lam).fit(x, y).predict(star[None])[0]
        np.testing.assert_allclose(path.weights(lam) @ y, primal, rtol=1e-8, atol=1e-8)


def test_the_path_of_left_out_anchors_is_the_brute_force_one() -> None:
    x, y, star = vectors(4)
    grams = grams_of(x, y, star)
    path = ridge_path(grams)
    expected = []
    for lam in path.lams:
        errors = [
            y[i] - Ridge(alpha=lam).fit(np.delete(x, i, 0), np.delete(y, i, 0)).predict(x[i : i + 1])[0]
            for i in range(len(x))
        ]
        expected.append(sum(float(e @ e) for e in errors))
    np.testing.assert_allclose(left_out_errors(path, grams.y), expected, rtol=1e-7)


def test_left_out_weights_never_use_the_anchor_that_is_left_out() -> None:
    path = ridge_path(grams_of(*vectors(5)))
    mixed = path.left_out(path.lams[8])
    assert not np.diag(mixed).any()
    np.testing.assert_allclose(mixed.sum(1), 1.0)


def test_endless_regularisation_is_the_mean() -> None:
    grams = grams_of(*vectors(6))
    path = ridge_path(grams)
    np.testing.assert_allclose(path.weights(1e12 * path.lams[-1]), mean(grams), atol=1e-9)


def test_the_nearest_anchor_of_an_anchor_is_itself() -> None:
    x, y, _ = vectors(7)
    grams = grams_of(x, y, x[3])
    assert cosines(grams)[3] == pytest.approx(1.0)
    assert 3 in nearest(grams, 1)


def test_cosines_see_neither_a_common_part_nor_a_scale() -> None:
    x, y, star = vectors(8)
    moved = grams_of(5.0 * (x + 100.0), y, 5.0 * (star + 100.0))
    np.testing.assert_allclose(cosines(moved), cosines(grams_of(x, y, star)), atol=1e-6)


def test_anchors_outside_the_top_k_weigh_nothing() -> None:
    grams = grams_of(*vectors(9))
    found = top_k_ridge(grams, 5)
    assert (found != 0).sum() == 5
    assert set(np.flatnonzero(found)) == set(nearest(grams, 5))


def test_anchors_that_are_all_the_same_are_refused() -> None:
    x = np.ones((5, 7))
    with pytest.raises(UserError, match="same update"):
        ridge(grams_of(x, x, x[0]))


# ---- low-rank updates: a planted linear relation between two families


def planted(seed: int, n: int = 24, tensors: int = 2) -> tuple[list[list[Update]], list[list[Update]]]:
    """Updates x and y [tensor][anchor] that are the same linear function of three hidden factors a task, each written
    in a gauge of its own; the last one is held out."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n + 1, 3))

    def side(m: int, d: int) -> list[Update]:
        shared, directions = rng.standard_normal((4, d)), rng.standard_normal((3, m, 4))
        found = []
        for row in z:
            change = rng.standard_normal((4, 4)) + 2 * np.eye(4)
            b = np.tensordot(row, directions, 1)
            found.append(Update(b @ change, np.linalg.inv(change) @ shared))
        return found

    return [side(16, 12) for _ in range(tensors)], [side(20, 15) for _ in range(tensors)]


def problem(x: list[list[Update]], y: list[list[Update]]) -> list[Grams]:
    found = []
    for xs, ys in zip(x, y, strict=True):
        bundle = Bundle.of(xs[:-1])
        star = xs[-1]
        found.append(
            Grams(
                bundle.inner(), Bundle.of(ys[:-1]).inner(), cross_inner(bundle, star), float((star.dense() ** 2).sum())
            )
        )
    return found


def recovered(method: str, seed: int = 0) -> float:
    """1 - ||y^ - y*|| / ||mean - y*|| on the held-out task: the share of the gap to the mean that is closed."""
    x, y = planted(seed)
    chosen = weights(method, problem(x, y), seed=seed)
    gap = miss = 0.0
    for row, updates in zip(chosen, y, strict=True):
        truth = updates[-1].dense()
        bundle = Bundle.of(updates[:-1])
        gap += float(((bundle.combine(np.full(24, 1 / 24), 4).dense() - truth) ** 2).sum())
        miss += float(((bundle.combine(row, 4).dense() - truth) ** 2).sum())
    return 1 - (miss / gap) ** 0.5


@pytest.mark.parametrize("method", [name for name in LEARNED if "mlp" not in name and "procrustes" not in name])
def test_a_planted_linear_relation_is_recovered(method: str) -> None:
    assert recovered(method) > 0.9


@pytest.mark.parametrize("method", ["mean", "random"])
def test_what_cannot_know_the_task_recovers_nothing(method: str) -> None:
    assert float(np.mean([recovered(method, seed) for seed in range(6)])) < 0.02


@pytest.mark.parametrize("method", ["pertensor_procrustes", "pertensor_mlp"])
def test_restricted_and_curved_maps_recover_part_of_it(method: str) -> None:
    assert recovered(method) > 0.3


@pytest.mark.parametrize("method", MIXING)
def test_no_method_sees_the_gauge(method: str) -> None:
    x, y = planted(2)
    rng = np.random.default_rng(11)

    def turned(updates: list[Update]) -> list[Update]:
        changes = [rng.standard_normal((4, 4)) + 2 * np.eye(4) for _ in updates]
        return [Update(u.b @ c, np.linalg.inv(c) @ u.a) for u, c in zip(updates, changes, strict=True)]

    one = weights(method, problem(x, y), seed=3)
    two = weights(method, problem([turned(xs) for xs in x], [turned(ys) for ys in y]), seed=3)
    np.testing.assert_allclose(one, two, atol=1e-5)
    np.testing.assert_allclose(one.sum(1), float(method != "zero"), atol=1e-8)


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(UserError, match="no method"):
        weights("magic", problem(*planted(0)))
