"""What it cost: time, tokens, energy where it could be read, and money if a price was given."""

from collections.abc import Iterator

from markupsafe import Markup

from netgain.report.html.basis import counted
from netgain.report.html.page import Page
from netgain.report.study import spent_on
from netgain.report.words import energy, seconds

PLACE = 900
TITLE = "What it cost"


def section(page: Page) -> Iterator[Markup]:
    names = ("train_seconds", "measure_seconds", "tokens", "joules")
    rows = []
    for arm, members in page.frame.members.items():
        spent = {name: sum(spent_on(m.record, name) for m in members) for name in names}
        runs = len(members)
        rows.append(_line(page, arm, runs, spent, f"record.json of {runs} run{'' if runs == 1 else 's'} of {arm}"))
    whole = {name: float(page.report.cost.get(name, 0.0)) for name in names}
    unique = {m.folder.sig for members in page.frame.members.values() for m in members}
    rows.append(_line(page, "all, shared runs once", len(unique), whole, f"record.json of {len(unique)} runs"))
    columns = ["arm", "runs", "training", "measuring", "tokens learned from"]
    if page.report.cost.get("joules"):
        columns.append("energy")
    if page.price is not None:
        columns.append(f"price at {page.price.an_hour:g} {page.price.currency} an hour".replace("  ", " "))
    machine = f"{page.report.provenance['processor']}, {page.report.provenance['device']}"
    yield page.table(f"Time on {machine}; {_counters(page)}", columns, rows)


def _counters(page: Page) -> str:
    """Where energy was read, and of how many runs."""
    records = [m.record for m in {m.folder.sig: m for each in page.frame.members.values() for m in each}.values()]
    read = [record["energy"] for record in records if record.get("energy")]
    if not read:
        return "energy was not measured: the machine lets nobody read its counters."
    known = {"rapl": "the processor packages' counters (all that the machine did)", "nvidia-smi": "the GPU's power"}
    sources = " and ".join(known[name] for name in sorted({name for each in read for name in each["sources"]}))
    return f"energy by {sources}, of {len(read)} of {len(records)} runs, memory and cooling apart."


def _line(page: Page, arm: str, runs: int, spent: dict[str, float], rows: str) -> Markup:
    train, measure, tokens = spent["train_seconds"], spent["measure_seconds"], spent["tokens"]
    cells: list[object] = [arm, runs, seconds(train), seconds(measure), f"{tokens:,.0f}"]
    if page.report.cost.get("joules"):
        cells.append(energy(spent["joules"]))
    if page.price is not None:
        cells.append(f"{(train + measure) / 3600 * page.price.an_hour:,.4f} {page.price.currency}".strip())
    basis = counted(f"{arm}: cost", f"{train:.2f} s training, {measure:.2f} s measuring, {tokens:,.0f} tokens", rows)
    return page.row(f"cost/{arm}", cells, basis, handle=2)
