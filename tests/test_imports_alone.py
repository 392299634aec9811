"""Every module of every package imports by itself, without a warning, and the light ones without torch.

One fresh interpreter serves a whole package: before each import it forgets all modules of the project, so
that an import which only works after another one is found, and third-party libraries are loaded once.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(ROOT.glob("pettingllms-*/src/pettingllms*"))

HEAVY = ("datasets", "numpy", "ray", "tokenizers", "torch", "transformers", "vllm", "wandb")
TENSOR_PARTS = tuple(
    f"pettingllms.{part}" for part in ("algorithm", "benchmark", "engine", "policy", "training")
)
LIGHT_IN_TENSOR_PARTS = ("pettingllms.algorithm.estimators",)

PROBE = """
import importlib, json, sys, warnings

modules, refused, preloaded = json.loads(sys.argv[1])
attempts, failures = [], {}


class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            attempts.append(name)
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


for library in preloaded:
    importlib.import_module(library)
sys.meta_path.insert(0, Refuse())
warnings.simplefilter("error")
for module in modules:
    for name in [name for name in sys.modules if name.partition(".")[0].startswith("pettingllms")]:
        del sys.modules[name]
    attempts.clear()
    try:
        importlib.import_module(module)
    except Exception as error:
        failures[module] = f"{type(error).__name__}: {error}"
    if attempts:
        failures[module] = f"imports {', '.join(attempts)}"
print(json.dumps(failures))
"""


def modules_of(source: Path) -> list[str]:
    """Return the dotted names of all modules below the package folder `source`."""
    files = (file.relative_to(source.parent).with_suffix("") for file in source.rglob("*.py"))
    return sorted(".".join(file.parts).removesuffix(".__init__") for file in files)


def is_light(module: str) -> bool:
    """Tell whether `module` must not load a heavy library."""
    in_tensor_part = any(module == part or module.startswith(f"{part}.") for part in TENSOR_PARTS)
    return module in LIGHT_IN_TENSOR_PARTS or not in_tensor_part


def import_alone(
    modules: list[str], refused: tuple[str, ...] = (), preloaded: tuple[str, ...] = ()
) -> dict[str, str]:
    """Import each module in one fresh interpreter; return what failed, and how."""
    request = json.dumps([modules, refused, preloaded])
    done = subprocess.run(
        [sys.executable, "-c", PROBE, request], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    failures: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return failures


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_light_modules_import_alone_and_load_nothing_heavy(source: Path) -> None:
    light = [module for module in modules_of(source) if is_light(module)]
    assert source.name in light
    assert import_alone(light, refused=HEAVY) == {}


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_tensor_modules_import_alone() -> None:
    heavy = [module for source in SOURCES for module in modules_of(source) if not is_light(module)]
    assert "pettingllms.algorithm.loss" in heavy
    assert import_alone(heavy, preloaded=("torch", "transformers")) == {}


def test_the_probe_sees_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "pettingllms_guarded": "try:\n    import torch.nn\nexcept ImportError:\n    torch = None\n",
        "pettingllms_warns": "import warnings\nwarnings.warn('old')\n",
        "pettingllms_second": "import pettingllms_first\n",
        "pettingllms_first": "import sys\nassert 'pettingllms_fine' not in sys.modules\n",
        "pettingllms_fine": "",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = import_alone(["pettingllms_fine", *files, "pettingllms_absent"], refused=("torch",))
    assert found == {
        "pettingllms_guarded": "imports torch",
        "pettingllms_warns": "UserWarning: old",
        "pettingllms_absent": "ModuleNotFoundError: No module named 'pettingllms_absent'",
    }
