"""Dotted paths into settings: list them, look one up, get, put, read from text, write as text.

The launch form, `--set`, grids, filters, comparisons of configurations and forks all use these,
so a text means the same wherever it is typed. A path is that of the YAML (`optim.steps`,
`prompt.given.rte`); `methods.dtvg.threshold` is that setting in every row of the method, and
`methods.0.threshold` in the first row.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dtvg import plain_text
from dtvg.errors import ConfigError, unknown
from dtvg.methods.specs import METHODS
from dtvg.methods.specs.rates import ENTRY_FIELDS, RATE_FIELDS

METHOD_ROWS = "methods"
_NULL = ("null", "Null", "NULL", "~")
_WHOLE_SPAN = re.compile(r"(\d+)(?:-|\.\.)(\d+)")
_LONGEST_SPAN = 10_000
_NOT_AMONG = re.compile(r"^$|[,\[\]{}\"']")
"""In a text among others: what needs quotation marks around it."""
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


@dataclass(frozen=True)
class Leaf:
    """One setting: a field of the configuration that is not a group of settings itself."""

    path: str
    """Dotted name, e.g. `optim.steps`."""
    name: str
    """Last part of the path."""
    kind: Any
    """Its type without `None`."""
    optional: bool
    """Whether it may be None."""
    info: FieldInfo

    @property
    def group(self) -> str:
        """The path of the group it belongs to; empty for settings of the whole."""
        return self.path.rpartition(".")[0]

    @property
    def default(self) -> Any:
        """Its value where none is given; None where one must be given."""
        return None if self.info.is_required() else self.info.default

    @property
    def left_out(self) -> Any:
        """The default as plain values, for a setting that YAML leaves out."""
        return list(self.default) if isinstance(self.default, tuple) else self.default

    @property
    def description(self) -> str:
        """What it means, in one or two sentences."""
        return self.info.description or ""

    @property
    def options(self) -> tuple[Any, ...] | None:
        """What can be chosen; None where anything of the type can be given."""
        if get_origin(self.kind) is not Literal:
            return None
        return (*((None,) if self.optional else ()), *get_args(self.kind))

    @property
    def bounds(self) -> dict[str, float]:
        """Its limits by pydantic's names: `ge`, `gt`, `le`, `lt`."""
        found: dict[str, float] = {}
        for limit in self.info.metadata:
            found |= {key: getattr(limit, key) for key in _BOUNDS if hasattr(limit, key)}
        return found

    @property
    def entry(self) -> Any:
        """The type of one entry of a list; None where it is not a list."""
        return _plain(get_args(self.kind)[0]) if get_origin(self.kind) is tuple else None

    @property
    def empty(self) -> str | None:
        """What an empty value means, in two or three words; None where it must not be empty."""
        extra = self.info.json_schema_extra
        if isinstance(extra, dict) and "empty" in extra:
            return str(extra["empty"])
        return "automatic" if self.optional else None

    def allowed(self) -> str:
        """Say what it takes, e.g. `a whole number, at least 1`."""
        if self.options is not None:
            said = ", ".join("null" if option is None else str(option) for option in self.options)
            return f"one of {said}"
        if get_origin(self.kind) is dict:
            return "a mapping such as {name: value}"
        if self.entry is not None:
            return "a list such as [one, two]"
        limits = [f"{_BOUNDS[key]} {_written(limit)}" for key, limit in self.bounds.items()]
        kind = _KINDS.get(self.kind, "a value")
        return ", ".join([kind, " and ".join(limits)] if limits else [kind]) + (
            ", or null" if self.empty else ""
        )


def _written(limit: float) -> str:
    """A limit as people write it: 100,000,000, not 1e+08."""
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:g}"


# ---- which settings there are


@functools.cache
def leaves(model: type[BaseModel], prefix: str = "") -> tuple[Leaf, ...]:
    """Return every setting of a model in its order, those of its groups included.

    Args:
        model: a configuration, one of its sections, or a method's settings.
        prefix: of their paths, e.g. `optim`.
    """
    found: list[Leaf] = []
    for name, info in model.model_fields.items():
        path = f"{prefix}.{name}" if prefix else name
        kind, optional = _without_none(info.annotation)
        if _is_model(kind):
            found += leaves(kind, path)
        else:
            found.append(Leaf(path, name, kind, optional, info))
    return tuple(found)


