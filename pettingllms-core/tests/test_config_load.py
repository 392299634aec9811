"""Layers, wrong input, contradictions, and what depends on the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from pettingllms.config import hardware
from pettingllms.config.load import load_config, parse_config
from pettingllms.config.tiny_defaults import TINY_DEFAULTS
from pettingllms.errors import ConfigError

PRESET = """
summary = "two of them"
aliases = ["other"]
[env]
name = "toys/one"
options = { size = 5, boxes = 2 }
[training]
alpha = 0.1
batch_size = 10
num_branches = 3
learning_rate = 2e-6
[tiny.training]
learning_rate = 3e-3
batch_size = 20
"""


@pytest.fixture(autouse=True)
def no_gpu(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A device folder that stands for /dev, empty: the tests do not depend on the machine."""
    folder = tmp_path_factory.mktemp("dev")
    monkeypatch.setattr(hardware, "DEVICE_FOLDER", folder)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return folder


def write(folder: Path, text: str, name: str = "run.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_every_layer_wins_over_those_before_it_key_by_key(tmp_path: Path) -> None:
    file = write(tmp_path, "[training]\nalpha = 0.2\nbatch_size = 11\n[env]\nseed = 1\noptions.size = 6\n")
    config = load_config(
        preset_text=PRESET,
        preset_name="p",
        file=file,
        overrides=["training.alpha=0.3", "env.options.size=7", "env.options.size=8", "env.seed=2"],
        flags={"env.seed": 3, "tracking.output": "there", "model.name": "some/model", "env.name": None},
    )
    training = config.training
    assert (training.alpha, training.batch_size, training.num_branches) == (0.3, 11, 3)
    assert training.learning_rate == 2e-6  # [tiny] does not count
    assert training.clip_epsilon == 0.2  # the schema's own
    assert config.env.options == {"size": 8, "boxes": 2}
    assert (config.env.name, config.env.seed, config.tracking.output) == ("toys/one", 3, "there")


def test_tiny_layers_lie_between_the_models_defaults_and_what_the_user_writes(tmp_path: Path) -> None:
    bare = load_config()
    assert bare.model.name == "tiny"
    for section, keys in TINY_DEFAULTS.items():
        for key, value in keys.items():
            assert getattr(getattr(bare, section), key) == value

    preset = load_config(preset_text=PRESET, flags={"model.name": "tiny"})
    assert (preset.training.learning_rate, preset.training.batch_size) == (3e-3, 20)

    file = write(tmp_path, "[training]\nlearning_rate = 4e-3\n[tiny.evaluation]\ninterval = 7\n")
    both = load_config(preset_text=PRESET, file=file)
    assert (both.training.learning_rate, both.training.batch_size) == (4e-3, 20)
    assert both.evaluation.interval == 7
    assert load_config(file=file, flags={"model.name": "x/y"}).evaluation.interval == 10
    assert load_config(preset_text=PRESET, overrides=["training.batch_size=9"]).training.batch_size == 9


def test_an_unset_model_is_tiny_without_a_gpu_and_a_pretrained_one_with_a_gpu(
    no_gpu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (no_gpu / "nvidia-uvm").touch()
    (no_gpu / "nvidiactl").touch()
    assert load_config().model.name == "tiny"
    (no_gpu / "nvidia3").touch()
    found = load_config()
    assert (found.model.name, found.warm_start.steps, found.training.learning_rate) == (
        hardware.DEFAULT_MODEL,
        0,
        1e-6,
    )
    assert load_config(overrides=["engine.device=cpu"]).model.name == "tiny"
    tiny_rate = TINY_DEFAULTS["training"]["learning_rate"]
    assert load_config(preset_text="[model]\nname = 'tiny'").training.learning_rate == tiny_rate
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert load_config().model.name == "tiny"


def test_a_config_file_can_build_on_a_preset(tmp_path: Path) -> None:
    file = write(tmp_path, 'preset = "other"\n[training]\nbatch_size = 12\n')
    presets = {"other": PRESET, "p": PRESET}
    config = load_config(file=file, find_preset=presets.__getitem__)
    assert (config.env.name, config.training.batch_size, config.training.alpha) == ("toys/one", 12, 0.1)
    same = load_config(file=file, preset_text=PRESET, preset_name="p", find_preset=presets.__getitem__)
    assert same == config
    with pytest.raises(ConfigError, match=r"run\.toml builds on the preset 'other', not on 'q'"):
        load_config(file=file, preset_text="", preset_name="q", find_preset=presets.__getitem__)
    with pytest.raises(ConfigError, match="only a config file can build on a preset"):
        load_config(preset_text='preset = "other"', preset_name="q")


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("env.name=sokoban", ("env", "name"), "sokoban"),
        ("model.name=Qwen/Qwen3-1.7B", ("model", "name"), "Qwen/Qwen3-1.7B"),
        ('model.name="tiny"', ("model", "name"), "tiny"),
        ("tracking.output=2026-01-02", ("tracking", "output"), "2026-01-02"),
        ("tracking.output=true # no", ("tracking", "output"), "true # no"),
        ("tracking.output=a=b c", ("tracking", "output"), "a=b c"),
        ("training.max_grad_norm=inf", ("training", "max_grad_norm"), float("inf")),
        ("checkpoint.save_best=false", ("checkpoint", "save_best"), False),
        ('env.options."odd key"=[1, 2]', ("env", "options"), {"odd key": [1, 2]}),
        ('env.options={a = {b = "c"}}', ("env", "options"), {"a": {"b": "c"}}),
    ],
)
def test_set_reads_toml_values_and_bare_words(text: str, path: tuple[str, str], value: object) -> None:
    config = load_config(overrides=[text])
    assert getattr(getattr(config, path[0]), path[1]) == value


