"""`torchrun ... netgain run STUDY`: the first process does the study; the others compute their part of each step.

The others take no lock, measure nothing and write nothing into the ledger: they hear which runs come next, begin at the
same checkpoint, and leave when those have learned.
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
from netgain.spec.run import Runtime
from netgain.spec.study import Planned

if TYPE_CHECKING:
    from netgain.execute.run import Bench

PATIENCE = timedelta(days=7)
"""How long the others wait while the first measures."""


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
        yield runtime.model_copy(update={"device": local}) if gpu else runtime
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


def follow(wanted: Sequence[Planned], ledger: Ledger, bench: "Bench") -> None:
    """Learn along with the first process until it says that there is no more."""
    known = {each.sig: each for each in wanted}
    while (sigs := _heard()) is not None:
        with tempfile.TemporaryDirectory() as scratch:
            members = [known[sig] for sig in sigs]
            own = _shadow(Path(scratch), members, ledger)
            bench.learn_along([(each, own.run(each.sig)) for each in members])


def _shadow(scratch: Path, members: Sequence[Planned], ledger: Ledger) -> Ledger:
    """A ledger to throw away, with the checkpoints of these runs, what they need, and the teachers."""
    (scratch / "runs").mkdir()
    teachers = (ledger.root / "teachers").absolute()
    teachers.mkdir(parents=True, exist_ok=True)
    (scratch / "teachers").symlink_to(teachers)
    for need in {need for each in members for need in each.needs}:
        (scratch / "runs" / need).symlink_to(ledger.run(need).path.absolute())
    for each in members:
        state = ledger.run(each.sig).path / "checkpoint"
        if state.is_dir():
            shutil.copytree(state, scratch / "runs" / each.sig / "checkpoint")
    return Ledger(scratch)


def refuse_loss() -> None:
    """A run that another process took over ends all processes of it: the others stand in the middle of a step."""
    if world() > 1:
        raise UserError("another process has taken over the run, since this one gave no sign of life; run again.")


def refuse_sharing(jobs: int, on: str) -> None:
    """Processes of one run are not also workers on several."""
    if world() > 1 and (jobs != 1 or on != "local"):
        raise UserError("under torchrun the processes share each run; leave --jobs and --on away.")
