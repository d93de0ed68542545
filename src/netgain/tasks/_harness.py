"""lm-evaluation-harness as a library: its tasks by name or from a file, and which of their metrics are of items."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

from netgain.errors import UserError, did_you_mean
from netgain.interop.lm_eval import BYPASS, ROLLING, SAME_AS_BYTES, under
from netgain.ledger.items import higher_is_better

EXTRA = 'lm-evaluation-harness is not installed: pip install "netgain[lm_eval]".'
FEWSHOT_SEED = 1234
"""lm-eval's own default: the same demonstrations as its command line shows."""
PERPLEXITY = {**ROLLING, "perplexity": "nll"}
"""What lm-eval aggregates to a perplexity is the surprise of each item."""
YES_OR_NO = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match")


def library(module: str) -> ModuleType:
    """A module of lm-eval, or one sentence about what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "lm_eval":
            raise
        raise UserError(f"kind lm_eval: {EXTRA}") from None


@cache
def _manager(local: bool) -> Any:
    """lm-eval's index of its thousands of task files, which takes seconds to read; `local` does without."""
    return library("lm_eval.tasks").TaskManager(include_defaults=not local)


@cache
def leaves(name: str, local: bool, shots: int | None) -> Mapping[str, Any]:
    """task -> lm-eval's object, for each task behind a name, a tag or a group, or in the YAML file `name` if `local`.

    lm-eval keeps a task that sets 0 shots itself at 0, and so does this.
    """
    manager = _manager(local)
    datasets = importlib.import_module("datasets")
    if not local and name not in manager.task_index:
        raise UserError(f'lm_eval: no task, tag or group "{name}".{did_you_mean(name, list(manager.all_tasks))}')
    datasets.disable_progress_bars()
    try:
        found: dict[str, Any] = manager.load([name])["tasks"]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(f"lm_eval {name}: cannot be loaded ({first}).") from None
    for task in found.values():
        if getattr(task, "UNSAFE_CODE", False) or getattr(task, "MULTIMODAL", False):
            raise UserError(
                f"lm_eval {name}: runs programs that a model wrote without a sandbox, or shows pictures; neither is "
                "done here. For programs there are the kinds humaneval, mbpp and code."
            )
        own = task.get_config("num_fewshot")
        if own is None or (shots is not None and own != 0):
            task.set_config(key="num_fewshot", value=shots or 0)
    return found


def metric_names(task: Any) -> dict[str, str]:
    """What the reader of samples calls a metric of single items -> what the ledger does.

    A metric where less is better, and whose name does not say so, gets the ending `_loss`.
    """
    directions: Mapping[str, bool] = task.higher_is_better()
    found: dict[str, str] = {}
    for filtered in (str(each.name) for each in task._filters):
        aggregation: Mapping[str, Any] = task.aggregation()
        for metric, how in aggregation.items():
            if metric in (SAME_AS_BYTES, BYPASS):
                continue
            if metric not in PERPLEXITY and getattr(how, "__name__", "") != "mean":
                continue
            read = under(PERPLEXITY.get(metric, metric), filtered)
            lower = directions.get(metric) is False and higher_is_better(read)
            found[read] = f"{read}_loss" if lower else read
    return found


def yes_or_no(metric: str) -> bool:
    """Whether every value of it is 0 or 1."""
    return metric.rpartition(":")[2] in YES_OR_NO


@contextmanager
def no_bars() -> Iterator[None]:
    """lm-eval draws progress bars whatever its verbosity says."""
    names = sys.modules["lm_eval.api.task"].__dict__
    bar, names["tqdm"] = names["tqdm"], lambda rows, **_: rows
    try:
        yield
    finally:
        names["tqdm"] = bar
