"""Plugins of every kind of brokenness, discovered for real from ``*.dist-info`` folders on the path."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pettingllms.errors import ConfigError, PluginError, UnknownNameError
from pettingllms.plugins.lazy import load_object
from pettingllms.plugins.loader import load_plugins
from pettingllms.plugins.registry import Registry, forget_registry, get_registry

DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def acme_plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PETTINGLLMS_DISABLE_PLUGINS", "")
    monkeypatch.setenv("PETTINGLLMS_STRICT_PLUGINS", "")
    monkeypatch.syspath_prepend(str(DATA / "plugins"))
    forget_registry()
    yield
    forget_registry()
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]


def test_every_fault_is_reported_and_harms_no_other() -> None:
    loaded = load_plugins(disabled=["off"])
    reasons = {
        (f.name, f.distribution, f.version): f.reason for f in loaded.failures if "acme" in f.distribution
    }
    claimed = (
        "the name 'rival' is claimed by acme-rival-one 1.0 (acme_rival_one) and "
        "acme-rival-two 3.0 (acme_rival_two); none of them is used; uninstall all but one"
    )
    unreadable = reasons.pop(("acme-unreadable", "acme-unreadable", "0.1"))
    assert unreadable.startswith("its entry_points.txt cannot be read: ")
    signature = reasons.pop(("arguments", "acme-arguments", "1.0"))
    assert "trainer" in signature
    assert "pettingllms_run_started" in signature
    assert "\n" not in signature
    assert reasons == {
        ("raises", "acme-raises", "2.0"): (
            "acme_raises cannot be imported: RuntimeError: no licence found in this test"
        ),
        ("exits", "acme-exits", "2.1"): "acme_exits cannot be imported: SystemExit: 7",
        ("needs", "acme-needs", "0.3"): (
            "acme_needs cannot be imported: "
            "acme_needs needs 'a_library_that_nobody_has', which is not installed"
        ),
        ("misspelt", "acme-misspelt", "1.0"): (
            "pettingllms_register_environment is not a hook; "
            "did you mean 'pettingllms_register_environments'?"
        ),
        ("unmarked", "acme-unmarked", "1.0"): "pettingllms_register_agent_roles lacks the @hookimpl marker",
        ("foreign", "acme-foreign", "1.0"): (
            "pettingllms_register_environments: 'good/hijack' is outside the plugin's namespace 'foreign/'"
        ),
        ("twice", "acme-twice", "1.0"): (
            "pettingllms_register_environments: 'twice/double' is registered twice"
        ),
        ("notspec", "acme-notspec", "1.0"): (
            "pettingllms_register_agent_roles: returned 'notspec/role' where RoleSpec is expected"
        ),
        ("badspec", "acme-badspec", "1.0"): (
            "pettingllms_register_agent_roles: RoleSpec 'badspec/role': role 'acme_badspec.ROLE' "
            "must look like 'package.module:Name'"
        ),
        ("async", "acme-async", "1.0"): (
            "pettingllms_run_started: hooks are called synchronously; it must not be an async function"
        ),
        ("rival", "acme-rival-one", "1.0"): claimed,
        ("rival", "acme-rival-two", "3.0"): claimed,
    }
    assert {"core", "good", "twin"} <= {plugin.name for plugin in loaded.plugins}
    good = next(plugin for plugin in loaded.plugins if plugin.name == "good")
    assert (good.distribution, good.version, good.module) == ("acme-good", "1.2", "acme_good.plugin")
    assert good.spec_names == ("good/other", "good/score", "good/shared", "good/thing", "good/worker")
    assert good.hooks == (
        "pettingllms_register_environments",
        "pettingllms_register_reward_functions",
        "pettingllms_register_agent_roles",
        "pettingllms_register_policy_mappings",
        "pettingllms_run_started",
        "pettingllms_run_finished",
    )
    # Nothing of a plugin that failed half-way stays behind.
    names = [name for plugin in loaded.plugins for name in plugin.spec_names]
    assert "foreign/fine" not in names
    assert "good/hijack" not in names
    assert "twice/double" not in names


def test_a_disabled_plugin_is_not_imported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PETTINGLLMS_DISABLE_PLUGINS", " off, rival ,god")
    loaded = load_plugins(disabled=["raises"])
    assert "acme_off" not in sys.modules
    assert [(p.name, p.distribution, p.status) for p in loaded.disabled] == [
        ("off", "acme-off", "disabled"),
        ("raises", "acme-raises", "disabled"),
        ("rival", "acme-rival-one", "disabled"),
        ("rival", "acme-rival-two", "disabled"),
    ]
    assert not {"off", "raises", "rival"} & {f.name for f in loaded.failures}
    assert caplog.messages == ["cannot disable the plugin 'god': it is not installed; did you mean 'good'?"]
    with pytest.raises(ConfigError, match=r"'core' cannot be disabled"):
        load_plugins(disabled=["core"])


def test_strict_makes_any_failure_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETTINGLLMS_STRICT_PLUGINS", "1")
    with pytest.raises(PluginError, match=r"'raises' \(acme-raises 2\.0\): .*no licence"):
        load_plugins()
    # With all broken plugins disabled, a preset that cannot be read still counts.
    broken = {failure.name for failure in load_plugins(strict=False).failures}
    with pytest.raises(PluginError) as caught:
        get_registry({*broken, "twin"})
    assert str(caught.value).startswith("plugin 'good' (acme-good 1.2): preset torn.toml cannot be read")
    monkeypatch.setenv("PETTINGLLMS_STRICT_PLUGINS", "yes")
    with pytest.raises(ConfigError, match=r"must be 1 or 0, not 'yes'"):
        load_plugins()


def test_nobody_takes_the_name_of_the_builtins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DATA / "squatter"))
    registry = get_registry()
    (failure,) = (failure for failure in registry.failures if failure.distribution == "acme-squatter")
    assert failure.reason == "the name 'core' belongs to pettingllms-core"
    assert registry.policy_mapping("shared").mapping == "pettingllms.team.mapping:shared"
    assert "acme_squatter" not in sys.modules


def test_names_resolve_in_full_bare_or_by_namespace() -> None:
    registry = get_registry()
    assert registry is get_registry(())
    assert registry is not get_registry(["off"])
    assert registry.environment("good/thing").summary == "a thing to do"
    assert registry.environment("other").name == "good/other"
    assert registry.environment("twin").name == "twin/thing"  # the namespace's only environment
    assert registry.reward("score").name == "good/score"
    assert registry.role("worker").name == "good/worker"
    assert registry.policy_mapping("good/shared").name == "good/shared"
    assert registry.policy_mapping("shared").name == "core/shared"  # no plugin can take a name of the core
    assert load_object(registry.policy_mapping("per_role").mapping)(("a", "b")) == {"a": "a", "b": "b"}
    assert registry.owner("good/worker").distribution == "acme-good"
    assert list(registry.environments) == sorted(registry.environments)
    assert registry.versions["twin"] == "4.5"


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("thing", UnknownNameError, "environment 'thing' could be any of good/thing, twin/thing; write one"),
        ("good", UnknownNameError, "'good' is a plugin; its environments are good/other, good/thing"),
        ("othr", UnknownNameError, "unknown environment 'othr'; did you mean 'other'?"),
        (
            "raises/any",
            PluginError,
            "plugin 'raises' (acme-raises 2.0): acme_raises cannot be imported: Runtime",
        ),
        (
            "double",
            PluginError,
            "plugin 'twice' (acme-twice 1.0): pettingllms_register_environments: 'twice/dou",
        ),
        ("rival/thing", PluginError, "acme-rival-one 1.0 (acme_rival_one) and acme-rival-two 3.0"),
        (
            "off/switch",
            PluginError,
            "environment 'off/switch' is not available: the plugin 'off' is disabled",
        ),
    ],
)
def test_a_name_that_is_not_there_says_why(name: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        get_registry(["off"]).environment(name)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_suites_that_are_not_installed_get_their_pip_line() -> None:
    registry = Registry(load_plugins(candidates=()))
    for name in ("sokoban", "games/sokoban", "games", "games/never_heard_of"):
        with pytest.raises(UnknownNameError, match=r"run: pip install pettingllms-envs-games$"):
            registry.environment(name)
    with pytest.raises(
        UnknownNameError, match=r"did you mean 'blocksworld'\?.*pip install pettingllms-envs-pl"
    ):
        registry.environment("blockworld")
    with pytest.raises(UnknownNameError, match=r"pip install pettingllms-envs-code$"):
        registry.preset("code_two_policy")
    with pytest.raises(UnknownNameError, match=r"pip install pettingllms-envs-math$"):
        registry.role("math/solver")
    with pytest.raises(UnknownNameError, match=r"unknown environment 'zzz'$"):
        registry.environment("zzz")


def test_presets_are_found_beside_the_plugin() -> None:
    registry = get_registry()
    preset = registry.preset("thing_single")
    assert preset is registry.preset("thing_small")
    assert (preset.plugin, preset.summary) == ("good", "a small thing")
    assert preset.aliases == ("thing_single", "tiny_thing")
    assert '[env]\nname = "good/thing"' in preset.text
    assert "mine" not in registry.presets
    assert "contested" not in registry.presets
    with pytest.raises(UnknownNameError, match=r"unknown preset 'thing_smal'; did you mean 'thing_small'"):
        registry.preset("thing_smal")
    with pytest.raises(PluginError, match=r"preset torn.toml cannot be read: TOMLDecodeError"):
        registry.preset("torn")
    with pytest.raises(PluginError) as caught:
        registry.preset("contested")
    assert "good:contested.toml and twin:mine.toml claim the name 'contested'" in str(caught.value)
    about_presets = {f.name for f in registry.failures if f.reason.startswith("preset ")}
    assert {"good", "twin"} <= about_presets
    assert {"good", "twin"} <= {plugin.name for plugin in registry.plugins}  # they stay in use themselves


def test_load_object_names_the_cause() -> None:
    assert load_object("pettingllms.team.mapping:shared")(("a",)) == {"a": "shared"}
    cases = {
        "pettingllms.team.mapping:sharde": "pettingllms.team.mapping has no 'sharde'; did you mean 'shared'?",
        "pettingllms.team.maping:shared": "there is no module 'pettingllms.team.maping'",
        "acme_needs:Thing": "acme_needs needs 'a_library_that_nobody_has', which is not installed",
        "acme_exits:Thing": "SystemExit: 7",
        "acme_raises:Thing": "RuntimeError: no licence found in this test",
        "acme_raises.Thing": "must look like 'package.module:Name'",
    }
    for reference, text in cases.items():
        with pytest.raises(PluginError) as caught:
            load_object(reference)
        assert text in str(caught.value)
        assert reference in str(caught.value)
        assert "\n" not in str(caught.value)