def test_set_replaces_the_list_of_agents() -> None:
    config = load_config(overrides=['agents.agents=[{name = "a", stop = ["x"]}, {name = "b"}]'])
    assert [agent.name for agent in config.agents.agents] == ["a", "b"]
    assert config.agents.agents[0].stop == ("x",)


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nalpha = \n", "run.toml, line 2, column 9: not valid TOML: invalid value"),
        ("[training\nalpha = 1\n", "run.toml, line 1, column 10: not valid TOML: expected"),
        ("[trainng]\nalpha = 1\n", "trainng is not a known key; did you mean 'training'?"),
        ("[training]\nalhpa = 1\n", "training.alhpa is not a known key; did you mean 'alpha'?"),
        ("[training]\nmax_turns = 1\n", "training.max_turns is not a known key; did you mean env.max_turns?"),
        ("alpha = 1\n", "alpha has no section; did you mean training.alpha?"),
        ("[training]\nalpha = 1.5\n", "run.toml: training.alpha must be at most 1.0, not 1.5"),
        ("[training]\nalpha = nan\n", "training.alpha must be at least 0.0, not nan"),
        ("[training]\nbatch_size = 8.0\n", "training.batch_size must be an integer, not 8.0"),
        ("[training]\nbatch_size = '8'\n", "training.batch_size must be an integer, not '8'"),
        ("[training]\ncommit = 'greddy'\n", "did you mean 'greedy'?"),
        ("training = 3\n", "training must be a table, not 3"),
        ("[[agents.agents]]\nrole = 'a/b'\n", "agents.agents[0].name is required"),
        ("[model.tiny]\nhidden = 3\n", "model.tiny.hidden is not a known key"),
        ("[tiny.training]\nalpha = 2\n", "tiny.training.alpha must be at most 1.0, not 2"),
        ("[tiny.model]\nname = 'x'\n", "tiny.model.name cannot be set"),
        ("aliases = 'x'\n", "aliases must be a list of strings, not 'x'"),
        ("preset = 3\n", "preset must be a string, not 3"),
        ("preset = 'x'\n", "run.toml: preset = 'x' cannot be looked up here"),
        ("[wandb]\nproject = 'x'\n", "Weights & Biases tracking is not available in this version"),
        ("[env.options]\nday = 2026-01-02\n", "env.options.day must be made of strings, numbers"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(file=write(tmp_path, text))
    assert message in one_line(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"[env]\nname = '\xe9'\n")
    (tmp_path / "folder.toml").mkdir()
    for name, message in [
        ("missing.toml", "missing.toml does not exist"),
        ("folder.toml", "folder.toml is a folder"),
        ("latin.toml", "latin.toml is not UTF-8 text (byte 14)"),
        ("run.yaml", "run.yaml must be a .toml or a .py file"),
    ]:
        with pytest.raises(ConfigError) as caught:
            load_config(file=tmp_path / name)
        assert message in one_line(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training.alpha", "must look like section.key=value"),
        ("=3", "must look like section.key=value"),
        ("# a=3", "must look like section.key=value"),
        ("[a]#=3", "must look like section.key=value"),
        ("a b=3", "must look like section.key=value"),
        ("alpha=0.5", "--set alpha=0.5: alpha has no section; did you mean training.alpha?"),
        ("training.alpha=", "gives no value"),
        ("training.alpha=1.5", "--set training.alpha=1.5: training.alpha must be at most 1.0, not 1.5"),
        ("training.alpha=high", "training.alpha must be a number, not 'high'"),
        ("agents.agents=[{name = 1", "is not a TOML value"),
        ("tiny.training.alpha=0.5", "only a config file can hold 'tiny'"),
        ("preset=x", "only a config file can hold 'preset'"),
    ],
)
def test_a_wrong_set_is_one_line_that_names_it(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=[text])
    assert message in one_line(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.max_new_tokens=1024"], "leaves no room for a prompt"),
        (["model.top_k=1"], "model.top_k = 1"),
        (["model.tiny.num_kv_heads=3"], "num_kv_heads = 3 does not divide model.tiny.num_heads = 4"),
        (["model.tiny.head_dim=33"], "head_dim = 33 must be even"),
        (['agents.agents=[{name="a"}, {name="a"}]'], "names the seat 'a' 2 times"),
        (['agents.agents=[{name="a", stop=[""]}]'], "agents.agents[0].stop holds an empty text"),
        (['agents.agents=[{name="a", evaluate={max_new_tokens=4096}}]'], "evaluate.max_new_tokens = 4096"),
        (["training.adam_betas=[0.9, 1.0]"], "adam_betas must be at least 0 and below 1, not 1.0"),
        (["training.num_iterations=3", "training.warmup_iterations=4"], "warmup_iterations = 4 exceeds"),
        (["training.importance_cap=2.0"], "importance_cap needs training.old_logprobs = 'recompute'"),
        (["training.dual_clip=1.0"], "dual_clip must be above 1.0"),
        (["training.learning_rate=inf"], "training.learning_rate must be finite"),
        (["training.microbatch_tokens=100"], "cannot hold one sequence of model.max_length"),
        (["env.max_turns=3", "env.options.max_turns=4"], "contradicts env.options.max_turns = 4"),
        (["engine.device=gpu"], "engine.device must be 'auto', 'cpu', 'cuda' or 'cuda:N', not 'gpu'"),
    ],
)
def test_contradictions_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=overrides)
    assert message in one_line(caught.value)


def test_an_importance_cap_is_fine_with_recomputed_logprobs() -> None:
    config = load_config(overrides=["training.importance_cap=2", "training.old_logprobs=recompute"])
    assert config.training.importance_cap == 2.0


def test_a_resolved_file_builds_on_nothing() -> None:
    with pytest.raises(ConfigError, match=r"c\.toml is not a resolved configuration"):
        parse_config("preset = 'x'", "c.toml")
    with pytest.raises(ConfigError, match=r"c\.toml: training\.alpha must be at most"):
        parse_config("[training]\nalpha = 2", "c.toml")
    assert parse_config("[model]\nname = 'tiny'", "c.toml").training.learning_rate == 1e-6
