"""In-process generation: the requests of all waiting episodes become one batch."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import attrs

from pettingllms.errors import GenerationFault
from pettingllms.policy.generation import generate
from pettingllms.policy.learner import Learner
from pettingllms.rollout.types import Sample, SamplingParams

QUIET_TICKS = 8
"""Turns of the event loop without a new request after which everybody is taken to be waiting."""

BATCH_TOKENS = 16384
"""Prompt tokens in one forward, padding included."""

CACHE_TOKENS = 131072
"""Tokens whose keys and values are held at once, if every response grows to its full length."""


@attrs.define(eq=False)
class _Request:
    policy: str
    prompt_ids: tuple[int, ...]
    n: int
    params: SamplingParams
    seed: int
    answer: asyncio.Future[list[Sample]]


@attrs.define(eq=False)
class _Prompt:
    """Requests with one prompt, to be computed once."""

    prompt_ids: tuple[int, ...]
    requests: list[_Request] = attrs.field(factory=list)

    @property
    def n(self) -> int:
        return sum(request.n for request in self.requests)

    @property
    def seeds(self) -> list[tuple[int, int]]:
        return [(request.seed, i) for request in self.requests for i in range(request.n)]


class LocalGenerator:
    """See `pettingllms.rollout.types.Generator`.

    A batch starts when the event loop has gone quiet. As long as environments compute and do not wait, that
    is when all episodes wait for responses: then what shares a batch does not depend on the clock, and a run
    repeats exactly. The forward runs in a thread of its own, so that steps that do wait (a sandbox, a server)
    go on beside it.
    """

    def __init__(self, learners: Mapping[str, Learner]) -> None:
        self._learners = learners
        self._waiting: list[_Request] = []
        self._drainer: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="generate")
        self._stopped = False

    def stop(self) -> None:
        """Refuse all further requests, which ends a rollout quickly. Safe to call from a signal handler."""
        self._stopped = True

    async def sample(
        self, policy: str, prompt_ids: Sequence[int], n: int, params: SamplingParams, seed: int
    ) -> list[Sample]:
        """See `Generator.sample`."""
        answer: asyncio.Future[list[Sample]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(policy, tuple(prompt_ids), n, params, seed, answer))
        if self._drainer is None or self._drainer.done():  # done: a rollout was cancelled
            self._drainer = asyncio.create_task(self._drain())
        return await answer

    def close(self) -> None:
        """End the generating thread."""
        self._thread.shutdown()

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            quiet = 0
            while quiet < QUIET_TICKS:
                before = len(self._waiting)
                await asyncio.sleep(0)
                quiet = quiet + 1 if len(self._waiting) == before else 0
            requests, self._waiting = self._waiting, []
            alike: dict[tuple[str, SamplingParams], list[_Request]] = defaultdict(list)
            for request in requests:
                if not request.answer.done():  # done: its rollout was cancelled
                    alike[request.policy, request.params].append(request)
            # Answers are given together: whoever asks again then shares the next batch.
            given = [
                (batch, await loop.run_in_executor(self._thread, self._answer, policy, params, batch))
                for (policy, params), members in alike.items()
                for batch in _batches(members, params.max_new_tokens)
            ]
            for batch, answers in given:
                _deliver(batch, answers)

    def _answer(
        self, policy: str, params: SamplingParams, batch: list[_Prompt]
    ) -> list[list[Sample]] | GenerationFault:
        if self._stopped:
            return GenerationFault("the run was asked to stop")
        try:
            loaded = self._learners[policy].loaded
            with loaded.arithmetic():
                return generate(
                    loaded.model,
                    [prompt.prompt_ids for prompt in batch],
                    batch[0].n,
                    params,
                    [prompt.seeds for prompt in batch],
                    end_ids=loaded.end_ids,
                    ends=(lambda ids: loaded.codec.ends_with(ids, params.stop)) if params.stop else None,
                    version=self._learners[policy].version,
                )
        except Exception as error:
            return GenerationFault(f"{type(error).__name__}: {error}".splitlines()[0])


def _deliver(batch: list[_Prompt], answers: list[list[Sample]] | GenerationFault) -> None:
    """Give every request of a batch its part of the answers, or the fault."""
    for i, prompt in enumerate(batch):
        at = 0
        for request in prompt.requests:
            if not request.answer.done():
                if isinstance(answers, GenerationFault):
                    request.answer.set_exception(answers)
                else:
                    request.answer.set_result(answers[i][at : at + request.n])
            at += request.n


def _batches(requests: Sequence[_Request], max_new_tokens: int) -> list[list[_Prompt]]:
    """Merge equal prompts and cut into batches of one number of responses and similar lengths."""
    prompts: dict[tuple[int, ...], _Prompt] = {}
    for request in requests:
        prompts.setdefault(request.prompt_ids, _Prompt(request.prompt_ids)).requests.append(request)
    batches: list[list[_Prompt]] = []
    for prompt in sorted(prompts.values(), key=lambda p: (p.n, len(p.prompt_ids))):
        last = batches[-1] if batches else None
        length, rows = len(prompt.prompt_ids), len(last or ()) + 1
        cached = rows * (length + prompt.n * max_new_tokens)
        if last and last[0].n == prompt.n and length * rows <= BATCH_TOKENS and cached <= CACHE_TOKENS:
            last.append(prompt)
        else:
            batches.append([prompt])
    return batches
