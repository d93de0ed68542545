"""Draw what `netgain report` prints as an SVG picture: `python tools/terminal_picture.py STUDY LEDGER OUT.svg`."""

import argparse
from pathlib import Path

from rich.console import Console

from netgain.ledger.store import Ledger
from netgain.report import terminal
from netgain.report.study import build
from netgain.spec.load import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("ledger", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scale")
    given = parser.parse_args()
    recorder = Console(width=100, record=True, highlight=False, force_terminal=True)
    terminal.show_report(build(load(given.study, given.scale), Ledger(given.ledger)), recorder)
    recorder.save_svg(str(given.out), title=f"netgain report {given.study}")


if __name__ == "__main__":
    main()
