"""A training that was killed and continued is, bit for bit, the one that was left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from netgain.adapters.full import Full
from netgain.adapters.lora import Lora
from netgain.adapters.method import Method
from netgain.errors import UserError
from netgain.models.lm import LM
from netgain.training import checkpoint
from netgain.training.loop import Training, train

torch.set_num_threads(1)
METHODS: dict[str, Method] = {"lora": Lora(r=4, dropout=0.1), "dora": Lora(r=4, use_dora=True), "full": Full()}

CHILD = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import small, training
from netgain.adapters.lora import Lora
from netgain.training import checkpoint
from netgain.training.loop import train

path, log, steps = Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
made = training(small(), Lora(r=4, dropout=0.1), steps=steps)
if path.exists():
    checkpoint.load(made, [path])
for record in checkpoint.keep(train(made), made, [path], seconds=0.0):
    with log.open("a") as out:
        out.write(json.dumps([record.step, record.arms[0].loss, record.arms[0].grad_norm]) + "\\n")
    if len(sys.argv) > 5:
        time.sleep(0.05)
"""


def taken(training: Training) -> list[tuple[int, float, float]]:
    records = [(record.step, record.arms[0]) for record in train(training)]
    return [(step, arm.loss, arm.grad_norm) for step, arm in records if arm]


@pytest.mark.parametrize("name", METHODS)
def test_a_loaded_checkpoint_goes_on_bit_for_bit(
    make: Callable[..., Training], model: Callable[..., LM], name: str, tmp_path: Path
) -> None:
    whole = make(model(), METHODS[name], steps=7)
    expected = taken(whole)
    first = make(model(), METHODS[name], steps=7)
    steps = train(first)
    for _ in range(4):
        next(steps)
    checkpoint.save(first, [tmp_path / "state.safetensors"])
    second = make(model(), METHODS[name], steps=7)
    checkpoint.load(second, [tmp_path / "state.safetensors"])
    assert taken(second) == expected[4:]
    assert second.tokens == whole.tokens
    for name, tensor in whole.arms[0].adapter.state().items():
        assert torch.equal(tensor, second.arms[0].adapter.state()[name])


def test_kill_9_loses_nothing_but_time(make: Callable[..., Training], model: Callable[..., LM], tmp_path: Path) -> None:
    path, log, steps = tmp_path / "state.safetensors", tmp_path / "log.jsonl", 12
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(path), str(log), str(steps)]
    victim = subprocess.Popen([*command, "slowly"])
    while not (log.exists() and log.read_text().count("\n") >= 4):
        assert victim.poll() is None, "the child ended before it could be killed"
        time.sleep(0.01)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    (tmp_path / ".state.safetensors.1.part").write_bytes(b"half a checkpoint that another kill left behind")
    subprocess.run(command, check=True)
    rows = {row[0]: tuple(row) for row in map(json.loads, log.read_text().splitlines())}
    assert list(rows.values()) == taken(make(model(), Lora(r=4, dropout=0.1), steps=steps))


def test_a_damaged_checkpoint_is_named(make: Callable[..., Training], model: Callable[..., LM], tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    training = make(model())
    checkpoint.save(training, [path])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"state\.safetensors: no readable checkpoint"):
        checkpoint.load(training, [path])


def test_a_full_disk_keeps_the_checkpoint_before(
    make: Callable[..., Training], model: Callable[..., LM], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.safetensors"
    training = make(model())
    checkpoint.save(training, [path])
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    next(train(training))
    with pytest.raises(UserError, match="free some space"):
        checkpoint.save(training, [path])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
