"""An update is what it does: nothing depends on how its factors are written."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgain.translate.gauge import Bundle, Update, canonical, cross_inner, truncate


def draw(seed: int, n: int, m: int, d: int, r: int) -> list[Update]:
    rng = np.random.default_rng(seed)
    return [Update(rng.standard_normal((m, r)), rng.standard_normal((r, d))) for _ in range(n)]


def turned(update: Update, seed: int) -> Update:
    """The same update in another gauge."""
    change = np.random.default_rng(seed).standard_normal((update.rank, update.rank)) + 2 * np.eye(update.rank)
    return Update(update.b @ change, np.linalg.inv(change) @ update.a)


def mixed(weights: np.ndarray, updates: list[Update]) -> np.ndarray:
    return np.sum([w * update.dense() for w, update in zip(weights, updates, strict=True)], axis=0)


def best_of_rank(matrix: np.ndarray, rank: int) -> np.ndarray:
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vt[:rank]


shapes = st.tuples(st.integers(0, 10**6), st.integers(2, 6), st.integers(5, 20), st.integers(5, 20), st.integers(1, 4))


@settings(max_examples=40, deadline=None)
@given(shapes)
def test_inner_products_are_those_of_the_dense_updates(shape: tuple[int, int, int, int, int]) -> None:
    updates = draw(*shape)
    dense = [update.dense() for update in updates]
    expected = [[float((x * y).sum()) for y in dense] for x in dense]
    bundle = Bundle.of(updates)
    np.testing.assert_allclose(bundle.inner(), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(cross_inner(bundle, updates[1]), [row[1] for row in expected], rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(shapes)
def test_a_combination_is_the_best_update_of_its_rank(shape: tuple[int, int, int, int, int]) -> None:
    seed, n, _, _, rank = shape
    updates = draw(*shape)
    weights = np.random.default_rng(seed + 1).standard_normal(n)
    whole = mixed(weights, updates)
    found = Bundle.of(updates).combine(weights, rank)
    least = np.linalg.norm(best_of_rank(whole, rank) - whole)
    assert found.rank == rank
    assert np.linalg.norm(found.dense() - whole) <= least + 1e-6 * np.linalg.norm(whole)
    np.testing.assert_allclose(found.b.T @ found.b, found.a @ found.a.T, atol=1e-8 * float(np.linalg.norm(whole)))


def test_the_combination_of_nothing_is_nothing() -> None:
    assert not Bundle.of(draw(0, 3, 6, 5, 2)).combine(np.zeros(3), 2).dense().any()


def test_updates_that_share_their_right_factor_combine_exactly() -> None:
    rng = np.random.default_rng(3)
    shared = rng.standard_normal((4, 9))
    updates = [Update(rng.standard_normal((12, 4)), shared) for _ in range(5)]
    weights = rng.standard_normal(5)
    whole = mixed(weights, updates)
    np.testing.assert_allclose(Bundle.of(updates).combine(weights, 4).dense(), whole, rtol=1e-7, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(shapes, st.integers(0, 10**6))
def test_the_gauge_changes_nothing(shape: tuple[int, int, int, int, int], seed: int) -> None:
    updates = draw(*shape)
    other = [turned(update, seed + i) for i, update in enumerate(updates)]
    weights = np.random.default_rng(seed).standard_normal(len(updates))
    np.testing.assert_allclose(Bundle.of(other).inner(), Bundle.of(updates).inner(), rtol=1e-6, atol=1e-6)
    one, two = Bundle.of(updates).combine(weights, updates[0].rank), Bundle.of(other).combine(weights, updates[0].rank)
    whole = mixed(weights, updates)
    assert np.linalg.norm(one.dense() - whole) == pytest.approx(np.linalg.norm(two.dense() - whole), rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(canonical(other[0]).dense(), updates[0].dense(), rtol=1e-6, atol=1e-6)


def test_the_canonical_form_is_unique() -> None:
    update = draw(5, 1, 14, 11, 3)[0]
    one, two = canonical(update), canonical(turned(update, 6))
    np.testing.assert_allclose(one.b, two.b, atol=1e-9)
    np.testing.assert_allclose(one.a, two.a, atol=1e-9)


def test_truncation_keeps_the_largest_part_and_padding_keeps_all() -> None:
    update = draw(7, 1, 10, 8, 4)[0]
    np.testing.assert_allclose(truncate(update, 2).dense(), best_of_rank(update.dense(), 2), atol=1e-9)
    assert truncate(update, 6).rank == 6
    np.testing.assert_allclose(truncate(update, 6).dense(), update.dense(), atol=1e-9)
