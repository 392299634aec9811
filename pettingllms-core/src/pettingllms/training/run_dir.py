"""The folder of a run: ``<output>/<task>/<date>/<time>/``."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import attrs

from pettingllms.config.render import to_toml
from pettingllms.config.schema import Config
from pettingllms.errors import ConfigError


@attrs.frozen
class RunDir:
    """Paths of one run."""

    root: Path
    made: tuple[Path, ...] = ()
    """Folders above it that were made with it, the innermost first."""

    @classmethod
    def create(cls, config: Config, now: datetime) -> RunDir:
        """Make a folder that no other run has.

        Raises:
            ConfigError: `tracking.output` cannot be written.
        """
        task = (config.env.name or "run").rpartition("/")[2]
        day = Path(config.tracking.output) / task / now.strftime("%Y-%m-%d")
        above = tuple(path for path in (day, *day.parents) if not path.exists())
        try:
            day.mkdir(parents=True, exist_ok=True)
            for attempt in range(1000):
                root = day / (now.strftime("%H-%M-%S") + (f"-{attempt + 1}" if attempt else ""))
                try:
                    root.mkdir()
                except FileExistsError:
                    continue
                made = cls(root, above)
                for folder in (made.episodes, made.checkpoints, made.validate):
                    folder.mkdir()
                made.metrics.touch()
                return made
        except OSError as error:
            raise ConfigError(
                f"the output folder {config.tracking.output!r} cannot be written ({error.strerror}); "
                "choose another with --output"
            ) from error
        raise ConfigError(f"{str(day)!r} holds too many runs of this second; try again")

    def discard(self) -> None:
        """Delete the folder of a run that never started, and what was made for it alone."""
        shutil.rmtree(self.root, ignore_errors=True)
        with contextlib.suppress(OSError):  # another run may be in there by now
            for path in self.made:
                path.rmdir()

    @property
    def checkpoints(self) -> Path:
        """One folder a checkpoint."""
        return self.root / "checkpoints"

    @property
    def episodes(self) -> Path:
        """Recorded episodes, one JSON-lines file an iteration."""
        return self.root / "episodes"

    @property
    def validate(self) -> Path:
        """Validation results."""
        return self.root / "validate"

    @property
    def metrics(self) -> Path:
        """One line of JSON an iteration."""
        return self.root / "metrics.jsonl"

    @property
    def config(self) -> Path:
        """The resolved settings."""
        return self.root / "config.toml"

    def write_config(self, config: Config) -> None:
        """Write the resolved settings."""
        self.config.write_text(to_toml(config), encoding="utf-8")

    def write_json(self, name: str, value: Mapping[str, Any]) -> Path:
        """Write `value` as an indented JSON file below the run's folder."""
        path = self.root / name
        replace_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")
        return path

    def append_lines(self, name: str, values: list[dict[str, Any]]) -> None:
        """Append one line of JSON for each of `values`."""
        with (self.root / name).open("a", encoding="utf-8") as file:
            for value in values:
                file.write(json.dumps(value, sort_keys=True) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write `text` so that a killed process leaves the old file or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    found = {"python": sys.version.split()[0], "platform": platform.platform()}
    for name in ("pettingllms-core", "torch", "transformers", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
