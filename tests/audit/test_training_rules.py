"""A run diverged when its loss did, not for one hard batch of a dozen; a term is dead where it should have a slope."""

from pathlib import Path
from typing import Any

import pytest
from ledgers import losses, make

from netgain.audit import run


def evidence(path: Path, code: str) -> list[str]:
    return [finding.evidence for finding in run([path]).findings if finding.code == code]


def ending(steps: int, last: float) -> list[dict[str, Any]]:
    """A loss that falls to 1 and ends, in its last tenth, at `last`."""
    rows = losses(steps)
    return [{**row, "loss": last if row["step"] > 0.9 * steps else row["loss"]} for row in rows]


def probed(raw: float, norm: float, weight: float = 0.5) -> list[dict[str, Any]]:
    """Every fourth step probed; a term of that value and gradient."""
    probe = {"raw": raw, "weight": weight, "grad_norm": norm}
    return [{**row, "terms": {"kl": probe}} if row["step"] % 4 == 0 else row | {"terms": {}} for row in losses()]


@pytest.mark.parametrize(
    ("steps", "last", "found"), [(40, 2.5, 6), (40, 1.5, 0), (30, 2.5, 6), (29, 2.5, 0), (12, 9, 0)]
)
def test_a_short_run_is_not_called_diverged_for_one_hard_batch(
    tmp_path: Path, steps: int, last: float, found: int
) -> None:
    path = make(tmp_path / "ledger", metrics=ending(steps, last))
    assert len(evidence(path, "NG507")) == found


def test_a_loss_near_zero_may_double(tmp_path: Path) -> None:
    rows = [{**row, "loss": 0.04 if row["step"] > 36 else 0.01} for row in losses()]
    assert evidence(make(tmp_path / "ledger", metrics=rows), "NG507") == []


def test_a_divergence_from_the_start_is_flat_where_it_is_zero_and_nowhere_else(tmp_path: Path) -> None:
    assert evidence(make(tmp_path / "at", metrics=probed(0.0, 0.0)), "NG602") == []
    found = evidence(make(tmp_path / "away", metrics=probed(0.2, 0.0)), "NG602")
    assert len(found) == 6
    assert 'the term "kl" (mean value 0.2) had a gradient of exactly 0 in all 10 probed steps.' in found[0]
    assert evidence(make(tmp_path / "moves", metrics=probed(0.2, 1e-6)), "NG602") == []
    assert evidence(make(tmp_path / "off", metrics=probed(0.2, 0.0, weight=0.0)), "NG602") == []
