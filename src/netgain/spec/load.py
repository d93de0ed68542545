"""Study files: YAML to a Study, and every error with its file, its line and the offending text."""

import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from netgain.errors import UserError, did_you_mean
from netgain.spec.plugin import Plugin
from netgain.spec.run import SpecError
from netgain.spec.study import Study

MAX_BYTES = 1_000_000
MAX_NODES = 20_000

Loc = tuple[str | int, ...]


def load(path: str | Path, scale: str | None = None) -> Study:
    """The study in a YAML file, at one of its scales."""
    file = Path(path)
    node, text = _compose(file)
    raw = _construct(file, node)
    try:
        study = Study.model_validate({**raw, "folder": file.resolve().parent})
        return study.at(scale)
    except ValidationError as error:
        raise UserError("\n".join(_sentences(file, node, text, _flatten(error)))) from None
    except SpecError as error:
        raise UserError("\n".join(_sentences(file, node, text, [(error.loc, "value_error", str(error))]))) from None


def _compose(file: Path) -> tuple[yaml.Node, list[str]]:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise UserError(f"{file}: larger than {MAX_BYTES:,} bytes; a study file is a page.")
        text = file.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise UserError(f"{file}: no such study file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as text: {error}.") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise UserError(f"{file}:{line}: not valid YAML: {error.problem}.") from None
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{file}:1: a study file is a mapping with name, question, base, ...")
    return node, text.splitlines()


def _construct(file: Path, node: yaml.Node) -> dict[str, Any]:
    """Plain Python values; duplicate keys and alias bombs are refused, since both hide what is asked."""
    budget = MAX_NODES

    def build(node: yaml.Node) -> Any:
        nonlocal budget
        budget -= 1
        if budget < 0:
            raise UserError(f"{file}: expands to more than {MAX_NODES:,} values; remove the nested aliases.")
        if isinstance(node, yaml.SequenceNode):
            return [build(child) for child in node.value]
        if isinstance(node, yaml.MappingNode):
            found: dict[Any, Any] = {}
            for key_node, value_node in node.value:
                key = str(key_node.value)
                if key in found:
                    line = key_node.start_mark.line + 1
                    raise UserError(f'{file}:{line}: "{key}" appears twice; keep one of them.')
                found[key] = build(value_node)
            return found
        return yaml.SafeLoader("").construct_object(node)

    try:
        return build(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise UserError(f"{file}:{line}: {error.problem}.") from None


def _flatten(error: ValidationError, prefix: Loc = ()) -> Iterator[tuple[Loc, str, str]]:
    """(loc, type, message) of every error, also of those raised while a plugin parsed its own fields."""
    for entry in error.errors():
        loc, cause = (*prefix, *entry["loc"]), entry.get("ctx", {}).get("error")
        if isinstance(cause, ValidationError):
            yield from _flatten(cause, loc)
        elif isinstance(cause, SpecError):
            yield (*loc, *cause.loc), entry["type"], str(cause)
        else:
            yield loc, entry["type"], entry["msg"].removeprefix("Value error, ")


def _sentences(file: Path, root: yaml.Node, text: list[str], errors: Iterable[tuple[Loc, str, str]]) -> Iterator[str]:
    for loc, kind, message in errors:
        line, depth = _line(root, loc)
        place = ".".join(str(part) for part in loc if not _is_tag(loc, part))
        if kind == "extra_forbidden":
            known = _fields_at(root, loc)
            message = f'unknown field "{loc[-1]}".{did_you_mean(str(loc[-1]), known)}'
        elif kind == "missing":
            message = "this field is required" if depth else f"the study needs {loc[-1]}"
        source = text[line - 1].strip() if 0 < line <= len(text) else ""
        yield f"{file}:{line}: {place}: {message}" + (f"  [{source}]" if source else "")


def _is_tag(loc: Loc, part: str | int) -> bool:
    """A union's branch shows up in pydantic's loc but not in the file."""
    return isinstance(part, str) and part in ("list[any]", "dict[str,any]", "Schedule", "float")


def _line(root: yaml.Node, loc: Loc) -> tuple[int, int]:
    """(line, depth): the line of the deepest node along loc that the file has."""
    node, line, depth = root, root.start_mark.line + 1, 0
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if str(key.value) == str(part):
                    node, line, depth = value, key.start_mark.line + 1, depth + 1
                    break
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line, depth = node.start_mark.line + 1, depth + 1
    return line, depth


def _kind_at(root: yaml.Node, loc: Loc) -> dict[Loc, str]:
    """The `kind` that the file names at each mapping along loc."""
    kinds: dict[Loc, str] = {}
    node = root
    for depth, part in enumerate(loc):
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == "kind":
                    kinds[loc[:depth]] = str(value.value)
            node = next((v for k, v in node.value if str(k.value) == str(part)), node)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
    return kinds


def _fields_at(root: yaml.Node, loc: Loc) -> set[str]:
    """The field names that would have been right where the unknown one stands."""
    kinds, classes = _kind_at(root, loc), {Study}
    for depth, part in enumerate(loc[:-1]):
        inner = {m for c in classes if part in c.model_fields for m in _models(c.model_fields[str(part)].annotation)}
        classes = inner or classes
        kind = kinds.get(loc[: depth + 1])
        if kind:
            classes = {_narrow(c, kind) for c in classes}
    return {name for c in classes for name in c.model_fields}


def _narrow(model: type[BaseModel], kind: str) -> type[BaseModel]:
    if issubclass(model, Plugin) and kind in model.kinds():
        return model.resolve(kind)
    return model


def _models(annotation: Any) -> set[type[BaseModel]]:
    """Every model named anywhere in an annotation."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return {annotation} if issubclass(annotation, BaseModel) else set()
    return {model for part in typing.get_args(annotation) for model in _models(part)}
