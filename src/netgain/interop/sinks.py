"""The trackers themselves: each library is imported when it is asked for, and only by the process that tells it."""

# pyright: reportMissingImports=false
# They are optional, and none of them is needed to check this project.

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from netgain.interop.tracking import Line, Told, Tracker

LOCAL = "netgain"
"""The project of trackers that want one."""


class TensorBoard:
    """Event files, one folder a run: `tensorboard --logdir PLACE`."""

    def __init__(self, ledger: Path, place: str | None) -> None:
        from tensorboard.compat.proto import event_pb2  # noqa: F401  # it says now what is missing

        self.root = Path(place) if place else ledger / "tracked" / "tensorboard"

    def begin(self, run: Told, after: int) -> Line:
        """A file more in the run's folder."""
        return _Events(self.root / run.study / f"{run.name} ({run.sig})", run)


class _Events:
    def __init__(self, folder: Path, run: Told) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.out = EventFileWriter(str(folder))
        self.step = 0
        self._text("settings", "\n".join(f"    {name}: {value}" for name, value in run.settings.items()))

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """A point in each curve."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        self.step = step
        self._add(Summary(value=[Summary.Value(tag=name, simple_value=number) for name, number in numbers.items()]))

    def end(self, scores: Mapping[str, float], links: Mapping[str, str], failed: str | None) -> None:
        """Scores as points at the last step; links as text."""
        self.log(self.step, {f"scores/{name}": value for name, value in scores.items()})
        self._text("links", "\n".join(f"    {name}: {url}" for name, url in links.items()))
        if failed is not None:
            self._text("failed", failed)
        self.out.close()

    def _text(self, tag: str, words: str) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        about = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        tensor = TensorProto(dtype=DT_STRING, string_val=[words.encode()])
        tensor.tensor_shape.dim.add(size=1)
        self._add(Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=tensor)]))

    def _add(self, summary: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self.out.add_event(Event(wall_time=time.time(), step=self.step, summary=summary))
        self.out.flush()


class Wandb:
    """Weights and Biases, by WANDB_MODE: offline keeps everything in PLACE until `wandb sync`."""

    def __init__(self, ledger: Path, place: str | None) -> None:
        import wandb

        self.wandb = wandb
        self.project = place or LOCAL
        self.folder = ledger / "tracked" / "wandb"
        self.folder.mkdir(parents=True, exist_ok=True)

    def begin(self, run: Told, after: int) -> Line:
        """The run with the sig as its id."""
        made = self.wandb.init(
            project=self.project,
            id=run.sig,
            name=run.name,
            group=run.study,
            config=dict(run.settings),
            dir=str(self.folder),
            resume="allow",
            reinit="create_new",
            settings=self.wandb.Settings(silent=True, console="off", disable_git=True),
        )
        return _Wandb(self.wandb, made, run)


class _Wandb:
    def __init__(self, library: Any, made: Any, run: Told) -> None:
        self.library, self.made, self.run = library, made, run

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """A row of its history."""
        self.made.log(dict(numbers), step=step)

    def end(self, scores: Mapping[str, float], links: Mapping[str, str], failed: str | None) -> None:
        """Scores and links in its summary, and an artefact that refers to the files where they are."""
        self.made.summary.update({f"scores/{name}": value for name, value in scores.items()})
        self.made.summary.update({f"links/{name}": url for name, url in links.items()})
        if failed is None:
            artefact = self.library.Artifact(f"run-{self.run.sig}", type="netgain-run")
            artefact.add_reference(links["folder"], name="folder", checksum=False)
            self.made.log_artifact(artefact)
        self.made.finish(exit_code=0 if failed is None else 1)


class Mlflow:
    """An MLflow tracking server or store; sqlite inside the ledger unless given."""

    def __init__(self, ledger: Path, place: str | None) -> None:
        from mlflow import MlflowClient

        (ledger / "tracked").mkdir(parents=True, exist_ok=True)
        uri = place or f"sqlite:///{(ledger / 'tracked' / 'mlflow.db').resolve()}"
        self.client = MlflowClient(tracking_uri=uri)
        self.artefacts = (ledger / "tracked" / "mlflow").resolve().as_uri()

    def begin(self, run: Told, after: int) -> Line:
        """The run tagged with the sig, if there is one, else a new one."""
        found = self.client.get_experiment_by_name(run.study)
        where = found.experiment_id if found else self.client.create_experiment(run.study, self.artefacts)
        known = self.client.search_runs([where], f"tags.`netgain.sig` = '{run.sig}'", max_results=1)
        if known:
            return _Mlflow(self.client, known[0].info.run_id)
        made = self.client.create_run(where, tags={"netgain.sig": run.sig, "arm": run.arm}, run_name=run.name)
        for name, value in run.settings.items():
            self.client.log_param(made.info.run_id, name, str(value)[:500])
        return _Mlflow(self.client, made.info.run_id)


class _Mlflow:
    def __init__(self, client: Any, run: str) -> None:
        self.client, self.run = client, run

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """A batch of metrics at a step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        rows = [Metric(_named(name), value, now, step) for name, value in numbers.items() if math.isfinite(value)]
        self.client.log_batch(self.run, metrics=rows)

    def end(self, scores: Mapping[str, float], links: Mapping[str, str], failed: str | None) -> None:
        """Scores as metrics, links as tags."""
        self.log(0, {f"scores/{name}": value for name, value in scores.items()})
        for name, url in links.items():
            self.client.set_tag(self.run, f"netgain.{name}", url)
        if failed is not None:
            self.client.set_tag(self.run, "netgain.failed", failed)
        self.client.set_terminated(self.run, "FINISHED" if failed is None else "FAILED")


def _named(name: str) -> str:
    """A metric's name in the letters that MLflow takes."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)


class Trackio:
    """trackio's local store; PLACE is the project."""

    def __init__(self, ledger: Path, place: str | None) -> None:
        import trackio

        self.trackio, self.project = trackio, place or LOCAL

    def begin(self, run: Told, after: int) -> Line:
        """The run with the sig in its name."""
        made = self.trackio.init(
            project=self.project,
            name=f"{run.name} ({run.sig})",
            group=run.study,
            config=dict(run.settings),
            resume="allow",
            embed=False,
        )
        return _Trackio(made)


class _Trackio:
    def __init__(self, made: Any) -> None:
        self.made = made
        self.step = 0

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """A row of metrics."""
        self.step = step
        self.made.log(dict(numbers), step=step)

    def end(self, scores: Mapping[str, float], links: Mapping[str, str], failed: str | None) -> None:
        """Scores and links as the last row."""
        told = {f"scores/{name}": value for name, value in scores.items()}
        told |= {f"links/{name}": url for name, url in links.items()}  # type: ignore[dict-item]
        self.made.log(told if failed is None else {**told, "failed": failed}, step=self.step + 1)
        self.made.finish()


KINDS: dict[str, Callable[[Path, str | None], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "mlflow": Mlflow,
    "trackio": Trackio,
}
