"""lm-evaluation-harness: `--log_samples` files (one row a document and filter), results files, and folders of both."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from netgain.errors import UserError
from netgain.interop.files import first_line, json_document, json_lines, kind, looks_like_json, member
from netgain.interop.samples import ROWS, SCORES, Samples, Source, require_unique, row_table, score_table
from netgain.interop.values import NUMBER, from_json
from netgain.ledger.files import canonical_sum, sha256

ROLLING = {"word_perplexity": "word_nll", "byte_perplexity": "byte_nll"}
"""Logged as [log-likelihood, units]: the item's value is nll per unit, its weight the units."""
SAME_AS_BYTES = "bits_per_byte"
"""The byte nll in other units: a second copy of one measurement."""
UNPARSED = "[invalid]"
BYPASS = "bypass"


@dataclass
class Columns:
    """Rows being collected, column by column."""

    values: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in WRITTEN})
    left_out: set[str] = field(default_factory=set)

    def add(self, row: Mapping[str, Any]) -> None:
        for name in WRITTEN:
            self.values[name].append(row.get(name))


WRITTEN = ("task", "metric", "item", "value", "reason", "weight", "cluster", "label", "prediction", "output", "parsed",
           "document", "prompt")  # fmt: skip


def can_read(path: Path) -> bool:
    """A samples_*.jsonl, a results_*.json, or a folder that holds some."""
    if path.is_dir():
        return any(True for _ in sample_files(path)) or any(True for _ in result_files(path))
    if path.suffix == ".jsonl":
        line = first_line(path)
        return line is not None and "doc_id" in line and ("filtered_resps" in line or "resps" in line)
    return path.suffix == ".json" and path.name.startswith("results") and looks_like_json(path)


def read(path: Path, roles: Mapping[str, str] | None = None) -> Samples:
    """The only role that can be stated is `cluster`: a field of the documents."""
    cluster = only_cluster(path, roles)
    if path.is_file() and path.suffix == ".json":
        arm, version, scores = results(path)
        return Samples(Source(path, sha256(path), "lm-evaluation-harness", version), scores=scores)
    files = [path] if path.is_file() else list(sample_files(path))
    found = {folder: results(newest) for folder, newest in newest_results(path).items()}
    parts, notes = [], []
    for file in one_a_task(files):
        arm = found[file.parent][0] if file.parent in found else file.parent.name or file.stem
        table, left_out = samples(file, arm, cluster)
        parts.append(table)
        notes += [f"{file.name}: {metric} is no score of single items, left out." for metric in sorted(left_out)]
    rows = pa.concat_tables(parts) if parts else ROWS.empty_table()
    require_unique(rows, path)
    versions = {version for _, version, _ in found.values() if version}
    tables = [table for _, _, table in found.values()] if path.is_dir() else []
    hashes = {str(file.relative_to(path)) if path.is_dir() else file.name: sha256(file) for file in files}
    stamp = hashes[path.name] if path.is_file() else canonical_sum(hashes)
    return Samples(
        Source(path, stamp, "lm-evaluation-harness", ", ".join(sorted(versions)) or None, {"item": "doc_id"}),
        rows,
        pa.concat_tables(tables) if tables else SCORES.empty_table(),
        notes=tuple(notes),
    )


def only_cluster(path: Path, roles: Mapping[str, str] | None) -> str | None:
    """The field that clusters documents; a log has its other roles already."""
    others = set(roles or {}) - {"cluster"}
    if others:
        raise UserError(
            f"{path}: a log has its roles already; {', '.join(sorted(others))} cannot be set, only cluster."
        )
    return (roles or {}).get("cluster")


def sample_files(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.rglob("samples_*.jsonl"))


def result_files(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.rglob("results*.json"))


def newest_results(path: Path) -> dict[Path, Path]:
    """Folder -> its last results file; names end in the time they were written."""
    folder = path if path.is_dir() else path.parent
    found = result_files(folder) if path.is_dir() else sorted(folder.glob("results_*.json"))
    return {file.parent: file for file in found}


def task_of(file: Path) -> str:
    """samples_TASK_2026-01-31T12-00-00.123456.jsonl is about TASK."""
    name = file.stem.removeprefix("samples_")
    head, _, stamp = name.rpartition("_")
    return head if head and stamp[:2].isdigit() and "T" in stamp else name