def method_leaves(method: str, prefix: str | None = None) -> tuple[Leaf, ...]:
    """Return the settings of a method, its rates last; its name and how they were tuned left out.

    Args:
        method: its name; one that is no method here, as of Stage I or of a package that is not
            installed, has none.
        prefix: of their paths; None: `methods.<method>`.
    """
    if method not in METHODS:
        return ()
    prefix = prefix or f"{METHOD_ROWS}.{method}"
    made = [leaf for leaf in leaves(METHODS[method], prefix) if leaf.group == prefix]
    idle = _idle_rates(method)
    shown = [leaf for leaf in made if leaf.name != "name" and leaf.name not in idle]
    return tuple(sorted(shown, key=lambda leaf: leaf.name in RATE_FIELDS))


def _idle_rates(method: str) -> set[str]:
    """Return the fields for rates of what a method does not train."""
    spec = METHODS[method]
    if spec.code:  # of another package, which may train what its settings do not tell
        return set()
    rated = spec.model_validate({"name": method}).rated
    return {field for what, field in ENTRY_FIELDS.items() if what not in (*rated, "decay")}


def groups(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return a model's groups of settings by name."""
    kinds: dict[str, Any] = {name: info.annotation for name, info in model.model_fields.items()}
    return {name: kind for name, kind in kinds.items() if _is_model(kind)}


def find(path: str, model: type[BaseModel]) -> Leaf | None:
    """Return the setting at a path, also one entry of a mapping; None where there is none."""
    for leaf in _candidates(path, model):
        if leaf.path == path:
            return leaf
        if get_origin(leaf.kind) is dict and path.startswith(f"{leaf.path}."):
            key = path.removeprefix(f"{leaf.path}.")
            kind, optional = _without_none(get_args(leaf.kind)[1])
            return replace(leaf, path=path, name=key, kind=kind, optional=optional)
    return None


def _candidates(path: str, model: type[BaseModel]) -> Iterable[Leaf]:
    head, _, tail = path.partition(".")
    method = tail.partition(".")[0]
    if head == METHOD_ROWS and head in model.model_fields and method in METHODS:
        return method_leaves(method)
    return leaves(model)


def keys(model: type[BaseModel], group: Sequence[str]) -> list[str]:
    """Return the names that may stand in a group; nothing where there is no such group.

    Args:
        model: a configuration.
        group: keys down to the group, e.g. `["optim"]`; empty: the whole.
    """
    place: Any = model
    for part in group:
        field = place.model_fields.get(part) if _is_model(place) else None
        place = None if field is None else _without_none(field.annotation)[0]
    return list(place.model_fields) if _is_model(place) else []


def explain(path: str, model: type[BaseModel]) -> str:
    """Say in a sentence or two what is allowed at a path; for an unknown one what was meant."""
    leaf = find(path, model)
    if leaf is not None:
        needed = leaf.info.is_required()
        given = "" if needed else f" ({write(leaf, leaf.default) or 'empty'} where none is given)"
        return f"'{path}' takes {leaf.allowed()}{given}. {leaf.description}".strip()
    parts = path.split(".")
    inside = keys(model, parts)
    if inside:
        return f"'{path}' is a group of settings: {', '.join(inside)}."
    if parts[0] == METHOD_ROWS and len(parts) > 1:
        if parts[1] not in METHODS:
            return unknown("method", parts[1], METHODS)
        return unknown("key", path, [leaf.name for leaf in method_leaves(parts[1])])
    return unknown("key", path, keys(model, parts[:-1]))


# ---- values at a path


def _parts(path: str, model: type[BaseModel] | None) -> list[str]:
    """Return the keys of a path; an entry of a mapping is one key, whose name may hold dots."""
    leaf = None if model is None else find(path, model)
    if leaf is None or leaf.path == leaf.name:
        return path.split(".")
    return [*path.removesuffix(f".{leaf.name}").split("."), leaf.name]


def get(values: Any, path: str, default: Any = None, model: type[BaseModel] | None = None) -> Any:
    """Return the value at a path, or the default where there is none.

    Args:
        values: nested mappings as in YAML, or a configuration.
        path: dotted; for a method's setting the first row of that method counts.
        default: what to return where the path leads nowhere.
        model: whose mappings may have entries with dots in their names; None: nobody's.
    """
    place = values
    for part in _parts(path, model):
        if isinstance(place, Mapping):
            place = place.get(part, default)
        elif isinstance(place, BaseModel):
            place = getattr(place, part) if part in type(place).model_fields else default
        elif isinstance(place, list | tuple):
            rows = _rows(place, part)
            place = _as_mapping(place[rows[0]]) if rows else default
        else:
            return default
    return place


def put(
    values: Mapping[str, Any], path: str, value: Any, model: type[BaseModel] | None = None
) -> dict[str, Any]:
    """Return the values with another one at a path; groups that are not there are made.

    A method's setting is put into every row of that method.

    Args:
        values: nested mappings as in YAML.
        path: dotted.
        value: what to put there.
        model: as of `get`.

    Raises:
        ConfigError: the path leads through a value that is not a group, or to a method that is
            not chosen.
    """
    return _put(values, _parts(path, model), value, path)


def _put(values: Mapping[str, Any], parts: Sequence[str], value: Any, path: str) -> dict[str, Any]:
    head, *rest = parts
    if not rest:
        return {**values, head: value}
    child = values.get(head)
    if head == METHOD_ROWS and len(rest) > 1 and isinstance(child, list | tuple | None):
        rows = list(child or ())
        chosen = _rows(rows, rest[0])
        if not chosen:
            raise ConfigError(f"'{path}' varies method '{rest[0]}', but this method is not chosen.")
        for place in chosen:
            rows[place] = _put(_as_mapping(rows[place]), rest[1:], value, path)
        return {**values, head: rows}
    if head == "backbone" and isinstance(child, str):
        child = {"name": child}
    child = {} if child is None and head not in values else child
    if not isinstance(child, Mapping):
        raise ConfigError(f"'{head}' is not a group of settings.")
    return {**values, head: _put(child, rest, value, path)}


def _rows(rows: Sequence[Any], which: str) -> list[int]:
    """Return the places of the rows of a method, or of the one with this number."""
    if which.isdecimal():
        return [int(which)] if int(which) < len(rows) else []
    named = [get(_as_mapping(row), "name") for row in rows]
    return [place for place, name in enumerate(named) if name == which]


def _as_mapping(row: Any) -> Any:
    return {"name": row} if isinstance(row, str) else row


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one with dotted keys; empty mappings stay values."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{path}.")
        else:
            found[path] = value
    return found


