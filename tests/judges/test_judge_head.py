"""A judge that learned its head alone: a plain BERT that computes that line, and numbers that no pair had a say in."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netgain.errors import UserError
from netgain.execute.judge import train_judge
from netgain.judges._reward import Rendered
from netgain.stats.preference import RIDGES, chosen, cross_validated, folds, weights
from netgain.training.judge import PairIds, Plan, load_encoder, margins
from netgain.training.judge_head import cut_to, differences, with_head

torch.set_num_threads(1)


def write(folder: Path, n: int, told: bool = True) -> str:
    """Kind answers are preferred to rude ones of the same length, or a coin says which."""
    kind, rude = ("thank you so much", "with great pleasure"), ("go away right now!!", "never ask me again.")
    coin = np.random.default_rng(3).integers(2, size=n)
    rows = []
    for i in range(n):
        sides = kind[i % 2], rude[i // 2 % 2]
        better, worse = sides if told or coin[i] else sides[::-1]
        rows.append({"prompt": f"please help me with thing {i}", "chosen": better, "rejected": worse})
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_the_head_is_a_plain_bert_that_computes_the_line() -> None:
    net, _ = load_encoder("tiny-mlm", 0)
    rng = np.random.default_rng(0)
    pairs = [
        PairIds(*([2, *rng.integers(5, 1000, int(rng.integers(3, 30))).tolist()] for _ in range(2))) for _ in range(6)
    ]
    found = differences(net, pairs, 5)
    assert set(found) == {"1", "2"}
    for layer, d in found.items():
        w = rng.normal(size=d.shape[1])
        judge = with_head(net, int(layer), w)
        assert judge.config.num_hidden_layers == int(layer) + 1
        assert margins(judge, pairs, 2) == pytest.approx(d @ w, abs=1e-3 * np.abs(d @ w).max())


def test_a_head_is_trained_saved_and_judges_as_it_was_measured(tmp_path: Path) -> None:
    made = train_judge(write(tmp_path, 48), tmp_path / "judge", "tiny-mlm", Plan(max_len=48), 0.2, learn="head")
    assert made.after.accuracy.low > 0.8
    assert made.after.n == 48
    assert made.lengths.n == 48
    assert made.lengths.alike == made.after.accuracy
    assert made.lengths.baseline.estimate < 0.75
    card = json.loads((tmp_path / "judge" / "judge.json").read_text())
    assert (card["learned"], card["pairs"]["cross_validated"], card["pairs"]["cut"]) == ("head", 48, 0)
    from netgain.data.source import Turn
    from netgain.judges._base import Bench, Case
    from netgain.judges.reward import Reward

    judge = Reward.model_validate({"kind": "reward", "model": str(tmp_path / "judge")})
    asked = (Turn("user", "please help me with thing 99"),)
    cases = [Case("a", asked, "with great pleasure"), Case("b", asked, "never ask me again.")]
    kind, rude = judge.rate(cases, Bench(None, tmp_path))
    assert kind[0].value is not None
    assert rude[0].value is not None
    assert kind[0].value > rude[0].value


def test_pairs_that_nothing_tells_apart_give_no_judge(tmp_path: Path) -> None:
    made = train_judge(
        write(tmp_path, 60, told=False), tmp_path / "judge", "tiny-mlm", Plan(max_len=48), 0.2, learn="head"
    )
    assert made.after.accuracy.low < 0.5
    with pytest.raises(UserError, match="cross-validated on 20 or more"):
        train_judge(write(tmp_path, 12), tmp_path / "few", "tiny-mlm", Plan(max_len=48), 0.2, learn="head")


def test_the_ridge_is_at_its_minimum() -> None:
    rng = np.random.default_rng(1)
    d = rng.normal(size=(30, 6)) + 0.5
    scale = np.sqrt((d**2).mean(axis=0))
    for ridge in RIDGES:
        w = weights(d, ridge) * scale
        gradient = -(d / scale).T @ (1 / (1 + np.exp(d / scale @ w))) + ridge * w
        assert np.abs(gradient).max() < 1e-6


def test_noise_is_predicted_at_chance_and_a_signal_is_found() -> None:
    rng = np.random.default_rng(2)
    groups = [str(i // 2) for i in range(120)]
    noise = {f"{i}": rng.normal(size=(120, 30)) for i in range(3)}
    p = cross_validated(noise, groups, 4, np.random.default_rng(0))
    assert 0.36 < (p > 0.5).mean() < 0.64
    signal = noise | {"2": noise["2"] + 0.4}
    assert chosen(signal, groups, 4, np.random.default_rng(0)).name == "2"
    assert (cross_validated(signal, groups, 4, np.random.default_rng(0)) > 0.5).mean() > 0.8


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=40), st.integers(2, 5))
def test_folds_hold_every_place_once_and_never_part_a_group(groups: list[str], k: int) -> None:
    parts = folds(groups, k, np.random.default_rng(0))
    assert sorted(int(place) for part in parts for place in part) == list(range(len(groups)))
    for name in set(groups):
        assert sum(any(groups[place] == name for place in part) for part in parts) == 1


@given(st.integers(1, 60), st.integers(1, 60), st.integers(8, 40))
def test_a_cut_conversation_fits_and_keeps_both_its_parts(prompt: int, answer: int, limit: int) -> None:
    whole = Rendered([7, *range(100, 100 + prompt - 1), *range(1000, 1000 + answer)], prompt)
    ids, cut = cut_to(whole, limit)
    assert len(ids) <= limit
    assert ids[0] == 7
    assert ids[-1] == whole.ids[-1]
    said = [i for i in ids if i >= 1000]
    assert cut == (len(said) < answer)
    assert said[:-1] == list(range(1000, 1000 + len(said) - 1))
    assert len(ids) - len(said) >= min(prompt, limit // 4)
    assert ids == whole.ids or len(ids) == limit
