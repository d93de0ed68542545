"""A million item rows read, checked, paired and compared: seconds and peak memory of each format.

    python bench/items.py [--rows 1000000]

Two arms x 5 seeds x 100 000 items with a short output each, as CSV, Parquet and a ledger. The claim: under 5 s and
1 GB.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from netgain.errors import UserError

ARMS = ("base", "tuned")
SEEDS = 5
SECONDS, MEGABYTES = 5.0, 1024.0
CHILD = """
import json, sys, time
start = time.perf_counter()
from pathlib import Path
from netgain.report.compare import compare
made = compare(sys.argv[1], sys.argv[2], margin=0.02)
assert made.to_json()["results"][0]["verdict"]["n"] > 0
seconds = time.perf_counter() - start
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
said = {"seconds": seconds, "cpu": time.process_time(), "word": made.results[0].verdict.word}
print(json.dumps({**said, "megabytes": int(peak.split()[1]) / 1024}))
"""


def arm(name: str, items: int, rng: np.random.Generator) -> pa.Table:
    """One arm's rows: seeds x items, each item with its own difficulty."""
    difficulty = np.random.default_rng(1).uniform(0.2, 0.9, items)
    correct = [(rng.uniform(size=items) < difficulty).astype(np.int8) for _ in range(SEEDS)]
    ids = pa.array([f"item-{i:06d}" for i in range(items)])
    outputs = pa.array([f"The answer to question {i} is {i * 7 % 13}." for i in range(items)])
    return pa.table(
        {
            "arm": pa.repeat(name, items * SEEDS),
            "seed": np.repeat(np.arange(SEEDS), items),
            "item": pa.chunked_array([ids] * SEEDS),
            "correct": np.concatenate(correct),
            "output": pa.chunked_array([outputs] * SEEDS),
        }
    )


def write(folder: Path, rows: int) -> dict[str, tuple[str, str]]:
    """The same evidence in each format: format -> (base, tuned)."""
    from netgain.interop.importing import import_results

    rng = np.random.default_rng(0)
    made: dict[str, list[str]] = {"csv": [], "parquet": [], "ledger": []}
    for name in ARMS:
        table = arm(name, rows // (SEEDS * len(ARMS)), rng)
        pacsv.write_csv(table, folder / f"{name}.csv")
        pq.write_table(table, folder / f"{name}.parquet")
        import_results(folder / f"{name}.parquet", name, folder / "ledger")
        made["csv"].append(str(folder / f"{name}.csv"))
        made["parquet"].append(str(folder / f"{name}.parquet"))
        made["ledger"].append(f"{folder / 'ledger'}:{name}")
    return {kind: (pair[0], pair[1]) for kind, pair in made.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    slow = 0
    with tempfile.TemporaryDirectory() as name:
        for kind, pair in write(Path(name), rows).items():
            done = subprocess.run([sys.executable, "-c", CHILD, *pair], capture_output=True, text=True, check=False)
            if done.returncode:
                raise UserError(f"{kind}: {done.stderr.strip().splitlines()[-1]}")
            said = json.loads(done.stdout)
            held = said["seconds"] < SECONDS and said["megabytes"] < MEGABYTES
            slow += not held
            print(
                f"{kind:8} {rows} rows: {said['seconds']:5.2f} s (limit {SECONDS:g}; {said['cpu']:.2f} s of CPU), "
                f"{said['megabytes']:.0f} MB "
                f"(limit {MEGABYTES:g}), {said['word']}: {'held' if held else 'NOT HELD'}"
            )
    return slow


if __name__ == "__main__":
    sys.exit(main())