def differences(left: Any, right: Any, model: type[BaseModel]) -> dict[str, Any]:
    """Return the paths at which two configurations differ, with the value of the right one."""
    return {
        leaf.path: get(right, leaf.path)
        for leaf in leaves(model)
        if get(left, leaf.path) != get(right, leaf.path)
    }


# ---- text → value and back


def parse(leaf: Leaf | None, text: str) -> Any:
    """Return the value a text stands for; text that fits no type is left for the model to refuse.

    Texts are YAML, read by the setting's type: words need no quotation marks, `1e-3` is a
    number, lists may be written `[0, 1]` or `0 1`, whole numbers as ranges `0-4`, and nothing at
    all is None, or an empty list, mapping or text.

    Args:
        leaf: the setting; None: of no known type, plain YAML.
        text: as typed.
    """
    text = text.strip()
    if leaf is None:
        return _yaml(text)
    if text in _NULL and (leaf.optional or leaf.kind is not str):
        return None
    if not text:
        return _nothing(leaf)
    if get_origin(leaf.kind) is dict:
        return _yaml(text)
    if leaf.entry is not None:
        return _list(text, leaf.entry)
    if _is_quoted(text):
        return _yaml(text)
    if leaf.options is not None:
        return next((option for option in leaf.options if str(option) == text), text)
    return _scalar(text, leaf.kind)


def parse_several(leaf: Leaf | None, text: str) -> list[Any]:
    """Return the values of a text such as `0.1, 0.01`: commas separate values of the setting.

    Commas in quotation marks, brackets and braces are part of a value.

    Raises:
        ConfigError: a bracket or quotation mark without its partner, or nothing between commas.
    """
    return [parse(leaf, part) for part in _split(text)]


