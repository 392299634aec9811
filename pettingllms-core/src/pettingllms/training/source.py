"""The weights that every policy starts from: loaded, or made on the spot, and warm-started on the expert.

The `tiny` model needs no expert as such: its tokenizer is trained on the prompts of whatever play there is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import attrs

from pettingllms.config.hardware import TINY
from pettingllms.config.schema import Config
from pettingllms.engine.local import set_threads
from pettingllms.errors import ConfigError
from pettingllms.policy.imitation import imitate
from pettingllms.policy.loading import check_source, load_model, pick_device
from pettingllms.policy.saving import save_model
from pettingllms.policy.tiny import save_tiny
from pettingllms.rollout.types import derive_seed
from pettingllms.training.run_dir import versions
from pettingllms.training.team import Problem, Team
from pettingllms.training.warm_start import (
    Demonstration,
    batches_of,
    demonstrate,
    has_expert,
    texts_of,
    wander,
)

Say = Callable[[str], None]


def cache_folder() -> Path:
    """Return where made models are kept: ``PETTINGLLMS_CACHE``, or the user's cache folder."""
    if explicit := os.environ.get("PETTINGLLMS_CACHE"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pettingllms"


def starting_weights(config: Config, problem: Problem, team: Team, say: Say) -> str:
    """Return the folder or hub name of the weights that all policies start from.

    Args:
        config: Settings of the run.
        problem: Environment and tasks, for demonstrations.
        team: Roles, for their system prompts.
        say: Tells the user what happens.

    Returns:
        ``model.name`` itself when nothing has to be made, else a folder in the cache, whose name is a hash of
        all that went into it, so that the same request never works twice.
    """
    assert config.model.name is not None
    steps = config.warm_start.steps or 0
    is_tiny = config.model.name == TINY
    if not is_tiny:
        check_source(config.model.name)
        if steps == 0:
            return config.model.name
    demonstrations = _demonstrations(config, problem, team)
    folder = cache_folder() / "models" / _content_hash(config, demonstrations)
    if (folder / "config.json").is_file():
        say(f"{'warm start' if steps else 'model'}: found in the cache ({folder})")
        return str(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(
            f"the cache {str(cache_folder())!r} cannot be written ({error.strerror}); set PETTINGLLMS_CACHE"
        ) from error
    try:
        _make(config, demonstrations, temporary, say)
        os.replace(temporary, folder)
    except OSError:
        if not (folder / "config.json").is_file():  # another process may have been faster
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return str(folder)


def _demonstrations(config: Config, problem: Problem, team: Team) -> list[Demonstration]:
    """Return what is cloned; without an expert, and with nothing to clone, what a tokenizer is trained on."""
    environment, suite, system_prompts = problem.environment, problem.suite, team.system_prompts
    num_tasks, seed = config.warm_start.num_tasks, config.env.seed
    if config.warm_start.steps or has_expert(environment):
        noise = config.warm_start.noise
        return demonstrate(environment, suite, system_prompts, num_tasks=num_tasks, noise=noise, seed=seed)
    return wander(environment, suite, system_prompts, num_tasks=num_tasks, seed=seed)


def _make(config: Config, demonstrations: list[Demonstration], folder: Path, say: Say) -> None:
    set_threads(config.engine.threads)
    settings = config.warm_start
    source = config.model.name
    assert source is not None
    if source == TINY:
        save_tiny(
            folder, texts_of(demonstrations), config.model.tiny, config.env.seed, config.model.max_length
        )
        source = str(folder)
    steps = settings.steps or 0
    if steps == 0:
        return
    loaded = load_model(source, config.model, pick_device(config.engine.device))
    say(f"warm start: cloning the expert, {len(demonstrations)} demonstrated turns, {steps} steps")
    losses = imitate(
        loaded.model,
        batches_of(
            demonstrations, loaded.codec, steps=steps, batch_size=settings.batch_size, seed=config.env.seed
        ),
        optimizer=settings.optimizer,
        learning_rate=settings.learning_rate or 0.0,
        betas=config.training.adam_betas,
        prompt_weight=settings.prompt_weight,
        microbatch_tokens=config.training.microbatch_tokens,
    )
    tail = losses[-max(1, steps // 10) :]
    say(f"warm start: loss {losses[0]:.2f} -> {fmean(tail):.2f} nats a token")
    save_model(loaded.model, loaded.tokenizer, folder)


def _content_hash(config: Config, demonstrations: list[Demonstration]) -> str:
    """Hash everything that the made weights depend on."""
    relevant = {
        "model": attrs.asdict(config.model),
        "files": _fingerprint(Path(config.model.name or "")),
        "warm_start": attrs.asdict(config.warm_start),
        "seed": config.env.seed,
        "microbatch_tokens": config.training.microbatch_tokens,
        "betas": config.training.adam_betas,
        "threads": set_threads(config.engine.threads),  # sums of floats depend on them
        "device": str(pick_device(config.engine.device)),
        "versions": versions(),
        "demonstrations": derive_seed(*texts_of(demonstrations)),
    }
    text = json.dumps(relevant, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def _fingerprint(folder: Path) -> list[tuple[str, int, int]]:
    """Return what tells apart two states of a model folder: its files with their sizes and times."""
    if not folder.is_dir():
        return []
    found = [(path, path.stat()) for path in sorted(folder.iterdir()) if path.is_file()]
    return [(str(path.absolute()), stat.st_size, stat.st_mtime_ns) for path, stat in found]
