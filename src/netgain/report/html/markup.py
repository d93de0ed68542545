"""HTML and SVG elements as escaped text: whatever a model wrote stays text, whoever reads it."""

import json
import re
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup, escape

from netgain.report.jsonable import tree

UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)
"""Characters that are not seen and can change what is seen: controls, marks of writing direction, zero widths."""

VOID = ("meta", "br", "input", "hr", "col")


def visible(text: str) -> str:
    """The text with every unseen character spelt out as [U+202E]."""
    return UNSEEN.sub(lambda found: f"[U+{ord(found.group()):04X}]", text.encode("utf-8", "replace").decode())


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """`<tag a-b="...">children</tag>`; None leaves an attribute out, a trailing underscore avoids Python's words."""
    words = Markup("").join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), _plain(value))
        for name, value in attributes.items()
        if value is not None
    )
    if tag in VOID:
        return Markup("<{}{}>").format(tag, words)
    return Markup("<{}{}>{}</{}>").format(tag, words, joined(children), tag)


def joined(children: Iterable[object]) -> Markup:
    """Children side by side; nested iterables are flattened, None is nothing."""
    parts: list[Markup] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, str):
            parts.append(child if isinstance(child, Markup) else escape(visible(child)))
        elif isinstance(child, Iterable):
            parts.append(joined(child))
        else:
            parts.append(escape(_plain(child)))
    return Markup("").join(parts)


def _plain(value: object) -> object:
    """Coordinates carry two decimals: enough for a screen, and the same text on every machine."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


def script_json(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in, nor open another."""
    text = json.dumps(tree(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text.encode("utf-8", "replace").decode())