def write(leaf: Leaf, value: Any, among: bool = False) -> str:
    """Return the text that `parse` turns into the value.

    Args:
        leaf: the setting.
        value: as in YAML.
        among: whether it is to stand among others, so that its commas need quotation marks.
    """
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return yaml.safe_dump(
            dict(value), default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False
        ).strip()
    if isinstance(value, list | tuple):
        return _written_list(leaf, value, among)
    if isinstance(value, bool):
        return "true" if value else "false"
    text = _written_float(value) if isinstance(value, float) else str(value)
    if not isinstance(value, str):
        return text
    apart = among and _NOT_AMONG.search(text) is not None
    return _quoted(text) if apart or parse(leaf, text) != value else text


def _written_list(leaf: Leaf, values: Sequence[Any], among: bool) -> str:
    entry = Leaf(leaf.path, leaf.name, leaf.entry, False, leaf.info)
    if not all(isinstance(value, str | int | float) for value in values):
        return _flow(list(values))
    plain = " ".join(write(entry, value) for value in values)
    apart = among and _NOT_AMONG.search(plain) is not None
    if values and not apart and parse(leaf, plain) == list(values):
        return plain
    return f"[{', '.join(write(entry, value, among=True) for value in values)}]"


def _quoted(text: str) -> str:
    return yaml.safe_dump(text, default_style='"', width=10_000_000, allow_unicode=True).strip()


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).strip()


def _written_float(value: float) -> str:
    short = f"{value:.12g}"
    return short if float(short) == value else repr(value)


def _yaml(text: str) -> Any:
    """Return what YAML reads, or the text itself where it is none."""
    try:
        return plain_text.load_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def _nothing(leaf: Leaf) -> Any:
    if leaf.optional:
        return None
    if get_origin(leaf.kind) is dict:
        return {}
    if leaf.entry is not None:
        return []
    return "" if leaf.kind is str else None


def _scalar(text: str, kind: Any) -> Any:
    if kind is bool:
        read = _yaml(text)
        return read if isinstance(read, bool) else text
    if kind not in (int, float):
        return text
    try:
        return kind(text)
    except ValueError:
        pass
    try:
        return kind(float(text)) if float(text).is_integer() else text
    except (ValueError, OverflowError):
        return text


def _list(text: str, entry: Any) -> Any:
    """Return a list: YAML's `[a, b]`, or entries apart by spaces, commas or (not numbers) `+`."""
    if entry not in (int, float, str):
        read = _yaml(text)
        return read.replace(",", " ").split() if isinstance(read, str) else read
    if text.startswith("[") and text.endswith("]"):
        try:
            parts = _split(text[1:-1])
        except ConfigError:
            return text
    else:
        parts = re.split(r"[\s,]+" if entry is float else r"[\s,+]+", text)
    found: list[Any] = []
    for part in filter(None, parts):
        span = _WHOLE_SPAN.fullmatch(part) if entry is int else None
        if span and int(span[1]) <= int(span[2]) < int(span[1]) + _LONGEST_SPAN:
            found += range(int(span[1]), int(span[2]) + 1)
        else:
            found.append(_yaml(part) if _is_quoted(part) else _scalar(part, entry))
    return found


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]


def _split(text: str) -> list[str]:
    """Return the parts between commas outside quotation marks and brackets."""
    parts, depth, lowest, quote, escaped = [""], 0, 0, "", False
    for letter in text:
        if quote:
            quote = "" if letter == quote and not escaped else quote
            escaped = quote == '"' and letter == "\\" and not escaped
        elif letter in "'\"" and parts[-1].strip()[-1:] in ("", *"[{,:?", letter):
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
            lowest = min(lowest, depth)
        elif letter == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += letter
    parts = [part.strip() for part in parts]
    if parts and not parts[-1]:
        parts.pop()
    if quote or depth or lowest < 0 or "" in parts:
        raise ConfigError(f"'{text}' is not a list of values.")
    return parts


# ---- types


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """Return a type without `None` and without its notes, and whether None is allowed."""
    annotation = _plain(annotation)
    arguments = get_args(annotation)
    if type(None) in arguments:
        return _plain(next(a for a in arguments if a is not type(None))), True
    return annotation, False


def _plain(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
