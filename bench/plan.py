"""How near `netgain plan` comes: what it predicts from a study's first seed, against what the other seeds took.

    python bench/plan.py [--studies NAME ...] [--scale tiny] [--ledger LEDGER]

Each study runs once, as a person runs it, into a ledger that is thrown away; with --ledger, finished runs are read
instead. `plan` is then shown the runs of the first seed alone. Time is what the records say of the other runs, from
loading to sealing; memory is the largest resident set. Target: both within 25 %.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from claim import Claim
from netgain.execute.estimate import Estimate, estimate
from netgain.ledger.store import Ledger
from netgain.spec.load import load
from netgain.spec.study import Planned, Study, planned
from sweep import timed

HERE = Path(__file__).parent
STUDIES = ("distillation_lambda", "anchored_sft", "diversity", "adapter_translation", "peft_diffusion")
TARGET = 0.25


def predicted(study: Study, ledger: Ledger, known: list[Planned]) -> Estimate | None:
    """What a plan says when only some of the runs are finished."""
    with tempfile.TemporaryDirectory() as folder:
        shown = Ledger(folder)
        (shown.root / "runs").mkdir(parents=True)
        for each in known:
            shown.run(each.sig).path.symlink_to(ledger.run(each.sig).path.resolve())
        return estimate(planned(study), shown)


def judge(study: Study, ledger: Ledger) -> None:
    """Two claims about a study whose runs are finished."""
    runs = list({each.sig: each for each in planned(study)}.values())
    first = [each for each in runs if each.seed in (None, study.seeds[0])]
    needed = {sig for each in first for sig in each.needs}
    known = [each for each in runs if each in first or each.sig in needed]
    records = {each.sig: ledger.run(each.sig).record() for each in runs if each not in known}
    made = predicted(study, ledger, known)
    if made is None or any("seconds" not in record for record in records.values()):
        sys.exit(f"{study.key}: its ledger does not say how long its runs took, or has one seed")
    happened = sum(record["seconds"] for record in records.values())
    peak = max(record["peak_mb"] for record in records.values())
    what = f"plan of {study.key}, {len(records)} runs from the first seed's {len(known)}: off by"
    for name, ours, theirs, unit in (
        ("time", made.seconds, happened, "s"),
        ("memory", made.peak_mb, peak, "MB"),
    ):
        limit = f"{ours:,.0f} {unit} said, {theirs:,.0f} {unit} taken"
        if made.unknown:
            limit += f"; {made.unknown} runs are like none of the first seed"
        Claim("plan.py", f"{what} {name}", [abs(ours / theirs - 1)], TARGET, "", limit=limit).say()


def main() -> None:
    """Run what must run, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", nargs="+", default=list(STUDIES), help="names in studies/, or files")
    parser.add_argument("--scale", default="tiny")
    parser.add_argument("--ledger", type=Path, help="of finished runs")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    for name in asked.studies:
        file = Path(name) if name.endswith(".yaml") else HERE.parent / "studies" / f"{name}.yaml"
        study = load(file, asked.scale)
        if asked.ledger:
            judge(study, Ledger(asked.ledger))
            continue
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "netgain", "run", str(file), "--scale", asked.scale, "--ledger", folder]
            took, _, _ = timed(command, asked.threads, {"HF_HUB_OFFLINE": "1"})
            print(f"{study.key}: {took:.1f} s from start to exit", flush=True)
            judge(study, Ledger(folder))


if __name__ == "__main__":
    main()
