"""What a study of masked-diffusion methods says beside its tables."""

import pytest

from netgain.report.denoised_words import _resolution
from netgain.stats.power import Mde


@pytest.mark.parametrize(("size", "said"), [(0.213, "is up to 21.3 points"), (3.56, "no difference at all")])
def test_no_difference_is_promised_that_an_accuracy_cannot_have(size: float, said: str) -> None:
    """Two seeds with one degree of freedom give intervals wider than the scale."""
    found = _resolution("lora", Mde(size, 300, 0.95, 0.8, "seeds x items", "points", seeds=2))
    assert said in found
    assert "356" not in found
