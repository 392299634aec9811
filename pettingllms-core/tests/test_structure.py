"""Strict structuring: nothing is converted, and each mistake has its dotted path."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pettingllms.config.structure import describe, structure, to_plain
from pettingllms.errors import ConfigError, PluginError
from pettingllms.plugins.instantiate import build_environment, build_options, build_reward, build_suite
from pettingllms.testing.toy import CLUE, CLUE_REWARD, ClueOptions


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Inner:
    width: int = attrs.field(default=1, metadata={"help": "cells"})
    tags: tuple[str, ...] = ()


@attrs.frozen
class Options:
    need: int
    size: int = attrs.field(default=5, validator=attrs.validators.ge(1), metadata={"help": "rows"})
    rate: float = 0.5
    on: bool = False
    mode: Literal["easy", "hard"] = "easy"
    limit: int | None = None
    names: tuple[str, ...] = ()
    pair: tuple[int, str] = (1, "b")
    inner: Inner = attrs.field(factory=Inner)
    many: Mapping[str, Inner] = attrs.field(factory=dict)
    fact: bool | int | float | str = 0
    folder: Path | None = None
    colour: Colour = Colour.RED

    def __attrs_post_init__(self) -> None:
        if self.limit is not None and self.limit < self.size:
            raise ConfigError(f"'limit' must be at least size ({self.size}): {self.limit}")


def made(**values):
    return structure({"need": 1, **values}, Options, "env.options")


def test_right_values_keep_their_types():
    options = made(
        rate=2, names=["a"], pair=[3, "x"], many={"m": {"width": 2}}, limit=9, folder="x/y", colour="blue"
    )
    assert isinstance(options.rate, float)
    assert options.names == ("a",)
    assert options.pair == (3, "x")
    assert options.many == {"m": Inner(2)}
    assert options.folder == Path("x/y")
    assert options.colour is Colour.BLUE
    for fact in (True, 1, 1.0, "1"):
        assert type(made(fact=fact).fact) is type(fact)
    assert structure(options, Options, "env.options") is options


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"need": "8"}, "env.options.need must be an integer, not '8'"),
        ({"need": 6.9}, "env.options.need must be an integer, not 6.9"),
        ({"need": True}, "env.options.need must be an integer, not True"),
        ({"rate": "x"}, "env.options.rate must be a number, not 'x'"),
        ({"rate": True}, "env.options.rate must be a number, not True"),
        ({"on": 1}, "env.options.on must be true or false, not 1"),
        ({"names": "abc"}, "env.options.names must be a list, not 'abc'"),
        ({"names": ["a", 2]}, "env.options.names[1] must be a string, not 2"),
        ({"pair": [1]}, "env.options.pair must be a list of 2 values, not [1]"),
        ({"mode": "esy"}, "env.options.mode must be one of 'easy', 'hard', not 'esy'; did you mean 'easy'?"),
        ({"colour": "green"}, "env.options.colour must be one of 'red', 'blue', not 'green'"),
        ({"limit": "3"}, "env.options.limit must be an integer, not '3'"),
        ({"fact": [1]}, "env.options.fact must be bool | int | float | str, not [1]"),
        ({"inner": 3}, "env.options.inner must be a table, not 3"),
        ({"inner": {"widht": 3}}, "env.options.inner.widht is not a known key; did you mean 'width'?"),
        ({"many": {"m": {"tags": [1]}}}, "env.options.many.m.tags[0] must be a string, not 1"),
        ({"size": 0}, "env.options.size must be >= 1: 0"),
        ({"limit": 2}, "env.options.limit must be at least size (5): 2"),
        (
            {"siez": 3, "on": 2},
            "env.options.siez is not a known key; did you mean 'size'?; "
            "env.options.on must be true or false, not 2",
        ),
    ],
)
def test_wrong_values_are_one_line_with_the_path(values, message):
    with pytest.raises(ConfigError) as caught:
        made(**values)
    assert str(caught.value) == message


def test_missing_and_misplaced():
    with pytest.raises(ConfigError, match=r"^env\.options\.need is required \(int\)$"):
        structure({}, Options, "env.options")
    with pytest.raises(ConfigError, match=r"^env\.options must be a table, not \[1\]$"):
        structure([1], Options, "env.options")


@given(
    st.builds(
        Options,
        need=st.integers(),
        size=st.integers(1, 9),
        rate=st.floats(allow_nan=False),
        mode=st.sampled_from(["easy", "hard"]),
        limit=st.none() | st.integers(9),
        names=st.lists(st.text()).map(tuple),
        inner=st.builds(Inner, width=st.integers(), tags=st.lists(st.text()).map(tuple)),
        fact=st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        colour=st.sampled_from(Colour),
    )
)
def test_plain_values_come_back(options):
    assert structure(to_plain(options), Options, "x") == options


def test_describe_flattens_and_names_types_and_defaults():
    docs = {doc.name: doc for doc in describe(Options)}
    assert docs["need"].required
    assert (docs["size"].type, docs["size"].default, docs["size"].help) == ("int", 5, "rows")
    assert docs["mode"].type == "'easy' | 'hard'"
    assert docs["limit"].type == "int | none"
    assert (docs["inner.width"].default, docs["inner.width"].help) == (1, "cells")
    assert (docs["colour"].type, docs["colour"].default) == ("'red' | 'blue'", "red")


def test_specs_become_objects():
    environment = build_environment(CLUE, {"length": 3})
    assert environment.options == ClueOptions(length=3)
    assert build_environment(CLUE, ClueOptions(length=2)).options.length == 2
    assert build_suite(CLUE, {}, num_tasks=7, seed=1).size("train") == 7
    assert build_reward(CLUE_REWARD, {"solve_bonus": 2}).options.solve_bonus == 2.0
    with pytest.raises(ConfigError, match=r"^env\.options\.max_turns must be >= length \(4\): 3$"):
        build_environment(CLUE, {"length": 4, "max_turns": 3})
    with pytest.raises(ConfigError, match=r"^env\.reward_options\.bonus is not a known key"):
        build_reward(CLUE_REWARD, {"bonus": 2})
    with pytest.raises(PluginError, match=r"^task suite 'toy/clue' cannot be made: TypeError"):
        build_suite(attrs.evolve(CLUE, suite="pettingllms.testing.toy:ClueEnvironment"), {})
    with pytest.raises(PluginError, match="must be an attrs class"):
        build_options(int, {})
