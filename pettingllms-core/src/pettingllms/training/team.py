"""From a config to the problem and the team: names become objects, overrides are applied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from pettingllms.config.schema import AgentConfig, Config
from pettingllms.engine.base import Engine
from pettingllms.env.base import Environment
from pettingllms.env.suite import TaskSuite
from pettingllms.errors import ConfigError, PluginError, did_you_mean
from pettingllms.plugins.instantiate import build_environment, build_reward, build_role, build_suite
from pettingllms.plugins.lazy import load_object
from pettingllms.plugins.registry import Registry
from pettingllms.plugins.specs import EnvironmentSpec
from pettingllms.rollout.collect import Rollouts
from pettingllms.rollout.types import SamplingParams, Seat
from pettingllms.team.reward import RewardFunction
from pettingllms.team.roles import AgentRole, SamplingOverrides


@attrs.frozen
class Problem:
    """The environment of a run with its tasks and its reward."""

    spec: EnvironmentSpec
    environment: Environment[Any]
    suite: TaskSuite
    reward: RewardFunction
    reward_name: str


@attrs.frozen
class Team:
    """Who sits where, which policy plays them and how they sample.

    Attributes:
        roles: Every seat of the environment with its settings.
        policies: Policy of every role.
        train: Sampling while training, by role.
        evaluate: Sampling in evaluation, by role.
    """

    roles: Mapping[str, AgentRole]
    policies: Mapping[str, str]
    train: Mapping[str, SamplingParams]
    evaluate: Mapping[str, SamplingParams]

    @property
    def policy_names(self) -> list[str]:
        """The distinct policies, in the order of the seats."""
        return list(dict.fromkeys(self.policies.values()))

    @property
    def system_prompts(self) -> dict[str, str]:
        """What every role is told."""
        return {name: role.system_prompt for name, role in self.roles.items()}


def build_problem(config: Config, registry: Registry) -> Problem:
    """Make environment, suite and reward of `config`.

    Raises:
        ConfigError: An option is unknown, of the wrong type or out of range.
        UnknownNameError: Nothing installed provides a name.
        PluginError: What provides it cannot be used.
    """
    if config.env.name is None:
        raise ConfigError("no environment is chosen; set env.name or give --env NAME")
    spec = registry.environment(config.env.name)
    options = dict(config.env.options)
    if config.env.max_turns is not None:
        options["max_turns"] = config.env.max_turns
    reward = registry.reward(config.env.reward or spec.reward)
    return Problem(
        spec=spec,
        environment=build_environment(spec, options),
        suite=build_suite(spec, options, num_tasks=config.env.num_envs, seed=config.env.seed),
        reward=build_reward(reward, config.env.reward_options),
        reward_name=reward.name,
    )


def build_team(config: Config, registry: Registry, problem: Problem) -> Team:
    """Fill every seat of the environment.

    Raises:
        ConfigError: `agents` names a seat that the environment does not have.
        PluginError: A role or the policy mapping is unusable.
    """
    seats = problem.environment.roles
    overrides = {agent.name: agent for agent in config.agents.agents}
    known = [*seats, *problem.spec.roles]
    for name in overrides:
        if name not in known:
            seats_text = ", ".join(seats)
            raise ConfigError(
                f"agents: {problem.spec.name} has no seat {name!r}{did_you_mean(name, known)}"
                f" (its seats: {seats_text})"
            )
    roles = {seat: _role(seat, overrides.get(seat), problem.spec, registry) for seat in seats}
    mapping_spec = registry.policy_mapping(config.agents.policy_mapping)
    policies = load_object(mapping_spec.mapping)(tuple(seats))
    if set(policies) != set(seats):
        raise PluginError(
            f"the policy mapping {mapping_spec.name!r} gives no policy to some of the roles {seats}"
        )
    return Team(
        roles=roles,
        policies={seat: policies[seat] for seat in seats},
        train={seat: _train_params(config, role.train) for seat, role in roles.items()},
        evaluate={seat: _evaluation_params(config, role) for seat, role in roles.items()},
    )


def _role(seat: str, override: AgentConfig | None, spec: EnvironmentSpec, registry: Registry) -> AgentRole:
    name = override.role if override is not None and override.role is not None else spec.roles.get(seat)
    if name is None:
        raise PluginError(
            f"{spec.name} names no default role for its seat {seat!r}; set agents.agents[].role"
        )
    role = attrs.evolve(build_role(registry.role(name)), name=seat)
    if override is None:
        return role
    train = _overridden(role.train, override)
    return attrs.evolve(
        role,
        system_prompt=role.system_prompt if override.system_prompt is None else override.system_prompt,
        train=train,
        evaluate=_overridden(role.evaluate, override.evaluate),
    )


def _overridden(base: SamplingOverrides, values: Any) -> SamplingOverrides:
    """Return `base` with the sampling keys that `values` sets."""
    names = [field.name for field in attrs.fields(SamplingOverrides)]
    return attrs.evolve(base, **{n: getattr(values, n) for n in names if getattr(values, n) is not None})


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _train_params(config: Config, own: SamplingOverrides) -> SamplingParams:
    return SamplingParams(
        temperature=_or(own.temperature, config.model.temperature),
        top_p=_or(own.top_p, config.model.top_p),
        top_k=config.model.top_k,
        max_new_tokens=_or(own.max_new_tokens, config.model.max_new_tokens),
        stop=_or(own.stop, ()),
    )


def _evaluation_params(config: Config, role: AgentRole) -> SamplingParams:
    """Length and stop texts are the role's in training too, unless evaluation sets them."""
    own = role.evaluate
    return SamplingParams(
        temperature=_or(own.temperature, config.evaluation.temperature),
        top_p=_or(own.top_p, config.evaluation.top_p),
        max_new_tokens=_or(own.max_new_tokens, _or(role.train.max_new_tokens, config.model.max_new_tokens)),
        stop=_or(own.stop, _or(role.train.stop, ())),
    )


def rollouts_of(
    config: Config, problem: Problem, team: Team, engine: Engine, params: Mapping[str, SamplingParams]
) -> Rollouts[Any]:
    """Return what the episodes of a phase share; `params` is `team.train` or `team.evaluate`."""
    seats = {
        name: Seat(
            role=name,
            system_prompt=role.system_prompt,
            policy=team.policies[name],
            codec=engine.codec(team.policies[name]),
            params=params[name],
            max_length=config.model.max_length,
        )
        for name, role in team.roles.items()
    }
    return Rollouts(
        environment=problem.environment,
        seats=seats,
        generator=engine.generator,
        reward=problem.reward,
        alpha=config.training.alpha,
        form=config.training.mix,
        timeout=config.env.timeout,
    )
