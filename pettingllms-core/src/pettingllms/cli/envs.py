"""``pettingllms envs``: list, show, check and play environments."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from pettingllms.cli.assignments import parse_assignments, set_option
from pettingllms.cli.context import current_registry
from pettingllms.cli.play import play
from pettingllms.errors import ConfigError, PettingLLMsError

if TYPE_CHECKING:
    from pettingllms.env.types import Observation
    from pettingllms.plugins.registry import Registry
    from pettingllms.plugins.specs import EnvironmentSpec

_Table = Mapping[str, Any]

json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def envs() -> None:
    """List, show, check and play environments."""


@envs.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the environments of the installed plugins."""
    registry = current_registry()
    rows = [
        {
            "name": spec.name,
            "plugin": registry.owner(spec.name).name,
            "summary": spec.summary,
            "roles": list(spec.roles),
        }
        for spec in registry.environments.values()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        _columns([(str(row["name"]), ", ".join(row["roles"]), str(row["summary"])) for row in rows])
    else:
        click.echo("no environments are installed; try: pip install pettingllms-envs-games")
    if registry.failures and not as_json:
        click.echo(f"{len(registry.failures)} left out; see: pettingllms plugins list", err=True)


@envs.command()
@click.argument("name")
@set_option
@json_option
def show(name: str, assignments: tuple[str, ...], as_json: bool) -> None:
    """Show the options, roles, reward, splits and first observations of NAME."""
    registry = current_registry()
    options, _ = parse_assignments(assignments)
    record = describe_environment(registry.environment(name), options, registry)
    if as_json:
        click.echo(json.dumps(record, indent=2))
    else:
        _print_record(record)


@envs.command()
@click.argument("name")
@set_option
@click.option(
    "--episodes", default=9, show_default=True, type=click.IntRange(min=1), help="Tasks for each player."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the tasks and of every choice.")
@json_option
@click.pass_context
def check(
    context: click.Context, name: str, assignments: tuple[str, ...], episodes: int, seed: int, as_json: bool
) -> None:
    """Check that NAME keeps the promises the engine relies on; exit code 1 when it does not."""
    from pettingllms.testing.conformance import check_environment

    options, reward_options = parse_assignments(assignments)
    report = check_environment(
        name,
        options=options,
        reward_options=reward_options,
        episodes=episodes,
        seed=seed,
        registry=current_registry(),
    )
    if as_json:
        click.echo(json.dumps(report.to_plain(), indent=2))
    else:
        colours = {"pass": "green", "fail": "red", "skipped": "yellow"}
        width = max(len(result.name) for result in report.results)
        for result in report.results:
            status = click.style(f"{result.status:7}", fg=colours[result.status])
            click.echo(f"{status}  {result.name:{width}}  {result.detail}")
            for key, value in result.evidence.items():
                click.echo(f"{'':9}{'':{width}}    {key}: {value}")
        failed = len(report.failures)
        verdict = (
            "conforms" if report.ok else f"does not conform: {failed} of {len(report.results)} checks fail"
        )
        click.echo(f"{report.environment} {verdict} ({report.seconds:.1f} s)")
    context.exit(0 if report.ok else 1)


def describe_environment(spec: EnvironmentSpec, values: _Table, registry: Registry) -> dict[str, Any]:
    """Return all that ``envs show`` prints, as plain values.

    Where the tasks cannot be had (a data set that is not on this machine), ``tasks`` and ``examples`` are
    empty and ``problem`` says why.

    Raises:
        ConfigError: `values` are wrong, or a file that they name.
    """
    import attrs

    from pettingllms.config.structure import describe, to_plain
    from pettingllms.plugins.instantiate import build_environment, build_role, environment_options, load_class

    options = environment_options(spec, values)
    environment = build_environment(spec, options)
    reward = registry.reward(spec.reward)
    roles = []
    for seat, role_name in spec.roles.items():
        role = build_role(registry.role(role_name))
        roles.append({"seat": seat, "plays": seat in environment.roles, "role": role_name} | to_plain(role))
    record: dict[str, Any] = {
        "name": spec.name,
        "plugin": registry.owner(spec.name).name,
        "summary": spec.summary,
        "acting_order": list(environment.roles),
        "max_turns": environment.max_turns,
        "options": [attrs.asdict(doc) for doc in describe(load_class(spec.options, spec.name))],
        "set": dict(values),
        "roles": roles,
        "reward": {
            "name": reward.name,
            "summary": reward.summary,
            "options": [attrs.asdict(doc) for doc in describe(load_class(reward.options, reward.name))],
        },
        "tasks": {},
        "examples": {},
        "problem": None,
    }
    try:
        record |= _tasks_and_examples(spec, options, environment)
    except PettingLLMsError as error:
        if values and isinstance(error, ConfigError):
            raise
        record["problem"] = str(error)
    return record


def _tasks_and_examples(spec: EnvironmentSpec, options: Any, environment: Any) -> dict[str, Any]:
    from pettingllms.config.structure import to_plain
    from pettingllms.env.suite import SPLITS
    from pettingllms.plugins.instantiate import build_suite

    suite = build_suite(spec, options)
    tasks: dict[str, Any] = {split: suite.size(split) for split in SPLITS}
    tasks["version"] = suite.version
    seen = asyncio.run(_first_observations(environment, suite.task("test", 0)))
    return {"tasks": tasks, "examples": {role: to_plain(found.messages) for role, found in seen.items()}}


async def _first_observations(environment: Any, task: Any) -> dict[str, Observation]:
    """Play `task` with the expert, in silence without its answer, until every role has been seen once."""
    state = environment.start(task, 0)
    seen: dict[str, Observation] = {}
    while (role := environment.acting_role(state)) is not None and len(seen) < len(environment.roles):
        seen.setdefault(role, environment.observe(state, role))
        expert = getattr(environment, "expert", None)
        response = None if expert is None else expert(state, role)
        state = (await environment.step(state, role, response or "")).state
    return seen


def _print_record(record: dict[str, Any]) -> None:
    click.echo(f"{record['name']}  {record['summary']}")
    click.echo(
        f"plugin {record['plugin']}; {' > '.join(record['acting_order'])}; {record['max_turns']} turns"
    )
    _heading("options (--set KEY=VALUE, or [env.options])")
    _print_options(record["options"])
    _heading(f"reward {record['reward']['name']}  {record['reward']['summary']}")
    _print_options(record["reward"]["options"])
    _heading("tasks")
    if record["problem"] is not None:
        click.echo(f"  not available: {record['problem']}")
    else:
        sizes = [f"{size} {split}" for split, size in record["tasks"].items() if split != "version"]
        click.echo(f"  {', '.join(sizes)} (version {record['tasks']['version']})")
    for role in record["roles"]:
        absent = "" if role["plays"] else ", no seat under these options"
        _heading(f"role {role['seat']} ({role['role']}{absent})")
        click.echo(_indent(role["system_prompt"]))
        for phase in ("train", "evaluate"):
            settings = {key: value for key, value in role[phase].items() if value is not None}
            if settings:
                click.echo(f"  {phase}: {', '.join(f'{key} = {value}' for key, value in settings.items())}")
        if role["seat"] in record["examples"]:
            click.echo("  first observation of test task 0:")
            for message in record["examples"][role["seat"]]:
                click.echo(_indent(f"[{message['role']}] {message['content']}", 4))


def _print_options(docs: Sequence[_Table]) -> None:
    if not docs:
        click.echo("  none")
    rows = [
        (
            f"  {doc['name']}",
            doc["type"],
            _default(doc),
            doc["help"],
        )
        for doc in docs
    ]
    _columns(rows)


def _default(doc: _Table) -> str:
    if doc["required"]:
        return "required"
    return "unset" if doc["default"] is None else f"= {json.dumps(doc['default'])}"


def _columns(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


def _heading(text: str) -> None:
    click.echo(f"\n{text}")


def _indent(text: str, by: int = 2) -> str:
    return "\n".join(" " * by + line for line in text.splitlines())


envs.add_command(play)
