"""Write the pages of docs/reference/ from the code: python docs/generate.py

Run it after a change to the settings, the commands, or the options of an environment of this repository.
``python docs/generate.py --check`` writes nothing and fails when a page is out of date. Needs no torch.
"""

from __future__ import annotations

import difflib
import inspect
import json
import sys
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from pettingllms.cli.envs import describe_environment
from pettingllms.cli.main import main
from pettingllms.config.schema import AgentConfig, Config, SamplingConfig
from pettingllms.config.structure import FieldDoc, describe, type_text
from pettingllms.config.tiny_defaults import TINY_DEFAULTS
from pettingllms.plugins.instantiate import load_class
from pettingllms.plugins.registry import Registry, get_registry

FOLDER = Path(__file__).resolve().parent / "reference"
NOTE = "<!-- Written by docs/generate.py; edit the code, then run it. -->"
OURS = "pettingllms-envs-"


def cell(text: str) -> str:
    """Return `text` as the cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def code(text: str) -> str:
    """Return `text` as code in a cell; nothing for no text."""
    return f"`{cell(text)}`" if text else ""


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield f"| {' | '.join(headings)} |"
    yield f"| {' | '.join('---' for _ in headings)} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def value_text(value: Any) -> str:
    """Return a default as it is written in a config file."""
    return "unset" if value is None else code(json.dumps(value))


def default_text(doc: FieldDoc) -> str:
    """Return the default of a key."""
    return "required" if doc.required else value_text(doc.default)


def key_rows(docs: Iterable[FieldDoc], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield (key, type, default, meaning) of each key."""
    for doc in docs:
        yield code(prefix + doc.name), code(doc.type), default_text(doc), cell(doc.help)


# --- configuration ------------------------------------------------------------


def configuration() -> Iterator[str]:
    """Yield the lines of the page about every key."""
    yield from (
        "# Configuration keys",
        "",
        NOTE,
        "",
        "Every key of a run, by section. [Configure a run](../how-to/configure.md) says where they are",
        "written and which place wins. `unset` means that a key has no value of its own; the meaning says",
        "what counts then. Where the model is `tiny`, the defaults below the last heading hold instead.",
    )
    for field in attrs.fields(Config):
        kind = typing.get_type_hints(Config)[field.name]
        yield from ("", f"## [{field.name}]", "", first_line(kind), "")
        docs = [doc for doc in describe(kind) if doc.name != "agents"]
        yield from table(("key", "type", "default", "meaning"), key_rows(docs, f"{field.name}."))
        if field.name == "agents":
            yield from seats()
    rows = [
        (code(f"{section}.{key}"), value_text(value))
        for section, keys in TINY_DEFAULTS.items()
        for key, value in keys.items()
    ]
    yield from ("", "## Defaults of the tiny model", "")
    yield from table(("key", "default"), rows)


def seats() -> Iterator[str]:
    """Yield the keys of one seat of ``agents.agents``."""
    inner = [doc for doc in describe(AgentConfig) if not doc.name.startswith("evaluate.")]
    yield from ("", "### [[agents.agents]]", "", first_line(AgentConfig), "")
    yield from table(("key", "type", "default", "meaning"), key_rows(inner))
    yield from ("", "### [agents.agents.evaluate]", "", first_line(SamplingConfig), "")
    yield from table(("key", "type", "default", "meaning"), key_rows(describe(SamplingConfig)))


def first_line(kind: type) -> str:
    """Return what a class says of itself in one line."""
    return (inspect.getdoc(kind) or "").partition("\n")[0]


# --- command line ------------------------------------------------------------


def commands() -> Iterator[str]:
    """Yield the lines of the page about every command."""
    yield from (
        "# Command line",
        "",
        NOTE,
        "",
        "Exit codes: 0; 1 when `envs check` finds a fault; 2 after a mistake in the command or the settings,",
        "with one line that says which; 130 when a run was stopped by a signal.",
    )
    yield from command("pettingllms", main)


