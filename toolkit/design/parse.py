"""From the text of an experiment file to an Experiment, or to errors that say line, field and mend."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from toolkit.design.experiment import Experiment
from toolkit.errors import SpecError

__all__ = ["parse_experiment"]

_DATE = "{input!r} is no date; write it as 2026-09-28"
_MENDS = {
    "missing": "is missing",
    "string_pattern_mismatch": "{input!r} has a form that is not allowed ({pattern})",
    "literal_error": "{input!r} is not known; use {expected}",
    "greater_than": "{input} must be greater than {gt}",
    "greater_than_equal": "{input} must be at least {ge}",
    "less_than": "{input} must be less than {lt}",
    "less_than_equal": "{input} must be at most {le}",
    "union_tag_invalid": "kind {tag!r} is not known; use {expected_tags}",
    "union_tag_not_found": "`kind` is missing; use conversion, mean or ratio",
    "model_type": "{input!r} must be a mapping (`key: value`)",
    "model_attributes_type": "{input!r} must be a mapping (`key: value`)",
    "dict_type": "{input!r} must be a mapping (`key: value`)",
    "tuple_type": "{input!r} must be a list (`- item`)",
    "finite_number": "{input} is not finite; write a plain number",
    "too_short": "needs at least {min_length} of them",
    "date_type": _DATE,
    "date_parsing": _DATE,
    "date_from_datetime_parsing": _DATE,
    "date_from_datetime_inexact": _DATE,
}


def parse_experiment(text: str, source: str) -> Experiment:
    """Return the experiment that the YAML `text` describes; `source` is its file's name, for errors.

    Raises:
        SpecError: with a line for each problem, as `file:line: field: what is wrong and how to mend it`.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            raise SpecError(f"{source}: the file is empty; an experiment file starts with `key:`")
        doubled = [f"{source}:{line}: {path}: is written twice; keep one" for line, path in _doubled(root)]
        if doubled:
            raise SpecError("\n".join(doubled))
        unread = [f"{source}:{line}: {path}: {said}" for line, path, said in _unread(root)]
        if unread:
            raise SpecError("\n".join(unread))
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        where = f":{mark.line + 1}" if mark else ""
        raise SpecError(f"{source}{where}: this is not YAML: {wrong.problem or wrong.context}") from None
    except (yaml.YAMLError, ValueError) as wrong:
        raise SpecError(f"{source}: this is not YAML: {wrong}") from None
    if not isinstance(content, dict):
        raise SpecError(f"{source}: must be a mapping; an experiment file starts with `key:`")
    try:
        return Experiment.model_validate(content)
    except ValidationError as wrong:
        raise SpecError("\n".join(_lines(wrong, root, source))) from None


def _lines(wrong: ValidationError, root: yaml.Node, source: str) -> Iterator[str]:
    seen = set()
    errors = wrong.errors(include_url=False)
    for each in errors:
        if _follows(each, errors):
            continue
        where = [step for step in each["loc"] if not _is_tag(step)]
        if where[-1:] == ["[key]"]:
            where = where[:-2]
        for text in _words(each, where):
            if not where and ": " in text:  # raised for the whole: the text names its field
                field, said = text.split(": ", 1)
                steps: list[int | str] = _steps(field)
            else:
                field, said, steps = _path(where), text, where
            line = f"{source}:{_line(root, steps)}: {field}: {said}"
            if line not in seen:
                seen.add(line)
                yield line


_TAGS = {"conversion", "float", "mean", "ratio", "str", "Lookback"}


def _is_tag(step: int | str) -> bool:
    """Return whether a step of a place is the checker's own word for a variant, not a key of the file."""
    return isinstance(step, str) and (step in _TAGS or step.startswith(("constrained-", "literal[")))


def _follows(error: Any, errors: Sequence[Any]) -> bool:
    """Return whether an error says nothing of its own: parts were wrong, so there are too few; no word where a number is."""
    place = error["loc"]
    if error["type"] == "too_short":
        return any(each["loc"][: len(place)] == place and len(each["loc"]) > len(place) for each in errors)
    if place and place[-1] in {"constrained-str", "str"}:  # one of several forms, of which it is another
        return isinstance(error["input"], dict)
    return bool(place) and str(place[-1]).startswith("literal[") and not isinstance(error["input"], str)


