"""Splits that no group crosses and growing data never changes; mixtures with exact counts; overlaps that are found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgain.data.mix import apportion, balanced, mix
from netgain.data.overlap import overlap
from netgain.data.source import Example, Turn
from netgain.data.split import require_disjoint, split
from netgain.errors import UserError


def row(i: int, group: str | None = None, text: str | None = None) -> Example:
    return Example(f"r{i}", group or f"g{i}", (Turn("user", text or f"question {i}"),), f"answer {i}")


@given(groups=st.lists(st.integers(0, 30), min_size=2, max_size=200), dev=st.floats(0.05, 0.6), seed=st.integers(0, 9))
def test_no_group_crosses_and_nothing_is_lost(groups: list[int], dev: float, seed: int) -> None:
    rows = [row(i, f"g{g}") for i, g in enumerate(groups)]
    try:
        train, held = split(rows, dev, seed)
    except UserError:
        return
    assert sorted(r.id for r in train + held) == sorted(r.id for r in rows)
    assert {r.group for r in train}.isdisjoint(r.group for r in held)
    assert held
    require_disjoint(train=train, dev=held)


def test_adding_rows_moves_no_row() -> None:
    train, dev = split([row(i) for i in range(300)], 0.2, 1)
    more_train, more_dev = split([row(i) for i in range(900)], 0.2, 1)
    assert {r.id for r in train} <= {r.id for r in more_train}
    assert {r.id for r in dev} <= {r.id for r in more_dev}
    assert len(more_dev) == pytest.approx(180, abs=40)
    assert [r.id for r in split([row(i) for i in range(300)], 0.2, 2)[1]] != [r.id for r in dev]


def test_a_number_of_rows_is_held_out_to_the_last_whole_group() -> None:
    rows = [row(i, f"g{i // 4}") for i in range(200)]
    train, dev = split(rows, 30, 0)
    assert len(dev) == 32
    assert len(train) == 168
    assert split(rows, 0, 0) == (rows, [])


def test_holding_out_everything_is_refused() -> None:
    with pytest.raises(UserError, match="holding out 9 of 5 rows in 5 groups leaves none"):
        split([row(i) for i in range(5)], 9, 0)


@pytest.mark.parametrize("shared", [row(3), row(99, "g3")])
def test_shared_rows_and_groups_are_refused_by_name(shared: Example) -> None:
    with pytest.raises(UserError, match=f'train and test share 1 rows or their groups, such as the row "{shared.id}"'):
        require_disjoint(train=[row(i) for i in range(5)], test=[row(50), shared])


@given(
    shares=st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 50), min_size=1),
    rows=st.integers(0, 1000),
)
def test_counts_add_up_and_stay_within_one_row_of_their_share(shares: dict[str, float], rows: int) -> None:
    counts = apportion(shares, rows)
    assert sum(counts.values()) == rows
    for name, share in shares.items():
        assert abs(counts[name] - rows * share / sum(shares.values())) < 1


def test_a_mixture_draws_what_it_plans_without_repeating_a_row() -> None:
    pools = {"a": [row(i) for i in range(40)], "b": [row(100 + i) for i in range(90)]}
    chosen, mixture = mix(pools, {"a": 1, "b": 2}, 100, np.random.default_rng(0))
    assert mixture.planned == mixture.drawn == {"a": 33, "b": 67}
    assert mixture.available == {"a": 40, "b": 90}
    assert sum(r in pools["a"] for r in chosen) == 33
    assert len({r.id for r in chosen}) == 100
    again, _ = mix(pools, {"a": 1, "b": 2}, 100, np.random.default_rng(0))
    assert again == chosen


def test_without_a_mixture_every_row_is_used_once() -> None:
    pools = {"a": [row(i) for i in range(4)], "b": [row(9)]}
    chosen, mixture = mix(pools, None, None, np.random.default_rng(0))
    assert chosen == [*pools["a"], *pools["b"]]
    assert mixture.share == {"a": 0.8, "b": 0.2}


def test_a_shortage_is_an_error_unless_rows_may_repeat_equally() -> None:
    pools = {"a": [row(i) for i in range(3)], "b": [row(10 + i) for i in range(50)]}
    with pytest.raises(UserError, match='"a" has 3 rows to learn from and its share of 20 is 10'):
        mix(pools, {"a": 1, "b": 1}, 20, np.random.default_rng(0))
    chosen, mixture = mix(pools, {"a": 1, "b": 1}, 20, np.random.default_rng(0), repeat=True)
    assert sorted(sum(r == one for r in chosen) for one in pools["a"]) == [3, 3, 4]
    assert mixture.repeated


LONG = "the quick brown fox jumps over the lazy dog while the tired old cat sleeps on a warm red mat"


def test_overlap_finds_ids_groups_texts_and_runs_of_words() -> None:
    train = [row(1), row(2), row(3, text=LONG), row(4)]
    test = [
        row(1, "other", "elsewhere"),
        row(20, "g2"),
        Example("r30", "h", (Turn("user", "QUESTION   4!"),), "Answer: 4"),
        row(31, text=f"And {LONG.upper()}, it says."),
        row(40),
    ]
    [pair] = overlap(train=train, test=test).pairs
    assert (pair.left_rows, pair.right_rows) == (4, 5)
    assert (pair.ids, pair.groups, pair.texts, pair.ngrams) == (1, 1, 1, 1)
    assert pair.example == "r1"


def test_the_wording_of_the_task_itself_is_no_overlap() -> None:
    frame = "Read the following short review and then say in one word whether its author liked it: {}"
    train = [row(i, text=frame.format(f"word{i}")) for i in range(300)]
    test = [row(1000 + i, text=frame.format(f"other{i}")) for i in range(300)]
    [pair] = overlap(train=train, test=test).pairs
    assert pair.ngrams == 0
    assert pair.example is None


def test_a_temperature_draws_small_sources_more_often_than_their_size_says() -> None:
    pools = {"large": [row(i) for i in range(900)], "small": [row(1000 + i) for i in range(100)]}
    assert balanced(pools, 1) == {"large": 900, "small": 100}
    assert balanced(pools, 2) == {"large": pytest.approx(30), "small": pytest.approx(10)}
    drawn, mixture = mix(pools, balanced(pools, 2), 1000, np.random.default_rng(0), repeat=True)
    assert mixture.planned == {"large": 750, "small": 250}
    assert mixture.repeated
    times = [sum(each.id == f"r{1000 + i}" for each in drawn) for i in range(100)]
    assert set(times) == {2, 3}