def one_a_task(files: list[Path]) -> list[Path]:
    """Two sample files of one task in one folder are two evaluations: the reader cannot choose."""
    seen: dict[tuple[Path, str], Path] = {}
    for file in files:
        key = (file.parent, task_of(file))
        if key in seen:
            raise UserError(
                f"{file.parent}: {seen[key].name} and {file.name} are two evaluations of {key[1]}; name one file."
            )
        seen[key] = file
    return files


def samples(file: Path, arm: str, cluster: str | None) -> tuple[pa.Table, set[str]]:
    """(rows, metrics that hold no item scores) of one sample file."""
    columns, task = Columns(), task_of(file)
    for number, tree in json_lines(file):
        document(tree, task, cluster, columns, f"{file}, line {number}")
    count = len(columns.values["item"])
    if not count and not columns.left_out:
        raise UserError(f"{file}: no line of it has a score.")
    return row_table(count, {**columns.values, "arm": pa.repeat(arm, count), "run": pa.repeat(arm, count)}), (
        columns.left_out
    )


def document(tree: dict[str, Any], task: str, cluster: str | None, columns: Columns, where: str) -> None:
    """One document under one filter: one row for each of its metrics."""
    if "doc_id" not in tree:
        raise UserError(f'{where}: field "doc_id" is missing; is this a --log_samples file?')
    if not isinstance(tree["doc_id"], int | str):
        raise UserError(f'{where}: field "doc_id" is {kind(tree["doc_id"])}.')
    shared = answer(tree) | {
        "task": task,
        "item": str(tree["doc_id"]),
        "weight": 1.0,
        "document": text_of(tree.get("doc_hash")),
        "prompt": text_of(tree.get("prompt_hash")),
        "cluster": None if cluster is None else field_of(tree, cluster, where),
    }
    filtered = tree.get("filter", "none")
    names = member(tree, "metrics", list, where) if "metrics" in tree else scored_names(tree)
    for name in names:
        if not isinstance(name, str) or name not in tree:
            raise UserError(f'{where}: field "metrics" names {name!r}, which the line does not have.')
        if name in (SAME_AS_BYTES, BYPASS):
            continue
        scored = score(name, tree[name])
        if scored is None:
            columns.left_out.add(name)
            continue
        metric, value, reason, weight = scored
        metric = under(metric, filtered)
        prediction = shared["prediction"] if not name.endswith(("_norm", "_bytes")) else None
        row = {"metric": metric, "value": value, "reason": reason, "weight": weight, "prediction": prediction}
        columns.add(shared | row)


def under(metric: str, filtered: str) -> str:
    """What a metric is called under a filter."""
    return metric if filtered == "none" else f"{filtered}:{metric}"


def score(name: str, raw: Any) -> tuple[str, float | None, str | None, float] | None:
    """(metric, value, reason, weight) of one logged metric, or None when it is no score of one item."""
    if name in ROLLING and isinstance(raw, list):
        pair = [from_json(part) for part in raw]
        if len(pair) != 2 or pair[0] is None or pair[1] is None or not pair[1][0]:
            return None
        (total, why), units = pair[0], pair[1][0]
        return ROLLING[name], None if total is None else -total / units, why, units
    if name == "perplexity":
        single = from_json(raw)
        return None if single is None else ("nll", None if single[0] is None else -single[0], single[1], 1.0)
    single = from_json(raw)
    return None if single is None else (name, *single, 1.0)


