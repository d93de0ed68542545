"""A mask depends on where it is and on nothing else: not on the batch, its padding, or what was drawn before."""

import pytest
import torch

from netgain.adapters._torch.dropout import KeyedDropout, Noise
from netgain.errors import UserError

torch.set_num_threads(1)


def masked(
    rows: list[int], length: int, *, p: float = 0.3, step: int = 0, layer: int = 0, key: int = 0
) -> torch.Tensor:
    noise = Noise()
    noise.at(key, step, torch.tensor(rows))
    return KeyedDropout(p, noise, layer)(torch.ones(len(rows), length, 40))


def test_masks_do_not_depend_on_the_micro_batch_or_its_padding() -> None:
    whole = masked([0, 1, 2, 3], 12)
    assert torch.equal(masked([2, 3], 7), whole[2:, :7])
    assert torch.equal(masked([3, 3], 12), whole[[3, 3]])


def test_masks_differ_by_step_layer_row_position_and_seed() -> None:
    base = masked([0, 1], 9)
    others = [masked([0, 1], 9, step=1), masked([0, 1], 9, layer=1), masked([0, 1], 9, key=1), masked([2, 3], 9)]
    for other in [*others, base.flip(0), base.flip(1), base.flip(2)]:
        assert 0.3 < (base == other).float().mean() < 0.8


def test_masks_keep_the_expectation_and_are_independent() -> None:
    drawn = masked(list(range(64)), 64, p=0.25)
    kept = (drawn > 0).double()
    assert torch.allclose(drawn[drawn > 0], torch.tensor(1 / 0.75))
    sigma = (0.25 * 0.75) ** 0.5
    assert abs(kept.mean() - 0.75) < 4 * sigma / kept.numel() ** 0.5
    for dims in ((0, 1), (0, 2), (1, 2)):
        means = kept.mean(dims)
        expected = sigma / (kept.numel() / len(means)) ** 0.5
        assert 0.75 < means.std() / expected < 1.3, "margins vary as much as those of independent draws"
    flat = kept - 0.75
    for shift in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 1, 0)):
        correlation = (flat * flat.roll(shift, (0, 1, 2))).mean() / sigma**2
        assert abs(correlation) < 5 / kept.numel() ** 0.5


def test_dropout_sleeps_outside_training() -> None:
    layer = KeyedDropout(0.5, Noise(), 0).eval()
    x = torch.randn(2, 3, 4)
    assert layer(x) is x


def test_inputs_without_rows_are_refused() -> None:
    with pytest.raises(UserError, match="dropout to 0"):
        KeyedDropout(0.5, Noise(), 0)(torch.ones(6, 4))
