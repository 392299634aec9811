"""Long addition for a team of two.

Columns are done from the right. In each the *adder* writes the last digit of the column's sum, then the
*carrier* says what is carried to the next column. The adder counts on the carry that the carrier said, right
or wrong.
"""

from __future__ import annotations

import random
import re

import attrs

from pettingllms.api import EnvironmentOptions, Fact, Observation, Outcome, Split, Task, Transition


@attrs.frozen
class SumOptions(EnvironmentOptions):
    """Options of `arith/sum`."""

    digits: int = attrs.field(
        default=2,
        validator=[attrs.validators.ge(1), attrs.validators.le(6)],
        metadata={"help": "digits of both numbers; a turn does one of them"},
    )
    base: int = attrs.field(
        default=10,
        validator=[attrs.validators.ge(2), attrs.validators.le(10)],
        metadata={"help": "base of the numbers; small ones are easier"},
    )

    def __attrs_post_init__(self) -> None:
        if self.digits > self.max_turns:
            raise ValueError(f"'digits' must be at most max_turns ({self.max_turns}), not {self.digits}")


@attrs.frozen
class SumState:
    """One moment of an episode: the columns from the right, and what was written and carried so far.

    None stands for an answer that could not be read. A state is frozen and holds plain values only.
    """

    columns: tuple[tuple[int, int], ...]
    written: tuple[int | None, ...] = ()
    carried: tuple[int | None, ...] = ()


class SumEnvironment:
    """The rules. Nothing of an episode is kept here: all of it is in the state."""

    def __init__(self, options: SumOptions) -> None:
        self.options = options

    @property
    def roles(self) -> tuple[str, ...]:
        """The seats in acting order."""
        return ("adder", "carrier")

    @property
    def max_turns(self) -> int:
        """How often a role acts at most."""
        return self.options.max_turns

    def start(self, task: Task, seed: int) -> SumState:
        """Return the state before the first answer; addition has no chance in it."""
        a, b = int(task.data["a"]), int(task.data["b"])
        places = [self.options.base**i for i in range(self.options.digits)]
        return SumState(
            tuple((a // place % self.options.base, b // place % self.options.base) for place in places)
        )

    def acting_role(self, state: SumState) -> str | None:
        """Return who acts now, None when every column is done."""
        if len(state.carried) == len(state.columns):
            return None
        return "adder" if len(state.written) == len(state.carried) else "carrier"

    def observe(self, state: SumState, role: str) -> Observation:
        """Return the column, and what came before it."""
        x, y = state.columns[len(state.carried)]
        column = f"Column {len(state.carried) + 1} of {len(state.columns)}"
        text = f"{column}: {x} + {y}, carry {_carry_in(state)}."
        if role == "carrier":
            digit = state.written[-1]
            text += f" Written: {'nothing' if digit is None else digit}."
        return Observation.of(text)

    async def step(self, state: SumState, role: str, response: str) -> Transition[SumState]:
        """Take the first digit of `response` as the answer. Any text is legal; bad text is a fact."""
        said = _digit(response)
        column = len(state.carried)
        if role == "adder":
            following = attrs.evolve(state, written=(*state.written, said))
            right = said == self._right(state, column)[0]
        else:
            following = attrs.evolve(state, carried=(*state.carried, said))
            right = said == self._right(state, column)[1]
        facts: dict[str, Fact] = {
            "read": said is not None,
            "right": right,
            "consistent": said == int(self.expert(state, role)),
            "solved": self.outcome(following).success,
        }
        return Transition(following, facts)

    def outcome(self, state: SumState) -> Outcome:
        """Return success when every column is right; the score is the share that is."""
        answers = enumerate(zip(state.written, state.carried, strict=False))
        right = sum((digit, carry) == self._right(state, i) for i, (digit, carry) in answers)
        score = right / len(state.columns)
        return Outcome(success=score == 1.0, score=score)

    def expert(self, state: SumState, role: str) -> str:
        """Return the right answer to what the role is shown."""
        total = sum(state.columns[len(state.carried)]) + _carry_in(state)
        return str(total % self.options.base if role == "adder" else total // self.options.base)

    def random_response(self, state: SumState, role: str, rng: random.Random) -> str:
        """Return a digit without thought."""
        return str(rng.randrange(self.options.base if role == "adder" else 2))

    def render(self, state: SumState) -> str:
        """Return the sum as on paper, for the terminal."""
        a, b = ("".join(str(column[i]) for column in reversed(state.columns)) for i in (0, 1))
        written = "".join("?" if digit is None else str(digit) for digit in reversed(state.written))
        return f"  {a}\n+ {b}\n= {written:>{len(a)}}   carries {list(state.carried)}"

    def _right(self, state: SumState, column: int) -> tuple[int, int]:
        """Return the digit and the carry of `column` that the numbers themselves give."""
        carry = digit = 0
        for x, y in state.columns[: column + 1]:
            carry, digit = divmod(x + y + carry, self.options.base)
        return digit, carry


def _digit(text: str) -> int | None:
    found = re.search(r"[0-9]", text)
    return int(found[0]) if found else None


def _carry_in(state: SumState) -> int:
    """Return the carry as the carrier said it; an unreadable one counts as 0."""
    return (state.carried[-1] or 0) if state.carried else 0


class SumSuite:
    """Pairs of numbers. A sum and its mirror image (a + b, b + a) are one task, so that no split leaks."""

    version = "1"

    def __init__(self, options: SumOptions, num_tasks: int | None = None, seed: int = 0) -> None:
        numbers = options.base**options.digits
        drawn = random.Random("arith/sum 1").sample(range(numbers**2), min(numbers**2, 4000))
        pairs = list(dict.fromkeys((min(pair), max(pair)) for pair in (divmod(n, numbers) for n in drawn)))
        held_out = min(200, len(pairs) // 5)
        train = pairs[2 * held_out :]
        random.Random(seed).shuffle(train)
        self._pairs: dict[Split, list[tuple[int, int]]] = {
            "train": train[:num_tasks],
            "validation": pairs[held_out : 2 * held_out],
            "test": pairs[:held_out],
        }

    def size(self, split: Split) -> int:
        """Return how many sums `split` holds."""
        return len(self._pairs[split])

    def task(self, split: Split, index: int) -> Task:
        """Return sum `index` of `split`."""
        if not 0 <= index < self.size(split):
            raise IndexError(f"{split} holds {self.size(split)} tasks, there is no task {index}")
        a, b = self._pairs[split][index]
        return Task(f"sum-{a}-{b}", {"a": a, "b": b})
