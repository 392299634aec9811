"""Add up the results of a tox run: ``summary.py RESULTS_FOLDER EXIT_CODE_OF_TOX``.

Every test counts once for each environment that ran it. An environment without tests (lint, types,
imports) counts as one; so does one that failed though none of its tests did.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree


def count_tests(report: Path) -> Counter[str]:
    """Return how many tests of a JUnit file passed, failed and were skipped."""
    counts: Counter[str] = Counter()
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped = int(suite.get("skipped", 0))
        counts.update(failed=failed, skipped=skipped)
        counts["passed"] += int(suite.get("tests", 0)) - failed - skipped
    return counts


def main(folder: Path, exit_code: int) -> int:
    """Print a line for every environment, then the sum; return 0 when nothing failed."""
    total: Counter[str] = Counter()
    outcome = folder / "tox.json"
    environments = json.loads(outcome.read_text())["testenvs"] if outcome.is_file() else {}
    for name, record in environments.items():
        result = record.get("result")
        if result is None:  # tox keeps its own provisioning here too
            continue
        report = folder / f"{name}.xml"
        counts = count_tests(report) if report.is_file() else Counter()
        if result["success"] and not counts:
            counts["passed"] = 1
        elif not result["success"] and not counts["failed"]:
            counts["failed"] = 1
        word = "ok" if result["success"] else "FAILED"
        print(f"{name:10} {word:7} {result['duration']:6.0f} s  {line(counts)}")
        total += counts
    if (exit_code or not environments) and not total["failed"]:
        total["failed"] = 1  # tox could not be installed, or ended before its environments did
    print(line(total))
    return 1 if total["failed"] else 0


def line(counts: Counter[str]) -> str:
    """Return the counts as one line."""
    return ", ".join(f"{counts[word]} {word}" for word in ("passed", "failed", "skipped"))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
