"""What holds for the repository as a whole: its files, its packages, its tools."""

from __future__ import annotations

import configparser
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = sorted(file.parent for file in ROOT.glob("pettingllms-*/pyproject.toml"))
PLUGINS = [package for package in PACKAGES if package.name.startswith("pettingllms-envs-")]

MACHINE = re.compile(r"(?<![\w.*-])/(?:farm|home|mnt|opt|root|tmp|Users|work)/[\w.-]")
REGISTRY = re.compile(r"pypi\.|pythonhosted\.|download\.pytorch\.|--(extra-)?index-u|--find-l[i]nks")


def read(name: str) -> str:
    """Return the text of a file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def ini(name: str) -> configparser.ConfigParser:
    """Return a parsed INI file of the repository."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(read(name))
    return parser


def project(package: Path) -> dict[str, Any]:
    """Return the table ``project`` of the package's pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def repository_files() -> list[Path]:
    """Return all files that are tracked, or would be by ``git add``."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def tox_environments() -> set[str]:
    """Return the names of all tox environments."""
    tox = ini("tox.ini")
    named = {section.removeprefix("testenv:") for section in tox if section.startswith("testenv:")}
    return named | set(tox["tox"]["env_list"].split())


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for file in repository_files():
        data = file.read_bytes()
        if b"\0" in data:
            continue
        for number, line in enumerate(data.decode("utf-8").splitlines(), start=1):
            if MACHINE.search(line) or REGISTRY.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []


@pytest.mark.parametrize("text", ["cd /{}/main", "'/{}/x'", "file:///{}/a.py", "=/{}/.cache"])
@pytest.mark.parametrize("folder", ["home", "root", "tmp", "work"])
def test_paths_of_a_machine_are_recognised(text: str, folder: str) -> None:
    assert MACHINE.search(text.format(folder))
    assert not MACHINE.search(f"docs/{folder}/page.md and ./{folder}/x")


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_package_is_complete(package: Path) -> None:
    facts = project(package)
    module = facts["name"].replace("-envs-", "_envs_").replace("-core", "")
    assert facts["name"] == package.name
    assert facts["license"] == "Apache-2.0"
    assert facts["requires-python"] == ">=3.11"
    assert (package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    readme = (package / facts["readme"]).read_text(encoding="utf-8")
    assert readme.startswith(f"# {package.name}\n")
    assert len(readme.splitlines()) > 5, "a README says what the package is and how it is used"
    assert (package / "src" / module / "py.typed").is_file()
    assert list((package / "tests").glob("test_*.py"))


def test_packages_share_a_version_and_plugins_ask_for_it() -> None:
    versions = {package.name: Version(project(package)["version"]) for package in PACKAGES}
    assert len(set(versions.values())) == 1, versions
    version = versions["pettingllms-core"]
    major, minor = version.major, version.minor
    wanted = Requirement(f"pettingllms-core>={major}.{minor},<{major}.{minor + 1}")
    for plugin in PLUGINS:
        requirements = [Requirement(text) for text in project(plugin)["dependencies"]]
        assert wanted in requirements, plugin.name


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_a_plugin_is_known_to_every_tool(plugin: Path) -> None:
    suite, module = plugin.name.removeprefix("pettingllms-envs-"), plugin.name.replace("-", "_")
    tox, linter = ini("tox.ini"), ini(".importlinter")
    contracts = {key.rpartition(":")[2]: section for key, section in linter.items()}
    listed = {
        "tox.ini, env_list": suite in tox["tox"]["env_list"].split(),
        "tox.ini, [packages] plugins": f"-e ./{plugin.name}" in tox["packages"]["plugins"].splitlines(),
        ".importlinter, root_packages": module in contracts["importlinter"]["root_packages"].split(),
        ".importlinter, packages": module in re.split(r"[\s|]+", contracts["packages"]["layers"]),
        ".importlinter, plugins-use-the-api": module
        in contracts["plugins-use-the-api"]["source_modules"].split(),
        "ruff.toml, src": f"{plugin.name}/src" in tomllib.loads(read("ruff.toml"))["src"],
    }
    assert [place for place, found in listed.items() if not found] == []
    assert project(plugin)["entry-points"]["pettingllms"] == {suite: f"{module}.plugin"}


def test_the_oldest_versions_tested_are_the_oldest_allowed() -> None:
    declared = [Requirement(text) for package in PACKAGES for text in project(package)["dependencies"]]
    oldest: dict[str, Version] = {}
    for requirement in declared:
        for bound in requirement.specifier:
            if bound.operator == ">=" and requirement.name != "pettingllms-core":
                version = Version(bound.version)
                oldest[requirement.name] = max(version, oldest.get(requirement.name, version))
    lines = [line for line in read("constraints-min.txt").splitlines() if not line.startswith("#")]
    tested = {name: Version(version) for name, _, version in (line.partition("==") for line in lines)}
    assert tested == oldest


def test_pins_lie_within_what_the_packages_allow() -> None:
    pins = dict(line.split("==") for line in read("constraints.txt").splitlines())
    train = project(ROOT / "pettingllms-core")["optional-dependencies"]["train"]
    allowed = {requirement.name: requirement.specifier for requirement in map(Requirement, train)}
    assert {"torch", "transformers"} <= set(pins)
    for name, version in pins.items():
        assert name not in allowed or Version(version) in allowed[name], name


def test_the_tools_have_one_version() -> None:
    for tool in ("ruff", "mypy"):
        pinned = {*re.findall(rf"{tool}==([\w.]+)", read("tox.ini") + read(".pre-commit-config.yaml"))}
        assert len(pinned) == 1, (tool, pinned)


@pytest.mark.docs
def test_ci_runs_the_test_command_of_the_readme() -> None:
    commands = [line for line in read(".ci/run").splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 1
    for page in ("README.md", "CONTRIBUTING.md"):
        assert commands[0] in read(page).splitlines(), page


@pytest.mark.docs
def test_pages_name_tox_environments_that_exist() -> None:
    pages = [file for file in repository_files() if file.suffix == ".md"]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    named = set(re.findall(r"\btox -e ([a-z]+)", text))
    assert "games" in named
    assert named <= tox_environments()


@pytest.mark.docs
def test_the_changelog_has_the_current_version() -> None:
    version = project(ROOT / "pettingllms-core")["version"]
    headings = re.findall(r"^## \[(.+?)\]", read("CHANGELOG.md"), flags=re.MULTILINE)
    assert version in headings[:2]
