"""How many files a report opens: a count, since a clock on a shared machine cannot guard speed."""

import builtins
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from swept import fill, study

from netgain.report.study import build

LEVELS = (0.0, 0.5, 1.0)


@contextmanager
def opened(root: Path) -> Iterator[Counter[str]]:
    """How often each file below a folder is opened from Python; what DuckDB and Arrow map by name is not seen."""
    found: Counter[str] = Counter()
    first = builtins.open

    def counting(file: Any, *args: Any, **keywords: Any) -> Any:
        if isinstance(file, (str, Path)) and str(file).startswith(str(root)):
            found[str(Path(file).relative_to(root))] += 1
        return first(file, *args, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtins, "open", counting)
        patch.setattr(io, "open", counting)
        yield found


def test_a_report_opens_each_file_of_a_run_once_however_many_runs_there_are(tmp_path: Path) -> None:
    for seeds in (2, 6):
        asked = study(levels=LEVELS, seeds=range(seeds))
        root = tmp_path / str(seeds)
        ledger = fill(root, asked, 12, lambda value, task: 0.6)
        with opened(root) as files:
            build(asked, ledger)
        assert files.pop("studies/swept.json") <= 3  # by the database, by its reader and by the rules on plans
        assert len({Path(name).parts[1] for name in files}) == seeds * (len(LEVELS) + 1)
        assert {n for name, n in files.items() if not name.endswith("metrics.jsonl")} == {1}
        assert max(files.values()) <= 2, "steps are hashed and then read: they are too many to keep"
