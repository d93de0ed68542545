"""The README's one figure: what netgain takes of the user's usual tool, a bar a claim, with its target as a tick.

    python bench/figure.py [--out docs/images/speed.svg]

Drawn from bench/RESULTS.json: of each claim that has a place in the figure the newest one that was measured on a quiet
machine, else the newest one, which the figure then says. Needs `pip install vl-convert-python`.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HELD, MISSED, INK = "#0072B2", "#D55E00", "#333333"
"""Two of Okabe and Ito's colours, which every kind of colour vision tells apart."""

TITLE = "What netgain takes, where the usual tool takes 1"
AXIS = "time (or memory, where it says so) of netgain / of the tool; less is better"


def chosen(runs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """label -> the claim to draw, with whether its machine was quiet."""
    found: dict[str, dict[str, Any]] = {}
    for quiet in (False, True):
        for run in runs:
            if run["quiet"] is quiet:
                claims = [claim for script in run["scripts"] for claim in script["claims"]]
                found |= {each["drawn"]: {**each, "quiet": quiet} for each in claims if each.get("drawn")}
    return found


def rows(claims: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What the drawing shows of each claim, smallest ratio last."""
    made: list[dict[str, Any]] = []
    for label, claim in claims.items():
        ratio = statistics.median(claim["ratios"])
        held = claim["target"] is None or ratio <= claim["target"]
        made.append(
            {
                "claim": label if claim["quiet"] else f"{label} *",
                "ratio": min(ratio, 1.2),
                "end": min(max(ratio, claim["target"] or 0.0), 1.2),
                "target": claim["target"],
                "told": f"{ratio:.2g}x" if ratio >= 0.001 else f"{ratio:.0e}x",
                "state": "target held" if held else "target missed",
            }
        )
    return sorted(made, key=lambda each: -each["ratio"])


def spec(data: list[dict[str, Any]], under: str) -> dict[str, Any]:
    """Vega-Lite: bars of the ratio from 0, ticks of the target, a line at 1."""
    y = {"field": "claim", "type": "nominal", "sort": None, "axis": {"title": None, "labelLimit": 420, "ticks": False}}
    x = {"field": "ratio", "type": "quantitative", "scale": {"domain": [0, 1.2]},
         "axis": {"title": AXIS, "tickCount": 6}}  # fmt: skip
    colour = {"field": "state", "type": "nominal", "legend": {"title": None, "orient": "top"},
              "scale": {"domain": ["target held", "target missed"], "range": [HELD, MISSED]}}  # fmt: skip
    bars = {"mark": {"type": "bar", "height": {"band": 0.62}}, "encoding": {"y": y, "x": x, "color": colour}}
    ticks = {"mark": {"type": "tick", "color": INK, "thickness": 2, "height": {"band": 0.9}},
             "encoding": {"y": y, "x": {"field": "target", "type": "quantitative"}}}  # fmt: skip
    end = {**x, "field": "end"}
    words = {"mark": {"type": "text", "align": "left", "dx": 6, "color": INK},
             "encoding": {"y": y, "x": end, "text": {"field": "told", "type": "nominal"}}}  # fmt: skip
    one = {"mark": {"type": "rule", "color": INK, "strokeDash": [4, 3]}, "data": {"values": [{"at": 1}]},
           "encoding": {"x": {"field": "at", "type": "quantitative"}}}  # fmt: skip
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": {"text": TITLE, "anchor": "start", "fontSize": 13, "subtitle": under},
        "data": {"values": data},
        "width": 430,
        "height": {"step": 24},
        "background": "white",
        "layer": [bars, one, ticks, words],
        "config": {"font": "Liberation Sans, DejaVu Sans, Arial, Helvetica, sans-serif",
                   "axis": {"labelFontSize": 12, "titleFontSize": 12}, "view": {"stroke": None}},
    }  # fmt: skip


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "images" / "speed.svg")
    asked = parser.parse_args()
    import vl_convert

    runs = json.loads((HERE / "RESULTS.json").read_text(encoding="utf-8"))
    drawn = rows(chosen(runs))
    under = f"{runs[-1]['machine'].split(', torch')[0]}, {runs[-1]['date'].split()[0]}; tick: the target"
    under += "; * measured beside other jobs" if any(each["claim"].endswith("*") for each in drawn) else ""
    asked.out.write_text(vl_convert.vegalite_to_svg(spec(drawn, under)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
