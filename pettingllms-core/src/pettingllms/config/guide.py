"""Python config files: the training guide's dicts, and dicts named after the sections.

The guide's dicts are ``config`` (model, and training keys), ``agent_config``, ``training_config``,
``env_config`` and ``checkpoint_config``. They become the same nested mapping that a TOML file gives.
"""

from __future__ import annotations

import logging
import runpy
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from pettingllms.config.schema import (
    AgentConfig,
    AgentsConfig,
    CheckpointConfig,
    Config,
    EnvConfig,
    ModelConfig,
    TrainingConfig,
)
from pettingllms.errors import ConfigError, did_you_mean

logger = logging.getLogger(__name__)

_Places = Mapping[str, tuple[str, str]]


def _keys(cls: type[Any]) -> list[str]:
    return [field.name for field in attrs.fields(cls)]


def _places(section: str, cls: type[Any]) -> dict[str, tuple[str, str]]:
    return {key: (section, key) for key in _keys(cls)}


def _config_places() -> dict[str, tuple[str, str]]:
    places = {**_places("training", TrainingConfig), **_places("model", ModelConfig)}
    places["model_name"] = places.pop("name")
    return places


GUIDE: Mapping[str, _Places] = {
    "config": _config_places(),
    "agent_config": _places("agents", AgentsConfig),
    "training_config": _places("training", TrainingConfig),
    "env_config": _places("env", EnvConfig),
    "checkpoint_config": _places("checkpoint", CheckpointConfig),
}
"""The guide's dicts: each key with the section and key that it sets."""

BESIDE = ("tiny", "preset", "summary", "aliases")
"""What a file may hold beside the sections."""

_SECTIONS = tuple(_keys(Config))


def load_python(path: Path) -> dict[str, Any]:
    """Return what the Python config file `path` sets, as a TOML file would give it.

    The file runs in a namespace of its own. Names that begin with an underscore, and values that are not
    dicts, are the file's own business.

    Raises:
        ConfigError: The file fails (with its line), or a dict or key in it is unknown.
    """
    return read_guide(_run(path), str(path))


def read_guide(namespace: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the settings that the dicts of `namespace` hold; `source` names it in errors.

    Raises:
        ConfigError: A dict or key is unknown, two dicts contradict each other, or there is none.
    """
    known = (*GUIDE, *_SECTIONS, *BESIDE, "wandb")
    result: dict[str, Any] = {}
    owners: dict[tuple[str, str], str] = {}
    for name, value in namespace.items():
        if name.startswith("_"):
            continue
        if name in BESIDE or name == "wandb":
            result[name] = _plain(value)
        elif name in GUIDE or name in _SECTIONS:
            table = _table(name, value, source)
            for key, item, (section, inner) in _entries(name, table, source):
                place = (section, inner)
                sections = result.setdefault(section, {})
                if place in owners and sections[inner] != item:
                    raise ConfigError(
                        f"{source}: {owners[place]} and {name}[{key!r}] both set {section}.{inner}, "
                        "to different values; keep one"
                    )
                owners[place] = f"{name}[{key!r}]"
                sections[inner] = item
        elif isinstance(value, Mapping):
            raise ConfigError(
                f"{source}: the dict {name!r} is not known{did_you_mean(name, known)} "
                "(begin its name with an underscore if it is only a helper)"
            )
    if not result:
        raise ConfigError(f"{source} sets nothing; it must define one of the dicts {', '.join(GUIDE)}")
    return result


def _run(path: Path) -> Mapping[str, Any]:
    try:
        return runpy.run_path(str(path), run_name="pettingllms_config")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a config file may also call sys.exit()
        line = _line(error, path)
        place = f"{path}, line {line}" if line else str(path)
        text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
        raise ConfigError(f"{place}: {type(error).__name__}{f': {text}' if text else ''}") from None


def _line(error: BaseException, path: Path) -> int | None:
    """Return the line of the file itself at which `error` came out of it."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename) == path:
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if Path(frame.filename) == path), None)


def _plain(value: Any) -> Any:
    """Return `value` with every mapping as a dict and every tuple as a list."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _table(name: str, value: Any, source: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{source}: {name} must be a dict, not {type(value).__name__}")
    for key in value:
        if not isinstance(key, str):
            raise ConfigError(f"{source}: the keys of {name} must be strings, not {key!r}")
    return {key: _plain(item) for key, item in value.items()}


def _entries(name: str, table: Mapping[str, Any], source: str) -> list[tuple[str, Any, tuple[str, str]]]:
    """Return (key, value, place) of each entry of one dict."""
    if name not in GUIDE:
        return [(key, value, (name, key)) for key, value in table.items()]
    entries = []
    for key, value in table.items():
        if name == "config" and key == "wandb":
            raise ConfigError(
                f"{source}: config['wandb']: Weights & Biases tracking is not available in this version; "
                "take it out"
            )
        if key not in GUIDE[name]:
            raise ConfigError(f"{source}: {name} has no key {key!r}{_suggestion(name, key)}")
        if (name, key) == ("agent_config", "agents"):
            value = _agents(value, source)
        entries.append((key, value, GUIDE[name][key]))
    return entries


def _suggestion(name: str, key: str) -> str:
    if homes := [other for other in GUIDE if key in GUIDE[other]]:
        return f"; it belongs to {homes[0]}"
    return did_you_mean(key, GUIDE[name]) or f" (known: {', '.join(GUIDE[name])})"


def _agents(agents: Any, source: str) -> Any:
    """Return the guide's list of agents; a role such as 'planning' only describes the seat."""
    if not isinstance(agents, list):
        return agents  # the schema says what it must be
    kept = []
    descriptions = []
    known = _keys(AgentConfig)
    for index, agent in enumerate(agents):
        if isinstance(agent, dict):
            for key in agent:
                if key not in known:
                    where = f"agent_config['agents'][{index}]"
                    hint = did_you_mean(str(key), known) or f" (known: {', '.join(known)})"
                    raise ConfigError(f"{source}: {where} has no key {key!r}{hint}")
            role = agent.get("role")
            if isinstance(role, str) and "/" not in role:
                descriptions.append(repr(role))
                agent = {key: value for key, value in agent.items() if key != "role"}
        kept.append(agent)
    if descriptions:
        logger.warning(
            "%s: agent roles %s are taken as descriptions; a registered role is written with its namespace, "
            "as in 'games/sokoban-planner'",
            source,
            ", ".join(descriptions),
        )
    return kept
