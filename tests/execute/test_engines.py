"""Another engine writes for the base and for LoRA in a run's folder; for all else the network does."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from netgain.adapters.ia3 import Ia3
from netgain.adapters.lora import Lora
from netgain.adapters.none import Untouched
from netgain.errors import UserError
from netgain.execute import engines
from netgain.spec.run import Runtime


def job(method: object, folder: Path, told: list[Any], model: str = "folder", **runtime: Any) -> Any:
    return SimpleNamespace(
        run=SimpleNamespace(method=method, model=SimpleNamespace(dtype="float32")),
        runtime=Runtime(**runtime),
        folder=SimpleNamespace(path=folder),
        lm=SimpleNamespace(name="m", net=SimpleNamespace(name_or_path=model)),
        each=SimpleNamespace(sig="s"),
        emit=told.append,
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(engines, "_engine", lambda *about: calls.append(about) or SimpleNamespace(name="twin"))
    monkeypatch.setattr(engines, "write", lambda engine, lm, folder, *_: (calls.append((folder,)) or [1, 2], 0.97))
    return calls


@pytest.mark.parametrize(
    ("method", "checkpoint", "folder"),
    [(Lora(r=4), "final", "adapter"), (Lora(r=4), "best", "adapter-best"), (Untouched(), "base", None)],
)
def test_an_engine_gets_the_folder_of_the_checkpoint(
    method: object, checkpoint: str, folder: str | None, asked: list[tuple[object, ...]], tmp_path: Path
) -> None:
    told: list[Any] = []
    writer = engines.writer_of(job(method, tmp_path, told, generate_with="vllm"), checkpoint)
    assert writer is not None
    assert writer([[1]], 4, [2]) == [1, 2]
    rank = 4 if folder else 0
    assert asked == [("folder", "float32", rank), (None if folder is None else tmp_path / folder,)]
    assert "97.0%" in told[0].text


@pytest.mark.parametrize(
    ("method", "checkpoint", "chosen"),
    [(Lora(r=4), "final", "network"), (Lora(r=4), "final@0.5", "vllm"), (Lora(r=4), "look", "vllm"),
     (Ia3(), "final", "vllm")],
)  # fmt: skip
def test_the_network_writes_what_no_folder_or_engine_holds(
    method: object, checkpoint: str, chosen: str, asked: list[tuple[object, ...]], tmp_path: Path
) -> None:
    assert engines.writer_of(job(method, tmp_path, [], generate_with=chosen), checkpoint) is None
    assert asked == []


def test_a_model_without_a_folder_cannot_be_asked_for(asked: list[tuple[object, ...]], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="from folders or the hub"):
        engines.writer_of(job(Lora(r=4), tmp_path, [], model="", generate_with="vllm"), "final")
    assert asked == []