def scored_names(tree: dict[str, Any]) -> list[str]:
    """Metrics of a line written before lm-eval listed them: every scalar that is no bookkeeping."""
    known = {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"}
    return [n for n, v in tree.items() if n not in known and not n.endswith("_hash") and not isinstance(v, str | dict)]


def answer(tree: dict[str, Any]) -> dict[str, Any]:
    """Label, prediction, raw output and whether it was parsed."""
    target, filtered = tree.get("target"), tree.get("filtered_resps")
    choices = continuations(tree.get("arguments"))
    label = text_of(target)
    if isinstance(filtered, list) and len(filtered) > 1 and len(filtered) == len(choices):
        likely = [likelihood(each) for each in filtered]
        known = [each for each in likely if each is not None]
        if len(known) == len(likely):
            best = known.index(max(known))
            if label is not None and label.isdigit() and int(label) < len(choices):
                label = choices[int(label)].strip()
            return {"label": label, "prediction": choices[best].strip(), "output": None, "parsed": None}
    first = filtered[0] if isinstance(filtered, list) and filtered else None
    if rolling(tree.get("arguments")):
        return {"label": None, "prediction": None, "output": None, "parsed": None}
    if isinstance(first, list):
        return {"label": label, "prediction": None, "output": None, "parsed": None}
    prediction = text_of(first)
    return {
        "label": label,
        "prediction": None if prediction == UNPARSED else prediction,
        "output": raw_output(tree.get("resps")),
        "parsed": prediction not in (None, UNPARSED),
    }


def rolling(arguments: Any) -> bool:
    """Was the document itself scored, with no continuation?"""
    requests = list(arguments.values()) if isinstance(arguments, dict) else arguments
    if not isinstance(requests, list) or not requests:
        return False
    return all(len(each) == 1 for each in requests if isinstance(each, dict | list))


def continuations(arguments: Any) -> list[str]:
    """The choices that were scored, when the requests were (context, continuation)."""
    if isinstance(arguments, dict):
        pairs = [each.get("arg_1") for each in arguments.values() if isinstance(each, dict)]
    elif isinstance(arguments, list):
        pairs = [each[1] if isinstance(each, list) and len(each) > 1 else None for each in arguments]
    else:
        return []
    texts = [pair for pair in pairs if isinstance(pair, str)]
    return texts if len(texts) == len(pairs) else []


def likelihood(response: Any) -> float | None:
    """The log-likelihood of a (log-likelihood, is greedy) response; numbers may be logged as text."""
    if not isinstance(response, list) or len(response) != 2:
        return None
    raw = response[0]
    if isinstance(raw, str) and (NUMBER.fullmatch(raw) or raw == "-inf"):
        return float(raw)
    return float(raw) if isinstance(raw, float) else None


def raw_output(responses: Any) -> str | None:
    """The first generated text."""
    while isinstance(responses, list) and responses:
        responses = responses[0]
    return responses if isinstance(responses, str) else None


def text_of(raw: Any) -> str | None:
    """A JSON value as text; text stays as it is."""
    return raw if raw is None or isinstance(raw, str) else json.dumps(raw, ensure_ascii=False)


def field_of(tree: dict[str, Any], name: str, where: str) -> str | None:
    """A field of the document itself."""
    doc = tree.get("doc")
    if not isinstance(doc, dict) or name not in doc:
        known = ", ".join(doc) if isinstance(doc, dict) else "none"
        raise UserError(f'{where}: the document has no field "{name}" to cluster by; it has {known}.')
    return text_of(doc[name])


def results(path: Path) -> tuple[str, str | None, pa.Table]:
    """(model, lm-eval's version, aggregate scores) of a results file."""
    tree = json_document(path)
    tasks = member(tree, "results", dict, str(path))
    model = tree.get("model_name")
    arm = model if isinstance(model, str) and model else path.parent.name or path.stem
    counts = tree.get("n-samples")
    version = tree.get("lm_eval_version")
    rows = []
    for task, metrics in tasks.items():
        if not isinstance(metrics, dict):
            raise UserError(f'{path}: field "results.{task}" is {kind(metrics)}.')
        n = (
            counts.get(task, {}).get("effective")
            if isinstance(counts, dict) and isinstance(counts.get(task), dict)
            else None
        )
        rows += [
            {"run": arm, "arm": arm, "task": task, "metric": name, "value": value, "reason": reason, "n": n}
            for name, value, reason in aggregates(metrics)
        ]
    return arm, version if isinstance(version, str) else None, score_table(rows)


def aggregates(metrics: dict[str, Any]) -> Iterator[tuple[str, float | None, str | None]]:
    """(metric, value, reason) of a task's summary, without its standard errors."""
    for key, raw in metrics.items():
        name, _, filtered = key.partition(",")
        if name in ("alias", "name", "sample_len", "samples") or name.endswith("_stderr"):
            continue
        scored = from_json(raw)
        if scored is not None:
            yield (name if filtered in ("", "none") else f"{filtered}:{name}"), *scored
