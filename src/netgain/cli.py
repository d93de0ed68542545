"""The command line. Each command imports only the rooms that it needs, so that --help answers at once."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from netgain.cli_export import export
from netgain.cli_options import DEFAULT_LEDGER, Checkpointing, Json, LedgerDir, MicroBatch, Scale, Shard, StudyFile
from netgain.cli_options import print_json as _print_json
from netgain.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Fine-tune language models, and say with evidence what was gained and what was forgotten.",
)


def main() -> None:
    """Run the command line; a person's mistake is one sentence and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"netgain: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nnetgain: stopped; finished work is kept, run the same command to continue.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


@app.command()
def plan(study: StudyFile, scale: Scale = None, ledger: LedgerDir = DEFAULT_LEDGER, as_json: Json = False) -> None:
    """Show every run, its state, what each contrast can detect, and what would never happen."""
    from netgain.execute import plan as planning
    from netgain.execute.show import show_plan
    from netgain.ledger.store import Ledger
    from netgain.spec.load import load

    made = planning.make(load(study, scale), Ledger(ledger))
    if as_json:
        _print_json(made.to_json())
    else:
        show_plan(made)


@app.command()
def run(
    study: StudyFile,
    scale: Scale = None,
    ledger: LedgerDir = DEFAULT_LEDGER,
    jobs: Annotated[int, typer.Option(min=1, help="Runs executed at the same time.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    pack: Annotated[
        str, typer.Option(help="Arms trained together over one base: auto (what memory allows), off, or a number.")
    ] = "auto",
    redo: Annotated[list[str] | None, typer.Option(help="Do this run again (a sig); may be repeated.")] = None,
    on: Annotated[
        str, typer.Option(help="local, ray, ray://HOST:PORT, slurm or slurm:partition=gpu,gpus=1,minutes=240.")
    ] = "local",
    mirror: Annotated[
        str | None, typer.Option(help="URL for finished runs, where other machines do not see the ledger's folder.")
    ] = None,
    silence: Annotated[
        float, typer.Option(min=1, help="Seconds without a sign of life before a run goes to another worker.")
    ] = 1800.0,
    generate_with: Annotated[
        str, typer.Option(help="network, or vllm: greedy answers of runs with LoRA by vLLM, once a probe agrees.")
    ] = "network",
    track: Annotated[
        str | None, typer.Option(help="Also show the runs in tensorboard, wandb, mlflow or trackio (`netgain track`).")
    ] = None,
    micro_batch: MicroBatch = None,
    checkpointing: Checkpointing = False,
    shard: Shard = False,
) -> None:
    """Execute what is missing, with live progress. Killed at any moment, it continues where it was."""
    from netgain.execute.cluster import Where
    from netgain.execute.local import execute
    from netgain.interop.tracking import following
    from netgain.ledger.store import Ledger
    from netgain.spec.load import load
    from netgain.spec.run import Runtime

    if pack not in ("auto", "off") and not (pack.isdecimal() and int(pack) > 0):
        raise UserError(f'--pack takes auto, off or a number of arms, not "{pack}".')
    packed = int(pack) if pack.isdecimal() else pack
    if generate_with not in ("network", "vllm"):
        raise UserError(f'--generate-with takes network or vllm, not "{generate_with}".')
    asked = {"device": device, "pack": packed, "claim_seconds": min(60.0, silence), "generate_with": generate_with}
    fitting = {"micro_batch": micro_batch, "gradient_checkpointing": checkpointing, "shard": shard}
    runtime = Runtime.model_validate({**asked, **fitting})
    where = Where(on, mirror, silence)
    with following(track, ledger, lambda words: print(words, file=sys.stderr)):
        failed = execute(load(study, scale), Ledger(ledger), runtime, jobs=jobs, redo=redo or [], where=where)
    if failed:
        sys.exit(1)


@app.command()
def report(
    study: StudyFile,
    scale: Scale = None,
    ledger: LedgerDir = DEFAULT_LEDGER,
    out: Annotated[Path | None, typer.Option(help="Folder for the report (default: in the ledger).")] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for every chart as SVG, PNG and PDF.")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="Price of an hour of the machine, to show costs.")] = None,
    versus: Annotated[str | None, typer.Option(help="Of imported results: the arm to compare all others with.")] = None,
    terminal: Annotated[bool, typer.Option("--terminal", help="Print only; write no file.")] = False,
    as_json: Json = False,
) -> None:
    """Say what was gained and what was forgotten, from the ledger alone; write HTML, Markdown, LaTeX and Parquet.

    In place of a study, a ledger of imported results: all of its arms against the one called base, or the first.
    """
    if study.is_dir():
        _report_imported(study, versus, as_json)
        return
    from netgain.ledger.store import Ledger
    from netgain.report.study import build
    from netgain.spec.load import load

    asked = load(study, scale)
    made = build(asked, Ledger(ledger))
    if as_json:
        _print_json(made.to_json())
        return
    from netgain.report.paper import write_all
    from netgain.report.terminal import show_report

    if terminal:
        show_report(made, an_hour=price)
        return
    path = write_all(made, Ledger(ledger), (out or Path(ledger) / "reports") / asked.key, figures, price)
    show_report(made, an_hour=price)
    print(f"report: {path}")


def _report_imported(ledger: Path, versus: str | None, as_json: bool) -> None:
    from netgain.report.console import console
    from netgain.report.imported import build

    made = build(ledger, versus)
    if as_json:
        _print_json(made.to_json())
    else:
        made.render(console())


@app.command()
def verify(
    report_file: Annotated[Path, typer.Argument(metavar="REPORT", help="A report.html.")],
    ledger: Annotated[
        Path | None, typer.Option(help="Folder that holds the runs (default: where the report says it was).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Recompute every number and figure of a report from the ledger; exit 1 naming any that does not hold."""
    from netgain.report.verify import verify as recompute

    found = recompute(report_file, ledger)
    if as_json:
        _print_json(found.to_json())
    else:
        for line in found.lines():
            print(line)
    sys.exit(1 if found.problems else 0)


@app.command()
def view(
    ledger: Annotated[Path, typer.Argument(envvar="NETGAIN_LEDGER", help="What holds the runs.")] = DEFAULT_LEDGER,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port on loopback (default: a free one).")] = None,
) -> None:
    """Show studies at work in a browser: states, curves, verdicts so far, logs, reports. It only reads."""
    try:
        from netgain.report.view.serve import serve
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn", "anyio"):
            raise
        raise UserError(f'netgain view needs {error.name}: pip install "netgain[view]".') from None

    serve(ledger, port)


@app.command(name="compare-reports")
def compare_reports(
    first: Annotated[str, typer.Argument(metavar="A", help="LEDGER, or LEDGER:STUDY where it holds several.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The same, for what stands beside it.")],
    as_json: Json = False,
) -> None:
    """Two studies, or one study in two ledgers, side by side: declared answers, scores, and whether they differ."""
    from netgain.report.beside import beside

    made = beside(first, second)
    if as_json:
        _print_json(made.to_json())
    else:
        from netgain.report.console import console

        made.render(console())


@app.command(name="show-data")
def show_data(
    study: StudyFile,
    scale: Scale = None,
    arm: Annotated[str | None, typer.Option(help="Which arm (default: the first that learns).")] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="How many examples.")] = 3,
    as_json: Json = False,
) -> None:
    """Show examples exactly as the model sees them, with the supervised tokens coloured."""
    from netgain.execute.prepare import show
    from netgain.spec.load import load

    show(load(study, scale), arm, n, as_json=as_json)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="SQL over the views runs, items, metrics and probes.")],
    ledger: LedgerDir = DEFAULT_LEDGER,
    as_json: Json = False,
) -> None:
    """Ask the ledger anything, in SQL (DuckDB)."""
    from netgain.report.query import ask

    columns, rows = ask(ledger, sql)
    if as_json:
        _print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    from netgain.report.console import console, plain_table

    table = plain_table(*columns)
    for row in rows:
        table.add_row(*["-" if value is None else str(value) for value in row])
    console().print(table)


