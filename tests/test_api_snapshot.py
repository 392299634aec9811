"""What plugin authors rely on: a change to it is made on purpose, or not at all.

The snapshot is ``data/api_snapshot.txt``. After a change that is meant, write it anew with
``python tests/test_api_snapshot.py`` and say in CHANGELOG.md what plugin authors must do.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

SNAPSHOT = Path(__file__).parent / "data" / "api_snapshot.txt"


def signature(function: Any) -> str:
    """Return the arguments and the result of a function, annotations as they were written."""
    return str(inspect.signature(function)).replace("'", "")


def own_annotations(kind: type) -> dict[str, Any]:
    """Return the annotations that `kind` itself has; built-in classes have none."""
    return inspect.get_annotations(kind) if hasattr(kind, "__annotations__") else {}


def fields(kind: type) -> Iterator[str]:
    """Yield the fields of an attrs class, in the order of its arguments."""
    # As they were written: `attrs.Attribute.type` holds classes once somebody has resolved them.
    written = {name: text for base in reversed(kind.__mro__) for name, text in own_annotations(base).items()}
    for field in attrs.fields(kind):
        default = ""
        if field.default is not attrs.NOTHING:
            factory = getattr(field.default, "factory", None)
            default = f" = {factory.__name__}()" if factory is not None else f" = {field.default!r}"
        yield f"{'*, ' if field.kw_only else ''}{field.name}: {written[field.name]}{default}"


def members(kind: type) -> Iterator[str]:
    """Yield the public methods, properties and annotated attributes that `kind` itself defines."""
    if attrs.has(kind):
        yield from fields(kind)
    else:
        yield from (
            f"{name}: {text}" for name, text in own_annotations(kind).items() if not name.startswith("_")
        )
    for name, value in vars(kind).items():
        if name.startswith("_") and (name != "__call__" or attrs.has(kind)):
            continue
        if isinstance(value, property):
            yield f"property {name} -> {inspect.signature(value.fget).return_annotation}"
        elif isinstance(value, classmethod | staticmethod):
            yield f"{type(value).__name__} {name}{signature(value.__func__)}"
        elif inspect.isfunction(value):
            awaited = "async " if inspect.iscoroutinefunction(value) else ""
            yield f"{awaited}def {name}{signature(value)}"


def described(name: str, value: Any) -> Iterator[str]:
    """Yield the lines that describe one public name."""
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"class {name}({bases})"
        yield from (f"    {line}" for line in members(value))
    elif inspect.isfunction(value):
        yield f"def {name}{signature(value)}"
    elif hasattr(value, "project_name"):
        yield f"{name}: {type(value).__name__} of {value.project_name!r}"
    elif callable(value) or not isinstance(value, tuple):
        yield f"{name}: {value!r}"
    else:
        yield f"{name} = {value!r}"


def public() -> Iterator[str]:
    """Yield the description of all that plugins may use: names, hooks, what hooks are told, test helpers."""
    for module in ("pettingllms.api", "pettingllms.testing"):
        yield f"[{module}]"
        loaded = importlib.import_module(module)
        for name in loaded.__all__:
            if name == "CHECKS":  # the kit may check more; that is no break
                continue
            yield from described(name, getattr(loaded, name))
        yield ""
    from pettingllms.plugins import events, hookspecs

    yield "[hooks]"
    for name in hookspecs.HOOKS:
        yield f"def {name}{signature(getattr(hookspecs, name))}"
    yield ""
    yield "[what observers are told]"
    for kind in (events.RunInfo, events.RolloutSummary, events.IterationReport):
        yield from described(kind.__name__, kind)


def test_the_public_interface_is_as_recorded() -> None:
    recorded, found = SNAPSHOT.read_text(encoding="utf-8").splitlines(), list(public())
    change = "\n".join(difflib.unified_diff(recorded, found, "recorded", "found", lineterm="", n=1))
    assert not change, f"the interface for plugins changed; {__doc__.split('. ', 1)[1]}\n{change}"


if __name__ == "__main__":
    SNAPSHOT.parent.mkdir(exist_ok=True)
    SNAPSHOT.write_text("\n".join(public()) + "\n", encoding="utf-8")
