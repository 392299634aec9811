"""What the pages say holds: commands run, links lead somewhere, examples work, references are current.

A command in a code block of a page must be in one of the two tables below, so that somebody decided how it
is tested. ``LIGHT`` runs as it stands, without torch. ``TRAINING`` runs for real too, made small by more
options (a slow test, which needs torch); ``tox -e docs``, which has no torch, resolves its configuration.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import inspect
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
import types
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import click
import pytest
from click.testing import CliRunner

from pettingllms.cli.main import main
from pettingllms.cli.options import config_from_flags
from pettingllms.config.load import load_config
from pettingllms.config.schema import AgentConfig, Config, SamplingConfig
from pettingllms.config.structure import describe
from pettingllms.plugins import events, hookspecs, specs
from pettingllms.plugins.instantiate import build_environment, build_reward, build_suite
from pettingllms.plugins.observers import Observers
from pettingllms.plugins.registry import Registry, forget_registry, get_registry, registry_of_modules

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
EXAMPLE = DOCS / "example-plugin"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("pettingllms-*/README.md")),
    *sorted(DOCS.rglob("*.md")),
]

LIGHT: Mapping[str, str] = {  # command: what is typed into it
    "envs check arith/sum": "",
    "envs check games/sudoku": "",
    "envs check sokoban": "",
    "envs check sokoban --set boxes=2 --set size=7": "",
    "envs list": "",
    "envs play arith/sum --seat all=expert": "",
    "envs play sokoban": "up\nU R\nno moves\nR R\n",
    "envs play sokoban --seat all=expert": "",
    "envs show arith/sum": "",
    "envs show sokoban": "",
    "envs show sokoban --set size=5": "",
    "plugins list": "",
    "plugins show arith": "",
    "plugins show games": "",
    "presets copy sokoban_two_policy mine.toml": "",
    "presets list": "",
    "presets show sokoban_two_policy": "",
    "presets show sokodu_single": "",
    "presets show sokodu_single --resolved --model tiny": "",
    "benchmark environments": "",
    "benchmark environments sokoban --set size=8 --set boxes=2": "",
}

SMALL = [
    argument
    for setting in (
        "engine.device=cpu",  # where there is a GPU, the unset model is no tiny one
        "engine.threads=1",
        "model.max_new_tokens=4",
        "model.tiny.num_layers=1",
        "training.num_iterations=2",
        "training.batch_size=2",
        "training.num_branches=2",
        "training.drop_zero_variance=false",
        "warm_start.steps=1",
        "warm_start.num_tasks=2",
        "warm_start.batch_size=4",
        "evaluation.interval=2",
        "evaluation.num_tasks=2",
        "evaluation.final_num_tasks=2",
        "checkpoint.save_interval=1",
    )
    for argument in ("--set", setting)
]

TRAINING: Mapping[str, list[str]] = {  # command: what makes it small. The first one makes RUN.
    "train --env sokoban": SMALL,
    "train --resume RUN": [],
    "train --resume RUN/checkpoints/iteration_000010": [],
    "train --config mine.toml": SMALL,
    "train --config mine.toml --seed 1": SMALL,
    "train --preset sokodu_single": SMALL,
    "train --env sudoku --seed 1": SMALL,
    "train --env games/sudoku --set env.options.size=6": SMALL,
    "train --env arith/sum": SMALL,
    "train --env sokoban --model Qwen/Qwen3-1.7B": SMALL,
    "train --env sokoban --model Qwen/Qwen3-1.7B --set warm_start.steps=50": SMALL,
    "train --env sokoban --model RUN/checkpoints/iteration_000010/POLICY": SMALL,
    "train --env sokoban --set agents.policy_mapping=shared": SMALL,
    "train --env sokoban --set env.options.boxes=2 --set env.options.size=7": SMALL,
    "train --env sokoban --set env.options.players=single --set env.reward=games/sokoban-sparse": SMALL,
    "train --env sokoban --set training.batch_size=32 --set training.commit=mixed": SMALL,
    "train --env sokoban --set training.num_branches=4 --set env.options.size=5": SMALL,
    "train --config RUN/config.toml": [],
    "train --env sokoban --set 'training.adam_betas=[0.9, 0.95]'": SMALL,
    "evaluate RUN --scripted": [],
    "evaluate RUN --num-tasks 20 --output results": ["--num-tasks", "2"],
    "evaluate RUN --num-tasks 500 --output results": ["--num-tasks", "2"],
    "evaluate RUN --set evaluation.temperature=0.7 --seed 1": [],
    "evaluate RUN --split validation --num-tasks 50": ["--num-tasks", "2"],
    "evaluate RUN/checkpoints/iteration_000010": [],
    "evaluate --env sokoban --model Qwen/Qwen3-1.7B --num-tasks 50 --scripted": [*SMALL, "--num-tasks", "2"],
    "evaluate --env sokoban --model tiny --num-tasks 50": [*SMALL, "--num-tasks", "2"],
    "benchmark shared-prefix": ["--passes", "1"],
    "benchmark shared-prefix --passes 30 --threads 4": ["--passes", "1", "--threads", "1"],
    "benchmark learning": [*SMALL, "--seeds", "0"],
    "benchmark learning --seeds 0 --arms at_grpo,grpo": SMALL,
    "benchmark learning --env sudoku --seeds 0,1,2 --set training.num_iterations=20": [
        *SMALL,
        "--seeds",
        "0",
    ],
}


@attrs.frozen
class Block:
    """A fenced code block of a page."""

    page: Path
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page.relative_to(ROOT)}: {self.text.splitlines()[0] if self.text else 'empty'}"


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page."""
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"^```", text, flags=re.MULTILINE)) % 2 == 0, f"{page}: a code block is not closed"
    found = re.findall(r"^```([a-z]*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [Block(page, language, body) for language, body in found]


def commands(page: Path) -> list[str]:
    """Return the arguments of every ``pettingllms`` command in the code blocks of a page."""
    lines = [line for block in blocks(page) if not block.language for line in block.text.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    found = (re.fullmatch(r"(?:\.venv/bin/)?pettingllms (.+)", part) for part in parts)
    return [match[1] for match in found if match]


BLOCKS = [block for page in PAGES for block in blocks(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
TOML = [block for block in BLOCKS if block.language == "toml"]
WALKTHROUGH = DOCS / "how-to" / "write-an-environment.md"
EXTEND = DOCS / "how-to" / "extend-a-team.md"


def by_page(block: Block) -> str:
    """Return the id of a test about a code block."""
    return f"{block.page.stem}-{block.text.splitlines()[0][:40]}"


@pytest.fixture(scope="session")
def installed_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds the example plugin as an editable install would, from its pyproject.toml."""
    folder = tmp_path_factory.mktemp("site")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    entries = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in names.items())
        for group, names in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(entries), encoding="utf-8")
    return folder


@contextlib.contextmanager
def workplace(folder: Path, example: Path) -> Iterator[CliRunner]:
    """Run commands in `folder`, with the example plugin installed and a cache of their own."""
    with pytest.MonkeyPatch.context() as patch:
        source = EXAMPLE / "src"
        patch.chdir(folder)
        patch.syspath_prepend(str(source))
        patch.syspath_prepend(str(example))
        patch.setenv("PYTHONPATH", os.pathsep.join((str(example), str(source))))
        patch.setenv("PETTINGLLMS_CACHE", str(folder / "cache"))
        patch.delenv("CHECKPOINT_PATH", raising=False)
        forget_registry()
        try:
            yield CliRunner()
        finally:
            forget_registry()


@pytest.fixture
def runner(tmp_path: Path, installed_example: Path) -> Iterator[CliRunner]:
    with workplace(tmp_path, installed_example) as made:
        yield made


# --- commands ------------------------------------------------------------


@pytest.mark.docs
def test_somebody_decided_how_each_command_is_tested() -> None:
    found = {command for page in PAGES for command in commands(page)}
    assert len(found) > 40
    assert found == {*LIGHT, *TRAINING}
    assert not {*LIGHT} & {*TRAINING}


@pytest.mark.docs
@pytest.mark.parametrize("command", LIGHT)
def test_commands_without_torch(command: str, runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    if command.startswith("benchmark environments"):  # 1000 tasks of every environment take too long here
        from pettingllms.benchmark import environments

        measure = environments.measure
        monkeypatch.setattr(environments, "measure", lambda *arguments: measure(*arguments, tasks=3, acts=20))
    result = runner.invoke(main, shlex.split(command), input=LIGHT[command])
    assert result.exit_code == 0, result.output
    assert result.output.strip()
    if command.startswith("envs check"):
        assert " conforms (" in result.output
    elif "--seat all=expert" in command:
        assert "\nsolved, score 1" in result.output


@pytest.mark.docs
@pytest.mark.parametrize(
    "command",
    # The settings of a run exist only where one has been made: in the slow test of the same command.
    [each for each in TRAINING if each.startswith("train ") and "RUN/config.toml" not in each],
)
def test_configurations_of_training_commands(command: str, runner: CliRunner) -> None:
    runner.invoke(main, shlex.split("presets copy sokoban_two_policy mine.toml"))
    train = main.get_command(click.Context(main), "train")
    assert train is not None
    for more in ([], TRAINING[command]):
        with train.make_context("train", [*shlex.split(command)[1:], *more]) as context:
            settings = dict(context.params)
            if settings.pop("resume", None) is None:
                build(config_from_flags(**settings), get_registry())


def build(config: Config, registry: Registry) -> None:
    """Make what a configuration names, without torch."""
    spec = registry.environment(config.env.name or "")
    options = dict(config.env.options)
    if config.env.max_turns is not None:
        options["max_turns"] = config.env.max_turns
    build_environment(spec, options)
    assert build_suite(spec, options, config.env.num_envs, config.env.seed).size("train") > 0
    build_reward(registry.reward(config.env.reward or spec.reward), config.env.reward_options)
    registry.policy_mapping(config.agents.policy_mapping)
    for agent in config.agents.agents:
        assert agent.name in spec.roles
        registry.role(agent.role or spec.roles[agent.name])


@pytest.mark.docs
def test_commands_in_the_text_exist() -> None:
    seen = set()
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for command in re.findall(r"`pettingllms ([^`]+)`", text):
            seen.add(command)
            found: click.Command | None = main
            options = set()
            for word in command.split():
                below = (
                    found.get_command(click.Context(found), word) if isinstance(found, click.Group) else None
                )
                if below is not None:
                    found = below
                elif isinstance(found, click.Group) and not word.startswith("-"):
                    assert re.fullmatch(r"NAME|COMMAND|[a-z|]+\|[a-z|]+", word), f"{page}: {command}"
                elif word.startswith("--"):
                    options.add(word.partition("=")[0])
            assert found is not None
            known = {option for parameter in found.params for option in parameter.opts} | {"--help"}
            assert options <= known, f"{page}: {command}"
    assert "train --env sokoban" in seen


@attrs.frozen
class Story:
    """What came of all training commands, run one after the other in one folder."""

    folder: Path
    run: Path
    results: Mapping[str, Any]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, installed_example: Path) -> Iterator[Story]:
    pytest.importorskip("torch")
    folder, results = tmp_path_factory.mktemp("story"), {}
    with workplace(folder, installed_example) as runner:
        made = runner.invoke(main, shlex.split("presets copy sokoban_two_policy mine.toml"))
        assert made.exit_code == 0, made.output
        run: Path | None = None
        policy = ""
        for command, small in TRAINING.items():
            words = shlex.split(command)
            if run is not None:
                words = [word.replace("iteration_000010", "iteration_000001") for word in words]
                words = [re.sub(r"^RUN\b", str(run), word) for word in words]
                words = [word.replace("/POLICY", f"/{policy}") for word in words]
                stand_in = str(run / "checkpoints" / "iteration_000001" / policy)
                words = [word.replace("Qwen/Qwen3-1.7B", stand_in) for word in words]
            results[command] = runner.invoke(main, [*words, *small])
            if run is None:
                assert results[command].exit_code == 0, results[command].output
                (run,) = folder.glob("logs/sokoban/*/*")
                policy = min((run / "checkpoints" / "iteration_000001").glob("*/config.json")).parent.name
        assert run is not None
        yield Story(folder, run, results)


@pytest.mark.slow
@pytest.mark.parametrize("command", TRAINING)
def test_training_commands(command: str, story: Story) -> None:
    result = story.results[command]
    assert result.exit_code == 0, (result.output, result.exception)
    if command.startswith("train"):
        assert re.search(r"^after at_grpo +\d", result.output, flags=re.MULTILINE)
    elif command.startswith("evaluate"):
        assert re.search(r"^team +\d", result.output, flags=re.MULTILINE)
        assert ("--scripted" in command) == (
            re.search(r"^expert +1\.000", result.output, re.MULTILINE) is not None
        )
    elif command.startswith("benchmark learning"):
        assert "| at_grpo | all |" in result.output
    else:
        assert len(result.output.splitlines()) == 4


@pytest.mark.slow
def test_the_page_on_the_folder_names_all_that_is_in_it(story: Story) -> None:
    page = (DOCS / "run-directory.md").read_text(encoding="utf-8")
    for path in story.run.iterdir():
        assert f"`{path.name}{'/' if path.is_dir() else ''}`" in page, path.name
    lines = [json.loads(line) for line in (story.run / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2]
    names = {re.sub(r"^(planner|executor|shared)/", "", name) for line in lines for name in line}
    assert sorted(name for name in names if f"`{name}`" not in page) == []
    listed = set(
        re.findall(r"^\| (`.+?`) \|", page.partition("## metrics")[2].partition("## Episodes")[0], re.M)
    )
    written = {name for cells in listed for name in re.findall(r"`([^`]+)`", cells)}
    assert written - names == {"reference_kl"}, "the page names a metric that is not written"
    (line, *_) = (story.run / "episodes" / "iteration_000001.jsonl").read_text("utf-8").splitlines()
    episode = json.loads(line)
    act = episode["acts"][0]
    for name in {*episode, *act, *act["branches"][0]}:
        assert f"`{name}`" in page, name
    for path in (story.run / "checkpoints").rglob("*"):
        if path.name in ("best.json", "learner.pt", "state.json"):
            assert f"{path.name}`" in page


@pytest.mark.slow
def test_the_example_that_reads_episodes_prints_them(
    story: Story, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(story.folder)
    (block,) = [block for block in PYTHON if block.page.stem == "observe-a-run" and "episodes" in block.text]
    exec(compile(block.text, block.place, "exec"), {})
    assert " planner 0 " in capsys.readouterr().out


# --- links and generated pages ------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings have on GitHub."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.docs
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page}: {target}"
        assert ROOT in file.parents
        assert not anchor or anchor in anchors(file), f"{page}: {target}"


@pytest.mark.docs
def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached:
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)#:]+)", page.read_text(encoding="utf-8"))
        todo += [file for link in links if (file := (page.parent / link).resolve()).suffix == ".md"]
    # The index of docs/ is what GitHub shows for the folder.
    assert {page for page in PAGES if page not in reached} <= {DOCS / "README.md"}


@pytest.mark.docs
def test_generated_pages_are_current() -> None:
    outdated = runpy.run_path(str(DOCS / "generate.py"))["outdated"]()
    assert not outdated, f"run: python docs/generate.py\n{outdated}"


@pytest.mark.docs
def test_every_key_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    kinds = {f"{field.name}.": type(getattr(Config(), field.name)) for field in attrs.fields(Config)}
    kinds |= {"": AgentConfig}
    for prefix, kind in kinds.items():
        for doc in describe(kind):
            name = doc.name.removeprefix("evaluate.")
            if f"{prefix}{name}" != "agents.agents":
                assert f"| `{prefix}{name}` |" in page
                assert doc.help, f"{prefix}{name} has no help"
    assert "| `agents.agents`" not in page
    assert "[[agents.agents]]" in page
    assert page.count("| `stop` |") == 2, SamplingConfig


@pytest.mark.docs
def test_every_hook_has_a_section_with_its_arguments() -> None:
    page = (DOCS / "hooks.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### `(.+?)`\n(.*?)(?=^##|\Z)", page, flags=re.MULTILINE | re.DOTALL)
    expected = [
        f"{name}({', '.join(inspect.signature(getattr(hookspecs, name)).parameters)})"
        for name in hookspecs.HOOKS
    ]
    assert [name for name, _ in sections] == expected
    bodies = {name.partition("(")[0]: text for name, text in sections}
    for name, text in bodies.items():
        assert f"def {name}(" in text, f"{name} has no example"
    described = {
        "pettingllms_register_environments": specs.EnvironmentSpec,
        "pettingllms_register_reward_functions": specs.RewardSpec,
        "pettingllms_register_agent_roles": specs.RoleSpec,
        "pettingllms_register_policy_mappings": specs.PolicyMappingSpec,
        "pettingllms_run_started": events.RunInfo,
        "pettingllms_rollouts_finished": events.RolloutSummary,
        "pettingllms_iteration_finished": events.IterationReport,
    }
    for name, kind in described.items():
        for field in attrs.fields(kind):
            assert f"`{field.name}`" in bodies[name], f"{name}: {field.name}"


# --- examples ------------------------------------------------------------


def plugin_of(block: Block, patch: pytest.MonkeyPatch) -> types.ModuleType:
    """Return the code of a block as a plugin whose specs find their classes in it."""
    module = types.ModuleType("my_package.plugin")
    patch.setitem(sys.modules, "my_package", types.ModuleType("my_package"))
    for name in ("plugin", "rewards", "roles", "mappings", "counting", "mapping"):
        patch.setitem(sys.modules, f"my_package.{name}", module)
    exec(compile(block.text, block.place, "exec"), module.__dict__)
    return module


def is_hook_example(block: Block) -> bool:
    return "@hookimpl" in block.text and block.page != WALKTHROUGH


def is_config(block: Block) -> bool:
    return re.search(r"^(config|env) = \{", block.text, flags=re.MULTILINE) is not None


@pytest.mark.docs
def test_every_python_block_is_tested_in_some_way() -> None:
    ways = {
        block.place: sum(
            (block.page == WALKTHROUGH, is_hook_example(block), is_config(block), "jsonl" in block.text)
        )
        for block in PYTHON
    }
    assert {place: number for place, number in ways.items() if number != 1} == {}


@pytest.mark.docs
@pytest.mark.parametrize("block", [block for block in PYTHON if is_hook_example(block)], ids=by_page)
def test_examples_of_hooks_register_and_run(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = registry_of_modules({"mine": plugin_of(block, monkeypatch)})
    implemented = [found for plugin in registry.plugins for found in plugin.hooks if plugin.name == "mine"]
    assert len(implemented) == 1
    calls: list[Any] = []
    answer = types.SimpleNamespace(close=lambda: None)
    monkeypatch.setattr("urllib.request.urlopen", lambda request, timeout: calls.append(request) or answer)
    observers = Observers(registry)
    run = events.RunInfo(run_dir=ROOT, config={}, environment="mine/x", policies={}, plugin_versions={})
    metrics = {"reward": 1.0, "zero_variance": 0.5}
    observers.configure({"training": {"batch_size": 64}})
    observers.run_started(run)
    observers.rollouts_finished(events.RolloutSummary(iteration=10, metrics=metrics))
    observers.iteration_finished(events.IterationReport(iteration=10, metrics=metrics))
    observers.run_finished(run, None)
    assert dict(observers.errors) == {}
    assert bool(calls) == ("urlopen" in block.text)


@pytest.mark.docs
@pytest.mark.parametrize("block", [block for block in PYTHON if is_config(block)], ids=by_page)
def test_python_configurations_load(block: Block, runner: CliRunner, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(block.text, encoding="utf-8")
    build(config_from_flags(config=file), get_registry())


@pytest.mark.docs
@pytest.mark.parametrize("block", TOML, ids=by_page)
def test_toml_blocks(
    block: Block, runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tomllib.loads(block.text)
    if "project" in table:
        ((group, names),) = table["project"]["entry-points"].items()
        assert group == "pettingllms"
        assert len(names) == 1
        if block.page == WALKTHROUGH:
            assert block.text == (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8")
        return
    if block.page == WALKTHROUGH:
        presets = EXAMPLE / "src" / "pettingllms_arith" / "presets"
        assert block.text == (presets / "arith_sum.toml").read_text(encoding="utf-8")
    file = tmp_path / "mine.toml"
    file.write_text(block.text, encoding="utf-8")
    registry = get_registry()
    config = load_config(
        file=file, find_preset=lambda name: registry.preset(name).text, flags={"model.name": "tiny"}
    )
    if block.page == EXTEND:  # these settings choose what the blocks before them register
        import pettingllms_envs_games.plugin as games

        (before,) = [
            found
            for found in blocks(EXTEND)
            if found.language == "python" and re.search(r'"(mine/\w+)"', found.text)[1] in block.text  # type: ignore[index]
        ]
        registry = registry_of_modules({"mine": plugin_of(before, monkeypatch), "games": games})
    build(config, registry)


# --- the example plugin ------------------------------------------------------------


@pytest.mark.docs
def test_the_walkthrough_shows_the_example_as_it_is() -> None:
    # Compared as code: on the page, ruff formats a method without the indentation that it has in its class.
    written = {
        ast.dump(node)
        for file in EXAMPLE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    }
    shown = [block for block in PYTHON if block.page == WALKTHROUGH]
    assert len(shown) >= 10
    for block in shown:
        for statement in ast.parse(block.text).body:
            assert ast.dump(statement) in written, f"{block.place}\n{ast.unparse(statement)}"
    rules = (EXAMPLE / "src" / "pettingllms_arith" / "sum.py").read_text(encoding="utf-8")
    methods = set(re.findall(r"^    (?:async )?def ([a-z]\w+)", rules, flags=re.MULTILINE))
    assert [name for name in methods if not any(f"def {name}(" in block.text for block in shown)] == []


@pytest.mark.docs
def test_the_example_plugin_works_in_a_process_of_its_own(installed_example: Path, tmp_path: Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(installed_example), str(EXAMPLE / "src"))),
        "PETTINGLLMS_STRICT_PLUGINS": "1",
    }

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    listed = json.loads(run("-m", "pettingllms", "plugins", "list", "--json"))["plugins"]
    (arith,) = [plugin for plugin in listed if plugin["name"] == "arith"]
    assert (arith["distribution"], arith["status"], arith["reasons"]) == ("pettingllms-arith", "active", [])
    assert list(arith["presets"]) == ["arith_sum"]
    loaded = (
        "import sys; from pettingllms.plugins.registry import get_registry; get_registry(); "
        "print([m for m in sys.modules if m.startswith('pettingllms_arith') or m == 'torch'])"
    )
    assert run("-c", loaded).strip() == "['pettingllms_arith', 'pettingllms_arith.plugin']"
    run("-m", "pettingllms", "envs", "check", "arith/sum", "--set", "digits=1")
    tests = run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pytest.ini"), str(EXAMPLE / "tests")
    )
    assert re.search(r"^\d+ passed", tests, flags=re.MULTILINE)


@pytest.mark.docs
def test_the_example_plugin_is_small_and_imports_the_api_alone() -> None:
    source = (EXAMPLE / "src" / "pettingllms_arith" / "sum.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) < 200
    for file in (EXAMPLE / "src").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert set(re.findall(r"^from (pettingllms\.\S+)", text, flags=re.MULTILINE)) <= {"pettingllms.api"}


@pytest.mark.docs
@pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None, reason="hatchling, which builds it, is not installed"
)
def test_the_example_plugin_builds(tmp_path: Path) -> None:
    build_wheel = f"import hatchling.build; print(hatchling.build.build_wheel({str(tmp_path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", build_wheel],
        cwd=EXAMPLE,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entries,) = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
        assert "arith = pettingllms_arith.plugin" in archive.read(entries).decode("utf-8")
    assert {
        "pettingllms_arith/sum.py",
        "pettingllms_arith/py.typed",
        "pettingllms_arith/presets/arith_sum.toml",
    } <= names
