"""The `envs` commands on the toy environment, as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys

import attrs
import pytest
from click.testing import CliRunner

from pettingllms.cli.assignments import parse_assignments
from pettingllms.cli.main import main
from pettingllms.errors import ConfigError
from pettingllms.testing import toy


@pytest.fixture
def run(monkeypatch, toy_registry):
    """Run a command line where only the toy plugin is installed."""
    for module in ("envs", "play"):
        monkeypatch.setattr(f"pettingllms.cli.{module}.current_registry", lambda: toy_registry)

    def invoke(*arguments, stdin=""):
        return CliRunner().invoke(main, ["envs", *arguments], input=stdin)

    return invoke


def test_list(run):
    assert run("list").stdout.startswith("toy/clue  caller, answerer  bring a code across")
    (row,) = json.loads(run("list", "--json").stdout)
    assert row == {
        "name": "toy/clue",
        "plugin": "toy",
        "summary": toy.CLUE.summary,
        "roles": ["caller", "answerer"],
    }


def test_show_prints_every_option_with_type_default_and_meaning(run):
    shown = run("show", "clue").stdout
    for field in attrs.fields(toy.ClueOptions):
        (line,) = (line for line in shown.splitlines() if line.startswith(f"  {field.name} "))
        assert line.split()[1:4] == ["int", "=", str(field.default)]
        assert line.endswith(field.metadata["help"])
    assert "60 train, 20 validation, 20 test (version 1)" in shown
    assert toy.CALLER.system_prompt in shown
    assert "illegal_penalty" in shown
    assert "[user] Turn 1, 2 to go. Digit:" in shown


def test_show_json_follows_the_options(run):
    record = json.loads(run("show", "toy/clue", "--json", "--set", "length=3", "--set", "digits=5").stdout)
    assert record["tasks"] == {"train": 75, "validation": 25, "test": 25, "version": "1"}
    assert {doc["name"] for doc in record["options"]} == {"max_turns", "length", "digits", "offset"}
    assert [role["seat"] for role in record["roles"]] == ["caller", "answerer"]
    assert set(record["examples"]) == {"caller", "answerer"}
    (message,) = record["examples"]["answerer"]
    assert "Heard: " in message["content"]


def test_show_says_why_there_are_no_tasks(run, monkeypatch):
    def no_data(self, options, num_tasks=None, seed=0):
        raise ConfigError("the data set is not on this machine")

    monkeypatch.setattr(toy.ClueSuite, "__init__", no_data)
    result = run("show", "clue")
    assert result.exit_code == 0
    assert "not available: the data set is not on this machine" in result.stdout


def test_check_passes_and_fails_by_exit_code(run, monkeypatch):
    result = run("check", "clue", "--episodes", "3", "--set", "length=1")
    assert result.exit_code == 0, result.output
    assert "\ntoy/clue conforms (" in result.stdout
    monkeypatch.setattr(toy.ClueEnvironment, "expert", lambda self, state, role: "0")
    result = run("check", "clue", "--episodes", "3")
    assert result.exit_code == 1
    assert "fail     expert" in result.stdout
    assert "does not conform: 1 of 19 checks fail" in result.stdout
    report = json.loads(run("check", "clue", "--episodes", "3", "--json").stdout)
    assert report["ok"] is False
    assert [result["name"] for result in report["results"] if result["status"] == "fail"] == ["expert"]


def test_expert_and_random_play_without_a_person(run):
    won = run("play", "clue", "--seat", "all=expert", "--index", "2", "--split", "validation")
    assert won.exit_code == 0, won.output
    assert won.stdout.splitlines()[0].endswith("(validation 2); length 2")
    assert won.stdout.count("-- answerer, turn") == 2
    assert won.stdout.splitlines()[-1] == "solved, score 1, 4 responses"
    assert "facts: legal True, called True, solved False" in won.stdout
    assert "reward: team 2, local 1" in won.stdout
    assert "heard: " in won.stdout
    first, second = (run("play", "clue", "--seat", "all=random", "--seed", "4").stdout for _ in range(2))
    assert first == second
    assert "not solved, score" in first
    assert first != run("play", "clue", "--seat", "all=random", "--seed", "5").stdout


def test_an_expert_that_sees_no_way_on_says_so_and_ends_the_episode(run, monkeypatch):
    def expert(self, state, role):
        return None if role == "answerer" else "0"

    monkeypatch.setattr(toy.ClueEnvironment, "expert", expert)
    ended = run("play", "clue", "--seat", "all=expert")
    assert ended.exit_code == 0, ended.output
    assert "caller (expert)> 0" in ended.stdout
    assert "None" not in ended.stdout
    assert ended.stdout.splitlines()[-1] == "the expert (answerer) sees no way on: gave up after 1 responses"
    assert ended.stderr == ""


def test_show_has_an_example_of_every_seat_whatever_the_expert_says(run, monkeypatch):
    for expert in (lambda self, state, role: None, None):
        monkeypatch.setattr(toy.ClueEnvironment, "expert", expert)
        record = json.loads(run("show", "clue", "--json").stdout)
        assert set(record["examples"]) == {"caller", "answerer"}
        assert "Heard: nothing" in record["examples"]["answerer"][0]["content"]


def test_a_person_in_the_first_seat_by_default(run):
    # The expert answers what it hears, so wrong calls lose; several lines are one response.
    played = run("play", "clue", "--set", "max_turns=2", stdin='none\n"""\nI say\nnothing\n"""\n')
    assert played.exit_code == 0, played.output
    assert "caller: human, answerer: expert" in played.stdout
    assert "Digit: " in played.stdout
    assert played.stdout.count("legal False") == 2
    assert played.stdout.splitlines()[-1] == "not solved, score 0, 4 responses"


def test_end_of_input_leaves_politely(run):
    left = run("play", "clue", "--seat", "answerer=human", stdin="")
    assert left.exit_code == 0
    assert left.stdout.endswith("left after 1 responses\n")
    assert "Traceback" not in left.output


def test_no_board(run):
    assert "code:" in run("play", "clue", "--seat", "all=expert").stdout
    assert "code:" not in run("play", "clue", "--seat", "all=expert", "--no-board").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "clew"), "error: unknown environment 'clew'; did you mean 'clue'?"),
        (
            ("check", "clue", "--set", "lenght=3"),
            "env.options.lenght is not a known key; did you mean 'length'?",
        ),
        (("show", "clue", "--set", 'length="3"'), "error: env.options.length must be an integer, not '3'"),
        (("play", "clue", "--set", "length=9"), "error: env.options.length must be <= 4: 9"),
        (("play", "clue", "--set", "training.lr=1"), "error: env.options.training"),
        (
            ("play", "clue", "--set", "env.seed=1"),
            "error: --set env.seed=1: only env.options and env.reward_opt",
        ),
        (
            ("play", "clue", "--seat", "caler=human"),
            "error: --seat caler=human: there is no role 'caler'; did",
        ),
        (
            ("play", "clue", "--seat", "caller=robot"),
            "error: --seat caller=robot: write ROLE=human, ROLE=expert",
        ),
        (("play", "clue", "--index", "20"), "error: --index 20: test holds 20 tasks, from 0"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(run, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_an_environment_that_raises_in_play_is_one_line(run, monkeypatch):
    async def broken(self, state, role, response):
        raise KeyError("board")

    monkeypatch.setattr(toy.ClueEnvironment, "step", broken)
    result = run("play", "clue", "--seat", "all=expert")
    assert result.exit_code == 2
    assert result.stderr == "error: toy/clue raised KeyError: 'board'; see: pettingllms envs check toy/clue\n"


def test_assignments_are_toml_values_or_bare_words():
    options, reward = parse_assignments(
        ["size=8", "mode=single", 'text="8"', "inner.on=true", "env.reward_options.bonus=1.5"]
    )
    assert options == {"size": 8, "mode": "single", "text": "8", "inner": {"on": True}}
    assert reward == {"bonus": 1.5}


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from pettingllms.testing.plugin import check_environment; "
        "light = 'pettingllms.testing.conformance' in sys.modules; "
        "import pettingllms.cli.envs, pettingllms.testing.conformance, pettingllms.testing.toy; "
        "from pettingllms.testing import check_environment, parts_of; "
        "from pettingllms.testing.toy import CLUE; "
        "check_environment(parts_of(CLUE), episodes=1).require(); "
        "heavy = {'torch', 'transformers', 'ray', 'datasets', 'vllm', 'numpy'} & set(sys.modules); "
        "print(light, sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False []"
