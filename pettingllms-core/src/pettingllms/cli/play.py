"""``pettingllms envs play``: a person, the expert or chance at the seats of one episode."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from pettingllms.cli.assignments import parse_assignments, set_option
from pettingllms.cli.context import current_registry
from pettingllms.errors import ConfigError, EnvironmentFault, PettingLLMsError, did_you_mean

if TYPE_CHECKING:
    from pettingllms.env.base import Environment
    from pettingllms.env.types import Task, Transition
    from pettingllms.team.reward import RewardFunction

_ABILITIES: Mapping[str, str | None] = {"human": None, "expert": "expert", "random": "random_response"}
_QUOTES = '"""'


def seat_players(environment: Environment[Any], seats: Sequence[str]) -> dict[str, str]:
    """Return who plays each role: ``human``, ``expert`` or ``random``.

    Args:
        environment: The environment, whose roles are the seats.
        seats: ``role=player`` texts; ``all=player`` fills every seat, a later text wins. Without any, a
            person takes the first seat. Seats that nobody was given to go to the expert, else to
            chance, else to a person.

    Raises:
        ConfigError: An unknown role or player, or a player that the environment does not have.
    """
    roles = environment.roles
    able = [name for name, method in _ABILITIES.items() if method is None or hasattr(environment, method)]
    default = next(name for name in ("expert", "random", "human") if name in able)
    players: dict[str, str] = dict.fromkeys(roles, default)
    if not seats:
        players[roles[0]] = "human"
    for text in seats:
        role, _, player = text.partition("=")
        if player not in _ABILITIES:
            raise ConfigError(f"--seat {text}: write ROLE=human, ROLE=expert or ROLE=random")
        if role != "all" and role not in roles:
            known = f"the roles are {', '.join(roles)}"
            raise ConfigError(
                f"--seat {text}: there is no role {role!r}{did_you_mean(role, roles) or f'; {known}'}"
            )
        if player not in able:
            raise ConfigError(f"--seat {text}: this environment has no {_ABILITIES[player]} method")
        players.update(dict.fromkeys(roles if role == "all" else (role,), player))
    return players


@click.command()
@click.argument("name")
@click.option(
    "--seat",
    "seats",
    metavar="ROLE=PLAYER",
    multiple=True,
    help="Who takes a seat: human, expert or random; all=PLAYER fills every seat. "
    "Default: a human in the first seat, the expert in the others.",
)
@click.option(
    "--split", default="test", show_default=True, type=click.Choice(["train", "validation", "test"])
)
@click.option("--index", default=0, show_default=True, type=click.IntRange(min=0), help="Task of the split.")
@click.option("--seed", default=0, show_default=True, help="Seed of the tasks and of chance.")
@set_option
@click.option("--board/--no-board", default=True, help="Draw the whole state, also what a seat cannot see.")
def play(
    name: str,
    seats: tuple[str, ...],
    split: Any,
    index: int,
    seed: int,
    assignments: tuple[str, ...],
    board: bool,
) -> None:
    """Play one task of NAME in the terminal."""
    from pettingllms.plugins.instantiate import (
        build_environment,
        build_reward,
        build_suite,
        environment_options,
    )

    registry = current_registry()
    spec = registry.environment(name)
    values, reward_values = parse_assignments(assignments)
    options = environment_options(spec, values)
    environment = build_environment(spec, options)
    players = seat_players(environment, seats)
    reward = build_reward(registry.reward(spec.reward), reward_values)
    suite = build_suite(spec, options, seed=seed)
    if index >= suite.size(split):
        raise ConfigError(f"--index {index}: {split} holds {suite.size(split)} tasks, from 0")
    task = suite.task(split, index)
    click.echo(f"{spec.name}, task {task.id} ({split} {index}); {_labels(task.labels)}".rstrip("; "))
    click.echo(", ".join(f"{role}: {player}" for role, player in players.items()))
    if "human" in players.values():
        click.echo(f"Answer as the role would. {_QUOTES} opens and closes several lines; Ctrl-D leaves.")
    try:
        asyncio.run(_play(environment, reward, task, seed, players, board))
    except (PettingLLMsError, KeyboardInterrupt, BrokenPipeError, click.Abort):
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        raise EnvironmentFault(
            f"{spec.name} raised {type(error).__name__}: {text}; see: pettingllms envs check {spec.name}"
        ) from error


async def _play(
    environment: Environment[Any],
    reward: RewardFunction,
    task: Task,
    seed: int,
    players: Mapping[str, str],
    board: bool,
) -> None:
    state = environment.start(task, seed)
    chance = random.Random(f"{seed} {task.id}")
    acted: dict[str, int] = {}
    while (role := environment.acting_role(state)) is not None:
        acted[role] = acted.get(role, 0) + 1
        _draw(environment, state, board)
        click.secho(f"-- {role}, turn {acted[role]} of {environment.max_turns}", bold=True)
        response = _respond(environment, state, role, players[role], chance)
        if response is None:
            count = sum(acted.values()) - 1
            if players[role] == "human":
                click.echo(f"\nleft after {count} responses")
            else:
                click.secho(f"the expert ({role}) sees no way on: gave up after {count} responses", fg="red")
            return
        transition = await environment.step(state, role, response)
        _report(transition, role, reward)
        state = transition.state
    _draw(environment, state, board)
    outcome = environment.outcome(state)
    click.secho(
        f"{'solved' if outcome.success else 'not solved'}, score {outcome.score:g}, "
        f"{sum(acted.values())} responses",
        fg="green" if outcome.success else "red",
    )


def _respond(environment: Any, state: Any, role: str, player: str, chance: random.Random) -> str | None:
    """Return the response of the seat; None when the person has left or the expert gives up."""
    if player == "human":
        for message in environment.observe(state, role).messages:
            click.echo(message.content)
        return _ask(role)
    if player == "expert":
        response: str | None = environment.expert(state, role)
    else:
        response = environment.random_response(state, role, chance)
    if response is not None:
        click.echo(f"{role} ({player})> {response}")
    return response


def _ask(role: str) -> str | None:
    try:
        line = input(f"{role}> ")
        if line.strip() != _QUOTES:
            return line
        lines: list[str] = []
        while (line := input("... ")).strip() != _QUOTES:
            lines.append(line)
    except EOFError:
        return None
    return "\n".join(lines)


def _report(transition: Transition[Any], role: str, reward: RewardFunction) -> None:
    click.echo(f"facts: {_labels(transition.facts)}")
    scored = reward(transition, role)
    parts = f" ({_labels(scored.parts)})" if scored.parts else ""
    click.echo(f"reward: team {scored.team:g}, local {scored.local:g}{parts}")


def _labels(values: Mapping[str, Any]) -> str:
    shown = (f"{value + 0.0:g}" if isinstance(value, float) else str(value) for value in values.values())
    return ", ".join(f"{name} {text}" for name, text in zip(values, shown, strict=True))


def _draw(environment: Any, state: Any, board: bool) -> None:
    if board and hasattr(environment, "render"):
        click.echo(f"\n{environment.render(state)}")
