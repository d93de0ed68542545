"""Whether prompts reach the model: two exchanged rows are enough where they move, all are tried where they do not."""

from collections.abc import Callable
from typing import Any

import pytest

from netgain.execute.reach import FIRST, ROWS, reach
from netgain.models.lm import LM
from netgain.spec.run import Run

DATA = {"sources": {"a": {"kind": "embedded", "suite": "sentiment", "n": 40, "seed": 1}}}


def test_rows_are_exchanged_until_it_is_clear_that_they_move(
    make_run: Callable[..., Run], scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = scene(make_run(data=DATA))
    read = 0
    hidden = LM.hidden

    def counted(lm: LM, *args: Any) -> Any:
        nonlocal read
        read += 1
        return hidden(lm, *args)

    monkeypatch.setattr(LM, "hidden", counted)
    found = reach(here.lm, here.prepared.train.rows)
    assert found["exchanged"] == FIRST
    assert found["moved"] > 1e-3
    assert read == 2
    monkeypatch.setattr(LM, "hidden", lambda lm, *args: counted(lm, *args) * 0)
    blind = reach(here.lm, here.prepared.train.rows)
    assert blind["exchanged"] == ROWS
    assert blind["moved"] == 0
    assert read == 2 + 4
