"""The ``pettingllms`` command: its options, its lazily loaded subcommands, and how errors end it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click

from pettingllms.errors import PettingLLMsError, did_you_mean

COMMANDS: Mapping[str, tuple[str, str]] = {
    "train": ("pettingllms.cli.train:train", "Train a team."),
    "evaluate": ("pettingllms.cli.evaluate:evaluate", "Evaluate a trained team, or a model as it is."),
    "envs": ("pettingllms.cli.envs:envs", "List, show, check and play environments."),
    "presets": ("pettingllms.cli.presets:presets", "List and show ready-made configurations."),
    "plugins": ("pettingllms.cli.plugins:plugins", "List and show plugins, also those that failed to load."),
    "benchmark": ("pettingllms.cli.benchmark:benchmark", "Measure how fast this machine trains and samples."),
}
"""Subcommand to where it is defined and what ``--help`` says of it, so that help imports none."""

USAGE_ERROR = 2
INTERRUPTED = 130


def _message(error: click.ClickException) -> str:
    return " ".join(error.format_message().split())


def _fail(message: str, hint: str = "") -> NoReturn:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    if hint:
        click.echo(hint, err=True)
    sys.exit(USAGE_ERROR)


def _fail_usage(error: click.ClickException) -> NoReturn:
    # Without arguments click "fails" with the help text: that stays as it is.
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        sys.exit(USAGE_ERROR)
    context = getattr(error, "ctx", None)
    hint = f"try: {context.command_path} --help" if context is not None else ""
    if isinstance(error, click.NoSuchOption) and error.option_name == "--disable-plugin":
        hint = "--disable-plugin goes before the command: pettingllms --disable-plugin NAME COMMAND"
    _fail(_message(error), hint)


class RootGroup(click.Group):
    """A group that imports a subcommand when it is called, and turns errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the subcommand, or None when there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand that `args` begin with; an unknown one gets a suggestion."""
        name = args[0]
        if name not in COMMANDS and not ctx.resilient_parsing:
            raise click.UsageError(f"there is no command {name!r}{did_you_mean(name, COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> None:
        """Run the subcommand. Its exit code is what `Context.exit` is called with, never what it returns."""
        super().invoke(ctx)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line and exit; takes what `click.Command.main` takes.

        The exit code is 0, 2 with one line on standard error when the user made a mistake,
        or 130 when interrupted. Any other exception is a defect and keeps its traceback.
        With ``standalone_mode=False`` nothing is caught, as in click.
        """
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        try:
            code = super().main(args, prog_name, complete_var, False, **extra)
            sys.stdout.flush()
        except PettingLLMsError as error:
            _fail(str(error))
        except click.ClickException as error:
            _fail_usage(error)
        except click.Abort as error:
            click.echo("interrupted", err=True)
            sys.exit(INTERRUPTED if isinstance(error.__cause__, KeyboardInterrupt) else 1)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            # The reader (`head`, a pager) has left. Nothing may be flushed to it at exit either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        sys.exit(code or 0)


def _show_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from pettingllms.plugins.discovery import distribution_version

        click.echo(f"pettingllms {distribution_version('pettingllms-core')}")
        context.exit()


@click.group(cls=RootGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--disable-plugin",
    "disabled",
    metavar="NAME",
    multiple=True,
    help="Leave the plugin NAME out; may be repeated. PETTINGLLMS_DISABLE_PLUGINS=a,b does the same.",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.pass_context
def main(context: click.Context, disabled: tuple[str, ...]) -> None:
    """Train teams of LLM agents with reinforcement learning."""
    context.ensure_object(dict)["disabled"] = disabled


def run() -> NoReturn:
    """Run the command line with the arguments of this process, and exit."""
    main(prog_name="pettingllms")
    raise AssertionError("click exits")  # pragma: no cover