def command(path: str, found: click.Command) -> Iterator[str]:
    """Yield the section of one command, then those below it."""
    arguments = [each for each in found.params if isinstance(each, click.Argument)]
    options = [each for each in found.params if isinstance(each, click.Option)]
    is_group = isinstance(found, click.Group)
    usage = [path, "[OPTIONS]", *(["COMMAND"] if is_group else map(argument_text, arguments))]
    yield from ("", f"## {path}", "", f"```text\n{' '.join(usage)}\n```")
    for paragraph in inspect.cleandoc(found.help or "").split("\n\n"):
        yield from ("", " ".join(paragraph.split()))
    if options:
        rows = [(code(option_text(each)), cell(each.help or ""), option_default(each)) for each in options]
        yield ""
        yield from table(("option", "meaning", "default"), rows)
    if isinstance(found, click.Group):
        context = click.Context(found, info_name=path)
        for name in found.list_commands(context):
            below = found.get_command(context, name)
            assert below is not None
            yield from command(f"{path} {name}", below)


def argument_text(argument: click.Argument) -> str:
    """Return an argument as the usage line shows it."""
    name = (argument.name or "").upper()
    if argument.nargs == -1:
        return f"[{name}]..."
    return name if argument.required else f"[{name}]"


def option_text(option: click.Option) -> str:
    """Return an option with its value: ``--seed N``."""
    names = "/".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return names
    if isinstance(option.type, click.Choice):
        return f"{names} {{{','.join(map(str, option.type.choices))}}}"
    return f"{names} {option.metavar or option.type.name.upper().removesuffix(' RANGE')}"


def option_default(option: click.Option) -> str:
    """Return the default that the help of an option shows."""
    return code(str(option.default)) if option.show_default else ""


# --- environments ------------------------------------------------------------


def environments(registry: Registry) -> Iterator[str]:
    """Yield the lines of the page about the environments of this repository's packages."""
    yield from (
        "# Environments",
        "",
        NOTE,
        "",
        "Options go to `[env.options]` in a config file, to `--set env.options.KEY=VALUE` in `train` and",
        "`evaluate`, and to `--set KEY=VALUE` in the `envs` commands. Options of the reward go to",
        "`[env.reward_options]`. `pettingllms envs show NAME` prints all this and what a role sees first,",
        "with `--json` for programs.",
    )
    for spec in registry.environments.values():
        owner = registry.owner(spec.name)
        if not owner.distribution.startswith(OURS):
            continue
        shown = json.loads(json.dumps(describe_environment(spec, {}, registry)))
        yield from environment(shown, owner.distribution)
        for reward in registry.rewards.values():
            if reward.name == spec.name or reward.name.startswith(f"{spec.name}-"):
                default = " (default)" if reward.name == spec.reward else ""
                yield from ("", f"### Reward `{reward.name}`{default}", "", sentence(reward.summary), "")
                docs = describe(load_class(reward.options, reward.name))
                yield from table(("option", "type", "default", "meaning"), key_rows(docs))


def environment(shown: Mapping[str, Any], distribution: str) -> Iterator[str]:
    """Yield the section of one environment, from what ``envs show --json`` prints."""
    yield from ("", f"## {shown['name']}", "", f"{sentence(shown['summary'])} Package: `{distribution}`.", "")
    docs = [FieldDoc(**doc) for doc in shown["options"]]
    yield from table(("option", "type", "default", "meaning"), key_rows(docs))
    yield ""
    rows = [
        (
            code(role["seat"]),
            code(role["role"]),
            "yes" if role["plays"] else "no",
            cell(role["system_prompt"]),
        )
        for role in shown["roles"]
    ]
    yield from table(("seat", "role", "plays by default", "system prompt"), rows)
    if shown["problem"] is None:
        sizes = ", ".join(f"{size} {split}" for split, size in shown["tasks"].items() if split != "version")
        yield from ("", f"Tasks: {sizes} (version {shown['tasks']['version']}).")


def sentence(text: str) -> str:
    """Return a summary as a sentence."""
    return f"{text[:1].upper()}{text[1:]}."


def pages() -> dict[Path, str]:
    """Return every generated page, by its file."""
    assert type_text(int) == "int"  # the names of types in the tables are those of error messages
    return {
        FOLDER / "configuration.md": "\n".join(configuration()) + "\n",
        FOLDER / "cli.md": "\n".join(commands()) + "\n",
        FOLDER / "environments.md": "\n".join(environments(get_registry())) + "\n",
    }


def outdated() -> str:
    """Return how the files differ from what the code says; empty when they do not."""
    lines: list[str] = []
    for path, text in pages().items():
        written = path.read_text(encoding="utf-8") if path.is_file() else ""
        lines += difflib.unified_diff(
            written.splitlines(),
            text.splitlines(),
            f"docs/reference/{path.name}",
            "the code",
            lineterm="",
            n=0,
        )
    return "\n".join(lines)


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(outdated() or 0)
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")
