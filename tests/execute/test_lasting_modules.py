"""A deep-learning stack is loaded once and never looked through for garbage, unless a module would complain."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("held", [False, True])
def test_modules_that_stay_are_never_looked_through_again_and_a_module_that_would_call_that_a_leak_is_left_alone(
    held: bool,
) -> None:
    code = f"""
import gc
{"import duckdb" if held else ""}
from netgain.execute.local import lasting
with lasting():
    assert not gc.isenabled()
    import torch
assert gc.isenabled()
print(gc.get_freeze_count())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (int(done.stdout) > 50_000) is not held
    assert done.stderr == ""
