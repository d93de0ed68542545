"""What a run watches and measures beyond its final and best checkpoint: what a stop rule kept, and part of the adapter.

retained    the last look at which the loss was not certain; the final one where the rule never stopped the run
final@0.5   half of what the final adapter adds to the base: gain against forgetting, for the price of measuring
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from torch import Tensor

from netgain.adapters._torch.scale import at_scale
from netgain.adapters.method import Adapter
from netgain.ledger.items import Item
from netgain.ledger.store import RunFolder
from netgain.spec.run import Run
from netgain.training.loop import StepRecord, Training
from netgain.training.retain import Guard, guard

RETAINED = "adapter-retained"


def guarded(
    records: Iterator[StepRecord],
    training: Training,
    adapter: Adapter,
    run: Run,
    folder: RunFolder,
    measured: Callable[[str], Sequence[Item]],
) -> Iterator[StepRecord]:
    """The records, watched by the run's stop rule if it has one; `measured(task)` measures the model as it is."""
    rule = run.stop
    if rule is None:
        return records

    def of_base() -> Sequence[Item]:
        with adapter.off():
            return measured(rule.task)

    def keep() -> None:
        folder.hold()
        adapter.save(folder.path / RETAINED)

    if training.step == 0:
        keep()
    own = Guard(
        rule,
        measure=lambda: measured(rule.task),
        base=of_base,
        keep=keep,
        note=lambda row: folder.append_metrics([row]),
    )
    return guard(records, training, [own])


def stopped(folder: RunFolder) -> bool:
    """Whether the stop rule ended the run."""
    looks = [row for row in folder.metrics() if row.get("event") == "retain"]
    return bool(looks) and looks[-1]["word"] == "forgotten"


def further(run: Run, folder: RunFolder, adapter: Adapter) -> dict[str, Callable[[], None]]:
    """checkpoint -> how to get there, while the adapter is the final one."""
    found: dict[str, Callable[[], None]] = {}
    kept = folder.path / RETAINED
    if run.stop is not None:
        if not stopped(folder):
            adapter.save(kept)
        found["retained"] = _load(adapter, kept)
    final = {name: tensor.clone() for name, tensor in adapter.state().items()} if run.adapter_scales else {}
    for scale in run.adapter_scales:
        found[f"final@{scale:g}"] = _scale(adapter, final, scale)
    return found


def _load(adapter: Adapter, folder: Path) -> Callable[[], None]:
    return lambda: adapter.load(folder)


def _scale(adapter: Adapter, final: dict[str, Tensor], scale: float) -> Callable[[], None]:
    return lambda: adapter.set_state(at_scale(adapter, final, scale))
