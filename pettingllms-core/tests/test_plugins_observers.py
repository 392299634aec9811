"""Observers can look at a run and refuse its configuration; nothing else that they do reaches it."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pluggy
import pytest

from pettingllms.api import RoleSpec, hookimpl
from pettingllms.errors import ConfigError, PluginError
from pettingllms.plugins import hookspecs
from pettingllms.plugins.discovery import Candidate
from pettingllms.plugins.events import IterationReport, RolloutSummary, RunInfo
from pettingllms.plugins.loader import load_plugins
from pettingllms.plugins.observers import Observers
from pettingllms.plugins.registry import registry_of_modules


def run_info(config: dict[str, Any] | None = None) -> RunInfo:
    return RunInfo(
        run_dir=Path("/somewhere"),
        config=config or {},
        environment="mine/task",
        policies={"solver": "shared"},
        plugin_versions={"mine": "1.0"},
    )


def plugin(**functions: Any) -> SimpleNamespace:
    """A plugin of the given hook implementations."""
    for name, function in functions.items():
        functions[name] = hookimpl(specname=f"pettingllms_{name}")(function)
    return SimpleNamespace(**functions)


def test_every_observer_hears_of_its_moment_with_the_arguments_it_takes() -> None:
    heard: list[Any] = []
    listener = plugin(
        configure=lambda config: heard.append(config),
        run_started=lambda run: heard.append(run.environment),
        rollouts_finished=lambda summary: heard.append((summary.iteration, dict(summary.metrics))),
        iteration_finished=lambda: heard.append("no arguments"),
        run_finished=lambda run, error: heard.append((run.environment, error)),
    )
    observers = Observers(registry_of_modules({"mine": listener}))
    failure = RuntimeError("out of memory")
    observers.configure({"seed": 3})
    observers.run_started(run_info())
    observers.rollouts_finished(RolloutSummary(iteration=1, metrics={"reward": 0.5}))
    observers.iteration_finished(IterationReport(iteration=1, metrics={"loss": 2.0}))
    observers.run_finished(run_info(), failure)
    assert heard == [{"seed": 3}, "mine/task", (1, {"reward": 0.5}), "no arguments", ("mine/task", failure)]
    assert not observers.errors


def test_a_failing_observer_is_logged_counted_and_muted(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []

    def fails(report: IterationReport) -> None:
        calls.append("bad")
        if report.iteration == 2:
            raise SystemExit(9)
        raise ValueError(f"cannot\nplot {report.iteration}")

    bad = plugin(iteration_finished=fails, run_finished=lambda: calls.append("bad too late"))
    good = plugin(iteration_finished=lambda: calls.append("good"), run_finished=lambda: calls.append("end"))
    observers = Observers(registry_of_modules({"a_bad": bad, "b_good": good}))
    with caplog.at_level(logging.WARNING):
        for iteration in range(1, 6):
            observers.iteration_finished(IterationReport(iteration=iteration, metrics={}))
        observers.run_finished(run_info())
    assert calls == ["bad", "good"] * 3 + ["good"] * 2 + ["end"]
    assert observers.errors == {"a_bad": 3}
    assert caplog.messages == [
        "plugin 'a_bad' failed in pettingllms_iteration_finished (ValueError: cannot plot 1), failure 1",
        "plugin 'a_bad' failed in pettingllms_iteration_finished (SystemExit: 9), failure 2",
        "plugin 'a_bad' failed in pettingllms_iteration_finished (ValueError: cannot plot 3), failure 3; "
        "it is not called any more in this run",
    ]


def test_configure_alone_may_refuse_and_only_with_a_config_error() -> None:
    def refuse(**_: Any) -> None:
        raise ConfigError("training.batch_size: 128 tasks at most")

    def break_down() -> None:
        raise KeyError("batch_size")

    refusing = Observers(
        registry_of_modules({"mine": plugin(configure=lambda config: refuse(), run_started=lambda: refuse())})
    )
    with pytest.raises(ConfigError, match=r"^plugin 'mine': training.batch_size: 128 tasks at most$"):
        refusing.configure({})
    refusing.run_started(run_info())  # here the same error is only counted
    breaking = Observers(registry_of_modules({"mine": plugin(configure=break_down)}))
    breaking.configure({})
    assert refusing.errors == breaking.errors == {"mine": 1}


def test_an_observer_cannot_change_the_run() -> None:
    seen: list[Any] = []

    def spoil(config: Any) -> None:
        seen.append(config["training"]["alpha"])
        config["training"]["alpha"] = 99

    def spoil_run(run: RunInfo) -> None:
        seen.append(run.config["training"]["alpha"])
        run.config["training"]["alpha"] = 99

    spoilers = {"one": plugin(configure=spoil, run_started=spoil_run)}
    spoilers["two"] = plugin(configure=spoil, run_started=spoil_run)
    observers = Observers(registry_of_modules(spoilers))
    config = {"training": {"alpha": 0.7}}
    observers.configure(config)
    run = run_info(config)
    observers.run_started(run)
    assert seen == [0.7] * 4
    assert config == run.config == {"training": {"alpha": 0.7}}


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (hookimpl(specname="pettingllms_run_finished", wrapper=True)(lambda: (yield)), "wrapping impl"),
        (hookimpl(specname="pettingllms_run_finished")(lambda: (yield)), "must not be a generator function"),
        (
            hookimpl(specname="pettingllms_run_ended")(lambda run: None),
            "is not a hook; did you mean 'pettingllms_run_finished'",
        ),
        (
            hookimpl(specname="pettingllms_register_agent_roles")(lambda: None),
            "iterable of RoleSpec, not None",
        ),
    ],
)
def test_implementations_that_would_misbehave_in_silence_are_refused(broken: Any, reason: str) -> None:
    with pytest.raises(PluginError, match=reason):
        registry_of_modules({"mine": SimpleNamespace(hook=broken)})


def test_a_plugin_may_be_any_object_and_fail_in_any_way() -> None:
    class Working:
        @hookimpl
        def pettingllms_register_agent_roles(self) -> Any:
            yield RoleSpec(name="works/role", role="package.module:ROLE")

        @property
        def pettingllms_trap(self) -> None:
            raise AssertionError("properties are not read")

    class Quits(Working):
        @hookimpl
        def pettingllms_register_agent_roles(self) -> Any:
            yield RoleSpec(name="quits/role", role="package.module:ROLE")
            raise SystemExit(3)

    class Secretive:
        def __dir__(self) -> list[str]:
            raise RuntimeError("nothing to see")

    def candidate(name: str, plugin: object) -> Candidate:
        return Candidate(name=name, distribution=name, version="1", module="somewhere", load=lambda: plugin)

    given = {
        "works": Working(),
        "unmade": Working,
        "quits": Quits(),
        "secretive": Secretive(),
        "No Name": Working(),
        "empty": SimpleNamespace(),
    }
    loaded = load_plugins(strict=False, candidates=[candidate(*item) for item in given.items()])
    assert [plugin.name for plugin in loaded.plugins] == ["core", "works"]
    reasons = {failure.name: failure.reason for failure in loaded.failures}
    assert reasons["quits"] == "pettingllms_register_agent_roles: SystemExit: 3"
    assert reasons["secretive"] == "RuntimeError: nothing to see"
    assert "missing 1 required positional argument: 'self'" in reasons["unmade"]
    assert reasons["No Name"] == "an entry-point name must be lower-case letters, digits, '-' and '_'"
    assert reasons["empty"] == "somewhere implements no hook; does the entry point name the right module?"
    assert next(f for f in loaded.failures if f.name == "quits").names == ("quits/role",)


def test_every_hook_is_plain_and_documented() -> None:
    manager = pluggy.PluginManager("pettingllms")
    manager.add_hookspecs(hookspecs)
    specified = {name: caller.spec for name, caller in vars(manager.hook).items() if caller.has_spec()}
    assert set(specified) == set(hookspecs.HOOKS)
    assert len(hookspecs.COLLECTING) == 4
    for name, spec in specified.items():
        assert spec is not None
        assert not spec.opts["firstresult"]
        assert not spec.opts["historic"]
        text = inspect.getdoc(spec.function) or ""
        assert f"def {name}(" in text
        assert "Called once" in text
        for argument in inspect.signature(spec.function).parameters:
            assert f"\n    {argument}: " in text
        if name in hookspecs.COLLECTING:
            assert "Returns:" in text
            assert tuple(spec.function()) == ()
