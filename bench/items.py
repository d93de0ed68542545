"""A million item rows audited and compared: seconds and peak memory of each format, beside a pandas script.

    python bench/items.py [--rows 1000000]

Two arms x 5 seeds x 100 000 items with a short output each, as CSV, Parquet and a ledger. The claim: audit and compare
together under 5 s and 1 GB. The pandas script reads the same files, groups by arm and seed, counts missing and repeated
rows, pairs by seed and item and prints a paired t interval: no rule, no clusters, no power, no flips.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from claim import Claim
from netgain.errors import UserError

ARMS = ("base", "tuned")
SEEDS = 5
SECONDS, MEGABYTES = 5.0, 1024.0
PEAK = """
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
said |= {"seconds": time.perf_counter() - start, "cpu": time.process_time(), "megabytes": int(peak.split()[1]) / 1024}
print(json.dumps(said))
"""
OURS = (
    """
import json, sys, time
start = time.perf_counter()
from pathlib import Path
from netgain.audit.engine import run
from netgain.report.compare import compare
base, tuned, *paths = sys.argv[1:]
found = run(paths)
audited = time.perf_counter() - start
made = compare(base, tuned, margin=0.02)
assert made.to_json()["results"][0]["verdict"]["n"] > 0
said = {"audit": audited, "word": made.results[0].verdict.word}
"""
    + PEAK
)
PANDAS = (
    """
import json, sys, time
start = time.perf_counter()
from pathlib import Path
import pandas as pd
base, tuned = (pd.read_csv(p) if p.endswith(".csv") else pd.read_parquet(p) for p in sys.argv[1:])
both = pd.concat([base, tuned])
both.groupby(["arm", "seed"])["correct"].agg(["mean", "std", "count"])
assert not both["correct"].isna().any() and not both.duplicated(["arm", "seed", "item"]).any()
paired = base.merge(tuned, on=["seed", "item"], suffixes=("_base", "_tuned"))
gap = (paired["correct_tuned"] - paired["correct_base"]).groupby(paired["item"]).mean()
half = 1.96 * gap.std() / len(gap) ** 0.5
same = (paired["output_base"] == paired["output_tuned"]).mean()
said = {"word": f"{gap.mean():+.4f} -+ {half:.4f}"}
"""
    + PEAK
)


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


FORMATS = ("csv", "parquet", "ledger")


def write(folder: Path, rows: int, formats: Sequence[str] = FORMATS) -> dict[str, tuple[str, str]]:
    """The same evidence in each format: format -> (base, tuned)."""
    from netgain.interop.importing import import_results

    rng = np.random.default_rng(0)
    made: dict[str, list[str]] = {kind: [] for kind in formats}
    for name in ARMS:
        table = arm(name, rows // (SEEDS * len(ARMS)), rng)
        if "csv" in made:
            pacsv.write_csv(table, folder / f"{name}.csv")
            made["csv"].append(str(folder / f"{name}.csv"))
        pq.write_table(table, folder / f"{name}.parquet")
        if "parquet" in made:
            made["parquet"].append(str(folder / f"{name}.parquet"))
        if "ledger" in made:
            import_results(folder / f"{name}.parquet", name, folder / "ledger")
            made["ledger"].append(f"{folder / 'ledger'}:{name}")
    return {kind: (pair[0], pair[1]) for kind, pair in made.items()}


def measured(script: str, *words: str) -> dict[str, Any]:
    """What a script printed about itself, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        for kind, pair in write(Path(name), rows).items():
            paths = [str(Path(name) / "ledger")] if kind == "ledger" else pair
            ours = measured(OURS, *pair, *paths)
            held = ours["seconds"] < SECONDS and ours["megabytes"] < MEGABYTES
            print(
                f"{kind:8} {rows} rows: audit {ours['audit']:.2f} s, with compare {ours['seconds']:.2f} s (limit "
                f"{SECONDS:g}; {ours['cpu']:.2f} s of CPU), {ours['megabytes']:.0f} MB (limit {MEGABYTES:g}), "
                f"{ours['word']}: {'held' if held else 'NOT HELD'}"
            )
            what = f"{rows:,} item rows, {kind}: audit and compare"
            Claim("items.py", what, [ours["seconds"]], SECONDS, " s", ours["megabytes"]).say()
            if kind != "ledger":
                usual = measured(PANDAS, *pair)
                print(
                    f"{'':8} pandas script: {usual['seconds']:.2f} s ({usual['cpu']:.2f} s of CPU), "
                    f"{usual['megabytes']:.0f} MB; netgain takes {ours['seconds'] / usual['seconds']:.2f} x its time "
                    f"and {ours['megabytes'] / usual['megabytes']:.2f} x its memory"
                )


if __name__ == "__main__":
    main()
