"""``pettingllms plugins``: what is installed, what works, and why the rest does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from pettingllms.cli.context import current_registry
from pettingllms.errors import UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from pettingllms.plugins.records import LoadedPlugin
    from pettingllms.plugins.registry import Registry

_KINDS = {
    "environments": "environment",
    "reward_functions": "reward function",
    "agent_roles": "agent role",
    "policy_mappings": "policy mapping",
    "presets": "preset",
}
"""Key of what a plugin provides (as in the names of the hooks) to the word for one of it."""


def _provided(plugin: LoadedPlugin, registry: Registry) -> dict[str, dict[str, str]]:
    """Return, for every kind, full name to summary of what `plugin` provides."""
    from pettingllms.plugins.specs import EnvironmentSpec, PolicyMappingSpec, RewardSpec, RoleSpec

    return {
        "environments": {spec.name: spec.summary for spec in plugin.of_kind(EnvironmentSpec)},
        "reward_functions": {spec.name: spec.summary for spec in plugin.of_kind(RewardSpec)},
        "agent_roles": {spec.name: spec.summary for spec in plugin.of_kind(RoleSpec)},
        "policy_mappings": {spec.name: spec.summary for spec in plugin.of_kind(PolicyMappingSpec)},
        "presets": {
            preset.name: preset.summary
            for preset in registry.presets.values()
            if preset.plugin == plugin.name
        },
    }


def _rows(registry: Registry) -> list[dict[str, Any]]:
    """Return one plain record for every plugin that was found, sorted by name."""
    from pettingllms.plugins.loader import DISABLE_VARIABLE, disabled_by_environment

    rows: list[dict[str, Any]] = []
    for plugin in (*registry.plugins, *registry.disabled):
        reasons = [
            failure.reason
            for failure in registry.failures
            if plugin.status == "active" and failure.name == plugin.name
        ]
        if plugin.status == "disabled":
            by_variable = plugin.name in disabled_by_environment()
            reasons = [f"disabled by {DISABLE_VARIABLE if by_variable else '--disable-plugin'}"]
        rows.append(
            {
                "name": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "module": plugin.module,
                "status": plugin.status,
                "reasons": reasons,
                "hooks": list(plugin.hooks),
                **_provided(plugin, registry),
            }
        )
    working = {plugin.name for plugin in registry.plugins}
    rows.extend(
        {
            "name": failure.name,
            "distribution": failure.distribution,
            "version": failure.version,
            "module": failure.module,
            "status": "failed",
            "reasons": [failure.reason],
            "hooks": [],
            **{kind: {} for kind in _KINDS},
        }
        for failure in registry.failures
        if failure.name not in working
    )
    return sorted(rows, key=lambda row: (row["name"], row["distribution"]))


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


@click.group()
def plugins() -> None:
    """List and show plugins, also those that failed to load."""


@plugins.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def list_plugins(as_json: bool) -> None:
    """List every plugin that is installed, with its status and what is wrong with it."""
    rows = _rows(current_registry())
    if as_json:
        click.echo(json.dumps({"plugins": rows}, indent=2))
        return
    headings = ("NAME", "DISTRIBUTION", "VERSION", "STATUS", "PROVIDES")
    lines = [headings]
    for row in rows:
        provides = ", ".join(_count(len(row[kind]), word) for kind, word in _KINDS.items() if row[kind])
        lines.append((row["name"], row["distribution"], row["version"], row["status"], provides or "-"))
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    reasons: list[list[str]] = [[], *(row["reasons"] for row in rows)]
    for line, why in zip(lines, reasons, strict=True):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
        # Reasons have lines of their own: no width of a terminal ever cuts them.
        for reason in why:
            click.echo(f"    {reason}")


@plugins.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def show(name: str, as_json: bool) -> None:
    """Show all that the plugin NAME registers, or why it was left out."""
    rows = _rows(current_registry())
    chosen = [row for row in rows if row["name"] == name]
    if not chosen:
        hint = did_you_mean(name, [row["name"] for row in rows])
        raise UnknownNameError(f"no plugin {name!r} is installed{hint}; see: pettingllms plugins list")
    if as_json:
        click.echo(json.dumps({"plugins": chosen}, indent=2))
        return
    for row in chosen:
        click.echo(f"{row['name']}: {row['distribution']} {row['version']}, {row['status']}")
        click.echo(f"module: {row['module']}")
        for reason in row["reasons"]:
            click.echo(f"reason: {reason}")
        if row["hooks"]:
            click.echo("hooks:")
            click.echo("\n".join(f"  {hook}" for hook in row["hooks"]))
        for kind in (kind for kind in _KINDS if row[kind]):
            click.echo(f"{kind.replace('_', ' ')}:")
            width = max(len(each) for each in row[kind])
            for each, summary in row[kind].items():
                click.echo(f"  {each.ljust(width)}  {summary}".rstrip())
