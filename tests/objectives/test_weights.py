"""Weights that are found while training: what they are, that no gradient goes through them, and that they are kept."""

import math

import pytest

from netgain.errors import UserError
from netgain.objectives.objective import Objective
from netgain.objectives.schedule import current, descend, initial, observe
from netgain.objectives.terms.ce import Ce
from netgain.objectives.terms.entropy import Entropy
from netgain.objectives.terms.l2_to_init import L2ToInit
from netgain.spec.run import Budget, Learned, Ratio, Run, Schedule, Weighted

CE = Weighted(term=Ce())


def test_a_ratio_weighs_a_term_as_much_as_the_other_whatever_its_scale() -> None:
    weight = Ratio(ratio=0.5, decay=0.5)
    for scale in (0.1, 1.0, 40.0):
        state = initial(weight)
        assert current(weight, state, 0.0) == 0.0, "nothing is known before the first step"
        for raw in (2.0, 4.0):
            observe(weight, state, scale * raw, 3.0 * raw)
        assert current(weight, state, 0.0) == pytest.approx(0.5 * 3.0 / scale)
    tight = Ratio(ratio=1.0, maximum=2.0)
    state = initial(tight)
    observe(tight, state, 0.0, 1.0)
    assert current(tight, state, 0.0) == 2.0


def test_a_budget_is_held() -> None:
    weight = Budget(target=0.2, initial=0.01, gain=0.1)
    state = initial(weight)
    raw = []
    for _ in range(600):
        raw.append(0.5 / (1 + current(weight, state, 0.0)))  # a value that falls as its weight grows
        observe(weight, state, raw[-1], raw[-1])
    assert raw[0] > 0.4
    assert raw[-1] == pytest.approx(0.2, rel=0.01)
    assert current(weight, state, 0.0) == pytest.approx(1.5, rel=0.02)


def test_a_budget_that_is_not_used_up_gives_its_weight_back() -> None:
    weight = Budget(target=1.0, initial=0.5)
    state = initial(weight)
    for _ in range(10):
        observe(weight, state, 0.1, 0.1)
    assert current(weight, state, 0.0) == pytest.approx(0.5 * 0.98**10)


def test_a_learned_weight_descends_and_stays_inside() -> None:
    weight = Learned(maximum=0.4, initial=0.1, learning_rate=0.05)
    for sign in (1, -1):
        state = initial(weight)
        assert current(weight, state, 0.0) == pytest.approx(0.1)
        path = []
        for _ in range(300):
            descend(weight, state, sign * 1e-5)
            path.append(current(weight, state, 0.0))
        assert all(0 < w < 0.4 for w in path)
        assert (path[-1] < 0.01) if sign > 0 else (path[-1] > 0.39)
    state = initial(weight)
    descend(weight, state, 0.0)
    assert current(weight, state, 0.0) == pytest.approx(0.1)


def test_the_state_of_weights_is_kept_to_the_last_bit() -> None:
    arms = [
        {"ce": CE, "h": Weighted(term=Entropy(), weight=Ratio(ratio=0.3))},
        {"ce": CE, "h": Weighted(term=Entropy(), weight=Budget(target=0.2))},
        {"ce": CE, "h": Weighted(term=Entropy(), weight=Learned(maximum=1.0, initial=0.2))},
        {"ce": CE},
    ]
    first, second = Objective(arms), Objective(arms)
    for step in range(7):
        for k in range(4):
            first.observe(k, {"ce": 1.0 / (step + 1), "h": -0.1 * math.sqrt(step + 2)})
    descend(Learned(maximum=1.0, initial=0.2), first.learned(2, "h"), -0.3)
    for k in range(4):
        second.set_state(first.state(k), k)
    assert [second.state(k) for k in range(4)] == [first.state(k) for k in range(4)]
    weights = [[each.weights for each in o.active([0.5] * 4)] for o in (first, second)]
    assert weights[0] == weights[1]
    assert first.state(3) == {}


def test_a_ratio_is_computed_before_it_weighs_anything() -> None:
    objective = Objective([{"ce": CE, "h": Weighted(term=Entropy(), weight=Ratio(ratio=0.3))}])
    before = {each.part.name: each.weights for each in objective.active([0.0])}
    assert before == {"ce": (1.0,), "h": (0.0,)}
    objective.observe(0, {"ce": 2.0, "h": -4.0})
    assert {each.part.name: each.weights for each in objective.active([0.0])}["h"] == pytest.approx((0.15,))


def test_arms_of_one_pack_may_differ_in_their_terms() -> None:
    late = Weighted(term=Entropy(), weight=Schedule(value=1.0, start=0.5))
    objective = Objective([{"ce": CE}, {"ce": CE, "more": Weighted(term=Entropy())}, {"more": CE, "late": late}])
    found = [(each.part.name, each.part.term.kind, each.arms) for each in objective.active([0.0] * 3)]
    assert found == [("ce", "ce", (0, 1)), ("more", "entropy", (1,)), ("more", "ce", (2,))]


def test_a_penalty_has_no_learned_weight() -> None:
    with pytest.raises(UserError, match=r"objective\.start\.weight: a penalty's weight cannot be learned"):
        Objective([{"ce": CE, "start": Weighted(term=L2ToInit(), weight=Learned(maximum=1.0, initial=0.1))}])


def test_a_ratio_names_another_term() -> None:
    base = {
        "model": "tiny-llama",
        "method": "lora",
        "data": {"sources": {"train": {"kind": "embedded", "suite": "sentiment"}}},
        "optim": {"learning_rate": 1e-3, "steps": 2},
        "tasks": {"sentiment": "sentiment"},
    }
    good = {"ce": "ce", "h": {"term": "entropy", "weight": {"ratio": 0.1}}}
    assert isinstance(Run.model_validate({**base, "objective": good}).objective["h"].weight, Ratio)
    for to in ("loss", "h"):
        bad = {"ce": "ce", "h": {"term": "entropy", "weight": {"ratio": 0.1, "to": to}}}
        with pytest.raises(ValueError, match=f'"{to}" is no other term'):
            Run.model_validate({**base, "objective": bad})


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (0.3, float),
        ({"value": 0.3, "warmup": 0.1}, Schedule),
        ({"ratio": 0.3, "decay": 0.5}, Ratio),
        ({"maximum": 0.3, "initial": 0.1}, Learned),
        ({"target": 0.3, "initial": 0.1}, Budget),
    ],
)
def test_a_weight_is_told_by_its_fields(given: object, kind: type) -> None:
    assert isinstance(Weighted.model_validate({"term": "ce", "weight": given}).weight, kind)
