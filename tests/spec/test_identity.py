"""A sig names what decides a result, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgain.spec.identity import drift, sig, stored, stream
from netgain.spec.run import Run

GOLDEN = Path(__file__).parents[1] / "golden" / "sigs.json"

RUN = {
    "model": "tiny-llama",
    "method": {"kind": "lora", "r": 4},
    "data": {"sources": {"train": {"kind": "embedded", "suite": "sentiment", "n": 100}}},
    "optim": {"learning_rate": 1e-3, "steps": 10, "batch": 4},
    "tasks": {"sentiment": {"kind": "sentiment", "limit": 20}},
}

CHANGES: dict[str, dict[str, object]] = {
    "model": {"model": "tiny-gpt2"},
    "template": {"model": {"id": "tiny-llama", "template": "plain"}},
    "rank": {"method": {"kind": "lora", "r": 8}},
    "method": {"method": "full"},
    "rows": {"data": {"sources": {"train": {"kind": "embedded", "suite": "sentiment", "n": 101}}}},
    "rate": {"optim": {"learning_rate": 2e-3, "steps": 10, "batch": 4}},
    "clip": {"optim": {"learning_rate": 1e-3, "steps": 10, "batch": 4, "clip": None}},
    "task": {"tasks": {"sentiment": {"kind": "sentiment", "limit": 21}}},
    "weight": {"objective": {"ce": {"term": "ce", "weight": 0.5}}},
    "dev": {"dev": {"every": 5}},
    "seed": {"seed": 1},
}


def make(**changes: object) -> Run:
    return Run.model_validate({**RUN, **changes})


def sigs() -> dict[str, str]:
    return {"plain": sig(make()), **{name: sig(make(**change)) for name, change in CHANGES.items()}}


def test_sigs_are_golden() -> None:
    assert sigs() == json.loads(GOLDEN.read_text())


def test_every_field_that_changes_a_result_changes_the_sig() -> None:
    found = sigs()
    assert len(set(found.values())) == len(found)


def test_spelling_out_a_default_does_not_change_the_sig() -> None:
    spelled = make(dev={"every": None}, seed=0, objective={"ce": {"term": {"kind": "ce"}, "weight": 1.0}})
    assert sig(spelled) == sig(make())


def test_a_sig_is_the_same_in_another_process() -> None:
    code = (
        f"import json, netgain.spec.run as r, netgain.spec.identity as i; print(i.sig(r.Run.model_validate({RUN!r})))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "99"}
    )
    assert out.stdout.strip() == sig(make())


def test_a_base_without_a_method_is_one_run_for_all_seeds_and_data() -> None:
    assert sig(make(method="none", seed=3)) == sig(make(method="none", **CHANGES["rows"]))
    assert sig(make(method="none")) != sig(make(method="none", model="tiny-gpt2"))


def test_drift_names_the_field_and_a_new_field_is_no_drift() -> None:
    now = stored(make())
    old = json.loads(json.dumps(now))
    assert list(drift(old, now)) == []
    old["optim"]["clip"] = 5.0
    del old["optim"]["eps"]
    assert list(drift(old, now)) == [("optim.clip", 5.0, 1.0)]


@given(st.integers(0, 2**31), st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8))
def test_streams_repeat_and_differ_by_name(seed: int, one: str, other: str) -> None:
    first = stream(seed, one).integers(0, 2**62, 4).tolist()
    assert first == stream(seed, one).integers(0, 2**62, 4).tolist()
    assert (first == stream(seed, other).integers(0, 2**62, 4).tolist()) == (one == other)


def test_specs_load_without_torch() -> None:
    code = f"import sys, netgain.spec.run as r; r.Run.model_validate({RUN!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("field", ["device", "micro_batch", "chunk", "threads"])
def test_runtime_is_no_part_of_a_run(field: str) -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        make(**{field: 1})
