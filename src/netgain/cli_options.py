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
MicroBatch = Annotated[int | None, typer.Option(min=1, help="Rows of a step that go through the model at a time.")]
Checkpointing = Annotated[
    bool,
    typer.Option("--checkpointing", help="Keep the layers' inputs only; compute the rest again when it is needed."),
]
Shard = Annotated[
    bool, typer.Option("--shard", help="Under torchrun: each process holds a part of the base's layers (FSDP2).")
]
DEFAULT_LEDGER = Path("ledger")


def print_json(tree: Any) -> None:
    """JSON with one blank of indent; what JSON has no word for, as text."""
    print(json.dumps(tree, indent=1, ensure_ascii=False, default=str))
