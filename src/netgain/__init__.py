"""netgain fine-tunes language models and says, with evidence, what was gained and what was forgotten.

import netgain as ng

study = ng.load("studies/quickstart.yaml")
ng.run(study, ledger="ledger")
for verdict in ng.verdicts(study, ledger="ledger"):
    print(verdict.sentence())
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netgain.report.study import Judged
    from netgain.spec.load import load
    from netgain.spec.run import Run, Runtime
    from netgain.spec.study import Contrast, Study

__version__ = "0.1.0"
__all__ = ["Contrast", "Run", "Runtime", "Study", "__version__", "load", "run", "verdicts"]

_HOMES = {
    "load": "netgain.spec.load",
    "Study": "netgain.spec.study",
    "Contrast": "netgain.spec.study",
    "Run": "netgain.spec.run",
    "Runtime": "netgain.spec.run",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import netgain` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module netgain has no attribute {name}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def run(study: "Study", ledger: str | Path = "ledger", *, jobs: int = 1, runtime: "Runtime | None" = None) -> int:
    """Execute what is missing of a study; the number of runs that failed."""
    from netgain.execute.local import execute
    from netgain.ledger.store import Ledger
    from netgain.spec.run import Runtime

    return execute(study, Ledger(ledger), runtime or Runtime(), jobs=jobs)


def verdicts(study: "Study", ledger: str | Path = "ledger") -> "list[Judged]":
    """What may be concluded about each declared contrast of a study, from the ledger alone."""
    from netgain.ledger.store import Ledger
    from netgain.report.study import build

    return list(build(study, Ledger(ledger)).judged)
