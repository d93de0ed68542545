"""Charts as files for papers: SVG, PNG and PDF in the light palette, with nothing that a typesetter would not know.

Every file is drawn again from the ledger. PNG and PDF need `pip install "netgain[figures]"`, which draws offline.
"""

import importlib.util
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from netgain.errors import UserError
from netgain.ledger.files import write_bytes
from netgain.report.html.page import Draw, asset
from netgain.report.html.svg import WIDE

FORMATS = ("svg", "png", "pdf")
PIXELS = 3.0
"""PNG pixels of a unit of the drawing: 300 dots an inch at a page's usual width of 9.4 inches, about."""
FONTS = "'Liberation Sans','DejaVu Sans',Arial,Helvetica,sans-serif"


def possible() -> tuple[str, ...]:
    """The formats that can be written here."""
    return FORMATS if importlib.util.find_spec("vl_convert") else FORMATS[:1]


def standalone(draw: Draw, width: float = WIDE) -> str:
    """One figure as a file of its own: on paper white, every colour said by its value."""
    drawn = str(draw(width))
    start = drawn.index(">") + 1
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawn)
    if box is None:
        raise ValueError("a chart without a box")
    paper = f'<rect x="0" y="0" width="{box[1]}" height="{box[2]}" fill="#fff"/>'
    return f"{drawn[:start]}<style>{_style()}</style>{paper}{drawn[start:]}\n"


def _style() -> str:
    """The charts' style sheet in its light palette, without variables."""
    sheet = asset("chart.css")
    palette = dict(re.findall(r"--([\w-]+):(#\w+)", sheet[: sheet.index("@media")]))
    rules = sheet[sheet.index(".chart{") :]
    flat = re.sub(r"var\(--([\w-]+)\)", lambda found: palette[found[1]], rules)
    return re.sub(r"font-family:[^;}]*", f"font-family:{FONTS}", flat, count=1)


def write_figures(figures: Mapping[str, Draw], folder: Path, formats: Iterable[str] | None = None) -> list[Path]:
    """A file a chart and format; without formats, all that can be written here."""
    wanted = tuple(possible() if formats is None else formats)
    lacking = [name for name in wanted if name not in possible()]
    if lacking:
        known = all(name in FORMATS for name in lacking)
        raise UserError(
            f'{" and ".join(lacking)} figures need `pip install "netgain[figures]"`.'
            if known
            else f"figures can be written as {', '.join(FORMATS)}, not {' and '.join(lacking)}."
        )
    paths: list[Path] = []
    for name, draw in figures.items():
        svg = standalone(draw)
        for kind in wanted:
            paths.append(folder / f"{name}.{kind}")
            write_bytes(paths[-1], _as(kind, svg))
    return paths


def _as(kind: str, svg: str) -> bytes:
    if kind == "svg":
        return svg.encode()
    import vl_convert

    return vl_convert.svg_to_png(svg, scale=PIXELS) if kind == "png" else vl_convert.svg_to_pdf(svg)
