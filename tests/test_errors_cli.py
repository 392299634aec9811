"""A user's mistake is one line that names it and the next step, exit code 2, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("pettingllms_envs_games")

ODD = "; 0\n#####\n#@$.#\n#####\n\n; 1\n#####\n#@ $#\n#####\n"
ODD_LINE = "odd.txt: level 2 (line 7): 1 box but 0 goals; correct or remove the level"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to stand in, with files that are wrong."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETTINGLLMS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CHECKPOINT_PATH", raising=False)
    (tmp_path / "odd.txt").write_text(ODD)
    (tmp_path / "torn.toml").write_text("[training]\nalpha = \n")
    (tmp_path / "flat.toml").write_text("alpha = 0.5\n")
    (tmp_path / "torn.py").write_text("config = {\n")
    (tmp_path / "plain.json").write_text("{}")
    (tmp_path / "file").write_text("")
    return tmp_path


def refused(result: SimpleNamespace, place: Path, line: str) -> None:
    """Assert that `line` and nothing else was said, and that nothing was begun."""
    assert (result.code, result.err) == (2, f"error: {line}\n")
    assert not (place / "logs").exists()


SOKOBAN = ("train", "--env", "sokoban")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("train", "--env", "sokobn"), "unknown environment 'sokobn'; did you mean 'sokoban'?"),
        (
            (*SOKOBAN, "--set", "training.batch_siz=3"),
            "--set training.batch_siz=3: training.batch_siz is not a known key; did you mean 'batch_size'?",
        ),
        (
            (*SOKOBAN, "--set", "training.batch_size=many"),
            "--set training.batch_size=many: training.batch_size must be an integer, not 'many'",
        ),
        (
            (*SOKOBAN, "--set", "training.alpha=1.5"),
            "--set training.alpha=1.5: training.alpha must be at most 1.0, not 1.5",
        ),
        (
            (*SOKOBAN, "--config", "torn.toml"),
            "torn.toml, line 2, column 9: not valid TOML: invalid value",
        ),
        (
            (*SOKOBAN, "--config", "flat.toml"),
            "flat.toml: alpha has no section; did you mean training.alpha?",
        ),
        ((*SOKOBAN, "--config", "absent.toml"), "the config file absent.toml does not exist"),
        ((*SOKOBAN, "--config", "plain.json"), "the config file plain.json must be a .toml or a .py file"),
        (
            ("train",),
            "no environment is chosen; give --env NAME or --preset NAME, or set env.name in the config file "
            "(see: pettingllms envs list)",
        ),
        (("envs", "check", "games/sokoban", "--set", "levels=odd.txt"), ODD_LINE),
        (("envs", "show", "games/sokoban", "--set", "levels=odd.txt"), ODD_LINE),
        (
            ("envs", "check", "games/sokoban", "--set", "levels=absent.txt"),
            "cannot read level file absent.txt: No such file or directory; check the path",
        ),
    ],
)
def test_one_line(command, place, arguments, line):
    refused(command(*arguments), place, line)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (("env.options.levels=odd.txt",), ODD_LINE),
        (("env.options.siz=6",), "env.options.siz is not a known key; did you mean 'size'?"),
        (("env.reward_options.solvd=1.0",), "env.reward_options.solvd is not a known key"),
        (
            ("env.reward=games/sokobn",),
            "unknown reward function 'games/sokobn'; did you mean 'games/sokoban'?",
        ),
        (("agents.policy_mapping=pr_role",), "unknown policy mapping 'pr_role'; did you mean 'per_role'?"),
        (
            ('agents.agents=[{name="planer"}]',),
            "agents: games/sokoban has no seat 'planer'; did you mean 'planner'? "
            "(its seats: planner, executor)",
        ),
        (
            ("tracking.output=file/below",),
            "the output folder 'file/below' cannot be written (Not a directory)",
        ),
        (("tracking.output=file",), "the output folder 'file' cannot be written"),
        (("engine.device=cuda:99",), "engine.device = 'cuda:99': "),
    ],
)
def test_one_line_from_setting_up_a_run(command, place, overrides, line):
    pytest.importorskip("torch")
    sets = [part for text in overrides for part in ("--set", text)]
    result = command(*SOKOBAN, "--model", "tiny", *sets)
    assert result.code == 2
    assert result.err.startswith(f"error: {line}")
    assert result.err.count("\n") == 1
    assert result.out == ""
    assert not (place / "logs").exists()
    assert not (place / "cache").exists()


def test_a_model_folder_without_a_tokenizer(tiny, tmp_path):
    from pettingllms.policy.tiny import save_tiny

    model = tmp_path / "model"
    save_tiny(model, ["0 1 2"], tiny.config().model.tiny, 0, 64)
    for file in model.glob("tokenizer*"):
        file.unlink()
    for arguments in (("train", "--output", tiny.output), ("evaluate",)):
        result = tiny.cli(*arguments, "--env", "clue", "--model", model)
        assert (result.code, result.err) == (
            2,
            f"error: the model folder '{model}' holds no tokenizer (tokenizer.json); save it there too\n",
        )
        assert not tiny.output.exists()  # nothing was started, so no folder of a run is left


def test_a_cache_that_cannot_be_written(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "logs").mkdir()  # this one is not ours to delete
    monkeypatch.setenv("PETTINGLLMS_CACHE", str(tmp_path / "file"))
    result = tiny.cli("train", *tiny.arguments())
    assert result.code == 2
    assert (
        result.err
        == f"error: the cache '{tmp_path}/file' cannot be written (Not a directory); set PETTINGLLMS_CACHE\n"
    )
    assert list((tmp_path / "logs").iterdir()) == []


def test_training_without_torch_names_the_extra(place):
    """In a process of its own, where torch cannot be imported."""
    hide = "import sys, importlib.util as u; find = u.find_spec\n"
    hide += "u.find_spec = lambda name, *a: None if name == 'torch' else find(name, *a)\n"
    hide += "sys.modules['torch'] = None\n"
    hide += "from pettingllms.cli.main import run; run()\n"
    for arguments in (SOKOBAN, ("evaluate", "--env", "sokoban"), ("benchmark", "learning")):
        done = subprocess.run(
            [sys.executable, "-c", hide, *arguments],
            capture_output=True,
            text=True,
            cwd=place,
            env=os.environ,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "error: torch is not installed; run: pip install 'pettingllms-core[train]'\n"


def test_a_process_says_the_same_as_the_function(place):
    program = shutil.which("pettingllms", path=str(Path(sys.executable).parent))
    assert program is not None
    done = subprocess.run([program, "train", "--env", "sokobn"], capture_output=True, text=True, cwd=place)
    line = "error: unknown environment 'sokobn'; did you mean 'sokoban'?\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
