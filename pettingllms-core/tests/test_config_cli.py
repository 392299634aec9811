"""``pettingllms presets`` and the options that train and evaluate share, over a plugin made for the test."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from pettingllms.cli import options, presets
from pettingllms.config.load import load_config, parse_config
from pettingllms.config.schema import Config
from pettingllms.errors import ConfigError, UnknownNameError
from pettingllms.plugins.registry import Registry, registry_of_modules

PLUGIN = """
from pettingllms.api import EnvironmentSpec, hookimpl

@hookimpl
def pettingllms_register_environments():
    here = "config_cli_toys"
    return [EnvironmentSpec(name="toys/one", factory=f"{here}:E", suite=f"{here}:T", state=f"{here}:S",
                            roles={"a": "toys/a"}, reward="toys/r")]
"""
PRESET = 'summary = "one toy"\naliases = ["also"]\n[env]\nname = "one"\n[training]\nalpha = 0.25\n'


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    package = tmp_path / "config_cli_toys"
    (package / "presets").mkdir(parents=True)
    (package / "__init__.py").write_text(PLUGIN)
    (package / "presets" / "toy.toml").write_text(PRESET)
    (package / "presets" / "bare.toml").write_text('summary = "no environment"\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "config_cli_toys", raising=False)
    found = registry_of_modules({"toys": importlib.import_module("config_cli_toys")})
    for module in (options, presets):
        monkeypatch.setattr(module, "current_registry", lambda: found)
    return found


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(presets.presets, list(arguments))


def test_list(registry: Registry) -> None:
    assert invoke("list").output.splitlines() == [
        "NAME  ALIASES  PLUGIN  SUMMARY",
        "bare  -        toys    no environment",
        "toy   also     toys    one toy",
    ]
    assert json.loads(invoke("list", "--json").output)["presets"][1] == {
        "name": "toy",
        "aliases": ["also"],
        "plugin": "toys",
        "summary": "one toy",
    }


def test_show_writes_the_presets_text_or_all_settings(registry: Registry) -> None:
    assert invoke("show", "also").output == PRESET
    resolved = invoke("show", "toy", "--resolved", "--model", "a/b").output
    expected = load_config(preset_text=PRESET, flags={"model.name": "a/b"})
    assert parse_config(resolved, "shown") == expected
    assert isinstance(invoke("show", "toy", "--model", "a/b").exception, ConfigError)
    assert isinstance(invoke("show", "tow").exception, UnknownNameError)


def test_copy_trains_like_the_preset_and_overwrites_nothing_unasked(
    registry: Registry, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    result = invoke("copy", "toy", str(path))
    assert (result.exit_code, result.output.count("\n")) == (0, 1)
    assert options.config_from_flags(config=path) == options.config_from_flags(preset="toy")
    path.write_text("mine")
    refused = invoke("copy", "toy", str(path)).exception
    assert isinstance(refused, ConfigError)
    assert "add --force" in str(refused)
    assert path.read_text() == "mine"
    assert invoke("copy", "toy", str(path), "--force").exit_code == 0
    assert "alpha = 0.25" in path.read_text()
    for wrong, message in [("mine.txt", "must end in .toml"), ("no/mine.toml", "cannot be written: No such")]:
        error = invoke("copy", "toy", str(tmp_path / wrong)).exception
        assert isinstance(error, ConfigError)
        assert message in str(error)


def test_the_options_of_a_command_become_its_configuration(registry: Registry, tmp_path: Path) -> None:
    seen: list[Config] = []

    @click.command()
    @options.config_options
    def command(**flags: Any) -> None:
        seen.append(options.config_from_flags(**flags))

    (tmp_path / "run.toml").write_text('preset = "also"\n[training]\nbatch_size = 5\n')
    arguments = ["--config", str(tmp_path / "run.toml"), "--set", "training.alpha=0.5", "--set", "env.seed=1"]
    result = CliRunner().invoke(
        command, [*arguments, "--model", "a/b", "--seed", "7", "--output", "there"], catch_exceptions=False
    )
    assert result.exit_code == 0
    [config] = seen
    assert (config.env.name, config.env.seed, config.model.name) == ("toys/one", 7, "a/b")
    assert (config.training.alpha, config.training.batch_size) == (0.5, 5)
    assert config.tracking.output == "there"
    assert CliRunner().invoke(command, ["--seed", "-1"]).exit_code == 2


def test_something_must_name_an_environment_that_exists(registry: Registry) -> None:
    assert options.config_from_flags(preset="bare", env="toys").env.name == "toys/one"
    for flags in ({}, {"preset": "bare"}, {"model": "tiny"}):
        with pytest.raises(ConfigError, match=r"give --env NAME or --preset NAME.*envs list"):
            options.config_from_flags(**flags)
    with pytest.raises(UnknownNameError):
        options.config_from_flags(env="two")


def test_loading_a_configuration_imports_nothing_heavy() -> None:
    code = (
        "import sys, pettingllms.cli.options, pettingllms.cli.presets, pettingllms.config.presets\n"
        "from pettingllms.config.load import load_config\nload_config()\n"
        "heavy = {'torch', 'transformers', 'ray', 'vllm', 'datasets'}\nprint([*heavy & {*sys.modules}])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout == "[]\n", done.stderr
