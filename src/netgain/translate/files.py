"""LoRA adapters in PEFT's format, read and written one layer at a time, and which layer answers to which."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from netgain.errors import UserError
from netgain.translate.gauge import Update

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
PREFIX = "base_model.model."
LAYER = re.compile(r"^(?P<stem>.*?\.)(?P<number>\d+)\.(?P<role>.+)$")


@dataclass(frozen=True)
class Place:
    """Where an update acts: model.layers.7.self_attn.q_proj is layer 7, role self_attn.q_proj."""

    name: str
    layer: int
    role: str

    @classmethod
    def of(cls, name: str) -> "Place":
        """The place of a module's name; a module outside the layers has no depth and cannot be matched."""
        found = LAYER.match(name)
        if found is None:
            raise UserError(f'"{name}" lies in no layer, so it has no counterpart in another model; leave it out.')
        return cls(name, int(found["number"]), found["role"])


class Adapter:
    """A LoRA adapter folder. Nothing is read but names and shapes until a layer is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            self._tensors, self._start = _header(folder / WEIGHTS)
        except (OSError, ValueError, SafetensorError) as error:
            raise UserError(f"{folder}: no readable adapter in PEFT's format ({error}).") from error
        if self.config.get("peft_type") != "LORA" or self.config.get("use_dora"):
            raise UserError(f"{folder}: only plain LoRA adapters can be translated, and this is another method.")
        if self.config.get("rank_pattern") or self.config.get("alpha_pattern"):
            raise UserError(f"{folder}: adapters with ranks or alphas that differ by layer cannot be translated.")
        keys = self._tensors.keys()
        halves = [key for key in sorted(keys) if key.endswith(".lora_A.weight")]
        self.places = tuple(Place.of(key.removeprefix(PREFIX).removesuffix(".lora_A.weight")) for key in halves)
        if not self.places or len(keys) != 2 * len(halves):
            raise UserError(f"{folder}: holds other tensors than pairs of lora_A and lora_B.")

    @property
    def rank(self) -> int:
        """r."""
        return int(self.config["r"])

    @property
    def scale(self) -> float:
        """alpha / r, or alpha / sqrt(r) for rsLoRA."""
        return float(self.config["lora_alpha"]) / (self.rank**0.5 if self.config.get("use_rslora") else self.rank)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """(outputs, inputs) of each place by name."""
        return {place.name: (self._shape(place, "B")[0], self._shape(place, "A")[1]) for place in self.places}

    def update(self, place: Place) -> Update:
        """The update at one place, the scale folded into its left factor."""
        return Update(self._read(place, "B") * np.float32(self.scale), self._read(place, "A"))

    def _shape(self, place: Place, half: str) -> list[int]:
        return self._tensors[f"{PREFIX}{place.name}.lora_{half}.weight"]["shape"]

    def _read(self, place: Place, half: str) -> np.ndarray:
        """One tensor as float32, read and not mapped: a mapped file would stay in memory tensor after tensor."""
        about = self._tensors[f"{PREFIX}{place.name}.lora_{half}.weight"]
        first, last = about["data_offsets"]
        with (self.folder / WEIGHTS).open("rb") as file:
            file.seek(self._start + first)
            content = bytearray(file.read(last - first))
        tensor = torch.frombuffer(content, dtype=DTYPES[about["dtype"]])
        return tensor.float().numpy().reshape(about["shape"])


DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """(what the file holds, where its numbers begin): the length of a JSON header, the header, the tensors."""
    with safe_open(path, framework="pt"):
        pass  # the library checks the file as a whole
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length


def write(folder: Path, config: dict[str, Any], updates: Iterable[tuple[Place, Update]]) -> None:
    """An adapter folder that plain PEFT loads; every update has the rank that the config names."""
    folder.mkdir(parents=True, exist_ok=True)
    scale = float(config["lora_alpha"]) / (config["r"] ** 0.5 if config.get("use_rslora") else config["r"])
    tensors: dict[str, torch.Tensor] = {}
    for place, update in updates:
        tensors[f"{PREFIX}{place.name}.lora_A.weight"] = torch.from_numpy(update.a.astype(np.float32))
        tensors[f"{PREFIX}{place.name}.lora_B.weight"] = torch.from_numpy((update.b / scale).astype(np.float32))
    draft = folder / f".{WEIGHTS}.part"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, draft, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    draft.replace(folder / WEIGHTS)


def match(source: Sequence[Place], target: Sequence[Place]) -> dict[Place, Place]:
    """target place -> source place of the same role at the same relative depth: round(l (L_x - 1) / (L_y - 1))."""
    roles = {place.role for place in source}
    for place in target:
        if place.role not in roles:
            raise UserError(
                f'"{place.role}" of the target has no counterpart in the source, which has {", ".join(sorted(roles))}.'
            )
    return {place: found[0] for place, found in match_depth(source, target).items()}


def match_depth(source: Sequence[Place], target: Sequence[Place]) -> dict[Place, tuple[Place, ...]]:
    """target place -> the source place of its role at its relative depth; where families name their layers
    differently, all source places at that depth together."""
    deepest_x = max(place.layer for place in source)
    deepest_y = max(place.layer for place in target)
    pairs: dict[Place, tuple[Place, ...]] = {}
    for place in target:
        wanted = round(place.layer * deepest_x / deepest_y) if deepest_y else 0
        alike = [there for there in source if there.role == place.role] or source
        nearest = min((there.layer for there in alike), key=lambda layer: abs(layer - wanted))
        pairs[place] = tuple(there for there in alike if there.layer == nearest)
    return pairs


def same_places(adapters: Sequence[Adapter]) -> tuple[Place, ...]:
    """The places of adapters of one model, which must agree on them and on every shape."""
    first = adapters[0]
    for other in adapters[1:]:
        if other.shapes != first.shapes:
            different = sorted(set(other.shapes.items()) ^ set(first.shapes.items()))[0][0]
            raise UserError(f"{other.folder} and {first.folder} differ at {different}: not adapters of one recipe.")
    return first.places


def counterparts(source: Adapter, target_names: Iterator[str] | Sequence[str]) -> dict[Place, Place]:
    """The places of a target model, named like its modules, that answer to a source adapter's roles."""
    roles = {place.role for place in source.places}
    found: list[Place] = []
    for name in target_names:
        hit = LAYER.match(name)
        if hit is not None and hit["role"] in roles:
            found.append(Place(name, int(hit["number"]), hit["role"]))
    missing = roles - {place.role for place in found}
    if missing:
        raise UserError(
            f"the target model has no layer called {sorted(missing)[0]}; translate between families that name their "
            "layers alike, or train the source adapter on layers that both have."
        )
    return match(source.places, found)
