"""From what a person names to evidence: a file, a folder, `PATH:ARM@CHECKPOINT`, or an arm of the ledger at hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

import pyarrow as pa
import pyarrow.compute as pc

from netgain.errors import UserError, did_you_mean
from netgain.interop import ledgers
from netgain.interop.samples import Samples

FALLBACK = "tables"
"""Asked last: any table may be a table of items."""
UNTUNED = "base"
"""The checkpoint of a run that learns nothing; it stands for any other."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: the rows of one arm at one checkpoint."""

    name: str
    arm: str
    rows: pa.Table
    samples: Samples


@cache
def readers() -> tuple[ModuleType, ...]:
    """Every module of this room whose `read` returns Samples, the most general one last."""
    home = import_module("netgain.interop")
    names = sorted(
        (info.name for info in iter_modules(home.__path__) if info.name[0] != "_"), key=lambda n: n == FALLBACK
    )
    modules = [import_module(f"netgain.interop.{name}") for name in names if name != "find"]
    return tuple(m for m in modules if hasattr(m, "can_read") and m.read.__annotations__.get("return") is Samples)


def read(path: Path, roles: Mapping[str, str] | None = None) -> Samples:
    """The evidence in a file or folder, by the first reader that knows its format."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder.")
    for reader in readers():
        if reader.can_read(path):
            return reader.read(path, roles)
    raise UserError(
        f"{path}: no reader knows this format; netgain reads its own ledgers, lm-evaluation-harness and Inspect logs, "
        "CSV, TSV, Parquet and JSON-lines tables, trainer_state.json, and W&B and MLflow exports."
    )


def side(reference: str, ledger: Path | None = None, roles: Mapping[str, str] | None = None) -> Side:
    """`reference` as evidence: PATH, PATH:ARM, PATH:ARM@CHECKPOINT, or ARM, STUDY/ARM or a sig in `ledger`."""
    path, arm, checkpoint = split(reference, ledger)
    found = ledgers.read_arm(path, arm, roles) if ledgers.can_read(path) and arm is not None else read(path, roles)
    if not found.rows.num_rows:
        raise UserError(
            f"{reference}: holds aggregate scores only; a comparison needs the scores of single items "
            "(with lm-eval: --log_samples)."
        )
    of_ledger = ledgers.can_read(path)
    rows = found.rows if of_ledger and arm is not None else of_arm(found.rows, arm, reference)
    names = rows["arm"].unique().to_pylist()
    return Side(reference, names[0] if len(names) == 1 else str(arm), at(rows, checkpoint, reference), found)


def split(reference: str, ledger: Path | None) -> tuple[Path, str | None, str | None]:
    """(path, arm, checkpoint) of a reference."""
    whole = Path(reference)
    if whole.exists():
        return whole, None, None
    name, _, checkpoint = reference.partition("@")
    left, colon, arm = name.rpartition(":")
    if Path(name).exists():
        return Path(name), None, checkpoint or None
    if colon and Path(left).exists():
        return Path(left), arm, checkpoint or None
    if ledger is not None and ledgers.can_read(ledger) and not colon:
        return ledger, name, checkpoint or None
    where = left if colon else name
    hint = f" Nor is {ledger} a ledger with such an arm." if ledger is not None and not colon else ""
    raise UserError(f"{where}: no such file or folder.{hint}")


def of_arm(rows: pa.Table, arm: str | None, reference: str) -> pa.Table:
    """The rows of one arm; when there are several, one must be named."""
    names = rows["arm"].unique().to_pylist()
    if arm is None:
        if len(names) > 1:
            shown = ", ".join(names[:12]) + (" and more" if len(names) > 12 else "")
            raise UserError(f"{reference}: holds {len(names)} arms; name one as {reference}:ARM. It has {shown}.")
        return rows
    if arm not in names:
        raise UserError(f"{reference}: no arm {arm}.{did_you_mean(arm, names)} It has {', '.join(names[:12])}.")
    return rows.filter(pc.equal(rows["arm"], arm))  # pyright: ignore[reportAttributeAccessIssue]


def at(rows: pa.Table, checkpoint: str | None, reference: str) -> pa.Table:
    """The rows at a checkpoint (final unless named); a run that was only measured untuned stands at every one."""
    known = rows["checkpoint"].unique().to_pylist()
    wanted = checkpoint or "final"
    if known == [wanted] or (known == [UNTUNED] and checkpoint is None):
        return rows
    here = pc.equal(rows["checkpoint"], wanted)  # pyright: ignore[reportAttributeAccessIssue]
    learnt = pc.not_equal(rows["checkpoint"], UNTUNED)  # pyright: ignore[reportAttributeAccessIssue]
    untuned = pc.invert(pc.is_in(rows["run"], value_set=rows.filter(learnt)["run"].unique()))  # pyright: ignore[reportAttributeAccessIssue]
    kept = rows.filter(pc.or_(here, untuned))  # pyright: ignore[reportAttributeAccessIssue]
    if not kept.num_rows:
        raise UserError(f"{reference}: nothing was measured at checkpoint {wanted}; it has {', '.join(sorted(known))}.")
    return kept
