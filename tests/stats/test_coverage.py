"""The shipped intervals keep their promise in simulation; the full table is `make coverage`."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "bench" / "coverage.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("netgain_bench_coverage", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_shipped_defaults_cover_and_the_usual_ones_do_not(bench: ModuleType) -> None:
    rows = bench.simulate(quick=True)
    shipped = [row for row in rows if row.shipped]
    assert len(shipped) >= 18
    assert [row for row in shipped if not row.passes(slack=3.0)] == []
    usual = {row.method: row.value for row in rows if not row.shipped}
    assert usual["mean +- t sd over seeds"] < 90
    assert usual["clusters ignored"] < 92
    assert usual["naive test of the winner"] > 5
    assert usual['"p > 0.05, so retained"'] > 80


def test_the_same_seed_gives_the_same_table(bench: ModuleType) -> None:
    import numpy as np

    once, again = (list(bench.seeds_variants(np.random.default_rng(3), True)) for _ in range(2))
    assert once == again


def test_a_row_outside_its_band_is_not_passed(bench: ModuleType) -> None:
    row = bench.Row("clusters", "", "", True, False, 93.0, 1.0, 100_000)
    assert not row.passes(slack=3.0)
    assert not bench.Row("best of 8", "", "", True, False, 3.5, 1.0, 100_000).passes(slack=3.0)
    assert bench.Row("clusters", "", "", True, True, 99.9, 1.0, 100_000).passes()
