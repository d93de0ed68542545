"""pass@k from rows: unbiased against all subsets, refused beyond the samples, paired by problem, honest checkers."""

import itertools

import numpy as np
import pytest

from netgain.errors import UserError
from netgain.ledger.items import Item
from netgain.measure import passk
from netgain.measure.passk import Counts, counted, curve, difference, pass_at_k, values
from netgain.measure.sandbox import Program, find


def items(table: dict[str, list[float | None]], metric: str = "passed") -> list[Item]:
    return [
        Item("t", metric, name, "final", value, None if value is not None else "oom", sample=i)
        for name, samples in table.items()
        for i, value in enumerate(samples)
    ]


def test_it_is_the_mean_over_all_subsets_of_k_samples() -> None:
    table: dict[str, list[float | None]] = {"a": [1, 0, 0, 1, 0], "b": [0, 0, 0, 0], "c": [1, 1, 1, 1, 1, 0]}
    counts = counted([*items(table), *items(table, "other")], "passed")
    for k in (1, 2, 4):
        exact = [np.mean([max(s) for s in itertools.combinations(v, k) if s]) for v in table.values()]  # type: ignore[type-var]
        assert values(counts, k) == pytest.approx(exact)
        assert pass_at_k(counts, k).estimate == pytest.approx(np.mean(exact))


def test_more_tries_than_samples_are_refused_and_the_problem_named() -> None:
    counts = counted(items({"a": [1, 0, 1], "b": [0, None, 1]}), "passed")
    assert counts.samples == (3, 2)
    assert pass_at_k(counts, 2).samples == 2
    with pytest.raises(UserError, match="pass@3: b has 2 samples"):
        pass_at_k(counts, 3)


def test_a_missing_sample_is_no_wrong_one() -> None:
    assert pass_at_k(counted(items({"a": [1, None], "b": [1, 1]}), "passed"), 1).estimate == 1.0


def test_the_curve_rises_and_says_where_the_ceiling_is() -> None:
    rng = np.random.default_rng(0)
    counts = counted(items({str(i): list((rng.random(10) < 0.6).astype(float)) for i in range(50)}), "passed")
    found = curve(counts)
    assert [each.k for each in found] == list(range(1, 11))
    assert all(a.estimate <= b.estimate for a, b in itertools.pairwise(found))
    assert all(each.low <= each.estimate <= each.high for each in found)
    assert not found[0].ceiling
    assert found[-1].ceiling
    assert found[-1].thin
    assert "nothing can be told apart" in found[-1].sentence()


def test_a_difference_is_paired_by_problem_whatever_the_order() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random(60)
    rows = {str(i): list((rng.random(8) < p).astype(float)) for i, p in enumerate(hard)}
    better = {name: [1.0, *v[1:]] for name, v in rows.items()}
    base = counted(items(rows), "passed")  # type: ignore[arg-type]
    tuned = counted(items(dict(reversed(better.items()))), "passed")  # type: ignore[arg-type]
    answer = difference(tuned, base, 2)
    assert answer.estimate == pytest.approx(pass_at_k(tuned, 2).estimate - pass_at_k(base, 2).estimate)
    assert answer.estimate > 0
    alone = pass_at_k(tuned, 2)
    assert answer.high - answer.low < alone.high - alone.low
    short = Counts(("0",), ("0",), (8,), (3,))
    with pytest.raises(UserError, match="one side only"):
        difference(tuned, short, 2)


def test_problems_of_one_cluster_are_one_piece_of_evidence() -> None:
    copies = Counts(
        tuple(map(str, range(40))), tuple(str(i // 4) for i in range(40)), (2,) * 40, (2, 2, 2, 2, 0, 0, 0, 0) * 5
    )
    apart = Counts(copies.problems, copies.problems, copies.samples, copies.correct)
    assert pass_at_k(copies, 1).clusters == 10
    assert pass_at_k(copies, 1).se > 1.8 * pass_at_k(apart, 1).se


def test_a_score_that_is_no_verdict_is_refused() -> None:
    with pytest.raises(UserError, match=r"needs 0 or 1, and a has 0\.5"):
        counted(items({"a": [0.5]}), "passed")


def test_numbers_and_texts_are_compared_by_value() -> None:
    assert passk.numeric("#### 1,000")(["It is 1000.0", "1001", "none"]) == [True, False, False]
    assert passk.exact("Paris")([" paris.", "Rome"]) == [True, False]
    with pytest.raises(UserError, match="holds no number"):
        passk.numeric("none")


def test_a_reward_is_read_against_what_people_wrote() -> None:
    def reward(texts: object) -> list[float]:
        return [float(len(text)) for text in texts]  # type: ignore[attr-defined]

    check = passk.reward_above(reward, ["a" * n for n in range(1, 11)], 70)
    assert check(["b" * 3, "b" * 9, "a" * 9]) == [False, True, False]
    with pytest.raises(UserError, match="without references"):
        passk.reward_above(reward, [], 50)


def test_programs_pass_when_all_their_tests_do() -> None:
    try:
        find()
    except UserError as error:
        pytest.skip(str(error))
    check = passk.all_tests_pass(lambda code: Program(code, ("assert f(1) == 2", "assert f(2) == 4"), entry=("f",)))
    outputs = ["def f(x): return 2 * x", "def f(x): return 2"]
    found = passk.check_all({"p": outputs}, {"p": check})
    assert (found.samples, found.correct) == ((2,), (1,))