@app.command()
def doctor(ledger: LedgerDir = DEFAULT_LEDGER, as_json: Json = False) -> None:
    """Check versions, device, memory, disk, sandbox and chat templates."""
    from netgain.execute.doctor import examine
    from netgain.report.console import console, plain_table

    checks = list(examine(ledger))
    if as_json:
        _print_json([{"name": c.name, "state": c.state, "words": c.words} for c in checks])
    else:
        table = plain_table("check", "state", "found")
        style = {"ok": "green", "warning": "yellow", "error": "red"}
        for check in checks:
            table.add_row(check.name, f"[{style[check.state]}]{check.state}[/]", check.words)
        console().print(table)
    if any(check.state == "error" for check in checks):
        sys.exit(1)


app.command()(export)


@app.command()
def translate(
    source: Annotated[Path, typer.Option("--from", help="A LoRA adapter folder (PEFT's format), or a run's sig.")],
    target: Annotated[str, typer.Option("--to", help="The model that the adapter is translated for.")],
    out: Annotated[Path, typer.Option(help="Folder to write; must not exist.")],
    method: Annotated[str, typer.Option(help="global_ridge, pertensor_ridge, topk_..., stitch, distil, ...")],
    anchors: Annotated[
        Path | None, typer.Option(help="Folder of anchors: NAME/source and NAME/target are one task's adapters.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="The source adapter's model, when its folder does not say.")] = None,
    texts: Annotated[
        Path | None, typer.Option(help="Generic text, paragraphs apart; netgain's own without it.")
    ] = None,
    k: Annotated[int, typer.Option(help="How many anchors the topk methods keep.")] = 8,
    layers: Annotated[str, typer.Option(help="Which layers answer to one another: by depth, or by cka.")] = "depth",
    probe: Annotated[bool, typer.Option(help="With anchors: load the target and measure them on text.")] = True,
    seed: int = 0,
    ledger: LedgerDir = DEFAULT_LEDGER,
    as_json: Json = False,
) -> None:
    """Translate a LoRA adapter to another model, and say how far that may be believed."""
    from dataclasses import asdict

    from netgain.execute.translate import Asked
    from netgain.execute.translate import translate as run_translation

    found = run_translation(Asked(source, base, target, method, anchors, texts, out, seed, k, layers, probe, ledger))
    if as_json:
        _print_json(asdict(found))
    else:
        print(f"{out}: adapter for {target} by {method}.\n{found.sentence}")


@app.command()
def audit(
    paths: Annotated[list[Path], typer.Argument(help="Ledgers, Markdown documents, CSV or Parquet tables.")],
    select: Annotated[list[str] | None, typer.Option(help="Only rules whose code begins so.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="No rules whose code begins so.")] = None,
    sarif: Annotated[bool, typer.Option("--sarif", help="Print SARIF, for code-scanning tools.")] = False,
    fail_on: Annotated[str, typer.Option(help="error, warning or note: what makes the exit code 1.")] = "error",
    as_json: Json = False,
) -> None:
    """Say what is wrong with results: netgain's ledgers, and documents and tables of any tool."""
    from netgain.audit.engine import run as audit_run
    from netgain.audit.finding import Severity

    try:
        severity = Severity[fail_on.upper()]
    except KeyError:
        raise UserError(f'--fail-on takes error, warning or note, not "{fail_on}".') from None
    found = audit_run(paths, select or [], ignore or [], severity)
    if sarif or as_json:
        _print_json(found.to_sarif() if sarif else found.to_json())
    else:
        from netgain.report.console import console

        found.render(console())
    sys.exit(found.exit_code)


@app.command()
def track(
    ledger: Annotated[Path, typer.Argument(help="A ledger.")],
    to: Annotated[str, typer.Option(help="tensorboard, wandb, mlflow or trackio.")],
    at: Annotated[str | None, typer.Option(help="Its folder, URI or project (default: inside the ledger).")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the standard input ends.")] = False,
) -> None:
    """Show the runs of a ledger in a tracker: what it does not know yet."""
    from netgain.interop.tracking import input_is_open, track
    from netgain.ledger.store import Ledger

    told = track(Ledger(ledger), to, at, input_is_open if follow else lambda: False)
    print(f"{to}: {len(told)} runs, {sum(told.values())} steps told.")


@app.command()
def compare(
    base: Annotated[str, typer.Argument(help="LEDGER:ARM, a run, lm-eval samples, an Inspect log, or a table.")],
    tuned: Annotated[str, typer.Argument(help="The same, for what is compared with the base.")],
    metric: Annotated[str | None, typer.Option(help="Only this metric.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only this task; may be repeated.")] = None,
    margin: Annotated[float | None, typer.Option(help="Ask for retention within this margin instead of gain.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Column whose equal values belong together.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="ROLE=COLUMN of a table, where its names do not say.")
    ] = None,
    allow_partial: Annotated[bool, typer.Option(help="Compare the shared items, and say what was dropped.")] = False,
    any_prompt: Annotated[bool, typer.Option(help="Accept the same documents under different prompts.")] = False,
    examples: Annotated[int, typer.Option(min=0, help="Flipped items shown of each task.")] = 3,
    ledger: LedgerDir = DEFAULT_LEDGER,
    as_json: Json = False,
) -> None:
    """Compare two results item by item: what changed, is it real, and what would it take to tell."""
    from netgain.report.compare import compare as compare_results

    made = compare_results(
        base,
        tuned,
        metric=metric,
        tasks=task or (),
        margin=margin,
        cluster=cluster,
        roles=_roles(column),
        ledger=ledger,
        allow_partial=allow_partial,
        any_prompt=any_prompt,
        examples=examples,
    )
    if as_json:
        _print_json(made.to_json())
    else:
        from netgain.report.console import console

        made.render(console())


def _roles(columns: list[str] | None) -> dict[str, str]:
    """role -> column, from ROLE=COLUMN options."""
    pairs = [entry.partition("=") for entry in columns or []]
    for role, equals, name in pairs:
        if not (role and equals and name):
            raise UserError(f'--column takes ROLE=COLUMN, such as item=question_id, not "{role}{equals}{name}".')
    return {role: name for role, _, name in pairs}


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="lm-eval samples, an Inspect log, a table, trainer_state.json, ...")],
    name: Annotated[str, typer.Option("--as", help="What the study, or the arm of a file that holds one, is called.")],
    seed: Annotated[int | None, typer.Option(help="Add the file as this seed of the arm.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="ROLE=COLUMN of a table, where its names do not say.")
    ] = None,
    ledger: LedgerDir = DEFAULT_LEDGER,
    as_json: Json = False,
) -> None:
    """Turn another tool's results into rows of a ledger, with their source, hash and column roles."""
    from netgain.interop.importing import import_results

    made = import_results(file, name, ledger, roles=_roles(column), seed=seed)
    if as_json:
        _print_json(made.to_json())
    else:
        print(made.sentence())


@app.command()
def power(
    n: Annotated[int, typer.Option("--n", min=1, help="Items.")],
    discordance: Annotated[float, typer.Option(help="Share of items on which two arms differ.")] = 0.1,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each arm.")] = 1,
    seed_sd: Annotated[float, typer.Option(help="Standard deviation of the score between seeds.")] = 0.015,
    as_json: Json = False,
) -> None:
    """What an evaluation of this size can detect, and what it cannot."""
    from netgain.report.power import power_table

    made = power_table(n, discordance, seeds, seed_sd=seed_sd)
    if as_json:
        _print_json(made.to_json())
    else:
        from netgain.report.console import console

        made.render(console())


@app.command(name="train-judge")
def train_judge(
    pairs: Annotated[str, typer.Argument(help="Preference pairs (.json, .jsonl): prompt, chosen, rejected.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; must not exist.")],
    encoder: Annotated[str, typer.Option(help="minilm, tiny-mlm, a folder, or a hub id.")] = "minilm",
    learn: Annotated[
        str, typer.Option(help="whole: by gradient steps; head: a line through a layer, cross-validated on all pairs.")
    ] = "whole",
    epochs: Annotated[int, typer.Option(min=1)] = 3,
    batch: Annotated[int, typer.Option(min=1, help="Pairs a step.")] = 8,
    learning_rate: Annotated[float, typer.Option(min=0)] = 3e-5,
    max_len: Annotated[int, typer.Option(min=8, help="Tokens of a conversation that the judge reads.")] = 256,
    held_out: Annotated[float, typer.Option(min=0, help="Share (or number) of the pairs that test it.")] = 0.2,
    seed: int = 0,
    device: str = "cpu",
    as_json: Json = False,
) -> None:
    """Train a small reward model on preference pairs, and say how far its word can be trusted."""
    from netgain.execute.judge import train_judge as train
    from netgain.training.judge import Plan

    if learn not in ("whole", "head"):
        raise UserError(f'--learn takes whole or head, not "{learn}".')
    plan = Plan(epochs=epochs, batch=batch, learning_rate=learning_rate, max_len=max_len, seed=seed)
    made = train(pairs, out, encoder, plan, held_out, device, "head" if learn == "head" else "whole")
    if as_json:
        _print_json(made.to_json())
    else:
        made.show()


@app.command()
def rejudge(
    run_sig: Annotated[str, typer.Argument(metavar="RUN", help="A run's sig, or the beginning of it.")],
    task: Annotated[str, typer.Argument(help="A task that asked open questions, such as mt_bench.")],
    judge: Annotated[Path, typer.Argument(help="A YAML file with one judge as a study has it, kind: reward, ...")],
    name: Annotated[str, typer.Option("--as", help="What its score is called.")] = "later",
    versus: Annotated[str | None, typer.Option(help="Another run: which of the two answered better?")] = None,
    checkpoint: Annotated[str, typer.Option(help="final, best, retained, final@0.5, ...")] = "final",
    device: str = "cpu",
    ledger: LedgerDir = DEFAULT_LEDGER,
    as_json: Json = False,
) -> None:
    """Rate answers that a finished run gave by another judge, without asking the model again."""
    from netgain.execute.rejudged import judge_again
    from netgain.ledger.store import Ledger
    from netgain.report.jsonable import tree

    made = judge_again(Ledger(ledger), run_sig, task, judge, name, checkpoint, versus, device)
    if as_json:
        _print_json(tree(made.to_json()))
    else:
        print("\n".join(made.sentences()))
