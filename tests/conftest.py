"""Fixtures of the tests across packages: a run that trains in about a second, in this process or another."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

SETTINGS = (
    "model.tiny.hidden_size=16",
    "model.tiny.num_layers=1",
    "model.tiny.num_heads=2",
    "model.tiny.num_kv_heads=1",
    "model.tiny.head_dim=8",
    "model.tiny.intermediate_size=32",
    "model.tiny.vocab_size=300",
    "model.max_length=128",
    "model.max_new_tokens=4",
    "warm_start.steps=30",
    "warm_start.num_tasks=24",
    "warm_start.batch_size=16",
    "warm_start.learning_rate=0.02",
    "training.num_iterations=3",
    "training.batch_size=4",
    "training.num_branches=4",
    "training.learning_rate=0.003",
    "training.microbatch_tokens=2048",
    "evaluation.interval=2",
    "evaluation.num_tasks=6",
    "evaluation.final_num_tasks=8",
    "checkpoint.save_interval=1",
    "engine.threads=1",
    "engine.device=cpu",
)
"""A run of a second: all that a warm start, three iterations and a table need, and no more."""

ENTRY_POINT = "[pettingllms]\ntoy = pettingllms.testing.toy\n"
METADATA = "Metadata-Version: 2.1\nName: pettingllms-envs-toy\nVersion: 1.0\n"


class Tiny:
    """Runs of the toy game with a model of a few thousand weights."""

    settings: Sequence[str] = SETTINGS

    def __init__(
        self, folder: Path, cache: Path, registry: Any, patch: pytest.MonkeyPatch, capture: Any
    ) -> None:
        self.folder, self.output, self.cache = folder, folder / "logs", cache
        self.registry = registry
        self._patch, self._capture = patch, capture
        self._processes: list[subprocess.Popen[str]] = []
        patch.setenv("PETTINGLLMS_CACHE", str(cache))
        patch.delenv("CHECKPOINT_PATH", raising=False)

    def config(self, *overrides: str) -> Any:
        """Return the settings of a run with `overrides`."""
        from pettingllms.config.load import load_config

        flags = {"env.name": "toy/clue", "model.name": "tiny", "tracking.output": str(self.output)}
        return load_config(overrides=[*self.settings, *overrides], flags=flags)

    def train(self, *overrides: str, registry: Any = None) -> Any:
        """Train in this process."""
        from pettingllms.training.session import start_run

        return start_run(self.config(*overrides), registry or self.registry)

    def arguments(self, *overrides: str) -> list[str]:
        """Return what follows ``pettingllms train`` for the run of `train`."""
        sets = [part for text in (*self.settings, *overrides) for part in ("--set", text)]
        return ["--env", "toy/clue", "--model", "tiny", "--output", str(self.output), *sets]

    def cli(self, *arguments: object) -> SimpleNamespace:
        """Run a command line in this process, where only the toy plugin is installed."""
        from pettingllms.cli.main import main

        modules = ["cli.train", "cli.evaluate", "cli.options", "cli.benchmark"]
        for module in modules:
            self._patch.setattr(f"pettingllms.{module}.current_registry", lambda: self.registry)
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments], prog_name="pettingllms")
        out, err = self._capture.readouterr()
        return SimpleNamespace(code=ended.value.code, out=out, err=err)

    def spawn(self, *arguments: object) -> subprocess.Popen[str]:
        """Start ``pettingllms ARGUMENTS`` in a process of its own, with the toy plugin installed there."""
        plugin = self.folder / "site" / "pettingllms_envs_toy-1.0.dist-info"
        plugin.mkdir(parents=True, exist_ok=True)
        (plugin / "METADATA").write_text(METADATA)
        (plugin / "entry_points.txt").write_text(ENTRY_POINT)
        process = subprocess.Popen(
            [sys.executable, "-m", "pettingllms", *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(plugin.parent), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
        )
        self._processes.append(process)
        return process

    def wait_for(self, pattern: str, process: subprocess.Popen[str], seconds: float = 60.0) -> Path:
        """Return the first path below `output` that matches `pattern`, as soon as it exists."""
        deadline = time.monotonic() + seconds
        while not (found := sorted(self.output.glob(pattern))):
            if process.poll() is not None:
                pytest.fail(f"the process ended before {pattern!r} appeared: {process.communicate()}")
            if time.monotonic() > deadline:
                pytest.fail(f"{pattern!r} did not appear within {seconds} s")
            time.sleep(0.005)
        return found[0]

    def runs(self) -> list[Path]:
        """Return the folders of all runs."""
        return sorted(self.output.glob("*/*/*"))

    def close(self) -> None:
        """End the processes that a failed test left behind."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.communicate()

    @staticmethod
    def metrics(run: Path) -> list[dict[str, Any]]:
        """Return the lines of a run's metrics.jsonl without the times."""
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
        return [{k: v for k, v in line.items() if not k.startswith("time/")} for line in lines]

    @staticmethod
    def weights(checkpoint: Path) -> dict[str, str]:
        """Return the hash of every policy's weights."""
        files = sorted(checkpoint.glob("*/model.safetensors"))
        assert files, f"no weights in {checkpoint}"
        return {file.parent.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    @classmethod
    def last_weights(cls, run: Path) -> dict[str, str]:
        """Return the hashes of the weights of a run's last checkpoint."""
        return cls.weights(max((run / "checkpoints").glob("iteration_*")))


@pytest.fixture(scope="session")
def made_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of warm-started models for all tests, since most runs start from the same one."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def tiny(
    tmp_path: Path,
    made_models: Path,
    toy_registry: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Tiny]:
    """Runs of the toy game; skips where torch is missing."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    runs = Tiny(tmp_path, made_models, toy_registry, monkeypatch, capsys)
    yield runs
    runs.close()


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    """Run a command line in this process with whatever is installed."""

    def run(*arguments: object) -> SimpleNamespace:
        from pettingllms.cli.main import main

        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments], prog_name="pettingllms")
        out, err = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code, out=out, err=err)

    return run
