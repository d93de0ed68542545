"""How long the command line takes to answer when it has nothing to train, against importing the usual trainer.

    python bench/startup.py [--rounds N]

Every command is a new process, from start to exit; the files that it reads are in the page cache after one that warms
up. `netgain --help` is to take less than 0.3 s, and `netgain audit` of a short Markdown table less than 0.6 s. What the
usual tools take is told beside it: `import trl` where it is installed, and transformers' Trainer with peft.
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from claim import Claim

TABLE = """# Results

| model | accuracy | n |
|---|---|---|
| base | 61.2 | 500 |
| tuned, seed 1 | 63.4 | 500 |
| tuned, seed 2 | 62.8 | 500 |

Fine-tuning improves accuracy by 2.2 points.
"""


def seconds(command: list[str], codes: tuple[int, ...]) -> float:
    """From start to exit."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.perf_counter() - start
    if done.returncode not in codes:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return took


def main() -> None:
    """A claim for each command, in seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    me = [str(Path(sys.executable).parent / "netgain")]
    python = [sys.executable, "-c"]
    peer = "import peft; from transformers import Trainer"
    if importlib.util.find_spec("trl"):
        peer += "; from trl import SFTTrainer"
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "small.md"
        table.write_text(TABLE)
        commands = {
            "netgain --help": ([*me, "--help"], (0,), 0.3),
            "netgain audit small.md": ([*me, "audit", str(table)], (0, 1), 0.6),
        }
        theirs = min(seconds([*python, peer], (0,)) for _ in range(2))
        for name, (command, codes, target) in commands.items():
            times = [seconds(command, codes) for _ in range(rounds + 1)][1:]
            bare = min(seconds([*python, "pass"], (0,)) for _ in range(3))
            limit = f"a bare interpreter takes {bare:.2f} s; importing the usual trainer {theirs:.1f} s"
            Claim("startup.py", name, times, target, unit=" s", limit=limit).say()


if __name__ == "__main__":
    main()
