"""``pettingllms benchmark``."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import click

from pettingllms.cli.assignments import parse_assignments, set_option
from pettingllms.cli.context import current_registry, require_training
from pettingllms.errors import ConfigError


@click.group()
def benchmark() -> None:
    """Measure how fast this machine trains, and how well training works on it."""


@benchmark.command("shared-prefix")
@click.option(
    "--passes", type=click.IntRange(min=1), default=15, show_default=True, help="Passes of each path."
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option("--device", default="auto", show_default=True, help="'auto', 'cpu' or 'cuda'.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def shared_prefix(passes: int, threads: int, device: str, as_json: bool) -> None:
    """Compare an update that computes each prompt once with the plain one.

    K responses of R tokens to a prompt of P tokens; the ideal is K(P+R)/(P+KR), the ratio of tokens.
    """
    require_training()
    from pettingllms.benchmark.shared_prefix import measure
    from pettingllms.engine.local import set_threads

    set_threads(threads)
    rows = []
    if not as_json:
        click.echo(
            "  K    P    R     plain    shared  speedup  ideal  of ideal  log-prob. diff.  gradient diff."
        )
    for row in measure(passes=passes, device=device):
        rows.append({**attrs.asdict(row), "speedup": row.speedup, "ideal": row.ideal})
        if not as_json:
            K, P, R = row.shape
            click.echo(
                f"{K:3d} {P:4d} {R:4d}  {row.plain_seconds * 1e3:6.1f} ms {row.shared_seconds * 1e3:6.1f} ms "
                f"{row.speedup:6.2f}x {row.ideal:6.2f} {row.speedup / row.ideal:9.2f} "
                f"{row.logprob_difference:16.1e} {row.gradient_difference:15.1e}"
            )
    if as_json:
        click.echo(json.dumps(rows, indent=2))


@benchmark.command("environments")
@click.argument("names", nargs=-1)
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def environments(names: tuple[str, ...], assignments: tuple[str, ...], as_json: bool) -> None:
    """Measure steps a second and task generation of NAMES (default: all that are installed)."""
    from pettingllms.benchmark.environments import measure

    registry = current_registry()
    options, _ = parse_assignments(assignments)
    rows = []
    if not as_json:
        click.echo(f"{'environment':24}  acts/s  1000 tasks")
    for name in names or tuple(registry.environments):
        try:
            row = measure(registry, name, options)
        except ConfigError as error:
            if names:
                raise
            click.echo(str(error), err=True)
            continue
        rows.append(attrs.asdict(row))
        if not as_json:
            click.echo(f"{row.name:24} {row.acts_per_second:7.0f} {row.seconds_per_1000_tasks:9.2f} s")
    if as_json:
        click.echo(json.dumps(rows, indent=2))


@benchmark.command("learning")
@click.option("--env", default="sokoban", show_default=True, metavar="NAME", help="Environment.")
@click.option("--seeds", default="0,1,2", show_default=True, metavar="LIST", help="Seeds, with commas.")
@click.option(
    "--arms", default="at_grpo,grpo,single", show_default=True, metavar="LIST", help="What to compare."
)
@click.option("--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="A setting of all arms.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("logs/benchmark"),
    show_default=True,
    metavar="FOLDER",
)
def learning(env: str, seeds: str, arms: str, overrides: tuple[str, ...], output: Path) -> None:
    """Train each arm with each seed and print held-out success, all with the tokens that at_grpo sampled.

    Arms: at_grpo (the team, tree sampling), grpo (the team, independent rollouts), single (one player,
    at_grpo).
    """
    require_training()
    from pettingllms.benchmark.learning import compare, parse_list

    compare(
        current_registry(),
        env,
        seeds=parse_list(seeds, int, "--seeds"),
        arms=parse_list(arms, str, "--arms"),
        overrides=overrides,
        output=output,
        say=click.echo,
    )
