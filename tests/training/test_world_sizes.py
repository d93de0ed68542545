"""Two processes and one are the same training: a checkpoint of either goes on as the other; both give way together.

So are two processes that hold the base together, of which each has half of every layer.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from netgain.adapters.lora import Lora
from netgain.models.generate import generate
from netgain.models.lm import LM
from netgain.training import checkpoint
from netgain.training.loop import Training, train
from netgain.training.stop import dev_losses

torch.set_num_threads(1)
STEPS, CUT = 6, 3
LORA = Lora(r=4, dropout=0.1)

CHILD = """
import json
import sys
from pathlib import Path
import torch
from torch.distributed.device_mesh import init_device_mesh
sys.path.insert(0, sys.argv[1])
from conftest import small, training
from netgain.adapters.lora import Lora
from netgain.models.generate import generate
from netgain.models.shard import shard
from netgain.spec.run import Runtime
from netgain.training import checkpoint
from netgain.training.loop import train
from netgain.training.stop import dev_losses

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

# Three micro-batches for two processes, the layers' inputs kept and the rest computed again: the passes must match.
lm = small()
lm.net.double()
whole = sum(tensor.nbytes for layer in lm.layers for tensor in layer.parameters())
shard(lm, lm.device, init_device_mesh("cpu", (2,)))
part = sum(tensor.to_local().nbytes for layer in lm.layers for tensor in layer.parameters())
assert abs(part / whole - 0.5) < 0.01, (part, whole)
fourth = training(lm, Lora(r=4, dropout=0.1), steps=steps, runtime=Runtime(micro_batch=3, gradient_checkpointing=True))
checkpoint.load(fourth, [folder / "cut by one"])
for record in train(fourth):
    if record.step == cut + 1:
        left(fourth, "cut sharded")
left(fourth, "ended sharded")
found = {"loss": dev_losses(fourth.student, 1, [fourth.views(0)], 64)}
found["ids"] = [each.ids for each in generate(lm, [[5, 6, 7], [8, 9], [10]], max_new_tokens=9)]
if rank == 0:
    (folder / "sharded.json").write_text(json.dumps(found))
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
    for cut, step in (("cut by two", CUT), ("cut sharded", CUT + 1)):
        alone = begun()
        checkpoint.load(alone, [tmp_path / cut])
        assert alone.step == step
        list(train(alone))
        assert alone.tokens == whole.tokens
        checkpoint.save(alone, [tmp_path / f"{cut}, ended alone"])
    expected = tensors(tmp_path / "ended by one")
    names = ("cut by two, ended alone", "cut sharded, ended alone", "ended by two", "halved by two", "ended sharded")
    for name in names:
        assert (tensors(tmp_path / name) - expected).norm() / expected.norm() == pytest.approx(0, abs=1e-9), name
    found = json.loads((tmp_path / "sharded.json").read_text())
    lm = whole.student.lm
    assert found["ids"] == [each.ids for each in generate(lm, [[5, 6, 7], [8, 9], [10]], max_new_tokens=9)]
    ours = dev_losses(whole.student, 1, [whole.views(0)], 64)
    assert [*found["loss"][0], *found["loss"][1]] == pytest.approx([*ours[0], *ours[1]], abs=1e-9)
