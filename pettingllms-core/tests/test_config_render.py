"""What is written reads back as the same value; idle settings are named."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pettingllms.config.load import load_config, parse_config
from pettingllms.config.presets import preset_copy
from pettingllms.config.render import to_toml
from pettingllms.config.schema import AgentConfig, AgentsConfig, Config, EnvConfig, SamplingConfig
from pettingllms.config.tiny_defaults import TINY_DEFAULTS
from pettingllms.config.unused import unused_settings

text = st.text(st.characters(codec="utf-8"), max_size=8)
name = text.filter(lambda value: bool(value.strip()))
share = st.floats(0.01, 1.0)
plain = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
stops = st.none() | st.lists(name, max_size=2).map(tuple)
sampling = st.builds(SamplingConfig, temperature=st.none() | share, stop=stops)
agents = st.lists(
    st.builds(
        AgentConfig, name=name, system_prompt=st.none() | text, top_p=st.none() | share, evaluate=sampling
    ),
    max_size=3,
    unique_by=lambda agent: agent.name,
).map(tuple)
configs = st.builds(
    Config,
    agents=st.builds(AgentsConfig, policy_mapping=name, agents=agents),
    env=st.builds(
        EnvConfig,
        name=st.none() | name,
        timeout=st.floats(0.1),
        options=st.dictionaries(text, plain, max_size=3).filter(lambda table: "max_turns" not in table),
        reward_options=st.dictionaries(text, plain, max_size=2),
    ),
)


@given(config=configs, comments=st.booleans())
@settings(max_examples=150, deadline=None)
def test_what_is_written_reads_back_equal(config: Config, comments: bool) -> None:
    assert parse_config(to_toml(config, comments=comments), "c.toml") == config


def test_every_key_is_written_and_a_loaded_config_survives_every_layer(tmp_path: Path) -> None:
    config = load_config(flags={"model.name": "tiny"}, overrides=["training.batch_size=3"])
    written = to_toml(config)
    for section in attrs.fields(Config):
        for field in attrs.fields(type(getattr(config, section.name))):
            assert (
                f"\n{field.name} = " in written
                or f"# {field.name} = unset\n" in written
                or (f"[{section.name}.{field.name}]\n" in written)
            )
    (tmp_path / "c.toml").write_text(written)
    assert load_config(file=tmp_path / "c.toml") == config


PRESET = """
summary = "a preset"
aliases = ["also"]
[env]
name = "toys/one"
options = { size = 5, rules = { wrap = true } }
[training]
alpha = 0.25
[model.tiny]
num_layers = 2
[[agents.agents]]
name = "planner"
stop = ["\\n"]
[agents.agents.evaluate]
temperature = 0.5
[tiny.training]
learning_rate = 0.003
"""


@pytest.mark.parametrize("model", ["tiny", "some/model"])
@pytest.mark.parametrize("preset", [PRESET, "[env]\nname = 'toys/one'\n", ""])
def test_a_copied_preset_is_the_preset(tmp_path: Path, model: str, preset: str) -> None:
    copied = preset_copy("p", preset)
    (tmp_path / "c.toml").write_text(copied)
    flags = {"model.name": model}
    assert load_config(file=tmp_path / "c.toml", flags=flags) == load_config(preset_text=preset, flags=flags)


def test_a_copied_preset_can_be_edited_by_taking_comments_away(tmp_path: Path) -> None:
    copied = preset_copy("p", PRESET)
    assert "\nalpha = 0.25\n" in copied
    assert "\n# learning_rate = 1e-06\n" in copied
    assert f"## peak learning rate [tiny: {TINY_DEFAULTS['training']['learning_rate']}]\n" in copied
    lines = [
        line.removeprefix("# ") if line.startswith("# ") and not line.endswith("unset") else line
        for line in copied.splitlines()
    ]
    table: dict[str, Any] = tomllib.loads("\n".join(lines))
    assert table["training"]["learning_rate"] == 1e-6
    (tmp_path / "c.toml").write_text("\n".join(lines))
    assert load_config(file=tmp_path / "c.toml", flags={"model.name": "a/b"}).training.alpha == 0.25


@pytest.mark.parametrize(
    ("overrides", "lines"),
    [
        ([], []),
        (["training.gamma=0.99"], ["training.gamma = 0.99 is not used by at_grpo"]),
        (
            ["training.algorithm=grpo", "training.commit=mixed", "training.greedy_share=0.3"],
            [
                "training.commit = 'mixed' is not used by grpo",
                "training.greedy_share = 0.3 is not used by grpo",
            ],
        ),
        (
            ["training.greedy_share=0.3"],
            ["training.greedy_share = 0.3 is not used when training.commit = 'greedy'"],
        ),
        (["training.commit=mixed", "training.greedy_share=0.3"], []),
        (
            ["evaluation.interval=0", "evaluation.num_tasks=7", "evaluation.temperature=0.5"],
            ["evaluation.num_tasks = 7 is not used when evaluation.interval = 0"],
        ),
        (
            ["evaluation.final_num_tasks=0", "evaluation.final_split=train"],
            ["evaluation.final_split = 'train' is not used when evaluation.final_num_tasks = 0"],
        ),
        (["model.tiny.num_layers=2"], []),
        (
            ["model.name=a/b", "model.tiny.num_layers=2"],
            ["model.tiny.num_layers = 2 is not used by a/b"],
        ),
        (
            ["warm_start.steps=0", "warm_start.num_tasks=3"],
            ["warm_start.num_tasks = 3 is not used when warm_start.steps = 0"],
        ),
    ],
)
def test_settings_without_effect_are_named(overrides: list[str], lines: list[str]) -> None:
    config = load_config(preset_text="[model]\nname = 'tiny'", overrides=overrides)
    assert unused_settings(config) == lines
