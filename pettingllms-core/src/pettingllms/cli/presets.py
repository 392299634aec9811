"""``pettingllms presets``: ready-made settings that plugins ship."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pettingllms.cli.context import current_registry
from pettingllms.errors import ConfigError


@click.group()
def presets() -> None:
    """List, show and copy ready-made configurations."""


@presets.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def list_presets(as_json: bool) -> None:
    """List every preset, with its other names and the plugin that ships it."""
    found = current_registry().presets.values()
    if as_json:
        rows = [
            {
                "name": preset.name,
                "aliases": list(preset.aliases),
                "plugin": preset.plugin,
                "summary": preset.summary,
            }
            for preset in found
        ]
        click.echo(json.dumps({"presets": rows}, indent=2))
        return
    if not found:
        click.echo("no installed plugin ships a preset (see: pettingllms plugins list)")
        return
    lines = [("NAME", "ALIASES", "PLUGIN", "SUMMARY")]
    lines += [(each.name, ", ".join(each.aliases) or "-", each.plugin, each.summary) for each in found]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@presets.command()
@click.argument("name")
@click.option("--resolved", is_flag=True, help="Write every setting of a run with it, defaults included.")
@click.option("--model", metavar="NAME", help="The model to resolve for; with --resolved.")
def show(name: str, resolved: bool, model: str | None) -> None:
    """Write the preset NAME as its plugin ships it."""
    preset = current_registry().preset(name)
    if model is not None and not resolved:
        raise ConfigError("--model needs --resolved; the preset's own text does not depend on the model")
    if not resolved:
        click.echo(preset.text.rstrip("\n"))
        return
    from pettingllms.config.load import load_config
    from pettingllms.config.render import to_toml

    config = load_config(preset_text=preset.text, preset_name=preset.name, flags={"model.name": model})
    click.echo(to_toml(config), nl=False)


@presets.command()
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite PATH.")
def copy(name: str, path: Path, force: bool) -> None:
    """Write the preset NAME to the file PATH (.toml), with every key explained, to edit and train with."""
    from pettingllms.config.presets import preset_copy

    preset = current_registry().preset(name)
    if path.suffix != ".toml":
        raise ConfigError(f"{path} must end in .toml, so that --config reads it")
    text = preset_copy(preset.name, preset.text)
    try:
        with path.open("w" if force else "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} exists; choose another name or add --force") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
    click.echo(f"wrote {path}; train with: pettingllms train --config {path}")
