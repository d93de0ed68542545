"""Training logs of other tools: Hugging Face `trainer_state.json`, and the runs tables that W&B and MLflow export.

They hold aggregates only: scores and parameters, no items.
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from netgain.errors import UserError
from netgain.interop.files import json_document, kind, looks_like_json, member, text_head
from netgain.interop.samples import Samples, Source, score_table
from netgain.interop.values import written
from netgain.ledger.files import sha256

TRAINER = "trainer_state.json"
CLOCK = ("epoch", "step")
WANDB_BOOK = ("Name", "State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep", "ID", "Group", "Job Type")
MLFLOW_BOOK = ("Start Time", "Duration", "Run ID", "Name", "Source Type", "Source Name", "User", "Status")
MAX_CELLS = 20_000_000


def can_read(path: Path) -> bool:
    """A trainer_state.json, or a CSV with the header of a W&B or MLflow runs table."""
    if not path.is_file():
        return False
    if path.suffix == ".json":
        return path.name == TRAINER or (looks_like_json(path) and '"log_history"' in text_head(path)[:60_000])
    return path.suffix == ".csv" and tool_of(header_of(path)) is not None


def read(path: Path, roles: Mapping[str, str] | None = None) -> Samples:
    """Scores with steps from a trainer's log; scores and parameters of each run from a runs table."""
    if roles:
        raise UserError(f"{path}: holds no items, so no column can be given the role {', '.join(sorted(roles))}.")
    return trainer_state(path) if path.suffix == ".json" else runs_table(path)


def trainer_state(path: Path) -> Samples:
    """One score for each number of each entry of `log_history`."""
    tree = json_document(path)
    history = member(tree, "log_history", list, str(path))
    arm = path.parent.name or path.stem
    rows: list[dict[str, Any]] = []
    for i, entry in enumerate(history):
        where = f"{path}, log_history[{i}]"
        if not isinstance(entry, dict):
            raise UserError(f"{where}: expected an object, found {kind(entry)}.")
        step = entry.get("step")
        if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step < 1 << 62:
            raise UserError(f'{where}: field "step" must be a whole number.')
        for name, raw in entry.items():
            if name not in CLOCK and not isinstance(raw, str | dict | list):
                rows.append(scored(arm, name, raw, where) | {"step": step})
    keep = ("best_metric", "best_global_step", "best_model_checkpoint", "global_step", "max_steps", "num_train_epochs")
    params = {arm: {name: str(tree[name]) for name in keep if tree.get(name) is not None}}
    return Samples(Source(path, sha256(path), "transformers Trainer"), scores=score_table(rows), params=params)


def scored(arm: str, name: str, raw: Any, where: str) -> dict[str, Any]:
    """One aggregate row; a number that is not finite is missing."""
    try:
        value = None if raw is None else float(raw)
    except OverflowError:
        raise UserError(f'{where}: the number in field "{name}" is too large.') from None
    finite = value is not None and abs(value) < float("inf")
    reason = None if finite else "missing" if value is None else "undefined"
    return {"run": arm, "arm": arm, "metric": name, "value": value if finite else None, "reason": reason}


def header_of(path: Path) -> list[str]:
    """The first row of a CSV file; none when it has no readable one."""
    line = text_head(path).splitlines()[0]
    return next(csv.reader([line])) if len(line) < 1 << 15 else []


def tool_of(header: list[str]) -> str | None:
    """Which tool exports runs under such a header."""
    names = set(header)
    if {"Run ID", "Start Time"} <= names or {"run_id", "experiment_id"} <= names or {"run_id", "start_time"} <= names:
        return "MLflow"
    if {"Name", "State"} <= names and names & {"Runtime", "Created", "ID", "Sweep"}:
        return "Weights & Biases"
    return None


def runs_table(path: Path) -> Samples:
    """Numbers are scores and text is a parameter, except what the tool itself marks as a parameter or bookkeeping."""
    header = header_of(path)
    tool = tool_of(header)
    twice = [name for i, name in enumerate(header) if name in header[:i]]
    if twice:
        raise UserError(f'{path}: two columns are called "{twice[0]}"; rename one.')
    listed = list(table_rows(path, header))
    measured = {name for name in header if is_metric(name, [cells[name] for _, cells in listed])}
    rows: list[dict[str, Any]] = []
    params: dict[str, dict[str, str]] = {}
    for number, cells in listed:
        arm = name_of(cells, tool, number)
        if arm in params:
            arm = f"{arm} ({number})"
        seed = seed_of(cells)
        params[arm] = {name: text for name, text in cells.items() if text and name not in measured}
        for name in header:
            said = written(cells[name]) if name in measured else None
            if said is not None:
                row = {"run": arm, "arm": arm, "seed": seed, "metric": name.removeprefix("metrics.")}
                rows.append({**row, "value": said.value, "reason": said.reason})
    if not params:
        raise UserError(f"{path}: has a header and no runs.")
    return Samples(Source(path, sha256(path), tool or "table"), scores=score_table(rows), params=params)


def table_rows(path: Path, header: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, cells by column) of each run; a ragged row is an error."""
    cells = 0
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        next(reader)
        try:
            for row in reader:
                cells += len(row)
                if not row:
                    continue
                if len(row) != len(header):
                    raise UserError(
                        f"{path}, line {reader.line_num}: has {len(row)} fields where the header has {len(header)}."
                    )
                if cells > MAX_CELLS:
                    raise UserError(f"{path}: more than {MAX_CELLS} cells is no table of runs.")
                yield reader.line_num, dict(zip(header, (cell.strip() for cell in row), strict=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{path}, line {reader.line_num + 1}: cannot be read ({error}).") from None


def name_of(cells: Mapping[str, str], tool: str | None, number: int) -> str:
    """The run's own name, or its id, or its line."""
    order = ("Name", "tags.mlflow.runName", "Run ID", "run_id") if tool == "MLflow" else ("Name", "ID")
    return next((cells[name] for name in order if cells.get(name)), f"line {number}")


def seed_of(cells: Mapping[str, str]) -> int | None:
    """The run's seed, when a column says it."""
    for name in ("seed", "params.seed", "config.seed", "training.seed", "random_seed"):
        text = cells.get(name, "")
        if text.removeprefix("-").isdecimal() and len(text) < 18:
            return int(text)
    return None


def is_metric(name: str, texts: list[str]) -> bool:
    """A column is a score when every entry reads as one and some entry has a value; MLflow marks what is none."""
    marked = name.startswith(("params.", "tags.")) or name in ("run_id", "experiment_id", "start_time", "end_time")
    if marked or name in (*WANDB_BOOK, *MLFLOW_BOOK) or "seed" in name.lower().split("."):
        return False
    said = [written(text) for text in texts]
    return all(each is not None for each in said) and any(each is not None and each.value is not None for each in said)
