"""The command line as a user meets it: listings, one-line errors, exit codes, and a light start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pettingllms.cli.context import current_registry, disabled_plugins
from pettingllms.cli.main import COMMANDS, main
from pettingllms.errors import ConfigError
from pettingllms.plugins.registry import forget_registry

DATA = Path(__file__).parent / "data" / "plugins"
HEAVY = ("torch", "transformers", "ray", "vllm", "datasets", "wandb")


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python, warnings being errors, with the broken plugins of the test data installed."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PETTINGLLMS_")}
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env={**inherited, "PYTHONPATH": str(DATA), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def pettingllms(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "pettingllms", *arguments, **variables)


def test_plugins_list_names_each_with_distribution_version_and_whole_reason() -> None:
    result = pettingllms("--disable-plugin", "off", "plugins", "list", PETTINGLLMS_DISABLE_PLUGINS="twin")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    rows = {tuple(line.split()[:4]): follow for line, follow in zip(lines, [*lines[1:], ""], strict=True)}
    assert "2 environments, 1 reward function, 1 agent role" in result.stdout
    assert rows["raises", "acme-raises", "2.0", "failed"].strip() == (
        "acme_raises cannot be imported: RuntimeError: no licence found in this test"
    )
    assert (
        "did you mean 'pettingllms_register_environments'"
        in rows["misspelt", "acme-misspelt", "1.0", "failed"]
    )
    assert "'twice/double' is registered twice" in rows["twice", "acme-twice", "1.0", "failed"]
    assert "outside the plugin's namespace 'foreign/'" in rows["foreign", "acme-foreign", "1.0", "failed"]
    both = "acme-rival-one 1.0 (acme_rival_one) and acme-rival-two 3.0 (acme_rival_two); none of them is used"
    assert both in rows["rival", "acme-rival-one", "1.0", "failed"]
    assert both in rows["rival", "acme-rival-two", "3.0", "failed"]
    assert rows["off", "acme-off", "5.0", "disabled"].strip() == "disabled by --disable-plugin"
    assert rows["twin", "acme-twin", "4.5", "disabled"].strip() == "disabled by PETTINGLLMS_DISABLE_PLUGINS"
    assert ("core", "pettingllms-core") in {row[:2] for row in rows}


def test_json_is_clean_even_when_a_plugin_prints_while_it_is_imported() -> None:
    result = pettingllms("plugins", "list", "--json")
    rows = json.loads(result.stdout)["plugins"]
    assert "acme_raises was here" in result.stderr
    good = next(row for row in rows if row["name"] == "good")
    assert good["distribution"] == "acme-good"
    assert good["status"] == "active"
    assert good["environments"] == {"good/other": "another thing", "good/thing": "a thing to do"}
    assert good["presets"] == {"thing_small": "a small thing"}
    assert len(good["reasons"]) == 2
    assert all("preset" in reason for reason in good["reasons"])
    assert {row["status"] for row in rows if row["name"] == "rival"} == {"failed"}


def test_plugins_show_tells_what_a_plugin_brings_or_why_it_failed() -> None:
    good = pettingllms("plugins", "show", "good").stdout
    for text in (
        "good: acme-good 1.2, active",
        "module: acme_good.plugin",
        "  good/thing  a thing to do",
        "  good/worker",
        "  good/shared",
        "  pettingllms_run_finished",
        "  thing_small  a small thing",
    ):
        assert text in good
    failed = pettingllms("plugins", "show", "needs")
    assert (
        "reason: acme_needs cannot be imported: acme_needs needs 'a_library_that_nobody_has'" in failed.stdout
    )
    assert failed.returncode == 0
    unknown = pettingllms("plugins", "show", "goood")
    assert unknown.returncode == 2
    assert unknown.stderr.splitlines()[-1] == (
        "error: no plugin 'goood' is installed; did you mean 'good'?; see: pettingllms plugins list"
    )


def test_strict_plugins_stop_the_command_with_one_line() -> None:
    result = pettingllms("plugins", "list", PETTINGLLMS_STRICT_PLUGINS="1")
    assert result.returncode == 2
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: plugin ")
    assert "no licence found" in last
    assert last.endswith("(PETTINGLLMS_STRICT_PLUGINS is set)")


@pytest.mark.parametrize(
    "code",
    [
        "import pettingllms.api",
        "run('--help')",
        "run('plugins', 'list')",
        "from pettingllms.plugins.registry import get_registry; assert get_registry().plugins",
    ],
)
def test_a_light_start_loads_no_heavy_library(code: str) -> None:
    script = (
        "import sys\n"
        "def run(*arguments):\n"
        "    from pettingllms.cli.main import main\n"
        "    try: main(list(arguments), prog_name='pettingllms')\n"
        "    except SystemExit as end: assert end.code == 0, end.code\n"
        f"{code}\n"
        f"loaded = sorted(set(sys.modules) & {set(HEAVY)!r})\n"
        "assert not loaded, loaded\n"
    )
    result = python("-c", script)
    assert result.returncode == 0, result.stderr


def test_help_imports_no_subcommand_and_no_plugin() -> None:
    script = (
        "import sys; from pettingllms.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "mine = ('pettingllms.', 'acme_', 'pluggy', 'attr', 'rich')\n"
        "print(*sorted(name for name in sys.modules if name.startswith(mine)))\n"
    )
    result = python("-c", script)
    assert result.stdout.splitlines()[-1] == "pettingllms.cli pettingllms.cli.main pettingllms.errors"
    assert all(f"  {name} " in result.stdout for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["trian"], ["error: there is no command 'trian'; did you mean 'train'?", "try: pettingllms --help"]),
        (["plugins", "show"], ["error: Missing argument 'NAME'.", "try: pettingllms plugins show --help"]),
        (
            ["plugins", "list", "--disable-plugin", "x"],
            [
                "error: No such option '--disable-plugin'.",
                "--disable-plugin goes before the command: pettingllms --disable-plugin NAME COMMAND",
            ],
        ),
        (
            ["--disable-plugin", "core", "plugins", "list"],
            ["error: the built-in plugin 'core' cannot be disabled"],
        ),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_2(arguments: list[str], lines: list[str]) -> None:
    result = CliRunner().invoke(main, arguments, prog_name="pettingllms")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == lines
    assert result.stdout == ""


def test_exit_codes_of_subcommands(monkeypatch: pytest.MonkeyPatch) -> None:
    def result_of(function: Callable[[], object]) -> tuple[int, str]:
        command = click.command(name="train")(function)
        monkeypatch.setattr(type(main), "get_command", lambda self, context, name: command)
        result = CliRunner().invoke(main, ["train"])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stderr.strip()

    def raising(error: BaseException) -> tuple[int, str]:
        def command() -> None:
            raise error

        return result_of(command)

    assert result_of(lambda: 5) == (0, "")
    assert result_of(lambda: click.get_current_context().exit(4)) == (4, "")
    assert raising(ConfigError("env.boxes:\n  must be at least 1")) == (
        2,
        "error: env.boxes: must be at least 1",
    )
    assert raising(KeyboardInterrupt()) == (130, "interrupted")
    with pytest.raises(AssertionError):
        raising(ZeroDivisionError("a defect keeps its traceback"))


def test_subcommands_see_the_disabled_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    def command() -> None:
        click.echo(f"{disabled_plugins()} {'core' in {p.name for p in current_registry().plugins}}")

    train = click.command(name="train")(command)
    monkeypatch.setattr(type(main), "get_command", lambda self, context, name: train)
    result = CliRunner().invoke(main, ["--disable-plugin", "a", "--disable-plugin", "b", "train"])
    assert result.stdout == "('a', 'b') True\n"
    assert disabled_plugins() == ()


def test_asking_for_what_a_broken_plugin_has_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def command(name: str) -> None:
        click.echo(current_registry().environment(name).summary)

    lookup = click.command(name="envs")(click.argument("name")(command))
    monkeypatch.setattr(type(main), "get_command", lambda self, context, name: lookup)
    monkeypatch.syspath_prepend(str(DATA))
    forget_registry()
    try:
        broken = CliRunner().invoke(main, ["envs", "raises/task"])
        working = CliRunner().invoke(main, ["envs", "other"])
    finally:
        forget_registry()
    assert broken.exit_code == 2
    assert broken.stderr.splitlines()[-1] == (
        "error: environment 'raises/task' is not available: plugin 'raises' (acme-raises 2.0): "
        "acme_raises cannot be imported: RuntimeError: no licence found in this test"
    )
    assert (working.exit_code, working.stdout) == (0, "another thing\n")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as nobody:
        result = subprocess.run(
            [sys.executable, "-m", "pettingllms", "plugins", "list"],
            stdout=nobody, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert result.stderr == ""
    assert result.returncode == 1
