"""The second process of the conformance kit: reads a request on stdin, prints the replies as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from pettingllms.testing.checks_purity import replies


def main() -> None:
    """Answer one request."""
    print(json.dumps(asyncio.run(replies(json.load(sys.stdin)))))


if __name__ == "__main__":
    main()
