"""Two processes and one are the same training: a checkpoint of either goes on as the other; both give way together."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from netgain.adapters.lora import Lora
from netgain.models.lm import LM
from netgain.training import checkpoint
from netgain.training.loop import Training, train

torch.set_num_threads(1)
STEPS, CUT = 6, 3
LORA = Lora(r=4, dropout=0.1)

CHILD = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
from conftest import small, training
from netgain.adapters.lora import Lora
from netgain.training import checkpoint
from netgain.training.loop import train

folder, rank, steps, cut = Path(sys.argv[2]), *map(int, sys.argv[3:])
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)

def begun(lm):
    lm.net.double()
    return training(lm, Lora(r=4, dropout=0.1), steps=steps)

def left(made, name):
    if rank == 0:
        checkpoint.save(made, [folder / name])

first = begun(small())
for record in train(first):
    if record.step == cut:
        break
left(first, "cut by two")

second = begun(small())
checkpoint.load(second, [folder / "cut by one"])
list(train(second))
left(second, "ended by two")

lm = small()
def short(module, inputs):
    if rank == 1 and len(inputs[0]) > 2:
        raise torch.OutOfMemoryError("CUDA out of memory.")
lm.net.get_input_embeddings().register_forward_pre_hook(short)
third = begun(lm)
list(train(third))
assert third.runtime.micro_batch == 2, third.runtime
left(third, "halved by two")
torch.distributed.destroy_process_group()
"""


def tensors(path: Path) -> torch.Tensor:
    """What was learned and Adam's moments, in one row."""
    found = load_file(path)
    return torch.cat([found[name].flatten() for name in sorted(found)])


def test_checkpoints_of_one_and_of_two_processes_are_the_same(
    make: Callable[..., Training], model: Callable[..., LM], tmp_path: Path
) -> None:
    def begun() -> Training:
        lm = model()
        lm.net.double()
        return make(lm, LORA, steps=STEPS)

    whole = begun()
    for record in train(whole):
        if record.step == CUT:
            checkpoint.save(whole, [tmp_path / "cut by one"])
    checkpoint.save(whole, [tmp_path / "ended by one"])
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(tmp_path), str(rank), str(STEPS), str(CUT)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    assert [process.wait(300) for process in pair] == [0, 0]
    alone = begun()
    checkpoint.load(alone, [tmp_path / "cut by two"])
    assert alone.step == CUT
    list(train(alone))
    assert alone.tokens == whole.tokens
    checkpoint.save(alone, [tmp_path / "ended alone"])
    expected = tensors(tmp_path / "ended by one")
    for name in ("ended alone", "ended by two", "halved by two"):
        assert (tensors(tmp_path / name) - expected).norm() / expected.norm() == pytest.approx(0, abs=1e-9), name
