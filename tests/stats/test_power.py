"""What could have been seen: the published table, closed forms, and simulated power."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower

from netgain.errors import UserError
from netgain.stats import power
from netgain.stats.crossed import recipe

TABLE = {24: 18, 100: 8.9, 164: 6.9, 300: 5.1, 500: 4.0, 1000: 2.8, 1319: 2.4, 5000: 1.3}


@pytest.mark.parametrize(("n", "points"), TABLE.items())
def test_the_table_of_smallest_effects_at_ten_percent_discordance(n: int, points: float) -> None:
    digits = 0 if n == 24 else 1
    assert round(100 * power.mde_binary(n, 0.10).mde, digits) == points


def test_the_table_has_a_row_an_n_and_a_column_a_discordance() -> None:
    table = power.mde_table([100, 500], [0.05, 0.1, 0.2])
    assert [[round(100 * cell.mde, 1) for cell in row] for row in table] == [[6.3, 8.9, 12.5], [2.8, 4.0, 5.6]]
    assert not power.mde_binary(24, 0.10).attainable
    assert "nothing can be found" in power.mde_binary(24, 0.10).sentence()


@settings(deadline=None, max_examples=50)
@given(st.floats(0.02, 0.4), st.floats(0.1, 0.9), st.sampled_from([0.8, 0.9]))
def test_sample_size_undoes_the_effect(discordance: float, share: float, strength: float) -> None:
    effect = share * discordance
    n = power.size_binary(effect, discordance, power=strength).n
    z = power.normal_quantile
    shift = effect * math.sqrt(n) - z(0.975) * math.sqrt(discordance)
    assert shift / math.sqrt(discordance - effect**2) >= z(strength) - 1e-9
    assert n <= power.size_mean(effect, math.sqrt(discordance), power=strength).n


def test_an_effect_larger_than_the_discordance_is_refused() -> None:
    with pytest.raises(UserError, match="cannot come from"):
        power.size_binary(0.2, 0.1)


def test_sample_size_of_a_mean_is_near_that_of_statsmodels() -> None:
    oracle = TTestPower().solve_power(effect_size=0.1, alpha=0.05, power=0.8)
    assert power.size_mean(0.1, 1.0).n == pytest.approx(oracle, rel=0.01)


def test_retention_takes_the_stated_number_of_items() -> None:
    sd = math.sqrt(0.1)
    n = power.size_retention(0.02, sd).n
    assert n == math.ceil(((1.6448536 + 0.8416212) * sd / 0.02) ** 2)
    assert power.size_retention(0.02, sd, true=0.01).n < n < power.size_retention(0.02, sd, true=-0.005).n
    with pytest.raises(UserError, match="margin"):
        power.size_retention(0.02, sd, true=-0.02)


def test_promised_power_is_delivered() -> None:
    rng = np.random.default_rng(0)
    n, sd = 200, 0.4
    d = rng.normal(power.mde_mean(n, sd).mde, sd, (4000, n))
    found = np.abs(d.mean(1)) > 1.96 * d.std(1, ddof=1) / math.sqrt(n)
    assert found.mean() == pytest.approx(0.8, abs=0.025)


def test_more_seeds_help_only_down_to_the_noise_of_the_items() -> None:
    spread = power.Spread(seeds=0.02, items=0.3, residual=0.2)
    sizes = [power.mde_seeds(spread, seeds=s, n=300).mde for s in (2, 3, 5, 10, 1000)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == pytest.approx(power.mde_mean(300, 0.3).mde, rel=0.02)


def test_a_pilot_gives_back_its_own_standard_error() -> None:
    rng = np.random.default_rng(1)
    d = rng.normal(0, 0.1, (6, 1)) + rng.normal(0, 0.3, (1, 150)) + rng.normal(0, 0.2, (6, 150))
    pilot = recipe(d, np.zeros((1, 150)))
    assert pilot is not None
    spread = power.spread_of(pilot)
    assert math.sqrt(spread.variance(6, 150)) == pytest.approx(pilot.se)
    assert spread.seeds == pytest.approx(0.1, abs=0.08)
    after = power.mde_after(pilot)
    assert after.mde == pytest.approx(power.reach(0.95, 0.8, pilot.df) * pilot.se)


def test_low_power_exaggerates() -> None:
    rng = np.random.default_rng(2)
    for effect in (0.3, 1.0, 2.8):
        answer, x = power.exaggeration(effect, 1.0), rng.normal(effect, 1, 400_000)
        significant = x[np.abs(x) > 1.959964]
        assert answer.factor == pytest.approx(np.abs(significant).mean() / effect, rel=0.02)
        assert answer.wrong_sign == pytest.approx((significant < 0).mean(), abs=0.01)
    assert power.exaggeration(5.0, 1.0).factor == pytest.approx(1.0, abs=0.01)


def test_generations_split_the_variance() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(0, 1, (4000, 1)) + rng.normal(0, 2, (4000, 4))
    answer = power.generations(scores)
    assert answer.item_variance == pytest.approx(1, rel=0.15)
    assert answer.prediction_variance == pytest.approx(4, rel=0.05)
    assert answer.best == pytest.approx(2, rel=0.1)
    assert "2 generations an item" in answer.sentence()
