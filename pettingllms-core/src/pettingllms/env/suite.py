"""Where tasks come from."""

from __future__ import annotations

from typing import Literal, Protocol, get_args, runtime_checkable

from pettingllms.env.types import Task

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@runtime_checkable
class TaskSuite(Protocol):
    """Seeded, disjoint, versioned splits of tasks.

    Made as ``Class(options, num_tasks=None, seed=0)`` with the environment's options. `num_tasks` bounds the
    train split (None: the suite's own size); `seed` selects the train split only.
    ``validation`` and ``test`` are the same for every seed, so that results compare,
    and no split holds a problem of another.
    """

    version: str

    def size(self, split: Split) -> int:
        """Return how many tasks `split` holds."""
        ...

    def task(self, split: Split, index: int) -> Task:
        """Return task `index` of `split`, the same one on every call.

        Raises:
            IndexError: `index` is not below `size(split)`.
        """
        ...
