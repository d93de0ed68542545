"""`netgain power` promises what simulation delivers, and says what no number of items can."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from netgain.errors import UserError
from netgain.report.power import power_table
from netgain.stats.paired import bonett_price


def test_the_promised_power_is_the_simulated_one() -> None:
    n, discordance, effect = 500, 0.10, 0.04
    rng = np.random.default_rng(0)
    chances = [(discordance + effect) / 2, (discordance - effect) / 2, 1 - discordance]
    found = np.mean([bonett_price(int(g), int(c), n).excludes() for g, c, _ in rng.multinomial(n, chances, size=4000)])
    row = next(r for r in power_table(n, discordance, effects=(effect,)).rows)
    assert found == pytest.approx(row.checkpoint, abs=0.03)


def test_the_smallest_detectable_difference_has_the_asked_power() -> None:
    for seeds in (1, 3, 5):
        made = power_table(500, 0.1, seeds)
        widest = made.mde if made.recipe_mde is None else made.recipe_mde
        again = power_table(500, 0.1, seeds, effects=(widest.mde,)).rows[0]
        assert (again.checkpoint if seeds == 1 else again.recipe) == pytest.approx(0.8, abs=0.02)


def test_one_seed_promises_nothing_about_the_recipe() -> None:
    made = power_table(500, 0.1, 1)
    assert made.recipe_mde is None
    assert {row.recipe for row in made.rows} == {None}
    assert any("never about the recipe" in sentence for sentence in made.sentences())


def test_few_seeds_have_a_floor_that_items_cannot_lower() -> None:
    made = power_table(500, 0.1, 3)
    assert made.floor is not None
    assert all(recipe is not None and recipe >= made.floor - 1e-9 for _, _, recipe in made.by_size)
    assert power_table(500, 0.1, 10).floor < made.floor


def test_more_items_never_detect_less() -> None:
    made = [recipe for _, _, recipe in power_table(500, 0.1, 3).by_size if recipe is not None]
    assert made == sorted(made, reverse=True)
    assert len(set(made)) > 3


def test_a_difference_larger_than_what_changes_cannot_occur() -> None:
    row = power_table(500, 0.05, effects=(0.1,)).rows[0]
    assert row.items_needed is None


@pytest.mark.parametrize("settings", [{"n": 24}, {"n": 500, "seeds": 3}, {"n": 5000, "discordance": 0.02, "seeds": 2}])
def test_it_fits_80_columns_and_is_strict_json(settings: dict) -> None:
    made, out = power_table(**settings), io.StringIO()
    made.render(Console(file=out, width=80, highlight=False))
    assert max(len(line) for line in out.getvalue().splitlines()) <= 80
    assert "80 % at" in out.getvalue()
    assert json.loads(json.dumps(made.to_json(), allow_nan=False))["n"] == settings["n"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"n": 1}, "--n 1"), ({"n": 9, "discordance": 0}, "--discordance 0"), ({"n": 9, "seeds": 0}, "--seeds 0"),
     ({"n": 9, "seed_sd": 0}, "--seed-sd 0"), ({"n": 9, "power": 0.2}, "--power")],
)  # fmt: skip
def test_settings_that_mean_nothing_are_named(settings: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        power_table(**settings)
