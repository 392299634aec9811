"""Finding plugins: every entry point of the group ``pettingllms``, and none of them trusted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata

import attrs

from pettingllms.plugins.lazy import describe_failure
from pettingllms.plugins.markers import PROJECT

UNKNOWN_VERSION = "unknown"


@attrs.frozen(kw_only=True)
class Candidate:
    """A plugin that has been found and not yet imported.

    Attributes:
        name: Its entry-point name, which is its namespace.
        distribution: Name of the distribution that brings it.
        version: Version of that distribution.
        module: The entry point's value, ``package.module`` or ``package.module:object``.
        load: Imports it.
        defect: Why it cannot even be tried, or an empty string.
    """

    name: str
    distribution: str
    version: str
    module: str
    load: Callable[[], object] = attrs.field(repr=False, eq=False)
    defect: str = ""

    @property
    def source(self) -> str:
        """Distribution and version, as messages name them."""
        return f"{self.distribution} {self.version}"


def distribution_version(name: str) -> str:
    """Return the installed version of the distribution `name`, or ``"unknown"``."""
    try:
        return metadata.version(name) or UNKNOWN_VERSION
    except metadata.PackageNotFoundError:
        return UNKNOWN_VERSION


def _candidate(entry_point: metadata.EntryPoint, distribution: str, version: str) -> Candidate:
    return Candidate(
        name=entry_point.name,
        distribution=distribution,
        version=version,
        module=entry_point.value,
        load=entry_point.load,
    )


def _nothing() -> object:
    raise AssertionError("a candidate with a defect is never loaded")


def installed_candidates() -> Iterator[Candidate]:
    """Yield the plugins of all installed distributions.

    Distributions are read one by one, because one with unreadable metadata would make
    `importlib.metadata.entry_points` fail for all. Of a distribution that is found twice
    on the path the first counts, as it does for imports.
    """
    seen: set[str] = set()
    for distribution in metadata.distributions():
        text = distribution.read_text("entry_points.txt") or ""
        if PROJECT not in text:
            continue
        facts = distribution.metadata
        name = str(facts["Name"] or "") or UNKNOWN_VERSION
        key = re.sub(r"[-_.]+", "-", name).lower()
        if name != UNKNOWN_VERSION and key in seen:
            continue
        seen.add(key)
        version = str(facts["Version"] or UNKNOWN_VERSION)
        try:
            found = [
                _candidate(entry_point, name, version)
                for entry_point in distribution.entry_points
                if entry_point.group == PROJECT
            ]
        except Exception as error:
            defect = f"its entry_points.txt cannot be read: {describe_failure(error, name)}"
            found = [
                Candidate(
                    name=name, distribution=name, version=version, module="", load=_nothing, defect=defect
                )
            ]
        yield from found


def entry_point_candidates(entry_points: Iterable[metadata.EntryPoint]) -> Iterator[Candidate]:
    """Yield candidates for given entry points, with the distribution that each belongs to."""
    for entry_point in entry_points:
        owner = entry_point.dist
        if owner is None:
            yield _candidate(entry_point, "(no distribution)", UNKNOWN_VERSION)
        else:
            yield _candidate(entry_point, str(owner.metadata["Name"]), str(owner.version))
