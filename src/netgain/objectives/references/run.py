"""A finished run of a ledger: its model with the adapter that it learned."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from netgain.errors import UserError
from netgain.ledger.store import Ledger, RunFolder
from netgain.objectives.references._base import Host, Reference
from netgain.spec.run import RunRef

if TYPE_CHECKING:
    from netgain.models.lm import LM

FOLDERS = {"final": "adapter", "best": "adapter-best"}


class FinishedRun(Reference):
    """p_ref = p_run on the same tokens.

    run         the run's folder, or its sig (or the beginning of it) in this ledger; or another arm of the study,
                {arm: NAME}, whose run at the same seed is then done first
    checkpoint  final, or the best on the dev rows
    """

    kind: Literal["run"] = "run"
    run: str | RunRef
    checkpoint: Literal["final", "best"] = "final"

    @property
    def own(self) -> bool:
        return False

    def found(self, ledger: Path, folder: Path | None) -> RunFolder:
        """The run's folder, which must be that of a finished run."""
        run = self._folder(Ledger(ledger), folder)
        if run.state() != "done":
            raise UserError(f"{run.path}: this run is {run.state()}; only a finished one can be a reference.")
        if not (run.path / FOLDERS[self.checkpoint]).is_dir():
            raise UserError(f"{run.path}: this run kept no {self.checkpoint} adapter.")
        return run

    def _folder(self, ledger: Ledger, folder: Path | None) -> RunFolder:
        if isinstance(self.run, RunRef):
            assert self.run.sig is not None
            return ledger.run(self.run.sig)
        place = (folder or Path()) / Path(self.run).expanduser()
        return Ledger(place.parents[1]).run(place.name) if place.is_dir() else ledger.find(self.run)

    def stamp(self, ledger: Path, folder: Path | None) -> Any:
        run, kept = self.found(ledger, folder), f"{FOLDERS[self.checkpoint]}/"
        return [run.sig, {name: sha for name, sha in run.record()["files"].items() if name.startswith(kept)}]

    @contextmanager
    def lm(self, host: Host) -> "Iterator[LM]":
        from netgain.adapters.method import Method
        from netgain.models.load import load
        from netgain.objectives.references.model import require_same_tokens
        from netgain.spec.identity import torch_stream
        from netgain.spec.plugin import MethodPlugin
        from netgain.spec.run import ModelSpec, Run

        run = self.found(host.ledger, host.folder)
        run.verify()
        stored = run.json("spec.json")["run"]
        other = load(ModelSpec.model_validate(stored["model"]), host.lm.device)
        require_same_tokens(host.lm, other)
        method = MethodPlugin.resolve(stored["method"]["kind"])
        if issubclass(method, MethodPlugin) and method.built:
            from netgain.adapters._torch.peft import from_folder

            from_folder(other, run.path / FOLDERS[self.checkpoint])
            yield other
            return
        spec = Run.model_validate(stored)
        assert isinstance(spec.method, Method)
        spec.method.attach(other, torch_stream(spec.seed, "init")).load(run.path / FOLDERS[self.checkpoint])
        yield other
