"""Tokenizers from the material folder beside the project, and properties whose examples never change."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from transformers import AutoTokenizer, PreTrainedTokenizerBase

torch.set_num_threads(1)
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture
def shared_tokenizer() -> Callable[[str], PreTrainedTokenizerBase]:
    def find(name: str) -> PreTrainedTokenizerBase:
        folder = Path(__file__).resolve().parents[3] / "shared" / "models" / name
        if not folder.exists():
            pytest.skip(f"needs {name} beside the project")
        return AutoTokenizer.from_pretrained(folder)

    return find
