"""Tables and lines -> settings, scores (the long frame) and changes (before -> after)."""

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate

from netgain.interop._md_blocks import Line
from netgain.interop._md_model import Change, Column, Score, Sentence, Setting, Table
from netgain.interop._md_numbers import Value, cell_value, plain, values_in

_BASE = re.compile(r"^(base(line)?|before|sft|zero-?shot|untuned|initial|pre)(\b|_)", re.I)
_FINAL = re.compile(r"^(final|after|tuned|last|trained|fine-?tuned)(\b|_)", re.I)
_BEST = re.compile(r"\b(best|max|peak)\b", re.I)
_ORACLE = re.compile(r"^(oracle|upper[ _-]?bound|ceiling)", re.I)
LOSS = re.compile(r"(nll|loss|ppl|perplexity|\bkl|error|\bwer|self-?bleu)", re.I)
RATE = re.compile(r"(acc|\bf1|pass@|\bem\b|exact|rate|recall|precision|success|win)", re.I)
COUNT = re.compile(
    r"\b(\d[\d,]*)[ -]?(?:Qs?|questions?|items|examples|prompts|test items)\b|\bn\s?=\s?(\d[\d,]*)", re.I
)
_PAIR = re.compile(
    r"(?<![\w.-])(?P<key>[A-Za-zλ_][\w@./-]{0,40}(?: steps?| size)?)\s*[=≈]\s*(?P<text>[^\s,;|)]+(?: ?%)?)"
)
_FLAG = re.compile(r"--(?P<key>[A-Za-z][\w-]*)(?:[ =](?P<text>[^\s-][^\s`]*))?")
_KEY = re.compile(r"^(?P<key>[^:|=]{1,70}?)\s*:\s+(?P<rest>\S.*)$")
_BULLET = re.compile(r"^\s*(?:[-*+]\s+|\d{1,3}[.)]\s+)")
MAX_PARAGRAPH = 50
_SIZES = ("k", "M", "B", "MB", "GB", "$", "h", "hours")
_ARROW = re.compile(r"→|->|=>")
_STARTS = re.compile(r"^\s*(?:[-*+>]\s|\d{1,3}[.)]\s|\*\*|[^\w\s(\"'`$*_]|[A-Z][\w /-]{0,30}:\s)")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z*_(])")


def sentences(lines: Iterable[Line]) -> list[Sentence]:
    """Paragraphs split into sentences, bullets and emphasis stripped; each with the line it begins on."""
    made: list[Sentence] = []
    for paragraph in _paragraphs(lines):
        first = paragraph[0]
        if first.code:
            made.append(Sentence(first.text, first.heading, first.number, True))
            continue
        texts = [plain(_BULLET.sub("", line.text)) for line in paragraph]
        starts = [0, *accumulate(len(t) + 1 for t in texts[:-1])]
        at = 0
        for part in _SENTENCE.split(" ".join(texts)):
            index = max(i for i, start in enumerate(starts) if start <= at)
            at += len(part) + 1
            if part.strip():
                made.append(Sentence(part.strip(), first.heading, paragraph[index].number))
    return made


