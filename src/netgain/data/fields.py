"""Templates over the fields of a row: "Review: {sentence}", a bare field name, or a path such as answers.text.0."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from netgain.errors import UserError, did_you_mean


@dataclass(frozen=True, slots=True)
class Row:
    """A record of a file and the place to name when something is wrong with it."""

    where: str
    fields: Mapping[str, Any]


def lookup(row: Row, name: str) -> Any:
    """The value of a field, or of a path into nested fields: "answers.text.0"."""
    if name in row.fields:
        return row.fields[name]
    value: Any = row.fields
    for part in name.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, Sequence) and not isinstance(value, str) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            known = tuple(str(field) for field in row.fields)
            raise UserError(f'{row.where}: no field "{name}".{did_you_mean(name, known)} It has {", ".join(known)}.')
    return value


def written(value: Any) -> str:
    """A value as text: JSON's spelling for true and false, no ".0" behind a whole number."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


class Pattern:
    """A compiled template; literal braces are doubled, as in Python's format strings."""

    def __init__(self, text: str, *, bare_is_field: bool) -> None:
        self._text = text
        if bare_is_field and "{" not in text and "}" not in text:
            self._parts: list[tuple[str, str | None]] = [("", text)]
            return
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            raise UserError(f'template "{text}": {error}; a literal brace is written twice.') from None
        for _, name, form, conversion in parsed:
            if name == "" or form or conversion:
                raise UserError(f'template "{text}": between braces stands one field name and nothing else.')
        self._parts = [(literal, name) for literal, name, _, _ in parsed]

    @property
    def only_field(self) -> str | None:
        """The field whose bare value this template is, if it is one."""
        return self._parts[0][1] if len(self._parts) == 1 and not self._parts[0][0] else None

    def fill(self, row: Row) -> str:
        """The text for a row; a field without a value is an error."""
        return "".join(literal + (self._value(row, name) if name is not None else "") for literal, name in self._parts)

    def _value(self, row: Row, name: str) -> str:
        value = lookup(row, name)
        if value is None:
            raise UserError(f'{row.where}: the field "{name}" is empty, and the template "{self._text}" needs it.')
        return written(value)
