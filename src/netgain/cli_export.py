"""`netgain export`: what was learned, for other tools."""

from pathlib import Path
from typing import Annotated

import typer

from netgain.cli_options import DEFAULT_LEDGER, LedgerDir
from netgain.errors import UserError


def export(
    run_sig: Annotated[str, typer.Argument(metavar="RUN", help="A run's sig, or the beginning of it.")],
    out: Annotated[Path | None, typer.Argument(help="Folder to write; must not exist.")] = None,
    merged: Annotated[bool, typer.Option("--merged/--adapter", help="The merged model, or the adapter alone.")] = False,
    gguf: Annotated[Path | None, typer.Option(help="In place of a folder: the GGUF file to write, merged.")] = None,
    kind: Annotated[str, typer.Option("--type", help="Of a GGUF file: f32, f16 or q8_0.")] = "f16",
    converter: Annotated[
        Path | None, typer.Option(help="llama.cpp's convert_hf_to_gguf.py (default: on PATH, else netgain's writer).")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="final or best.")] = "final",
    served: Annotated[
        str | None, typer.Option(help="Write nothing: compare what the server at this URL (http://HOST:PORT/v1) says.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="What that server calls the model (default: OUT).")] = None,
    key_env: Annotated[str | None, typer.Option(help="The environment variable with that server's key.")] = None,
    ledger: LedgerDir = DEFAULT_LEDGER,
) -> None:
    """Write a run's adapter or merged model; refuses when it does not compute what the run computed.

    With --served, ask a server that has loaded OUT, and refuse when it does not write what the run writes.
    """
    from netgain.execute.export import export_run, export_run_gguf
    from netgain.ledger.store import Ledger

    folder = Ledger(ledger).find(run_sig)
    if gguf is not None and out is None:
        print(export_run_gguf(folder, gguf, kind=kind, converter=converter, checkpoint=checkpoint))
    elif out is not None and gguf is None and served is not None:
        from netgain.execute.served import compare_served

        print(compare_served(folder, out, served, model=model, key_env=key_env, checkpoint=checkpoint))
    elif out is not None and gguf is None:
        print(export_run(folder, out, merged=merged, checkpoint=checkpoint))
    else:
        raise UserError("netgain export writes one thing: name a folder, or a file with --gguf.")
