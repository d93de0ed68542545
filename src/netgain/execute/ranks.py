"""`torchrun ... netgain run STUDY`: the first process does the study; the others compute their part of each step.

The others take no lock, measure nothing and write nothing into the ledger: they hear which runs come next, begin at the
same checkpoint, and leave when those have learned.

With --shard no process has the whole base, so all of them make every pass, in measuring too: the others do whole runs,
from a copy of what the ledger has of them, in a ledger that is thrown away.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from netgain.errors import UserError
from netgain.ledger.store import Ledger
from netgain.spec.run import ModelSpec, Runtime
from netgain.spec.study import Planned

if TYPE_CHECKING:
    from netgain.execute.run import Bench
    from netgain.models.lm import LM

PATIENCE = timedelta(days=7)
"""How long the others wait while the first measures."""
WHOLE = ("full", "bitfit")
"""Methods whose tensors are the base's own."""


def rank() -> int:
    """This process's number among those that torchrun started."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(runtime: Runtime) -> Iterator[Runtime]:
    """The process group, and the runtime of this process: its own GPU where there is one."""
    if world() == 1:
        yield runtime
        return
    import torch
    from torch import distributed

    gpu = runtime.device in ("auto", "cuda") and torch.cuda.is_available()
    local = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    # gloo carries the orders, NCCL the gradients on GPUs.
    distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=PATIENCE)
    try:
        if gpu:
            torch.cuda.set_device(local)
        own = {"device": local if gpu else runtime.device, "pack": "off" if runtime.shard else runtime.pack}
        yield runtime.model_copy(update=own)
    finally:
        distributed.destroy_process_group()


def tell(sigs: Sequence[str] | None) -> None:
    """The first process says which runs learn next, or None: there are no more."""
    if world() > 1:
        from torch import distributed

        distributed.broadcast_object_list([sigs], src=0)


def _heard() -> list[str] | None:
    from torch import distributed

    said: list[list[str] | None] = [None]
    distributed.broadcast_object_list(said, src=0)
    return said[0]


def gathered(sigs: Sequence[str]) -> None:
    """Where the base is sharded: all processes have what there is of these runs, and begin them now."""
    if rank() == 0:
        tell(sigs)
    _wait()


def _wait() -> None:
    """Until all processes are here."""
    from netgain.training.ranks import Ranks

    Ranks.here().any(False)


def follow(wanted: Sequence[Planned], ledger: Ledger, bench: "Bench") -> None:
    """Go along with the first process until it says that there is no more."""
    known = {each.sig: each for each in wanted}
    while (sigs := _heard()) is not None:
        with tempfile.TemporaryDirectory() as scratch:
            members = [known[sig] for sig in sigs]
            own = _shadow(Path(scratch), members, ledger, "" if bench.runtime.shard else "checkpoint")
            bench.go_along([(each, own.run(each.sig)) for each in members])


def _shadow(scratch: Path, members: Sequence[Planned], ledger: Ledger, part: str) -> Ledger:
    """A ledger to throw away, with a part of the folders of these runs, what they need, and the teachers."""
    (scratch / "runs").mkdir()
    teachers = (ledger.root / "teachers").absolute()
    teachers.mkdir(parents=True, exist_ok=True)
    (scratch / "teachers").symlink_to(teachers)
    for need in {need for each in members for need in each.needs}:
        (scratch / "runs" / need).symlink_to(ledger.run(need).path.absolute())
    for each in members:
        there = ledger.run(each.sig).path / part
        if there.is_dir():
            shutil.copytree(there, scratch / "runs" / each.sig / part)
    return Ledger(scratch)


def refuse_loss() -> None:
    """A run that another process took over ends all processes of it: the others stand in the middle of a step."""
    if world() > 1:
        raise UserError("another process has taken over the run, since this one gave no sign of life; run again.")


def base(spec: ModelSpec, device: str, shard: bool) -> "LM":
    """The base on a device; with `shard` this process's part of it, which the processes of a machine read in turns, so
    that the machine's own memory has it whole once at most."""
    from netgain.models.load import load

    if not shard:
        return load(spec, device)
    import torch
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh

    from netgain.measure.batches import free_memory
    from netgain.models.shard import shard as share_out

    free_memory()  # layers that were shared out before refer to one another
    place = torch.device(device)
    mesh = init_device_mesh(place.type, (world(),))
    turns = torch.tensor(int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    distributed.all_reduce(turns, distributed.ReduceOp.MAX)
    lm = None
    for turn in range(int(turns)):
        if turn == int(os.environ.get("LOCAL_RANK", "0")):
            lm = load(spec, "cpu")
            share_out(lm, place, mesh)
        _wait()
    assert lm is not None
    return lm


def refuse_unshardable(wanted: Sequence[Planned], runtime: Runtime) -> None:
    """Refuse runs that cannot be done over a base that no process has whole."""
    if world() == 1:
        raise UserError("--shard shares a base out over the processes of torchrun; start two or more of them.")
    if runtime.pack not in ("auto", "off") or runtime.generate_with != "network":
        raise UserError("--shard does one run at a time, by the network itself; leave --pack and --generate-with away.")
    for each in wanted:
        if each.run.model.quantise is not None:
            raise UserError(f"{each.arm}: a base of 4 bits cannot be sharded; leave model.quantise or --shard away.")
        method = each.run.method
        if method.built or method.kind in WHOLE or getattr(method, "use_dora", False):
            raise UserError(
                f"{each.arm}: method {method.kind} reads or changes the base's own weights, which no process has whole "
                "with --shard; do this run without, or take a method that learns beside them, such as lora."
            )


def refuse_sharing(jobs: int, on: str) -> None:
    """Processes of one run are not also workers on several."""
    if world() > 1 and (jobs != 1 or on != "local"):
        raise UserError("under torchrun the processes share each run; leave --jobs and --on away.")
