"""What several commands take: arguments and options with their help, and how a command prints JSON."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file (YAML).")]
Scale = Annotated[str | None, typer.Option(help="One of the study's scales, such as tiny, small or full.")]
LedgerDir = Annotated[
    Path, typer.Option("--ledger", envvar="NETGAIN_LEDGER", help="Folder that holds the runs.", show_default=True)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
DEFAULT_LEDGER = Path("ledger")


def print_json(tree: Any) -> None:
    """JSON with one blank of indent; what JSON has no word for, as text."""
    print(json.dumps(tree, indent=1, ensure_ascii=False, default=str))
