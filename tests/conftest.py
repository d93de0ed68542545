"""Shared by every test: one thread, no network, no inherited environment."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test sees no ledger and no data folder of the person who runs it."""
    for name in ("NETGAIN_LEDGER", "NETGAIN_DATA"):
        monkeypatch.delenv(name, raising=False)