def _words(each: Any, where: Sequence[int | str]) -> list[str]:
    kind, given = each["type"], each.get("input")
    if each["loc"][-1:] == ("[key]",):
        return [f"{given!r} is no name, though it may look like one; put quotes around it"]
    if kind == "value_error":
        return str(each["ctx"]["error"]).split("\n")
    if kind == "extra_forbidden":
        known = sorted(_known_keys(Experiment, where[:-1]))
        if where[-1] in known:
            kinds = " or ".join(f"`kind: {each}`" for each in _kinds_with(str(where[-1]), where[:-1]))
            return [f"belongs to {kinds or 'another form of this'}; remove it, or change the kind"]
        close = difflib.get_close_matches(str(where[-1]), known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known are {', '.join(known)}"
        return [f"unknown key; {hint}"]
    if kind in _MENDS:
        return [_MENDS[kind].format(**{"input": given, **each.get("ctx", {})})]
    return [f"{each['msg'][0].lower()}{each['msg'][1:]} (it is {given!r})"]


def _path(where: Sequence[int | str]) -> str:
    said = ""
    for step in where:
        said += f"[{step}]" if isinstance(step, int) else f".{step}" if said else step
    return said or "the file"


def _steps(field: str) -> list[int | str]:
    name, _, rest = field.partition("[")
    return [name, int(rest.rstrip("]"))] if rest else [name]


def _line(node: yaml.Node, steps: Sequence[int | str]) -> int:
    """Return the line (from 1) of the deepest node on the way that is there."""
    line = node.start_mark.line
    for step in steps:
        found: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(step):
                    found, line = value, key.start_mark.line
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = node.value[step]
            line = found.start_mark.line
        if found is None:
            break
        node = found
    return line + 1


def _unread(node: yaml.Node, path: str = "") -> Iterator[tuple[int, str, str]]:
    """Give line, field and mend of every value that looks like one of YAML's own kinds and is none: 2026-02-30."""
    if isinstance(node, yaml.ScalarNode):
        try:
            yaml.SafeLoader("").construct_object(node)
        except ValueError as wrong:
            day = node.tag.endswith(":timestamp")
            mend = "write a day that is in the calendar, as 2026-09-28" if day else "quote it if it is a text"
            yield node.start_mark.line + 1, path, f"{node.value} cannot be read ({wrong}); {mend}"
    else:
        for inner, here in _inside(node, path):
            yield from _unread(inner, here)


def _inside(node: yaml.Node, path: str) -> Iterator[tuple[yaml.Node, str]]:
    """Give the values of a mapping or list, each with its field."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield value, f"{path}.{key.value}" if path else str(key.value)
    elif isinstance(node, yaml.SequenceNode):
        for at, value in enumerate(node.value):
            yield value, f"{path}[{at}]"


def _doubled(node: yaml.Node, path: str = "") -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, _ in node.value:
            here = f"{path}.{key.value}" if path else str(key.value)
            if str(key.value) in seen:
                yield key.start_mark.line + 1, here
            seen.add(str(key.value))
    for inner, here in _inside(node, path):
        yield from _doubled(inner, here)


def _known_keys(model: Any, where: Sequence[int | str]) -> set[str]:
    """Return the keys allowed at `where` under `model`, in all its variants."""
    return {
        field.alias or name for each in _models_at(model, where) for name, field in each.model_fields.items()
    }


def _kinds_with(key: str, where: Sequence[int | str]) -> list[str]:
    """Return the kinds whose variants, at `where` in the file, have `key`."""
    return [
        each.model_fields["kind"].annotation.__args__[0]  # type: ignore[union-attr]
        for each in _models_at(Experiment, where)
        if key in each.model_fields and "kind" in each.model_fields
    ]


def _models_at(model: Any, where: Sequence[int | str]) -> list[type[BaseModel]]:
    """Return the variants of what stands at `where` under `model`."""
    models = list(_models(model))
    for step in where:
        if isinstance(step, str):
            models = [
                inner
                for each in models
                if step in each.model_fields
                for inner in _models(each.model_fields[step].annotation)
            ]
    return models


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, tuple, typing.Annotated):
        for inner in typing.get_args(annotation):
            yield from _models(inner)
