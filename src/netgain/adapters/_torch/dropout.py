"""Dropout whose mask is a pure function of (seed, step, layer, row, position, feature), and of nothing else.

A generator's next numbers depend on how a step was cut into micro-batches, which rows shared a batch, and how many
draws came before. Here nothing is drawn: each mask entry is a hash of where it is. So micro-batching, packing several
arms, recomputing activations and resuming after a kill all see the same masks, and there is no state to save.
"""

import hashlib

import torch
from torch import Tensor, nn

from netgain.errors import UserError

FULL_RANGE = 2**32


def _mix(x: Tensor) -> Tensor:
    """Murmur3's finaliser on int32, in place: each input bit moves about half of the output bits."""
    x = x ^ ((x >> 16) & 0xFFFF)
    x.mul_(-2048144789)
    x.bitwise_xor_((x >> 13) & 0x7FFFF)
    x.mul_(-1028477387)
    return x.bitwise_xor_((x >> 16) & 0xFFFF)


class Noise:
    """Which step of which run the masks are for, and which of the step's rows a micro-batch holds."""

    def __init__(self) -> None:
        self._step = 0
        self._rows = torch.zeros(0, dtype=torch.int32)

    def at(self, key: int, step: int, rows: Tensor) -> None:
        """`rows` (B,): the rows of the step's whole View that the next forward pass computes."""
        digest = hashlib.sha256(f"{key}/{step}".encode()).digest()
        self._step = int.from_bytes(digest[:4], "big", signed=True)
        self._rows = rows.to(torch.int32)

    def keys(self, shape: torch.Size, salt: int, device: torch.device) -> Tensor:
        """(B, T, d) int32, uniform over its range."""
        b, t, d = shape
        rows = _mix((self._rows.to(device) * -1640531535) ^ (self._step ^ salt))
        places = _mix(rows[:, None] + torch.arange(t, dtype=torch.int32, device=device) * 668265263)
        features = _mix(torch.arange(d, dtype=torch.int32, device=device) ^ salt)
        return _mix(places.view(b, t, 1) ^ features)


class KeyedDropout(nn.Module):
    """x * [key >= p] / (1 - p) in training mode, x otherwise; stands where PEFT puts an nn.Dropout."""

    def __init__(self, p: float, noise: Noise, layer: int) -> None:
        super().__init__()
        self.p = p
        self.noise = noise
        self.salt = int.from_bytes(hashlib.sha256(f"layer {layer}".encode()).digest()[:4], "big", signed=True)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        if x.dim() != 3:
            raise UserError(
                f"dropout needs (batch, position, feature) inputs, but a target of the method gets {tuple(x.shape)}: "
                "set the method's dropout to 0 or leave that module out of its targets."
            )
        return x * self.mask(x.shape, x)

    def mask(self, shape: torch.Size, like: Tensor) -> Tensor:
        """(B, T, d): 1 / (1 - p) where the key says keep, else 0, in the dtype and on the device of `like`."""
        threshold = int(self.p * FULL_RANGE) - FULL_RANGE // 2
        keep = self.noise.keys(shape, self.salt, like.device) >= threshold
        return keep.to(like.dtype).mul_(1 / (1 - self.p))
