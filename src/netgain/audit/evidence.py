"""What a rule may look at: a parsed document, or the rows of a ledger; and what a person noted beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from netgain.errors import UserError, did_you_mean
from netgain.interop.documents import Document

if TYPE_CHECKING:
    import duckdb

SUFFIX = ".netgain.yaml"
KEYS = {"columns", "n", "ignore"}


@dataclass(frozen=True, slots=True)
class Sidecar:
    """`<file>.netgain.yaml`: roles of columns, the number of items, silenced codes with their reasons."""

    columns: Mapping[str, str] = field(default_factory=dict)
    n: int | None = None
    ignore: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing under audit."""

    path: str
    document: Document | None = None
    db: "duckdb.DuckDBPyConnection | None" = None
    n: int | None = None
    study: str | None = None
    """The only study of the ledger that is looked at; None for all."""


def sidecar(path: Path) -> Sidecar:
    """What stands beside `path`, checked; empty when nothing does."""
    beside = path.with_name(path.name + SUFFIX)
    if not beside.exists():
        return Sidecar()
    import yaml

    try:
        tree = yaml.safe_load(beside.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{beside}: not valid YAML ({str(error).splitlines()[0]}).") from error
    if not isinstance(tree, dict):
        raise UserError(f"{beside}: expected the keys {', '.join(sorted(KEYS))}.")
    for key in tree:
        if key not in KEYS:
            raise UserError(f'{beside}: "{key}" is not one of {", ".join(sorted(KEYS))}.{did_you_mean(str(key), KEYS)}')
    columns, n, ignore = tree.get("columns") or {}, tree.get("n"), tree.get("ignore") or {}
    if not isinstance(columns, dict) or not isinstance(ignore, dict):
        raise UserError(f"{beside}: `columns` maps a column to a role, `ignore` maps a code to the reason.")
    if n is not None and (not isinstance(n, int) or n < 1):
        raise UserError(f"{beside}: `n` is the number of items, a whole number above 0.")
    for code, reason in ignore.items():
        if not isinstance(reason, str) or not reason.strip():
            raise UserError(f"{beside}: say why {code} is ignored, as `{code}: the reason`.")
    roles = {str(name): str(role) for name, role in columns.items()}
    return Sidecar(roles, n, {str(code).upper(): str(reason) for code, reason in ignore.items()})
