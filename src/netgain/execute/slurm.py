"""Workers from a SLURM queue, through submitit: an array, a bundle a job.

A job that is preempted or runs out of time is queued again, and goes on from the ledger's checkpoint.
"""

import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netgain.errors import UserError
from netgain.execute.cluster import POLL_SECONDS, Bundle, perform

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

SLOTS = 64
"""Bundles to cut the work into: the queue decides how many run at a time."""

OPTIONS: dict[str, tuple[str, type]] = {
    "partition": ("slurm_partition", str),
    "account": ("slurm_account", str),
    "qos": ("slurm_qos", str),
    "constraint": ("slurm_constraint", str),
    "minutes": ("timeout_min", int),
    "gpus": ("gpus_per_node", int),
    "cpus": ("cpus_per_task", int),
    "memory_gb": ("mem_gb", int),
    "parallel": ("slurm_array_parallelism", int),
}
"""What a study's queue may be told: submitit's name of it, and its type."""


class Job:
    """`perform` as submitit wants it: it says what to do when the queue takes the machine back."""

    def __call__(self, bundle: Bundle) -> str:
        return perform(bundle)

    def checkpoint(self, bundle: Bundle) -> "DelayedSubmission":
        """Queue the same bundle again: the ledger knows how far it was."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, bundle)


class SlurmPool:
    """The queue of this machine's SLURM; `slurm-local` runs the same jobs as processes here."""

    def __init__(self, kind: str, options: str, folder: Path) -> None:
        try:
            from submitit import AutoExecutor
        except ImportError as error:
            raise UserError("--on slurm needs submitit: pip install 'netgain[slurm]'.") from error
        local = kind == "slurm-local"
        try:
            self.executor = AutoExecutor(folder=folder, cluster="local" if local else "slurm")
        except RuntimeError as error:
            raise UserError("--on slurm: there is no SLURM on this machine (no srun).") from error
        self.executor.update_parameters(name="netgain", **_parameters(options, local))

    def slots(self) -> int:
        return SLOTS

    def submit(self, bundles: Sequence[Bundle]) -> list[Any]:
        """One array of jobs."""
        with self.executor.batch():
            return [self.executor.submit(Job(), bundle) for bundle in bundles]

    def ended(self, handles: Collection[Any]) -> list[tuple[Any, str]]:
        """Jobs that are over; the queue is asked after a moment."""
        time.sleep(POLL_SECONDS)
        return [(job, _outcome(job)) for job in list(handles) if job.done()]

    def cancel(self, handle: Any) -> None:
        handle.cancel(check=False)

    def close(self) -> None:
        """Nothing is held: the jobs belong to the queue."""


def _outcome(job: Any) -> str:
    error = job.exception()
    if error is None:
        return job.result()
    first = str(error).strip().splitlines()[0]
    return f"job {job.job_id} was lost ({first}); run the same command to continue."


def _parameters(text: str, local: bool) -> dict[str, Any]:
    """`partition=gpu,minutes=240` as submitit's parameters."""
    found: dict[str, Any] = {"timeout_min": 24 * 60}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if name not in OPTIONS or not equals:
            raise UserError(f'--on slurm: "{part}" is none of its options ({", ".join(OPTIONS)}).')
        parameter, kind = OPTIONS[name]
        try:
            found[parameter] = kind(value)
        except ValueError:
            raise UserError(f'--on slurm: {name} takes a whole number, not "{value}".') from None
    return {k: v for k, v in found.items() if not (local and k.startswith("slurm_"))}
