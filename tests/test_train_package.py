"""A third party's package, made in a temporary folder and installed by pip, is found, checked and trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "parity-team"
version = "3.2.1"
dependencies = ["pettingllms-core>=0.1,<0.2"]

[project.entry-points.pettingllms]
parity = "parity_team"
"""

# Torch-free, with nothing but `pettingllms.api`: one environment, one seat.
MODULE = '''
"""Say whether a number is even or odd."""

import attrs
from pettingllms.api import (
    AgentRole, EnvironmentOptions, EnvironmentSpec, Observation, Outcome, Reward, RewardSpec, RoleSpec, Task,
    Transition, hookimpl,
)

JUDGE = AgentRole("judge", "Answer even or odd.")


@attrs.frozen
class Options(EnvironmentOptions):
    max_turns: int = attrs.field(default=1, metadata={"help": "always one"})


@attrs.frozen
class State:
    number: int
    said: str | None = None


class Parity:
    def __init__(self, options):
        self.max_turns = options.max_turns
        self.roles = ("judge",)

    def start(self, task, seed):
        return State(task.data["number"])

    def acting_role(self, state):
        return "judge" if state.said is None else None

    def observe(self, state, role):
        return Observation.of(f"{state.number}?")

    async def step(self, state, role, response):
        solved = response.strip() == self.expert(state, role)
        facts = {"solved": solved, "letter": response[:1].strip()}
        return Transition(attrs.evolve(state, said=response), facts)

    def outcome(self, state):
        solved = (state.said or "").strip() == self.expert(state, "judge")
        return Outcome(success=solved, score=float(solved))

    def expert(self, state, role):
        return "odd" if state.number % 2 else "even"


class Numbers:
    version = "1"

    def __init__(self, options, num_tasks=None, seed=0):
        self.train, self.seed = num_tasks or 60, seed

    def size(self, split):
        return self.train if split == "train" else 20

    def task(self, split, index):
        if not 0 <= index < self.size(split):
            raise IndexError(index)
        first = 7 * self.seed if split == "train" else 0
        number = 3 * (first + index) + ("train", "validation", "test").index(split)
        return Task(f"number-{number}", {"number": number}, {})


@attrs.frozen
class RewardOptions:
    pass


class ParityReward:
    def __init__(self, options):
        pass

    def __call__(self, transition, role):
        facts = transition.facts
        return Reward(team=float(facts["solved"]), local=0.5 * (facts["letter"] in ("e", "o")))


@hookimpl
def pettingllms_register_environments():
    return [EnvironmentSpec(
        name="parity/numbers", factory="parity_team:Parity", suite="parity_team:Numbers",
        state="parity_team:State", options="parity_team:Options", roles={"judge": "parity/judge"},
        reward="parity/numbers", summary="even or odd",
    )]


@hookimpl
def pettingllms_register_reward_functions():
    return [RewardSpec(
        name="parity/numbers", factory="parity_team:ParityReward", options="parity_team:RewardOptions",
        summary="right or wrong",
    )]


@hookimpl
def pettingllms_register_agent_roles():
    return [RoleSpec(name="parity/judge", role="parity_team:JUDGE", summary="answers")]
'''


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that pip installed the package into."""
    if find_spec("pip") is None:
        pytest.skip("needs pip")
    root = tmp_path_factory.mktemp("third-party")
    source, target = root / "source", root / "site"
    source.mkdir()
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "parity_team.py").write_text(MODULE)
    # Without hatchling here, pip fetches it into an environment of its own, as on a user's machine.
    isolation = ["--no-build-isolation"] if find_spec("hatchling") is not None else []
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *isolation]
    done = subprocess.run([*command, "--target", target, source], capture_output=True, text=True)
    if done.returncode and not isolation:
        pytest.skip(f"no hatchling here, and pip cannot fetch it: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return target


def pettingllms(installed: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "pettingllms", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_it_trains(tiny, installed):
    sets = [part for text in tiny.settings for part in ("--set", text)]
    done = pettingllms(
        installed, "train", "--env", "numbers", "--model", "tiny", "--output", tiny.output, *sets
    )
    assert (done.returncode, done.stderr) == (0, "")
    (run,) = tiny.runs()
    assert run.parts[-3] == "numbers"
    metrics = tiny.metrics(run)
    assert len(metrics) == 3
    assert sum(line["trained_groups"] for line in metrics) > 0
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["plugins"]["parity"] == "3.2.1"
    results = json.loads((run / "results.json").read_text())
    assert results["expert"]["success_rate"] == 1.0
    assert "random" not in results  # it brings no random player


def test_it_conforms(installed):
    done = pettingllms(installed, "envs", "check", "parity/numbers")
    assert "parity/numbers conforms" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
