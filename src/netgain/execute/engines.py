"""Who writes a run's greedy answers in place of its network: another engine, given the run's adapter folder."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from netgain.adapters.lora import Lora
from netgain.adapters.method import Method
from netgain.errors import UserError
from netgain.execute.events import Event
from netgain.execute.export import FOLDERS
from netgain.execute.job import Job
from netgain.models.engine import Engine, Vllm, Writer, write
from netgain.models.generate import Generation


def writer_of(job: Job, checkpoint: str) -> Writer | None:
    """None where the network itself writes: unless asked otherwise, for methods that an engine does not load, and for
    states of an adapter that no folder holds."""
    method = job.run.method
    if job.runtime.generate_with == "network" or not isinstance(method, Method):
        return None
    folder: Path | None = None
    if method.learns:
        if not isinstance(method, Lora) or checkpoint not in FOLDERS:
            return None
        folder = job.folder.path / FOLDERS[checkpoint]
    model = job.lm.net.name_or_path
    if not model:
        raise UserError(f"{job.lm.name}: vLLM reads models from folders or the hub; leave --generate-with out.")
    engine = _engine(model, job.run.model.dtype, method.r if isinstance(method, Lora) else 0)
    return _telling(job, engine, folder)


def _telling(job: Job, engine: Engine, folder: Path | None) -> Writer:
    """The writer, which notes in the run's log how far it agreed."""

    def writer(prompts: Sequence[list[int]], budget: int, stop_ids: Sequence[int]) -> list[Generation]:
        found, alike = write(engine, job.lm, folder, prompts, budget, stop_ids)
        said = f"{len(found)} answers by {engine.name}, {alike:.1%} as the network's on the probe"
        job.emit(Event(job.each.sig, "measure", text=said))
        return found

    return writer


@cache
def _engine(model: str, dtype: str, rank: int) -> Engine:
    """One engine a process and model, since it fills the device."""
    return Vllm(model, dtype, rank)
