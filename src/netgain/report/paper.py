"""What goes into papers and notebooks: LaTeX tables, the item rows as one Parquet file, every chart as a file."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from netgain.ledger.files import write_bytes
from netgain.ledger.store import Ledger
from netgain.report.figures import write_figures
from netgain.report.frame import Frame
from netgain.report.html.page import Price, render
from netgain.report.study import Report
from netgain.report.words import interval, word_of

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def write_all(report: Report, ledger: Ledger, folder: Path, figures: Path | None, price: float | None) -> Path:
    """Every form of the report into one folder; the path of the HTML file, for people."""
    report.write(folder, price)
    made = render(report, ledger, None if price is None else Price(price))
    write_bytes(folder / "report.html", made.html.encode())
    write_tables(report, folder / "tables.tex")
    write_frame(Frame(report.study, ledger), folder / "frame.parquet")
    if figures is not None:
        write_figures(made.figures, figures)
    return folder / "report.html"


def write_tables(report: Report, path: Path) -> Path:
    """The contrasts and the scores as booktabs tables, to be \\input."""
    write_bytes(path, "\n".join(_latex(report)).encode())
    return path


def write_frame(frame: Frame, path: Path) -> Path:
    """Every item row of the study's finished runs, with arm and seed: what all numbers are made of."""
    tables = [
        member.items.append_column("arm", pa.array([arm] * member.items.num_rows, pa.string())).append_column(
            "seed", pa.array([member.seed] * member.items.num_rows, pa.int64())
        )
        for arm, members in frame.members.items()
        for member in members
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.concat_tables(tables), sink, compression="zstd")
    write_bytes(path, sink.getvalue().to_pybytes())
    return path


def _latex(report: Report) -> Iterator[str]:
    yield f"% {report.study.key}: made by netgain from the ledger; needs \\usepackage{{booktabs}}"
    contrasts = [
        (
            f"{e.arm} against {e.versus}",
            f"{e.task}/{e.metric}" + ("" if e.checkpoint == "final" else f" ({e.checkpoint})"),
            e.question if e.margin is None else f"{e.question} margin {e.margin:g}",
            word_of(e),
            *interval(e.verdict.answer),
            e.verdict.n,
            e.verdict.tuned_seeds,
        )
        for e in report.judged
    ]
    columns = ("contrast", "on", "question", "answer", "difference", "interval", "$n$", "seeds")
    yield from _table(columns, contrasts, "llllrlrr", f"Declared contrasts of {report.study.key}.")
    scores = [
        (s.arm, f"{s.task}/{s.metric}", s.checkpoint, *interval(s.estimate), s.estimate.n, s.seeds, s.missing)
        for s in report.scores
    ]
    columns = ("arm", "task", "checkpoint", "score", "interval", "$n$", "seeds", "missing")
    yield from _table(columns, scores, "lllrlrrr", f"Scores of {report.study.key}.")


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]], align: str, caption: str) -> Iterator[str]:
    yield from (r"\begin{table}", r"\centering", rf"\caption{{{_escape(caption)}}}", rf"\begin{{tabular}}{{{align}}}")
    yield from (r"\toprule", " & ".join(columns) + r" \\", r"\midrule")
    for row in rows:
        yield " & ".join(_escape("-" if cell is None else str(cell)) for cell in row) + r" \\"
    yield from (r"\bottomrule", r"\end{tabular}", r"\end{table}", "")


def _escape(text: str) -> str:
    return "".join(SPECIAL.get(character, character) for character in text)
