"""LoRA adapters in PEFT's format, read and written one layer at a time, and which layer answers to which."""

import json
import os
import re
import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from netgain.errors import UserError
from netgain.translate.gauge import Bundle, Update

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
    """A LoRA adapter folder, or that of a run that learned one. Nothing is read but names and shapes until a layer is
    asked for."""

    def __init__(self, folder: Path) -> None:
        own = folder / "adapter"
        self.folder = folder = own if (own / CONFIG).exists() else folder
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
        b, a = (np.empty(self._shape(place, half), dtype=np.float32) for half in "BA")
        self.read(place, "B", b)
        self.read(place, "A", a)
        return Update(b * np.float32(self.scale), a)

    def read(self, place: Place, half: str, into: np.ndarray) -> None:
        """One factor as stored into a contiguous float32 array of its shape. It is read and not mapped: a mapped file
        would stay in memory tensor after tensor."""
        about = self._tensors[f"{PREFIX}{place.name}.lora_{half}.weight"]
        first, last = about["data_offsets"]
        if about["dtype"] == "F32":
            os.preadv(self._file, [into.data], self._start + first)
            return
        content = bytearray(os.pread(self._file, last - first, self._start + first))
        into[:] = torch.frombuffer(content, dtype=DTYPES[about["dtype"]]).float().numpy().reshape(about["shape"])

    @cached_property
    def _file(self) -> int:
        """The open file, closed with this adapter."""
        descriptor = os.open(self.folder / WEIGHTS, os.O_RDONLY)
        weakref.finalize(self, os.close, descriptor)
        return descriptor

    def _shape(self, place: Place, half: str) -> list[int]:
        return self._tensors[f"{PREFIX}{place.name}.lora_{half}.weight"]["shape"]


def bundle(adapters: Sequence[Adapter], place: Place) -> Bundle:
    """The updates of adapters of one model at one place, read straight into the stacked factors."""
    ranks = [adapter.rank for adapter in adapters]
    outputs, inputs = adapters[0].shapes[place.name]
    b = np.empty((outputs, sum(ranks)), dtype=np.float32)
    a = np.empty((sum(ranks), inputs), dtype=np.float32)
    first = 0
    for adapter, rank in zip(adapters, ranks, strict=True):
        own, rows = np.empty((outputs, rank), dtype=np.float32), a[first : first + rank]
        adapter.read(place, "B", own)
        adapter.read(place, "A", rows)
        rows *= np.float32(adapter.scale)  # the product b a is what counts, and rows of a lie together
        if len(set(ranks)) == 1:
            whole = np.dtype(f"V{own.itemsize * rank}")  # a row of b_i moves as one item: three times as fast
            b.view(whole)[:, first // rank] = own.view(whole)[:, 0]
        else:
            b[:, first : first + rank] = own
        first += rank
    return Bundle(b, a, ranks)


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


def tensors(config: dict[str, Any], updates: Iterable[tuple[Place, Update]]) -> dict[str, torch.Tensor]:
    """The tensors of an adapter by their names in its file; every update has the rank that the config names."""
    scale = float(config["lora_alpha"]) / (config["r"] ** 0.5 if config.get("use_rslora") else config["r"])
    found: dict[str, torch.Tensor] = {}
    for place, update in updates:
        a, b = (
            np.ascontiguousarray(update.a, dtype=np.float32),
            np.ascontiguousarray(update.b / scale, dtype=np.float32),
        )
        found[f"{PREFIX}{place.name}.lora_A.weight"] = torch.from_numpy(a)
        found[f"{PREFIX}{place.name}.lora_B.weight"] = torch.from_numpy(b)
    return found


def write(folder: Path, config: dict[str, Any], updates: Iterable[tuple[Place, Update]]) -> None:
    """An adapter folder that plain PEFT loads."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{WEIGHTS}.part"
    save_file(tensors(config, updates), draft, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    draft.replace(folder / WEIGHTS)


FUSED = {
    "attn.c_attn": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attn.c_proj": ("self_attn.o_proj",),
    "mlp.c_fc": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.c_proj": ("mlp.down_proj",),
    "self_attn.qkv_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "mlp.gate_up_proj": ("mlp.gate_proj", "mlp.up_proj"),
}
"""A layer of one family and the layers of another that do its work, which all read the same input."""


def alike(role: str, available: Collection[str]) -> tuple[str, ...]:
    """Those of the available roles that do the work of `role`; none when no layer is known to."""
    if role in available:
        return (role,)
    if parts := tuple(part for part in FUSED.get(role, ()) if part in available):
        return parts
    same = [whole for whole, parts in FUSED.items() if role in parts or parts == FUSED.get(role)]
    return tuple(whole for whole in same if whole in available)[:1]


def match_depth(
    source: Sequence[Place], target: Sequence[Place], depths: Mapping[int, int] | None = None
) -> dict[Place, tuple[Place, ...]]:
    """target place -> the source places that do its work, at its relative depth round(l (L_x - 1) / (L_y - 1)), or in
    the layer that `depths` names; where no layer is known to do it, all source places at that depth together."""
    deepest_x = max(place.layer for place in source)
    deepest_y = max(place.layer for place in target)
    roles = {place.role for place in source}
    pairs: dict[Place, tuple[Place, ...]] = {}
    for place in target:
        relative = round(place.layer * deepest_x / deepest_y) if deepest_y else 0
        wanted = relative if depths is None else depths[place.layer]
        known = alike(place.role, roles) or tuple(roles)
        able = [there for there in source if there.role in known]
        nearest = min((there.layer for there in able), key=lambda layer: abs(layer - wanted))
        pairs[place] = tuple(there for there in able if there.layer == nearest)
    return pairs


def same_places(adapters: Sequence[Adapter]) -> tuple[Place, ...]:
    """The places of adapters of one model, which must agree on them and on every shape."""
    first = adapters[0]
    for other in adapters[1:]:
        if other.shapes != first.shapes:
            different = sorted(set(other.shapes.items()) ^ set(first.shapes.items()))[0][0]
            raise UserError(f"{other.folder} and {first.folder} differ at {different}: not adapters of one recipe.")
    return first.places


def counterparts(
    source: Adapter, target_names: Iterable[str], depths: Mapping[int, int] | None = None
) -> dict[Place, tuple[Place, ...]]:
    """The places of a target model, among its linear layers, that do the work of a source adapter's, and which."""
    roles = {place.role for place in source.places}
    found: list[Place] = []
    for name in target_names:
        hit = LAYER.match(name)
        if hit is not None and alike(hit["role"], roles):
            found.append(Place(name, int(hit["number"]), hit["role"]))
    covered = {role for place in found for role in alike(place.role, roles)}
    if missing := roles - covered:
        raise UserError(
            f"the target model has no layer that does the work of {sorted(missing)[0]}; translate between families "
            "whose layers answer to one another, or train the source adapter on layers that both have."
        )
    return match_depth(source.places, found, depths)
