"""Sharing a base out over the processes of torchrun with FSDP2: every repeated layer in equal parts, the rest whole.

The head stays whole, since the loss multiplies by its weight outside of the module that holds it; so do the embeddings,
which are often the same tensor, and the norms. Adapters are put in afterwards, so they are no part of what is sharded.
"""

import torch
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from netgain.errors import UserError
from netgain.models.holders import Holders
from netgain.models.lm import LM


def shard(lm: LM, device: torch.device, mesh: DeviceMesh) -> None:
    """Leave this process its part of a base that it has read, on a device: no two layers are ever whole there. Nobody
    waits for another process."""
    layers = lm.layers
    if not layers:
        raise UserError(f"{lm.name}: netgain finds no repeated layers in this network to share out; leave --shard out.")
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    # The root owns nothing: it only lets the layers know of one another, so that the next is gathered in time.
    fully_shard(lm.body, mesh=mesh, reshard_after_forward=True, ignored_params=set(lm.body.parameters()))
    lm.net.to(device)  # type: ignore[arg-type]
    lm.device = device
    lm.holders = Holders(distributed.get_rank(), distributed.get_world_size())
