"""Numbers as people print them: 88.8% <- best, +0.9pp, **-26.7%**, 1,513.4s, 0,25, 95.80 ± 0.16, 5e-5, $10."""

import math
import re
from dataclasses import dataclass

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
_SIGN = r"[+\-\u2212\u2013]"
_UNIT = r"%|pp|p\.p\.|points?|pts?|hours?|h|min(?:utes)?|ms|s|sec(?:onds)?|x|×|k|M|B|GB|MB|Q|Qs"
_PRICE = r"(?P<money>[$€£])?"
VALUE = re.compile(
    rf"(?P<sign>{_SIGN})?\s?{_PRICE}(?P<number>{_NUMBER})(?:\s?(?P<unit>{_UNIT})(?![\w]))?"
    rf"(?:\s*(?:±|\+/-|\+-)\s*(?P<spread>{_NUMBER})(?:\s?%)?)?"
)
_BEST = re.compile(r"←|<-+|\bbest\b|🏆|★|\bwinner\b", re.I)
_GOOD = re.compile(r"✅|✓|\bgood\b|\bimproved\b", re.I)
_BAD = re.compile(r"❌|⚠|✗|\bfail", re.I)
_MARKUP = re.compile(r"\*{1,3}|`+|~~|(?<!\w)_{1,3}(?=\w)|(?<=\w)_{1,3}(?!\w)")
_DECORATION = re.compile(r"\([^)]*\)|[←↑↓→✅❌⚠✓✗🏆★▶️≈~≤≥<>]|<-+|\bbest\b|\bwinner\b", re.I)
_DECIMAL_COMMA = re.compile(r"(?<![\d,.])\d+,(?:\d{1,2}|\d{4,})(?![\d,])|(?<![\d,.])0,\d+")
_WORDS = re.compile(r"[A-Za-z]{2,}")
_NOT_A_NUMBER = re.compile(r"^(?:n/?a|nan|-|—|–|none|null|\?|inf)$", re.I)


@dataclass(frozen=True, slots=True)
class Value:
    """A printed number: its text, what it is worth, the unit and how many decimals were printed."""

    text: str
    number: float
    unit: str = ""
    places: int = 0
    signed: bool = False
    spread: float | None = None
    marks: frozenset[str] = frozenset()

    @property
    def half(self) -> float:
        """Half a unit of the last printed place: the printed number is the truth -+ this."""
        return 0.5 * 10.0**-self.places

    @property
    def count(self) -> int | None:
        """The number as a count of things, None when it cannot be one."""
        return int(self.number) if self.number >= 1 and self.number == int(self.number) else None

    @property
    def shown(self) -> str:
        """The number as printed, without decoration."""
        sign = "+" if self.signed and self.number >= 0 else ""
        unit = {"": "", "%": " %"}.get(self.unit, f" {self.unit}")
        return f"{sign}{self.number:.{self.places}f}{unit}"


def plain(text: str) -> str:
    """Text without Markdown emphasis."""
    return _MARKUP.sub("", text).strip()


def uses_decimal_comma(texts: list[str]) -> bool:
    """Do these cells write 0,25 for a quarter? Only when no cell uses a decimal point."""
    return any(_DECIMAL_COMMA.search(t) for t in texts) and not any(re.search(r"\d\.\d", t) for t in texts)


def to_float(digits: str, comma: bool = False) -> tuple[float, int]:
    """The value of a run of digits and the decimals printed; `comma` reads 1,234 as 1.234."""
    mantissa, _, exponent = digits.lower().partition("e")
    if comma:
        mantissa = mantissa.replace(",", ".")
    elif re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", mantissa) and not mantissa.startswith("0,"):
        mantissa = mantissa.replace(",", "")
    else:
        mantissa = mantissa.replace(",", ".")
    places = len(mantissa.partition(".")[2])
    power = int(exponent) if exponent else 0
    return float(f"{mantissa}e{power}"), max(0, places - power)


def values_in(text: str, comma: bool = False) -> list[Value]:
    """Every number of a sentence, in order; digits inside words (Q58, v2, pass@10) are not numbers."""
    found: list[Value] = []
    for match in VALUE.finditer(text):
        start = match.start("money") if match["money"] else match.start("number")
        before = text[start - 1 : start]
        after = text[match.end() : match.end() + 1]
        if before.isalnum() or before in ("_", "@", ".") or (after.isalnum() and not match["unit"]) or after == "_":
            continue
        sign = match["sign"] or ""
        at = match.start()
        joined = bool(sign) and at > 0 and (text[at - 1].isalnum() or text[at - 1] == "%")
        value = _value(match, text, "" if joined else sign, comma)
        if math.isfinite(value.number) and (value.spread is None or math.isfinite(value.spread)):
            found.append(value)
    return found


def _value(match: re.Match[str], text: str, sign: str, comma: bool) -> Value:
    number, places = to_float(match["number"], comma)
    spread = to_float(match["spread"], comma)[0] if match["spread"] else None
    unit = "$" if match["money"] else (match["unit"] or "")
    if match["spread"] and match.group(0).rstrip().endswith("%"):
        unit = "%"
    unit = {"points": "pp", "point": "pp", "p.p.": "pp", "pts": "pp", "pt": "pp"}.get(unit, unit)
    negative = sign not in ("", "+")
    return Value(text.strip(), -number if negative else number, unit, places, bool(sign), spread, marks(text))


def marks(text: str) -> frozenset[str]:
    """best, good, bad, bold: what a cell says beside its number."""
    kinds = {"best": _BEST, "good": _GOOD, "bad": _BAD}
    found = {name for name, pattern in kinds.items() if pattern.search(text)}
    return frozenset(found | ({"bold"} if "**" in text else set()))


def cell_value(text: str, comma: bool = False) -> Value | None:
    """The number a table cell is, or None when it is words, several numbers or nothing."""
    if len(text) > 200 or not any(c.isdigit() for c in text):
        return None
    bare = _DECORATION.sub(" ", plain(text)).strip()
    if _NOT_A_NUMBER.match(bare):
        return None
    found = values_in(bare, comma)
    if len(found) != 1 or "=" in bare or "/" in bare or len(_WORDS.findall(bare)) > 2:
        return None
    value = found[0]
    return Value(text.strip(), value.number, value.unit, value.places, value.signed, value.spread, marks(text))