def _paragraphs(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Runs of lines that a reader sees as one: no bullet, no hard break, no code, nothing between them."""
    held: list[Line] = []
    for line in lines:
        joins = (
            held
            and len(held) < MAX_PARAGRAPH
            and not (line.code or held[-1].code)
            and line.number == held[-1].number + 1
            and line.heading == held[-1].heading
            and not _STARTS.match(line.text)
            and not held[-1].text.endswith(("  ", ":", "**"))
        )
        if held and not joins:
            yield held
            held = []
        held.append(line)
    if held:
        yield held


def settings(lines: Iterable[Line], tables: Iterable[Table]) -> list[Setting]:
    """`key: value` lines, `key=value` pairs, command-line flags, and tables of parameters."""
    return [*_line_settings(lines), *_table_settings(tables)]


def _line_settings(lines: Iterable[Line]) -> Iterator[Setting]:
    for line in lines:
        if line.code:
            for match in _FLAG.finditer(line.text):
                text = match["text"] or "true"
                yield Setting(match["key"], text, cell_value(text), line.heading, line.number, "command")
        for part in plain(_BULLET.sub("", line.text)).split(" | "):
            group = ""
            if match := _KEY.match(part.strip()):
                group = plain(match["key"])
                yield Setting(group, match["rest"], cell_value(match["rest"]), line.heading, line.number)
            for pair in _PAIR.finditer(part):
                yield Setting(pair["key"], pair["text"], cell_value(pair["text"]), line.heading, line.number, group)


def _table_settings(tables: Iterable[Table]) -> Iterator[Setting]:
    for table in tables:
        for column in table.having("setting", "planned", "actual"):
            for row, cell in enumerate(column.cells):
                key = table.label(row, "parameter")
                yield Setting(key, cell.text, cell.value, table.heading, cell.line, column.name)
                for pair in _PAIR.finditer(cell.text):
                    yield Setting(pair["key"], pair["text"], cell_value(pair["text"]), table.heading, cell.line, key)


def stage(name: str) -> str:
    """baseline, final, best, oracle, mean or nothing: what a column's name says of its numbers."""
    for word, pattern in (("best", _BEST), ("baseline", _BASE), ("final", _FINAL), ("oracle", _ORACLE)):
        if pattern.search(name):
            return word
    return "mean" if re.match(r"^(mean|average|avg)([ _](baseline|adapter))?$", name, re.I) else ""


def scores(tables: Iterable[Table]) -> list[Score]:
    """The long frame: one row per measured number."""
    return [score for table in tables for score in _table_scores(table)]


def is_matrix(table: Table) -> bool:
    """Rows are tasks and columns are arms?"""
    arms = [c for c in table.having("score") if not RATE.search(c.name) and not LOSS.search(c.name)]
    return bool(table.having("task")) and not table.having("arm", "axis", "metric", "seed") and len(arms) > 2


def _table_scores(table: Table) -> Iterator[Score]:
    matrix = is_matrix(table)
    for column in table.having("score"):
        for row, cell in enumerate(column.cells):
            if cell.value is None:
                continue
            task = table.having("task")[-1].cells[row].text if table.having("task") else ""
            metric = table.label(row, "metric") or ("" if matrix else column.name)
            axis = table.having("axis")
            at = axis[0].cells[row].value if axis else None
            yield Score(
                table=table,
                row=row,
                column=column,
                cell=cell,
                value=cell.value,
                arm=column.name if matrix else table.label(row, "arm"),
                task=task or (table.heading[-1] if axis and table.heading else ""),
                metric=metric,
                axis=at.number if at else None,
                seed=table.label(row, "seed"),
                stage=stage(column.name),
                rate=rate(cell.value, column, metric),
            )


def rate(value: Value, column: Column | None, metric: str) -> float | None:
    """The proportion a number stands for, or None when it is not one."""
    if LOSS.search(metric):
        return None
    if value.unit == "%" or (column is not None and column.percent):
        proportion = value.number / 100
    elif column is not None and column.fractions and value.places > 1:
        proportion = value.number
    elif RATE.search(metric):
        proportion = value.number if value.number <= 1 else value.number / 100
    else:
        return None
    return proportion if 0 <= proportion <= 1 else None


def changes(lines: Iterable[Line], tables: Iterable[Table], pairs: Iterable[Setting]) -> list[Change]:
    """Every before -> after: baseline and final columns, arrows in prose, lines of a baseline and of a final."""
    return [*_table_changes(tables), *_arrow_changes(lines), *_pair_changes(list(pairs), list(lines))]


def count_in(*texts: str) -> int | None:
    """The number of items that a text names: "(16 Q)", "n = 500", "24 questions"."""
    for text in texts:
        if match := COUNT.search(text):
            return int((match[1] or match[2]).replace(",", ""))
    return None


def _table_changes(tables: Iterable[Table]) -> Iterator[Change]:
    for table in tables:
        numeric = table.having("score")
        before = [c for c in numeric if stage(c.name) == "baseline"]
        after = [c for c in numeric if stage(c.name) in ("final", "best")]
        if len(before) != 1 or len(after) != 1:
            continue
        delta = table.having("delta")
        for row in range(table.height):
            old, new = before[0].cells[row], after[0].cells[row]
            if old.value is None or new.value is None:
                continue
            names = [table.label(row, role) for role in ("task", "arm", "metric")]
            metric = " ".join(name for name in names if name) or after[0].name
            counts = table.having("n")
            n = counts[0].cells[row].value if counts else None
            words = " ".join(c.cells[row].text for c in table.columns if c.role in ("text", "p", "interval", "spread"))
            yield Change(
                metric=metric,
                before=old.value,
                after=new.value,
                stated=delta[0].cells[row].value if delta else None,
                n=(n and n.count) or count_in(metric, *reversed(table.heading)),
                heading=table.heading,
                line=new.line,
                cells=f"{metric}: {before[0].name} {old.text}, {after[0].name} {new.text}",
                words=words,
                table=table.name,
                rate=rate(new.value, after[0], metric) is not None,
            )


def _arrow_changes(lines: Iterable[Line]) -> Iterator[Change]:
    for line in lines:
        text = plain(_BULLET.sub("", line.text))
        arrow = _ARROW.search(text)
        if line.code or not arrow or len(text) > 400:
            continue
        opened = text.rfind("(", 0, arrow.start())
        closed = text.find(")", arrow.end())
        inside = opened >= 0 and closed > 0 and text.count(")", opened, arrow.start()) == 0
        left, right = (opened + 1, closed) if inside else (text.find(":") + 1, len(text))
        old, new = values_in(text[left : arrow.start()]), values_in(text[arrow.end() : right])
        if not old or not new or not text[: left - 1].strip(" (:") or old[-1].unit in _SIZES:
            continue
        elsewhere = values_in(text[text.find(":") + 1 : left - 1]) if inside else new[1:]
        stated = [v for v in elsewhere if v.signed or v.unit in ("%", "pp")]
        metric = text.partition(":")[0].strip() if ":" in text else text[:left].strip(" (")
        rated = rate(new[0], None, metric) is not None and rate(old[-1], None, metric) is not None
        yield Change(
            metric, old[-1], new[0], stated[0] if stated else None, count_in(text, *reversed(line.heading)),
            line.heading, line.number, text, text, rate=rated,
        )  # fmt: skip


def _pair_changes(pairs: list[Setting], lines: list[Line]) -> Iterator[Change]:
    texts = {line.number: line.text for line in lines}
    for index, old in enumerate(pairs):
        name = old.group or old.key
        if not _BASE.match(name) or old.value is None:
            continue
        rest = _BASE.sub("", name).strip()
        for new in pairs[index + 1 :]:
            other = new.group or new.key
            if new.heading != old.heading or not _FINAL.match(other) or new.value is None:
                continue
            inner = new.key if new.group else ""
            if _FINAL.sub("", other).strip() != rest or inner != (old.key if old.group else ""):
                continue
            metric = f"{rest} {inner}".strip() or "result"
            text = texts.get(new.line, "")
            yield Change(
                metric, old.value, new.value, _stated(inner, text), count_in(rest, *reversed(new.heading)),
                new.heading, new.line, f"{metric}: {old.value.shown} -> {new.value.shown}", text,
                rate=rate(new.value, None, metric) is not None,
            )  # fmt: skip
            break


def _stated(inner: str, text: str) -> Value | None:
    """The change that stands in brackets behind a value: "(≈ -13.3% loss, -13.1% ppl)"."""
    bracket = re.search(r"\(([^()]*[+\-−]\s?\d[^()]*)\)", text)
    if bracket is None:
        return None
    for part in bracket[1].split(","):
        found = values_in(part)
        word = part.strip().split()[-1].lower() if part.strip() else ""
        if found and (len(values_in(bracket[1])) == 1 or inner.lower().startswith(word[:1])):
            return found[0]
    return None
