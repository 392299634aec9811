"""What a conformance check returns, and how it shows two values that should be equal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, NoReturn

import attrs

from pettingllms.env.codec import to_json

Status = Literal["pass", "fail", "skipped"]


@attrs.frozen
class CheckResult:
    """The result of one check.

    Attributes:
        name: The check.
        status: ``skipped`` when the environment lacks what the check needs; `detail` says what.
        detail: One line: what was looked at, or what was wrong and where.
        evidence: For a failure, the task, role, turn, response and the two values that differ.
        seconds: Wall time.
    """

    name: str
    status: Status
    detail: str
    evidence: Mapping[str, Any] = attrs.field(factory=dict)
    seconds: float = 0.0


@attrs.frozen
class ConformanceReport:
    """The results of all checks on one environment.

    Attributes:
        environment: Its name.
        results: One `CheckResult` a check, in the order they ran.
        episodes: Tasks played by each kind of player.
        seed: Seed of all choices of the kit.
        options: The options checked, as plain values.
    """

    environment: str
    results: tuple[CheckResult, ...]
    episodes: int
    seed: int
    options: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The checks that failed."""
        return tuple(result for result in self.results if result.status == "fail")

    @property
    def seconds(self) -> float:
        """Wall time of all checks."""
        return sum(result.seconds for result in self.results)

    def result(self, name: str) -> CheckResult:
        """Return the result of the check `name`.

        Raises:
            KeyError: There is no such check.
        """
        for result in self.results:
            if result.name == name:
                return result
        raise KeyError(name)

    def require(self) -> None:
        """Raise `AssertionError` with one line for each failed check; do nothing when all passed."""
        if not self.ok:
            lines = [f"  {result.name}: {result.detail}" for result in self.failures]
            raise AssertionError("\n".join([f"{self.environment} does not conform:", *lines]))

    def to_plain(self) -> dict[str, Any]:
        """Return the report as dicts, lists and scalars."""
        return {**attrs.asdict(self), "ok": self.ok, "seconds": round(self.seconds, 3)}


class CheckFailedError(Exception):
    """Ends a check as failed."""

    def __init__(self, detail: str, evidence: Mapping[str, Any]) -> None:
        super().__init__(detail)
        self.detail = detail
        self.evidence = dict(evidence)


class CheckSkippedError(Exception):
    """Ends a check as skipped."""


def fail(detail: str, **evidence: Any) -> NoReturn:
    """End the running check as failed."""
    raise CheckFailedError(detail, evidence)


def skip(reason: str) -> NoReturn:
    """End the running check as skipped."""
    raise CheckSkippedError(reason)


def short(value: Any, limit: int = 80) -> str:
    """Return `value` as one line of at most `limit` characters."""
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text
    return text if len(text) <= limit else f"{text[: limit - 3]}... ({len(text)} characters)"


def text_of(value: Any) -> str:
    """Return `value` as JSON, or its repr where it has no JSON form (`json` checks report that)."""
    try:
        return to_json(value)
    except Exception:
        return repr(value)


def difference(first: str, second: str) -> str:
    """Return where two texts of `text_of` differ, such as ``turn: 1 became 2``."""
    try:
        found = _walk(json.loads(first), json.loads(second), "")
    except ValueError:
        found = None
    return found or f"{short(first)} became {short(second)}"


def _walk(first: Any, second: Any, path: str) -> str | None:
    if isinstance(first, dict) and isinstance(second, dict):
        for key in sorted(first.keys() | second.keys()):
            below = f"{path}.{key}" if path else str(key)
            if (key in first) != (key in second):
                return f"{below}: only in the {'first' if key in first else 'second'}"
            if (found := _walk(first[key], second[key], below)) is not None:
                return found
        return None
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for index, pair in enumerate(zip(first, second, strict=True)):
            if (found := _walk(*pair, f"{path}[{index}]")) is not None:
                return found
        return None
    return None if first == second else f"{path or 'value'}: {short(first)} became {short(second)}"
