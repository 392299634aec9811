"""Python config files: the training guide's dicts as the guide prints them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pettingllms.config.load import load_config
from pettingllms.config.tiny_defaults import TINY_DEFAULTS
from pettingllms.errors import ConfigError

GUIDE = """
config = {
    "model_name": "Qwen/Qwen2.5-1.5B-Instruct",
    "max_length": 2048,
    "temperature": 0.7,
    "top_p": 0.9,
}
agent_config = {
    "agents": [
        {
            "name": "planner",
            "role": "planning",
            "system_prompt": "You are a planning agent...",
        },
        {
            "name": "executor",
            "role": "execution",
            "system_prompt": "You are an execution agent...",
        }
    ],
    "policy_mapping": "shared",  # or "per_role"
}
training_config = {
    "num_iterations": 2000,
    "batch_size": 128,
    "learning_rate": 1e-5,
    "ppo_epochs": 3,
    "gamma": 0.99,
    "clip_epsilon": 0.2,
    "alpha": 0.7,  # Global/local reward mixing
}
env_config = {
    "max_turns": 10,
    "num_envs": 1000,
    "timeout": 300,  # seconds
    "seed": 42,
}
checkpoint_config = {
    "save_interval": 100,  # Save every 100 iterations
    "keep_last_n": 5,      # Keep last 5 checkpoints
    "save_best": True,     # Save best checkpoint
}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "my_config.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_guides_dicts_as_they_stand(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config = load_config(file=write(tmp_path, GUIDE))
    model, training, env = config.model, config.training, config.env
    assert (model.name, model.max_length, model.temperature, model.top_p) == (
        "Qwen/Qwen2.5-1.5B-Instruct",
        2048,
        0.7,
        0.9,
    )
    assert [(agent.name, agent.role) for agent in config.agents.agents] == [
        ("planner", None),
        ("executor", None),
    ]
    assert config.agents.agents[1].system_prompt == "You are an execution agent..."
    assert config.agents.policy_mapping == "shared"
    assert (training.num_iterations, training.batch_size, training.learning_rate) == (2000, 128, 1e-5)
    assert (training.ppo_epochs, training.gamma, training.clip_epsilon, training.alpha) == (3, 0.99, 0.2, 0.7)
    assert (env.max_turns, env.num_envs, env.timeout, env.seed) == (10, 1000, 300.0, 42)
    assert (config.checkpoint.save_interval, config.checkpoint.keep_last_n) == (100, 5)
    assert config.checkpoint.save_best is True
    [record] = caplog.records
    assert "'planning', 'execution' are taken as descriptions" in record.getMessage()


def test_config_may_hold_training_keys_as_in_the_guides_example(tmp_path: Path) -> None:
    text = """config = {"learning_rate": 5e-6, "batch_size": 256}
agent_config = {"agents": ({"name": "a", "role": "x/y"},)}
"""
    config = load_config(file=write(tmp_path, text))
    assert (config.training.learning_rate, config.training.batch_size) == (5e-6, 256)
    assert config.agents.agents[0].role == "x/y"


def test_dicts_named_after_sections_and_helpers(tmp_path: Path) -> None:
    text = (
        "import math\n_base = {'a': 1}\nrate = 1e-4\n"
        "training = dict(learning_rate=rate, clip_epsilon_high=None)\n"
        "env = dict(name='toys/one', options={**_base})\nmodel = {'tiny': {'num_layers': 2}}\n"
        "warm_start = {'steps': None}\ntiny = {'training': {'batch_size': 5}}\nsummary = 'mine'\n"
    )
    preset = "[training]\nclip_epsilon_high = 0.3\n"
    config = load_config(preset_text=preset, file=write(tmp_path, text), flags={"model.name": "tiny"})
    assert (config.training.learning_rate, config.training.clip_epsilon_high) == (1e-4, None)
    assert config.training.batch_size == 5
    assert (config.env.options, config.model.tiny.num_layers) == ({"a": 1}, 2)
    assert config.warm_start.steps == TINY_DEFAULTS["warm_start"]["steps"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "config = {}\nconfig['wandb'] = {'project': 'x'}",
            "config['wandb']: Weights & Biases tracking is not",
        ),
        ("config = {'model_nam': 'x'}", "config has no key 'model_nam'; did you mean 'model_name'?"),
        ("training_config = {'lerning_rate': 1}", "training_config has no key 'lerning_rate'; did you mean"),
        (
            "training_config = {'num_envs': 1}",
            "training_config has no key 'num_envs'; it belongs to env_config",
        ),
        (
            "agent_config = {'agents': [{'name': 'a', 'promt': 1}]}",
            "agent_config['agents'][0] has no key 'promt'",
        ),
        ("agent_config = {'agents': 'a'}", "agents.agents must be a list, not 'a'"),
        (
            "trainin_config = {'alpha': 1}",
            "the dict 'trainin_config' is not known; did you mean 'training_config'",
        ),
        ("training_config = 3", "training_config must be a dict, not int"),
        ("env_config = {3: 4}", "the keys of env_config must be strings, not 3"),
        ("training_config = {'alpha': 1.5}", "my_config.py: training.alpha must be at most 1.0, not 1.5"),
        ("env_config = {'options': {'x': None}}", "env.options.x must be made of strings"),
        (
            "config = {'batch_size': 1}\ntraining_config = {'batch_size': 2}",
            "config['batch_size'] and training_config['batch_size'] both set training.batch_size",
        ),
        ("x = 3", "my_config.py sets nothing"),
        (
            "import math\n\ndef f():\n    return 1 / 0\n\nf()",
            "my_config.py, line 4: ZeroDivisionError: division",
        ),
        ("config = {\n  'a': 1\n  'b': 2}", "my_config.py, line 2: SyntaxError"),
        ("import no_such_module_here", "my_config.py, line 1: ModuleNotFoundError"),
        ("import sys\nsys.exit('bye')", "my_config.py, line 2: SystemExit: bye"),
        ("raise ValueError('a\\nb')", "my_config.py, line 1: ValueError: a b"),
    ],
)
def test_a_wrong_python_file_is_one_line_that_names_it(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(file=write(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
