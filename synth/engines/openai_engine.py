"""Sampling from OpenAI-compatible servers (vLLM, SGLang, ...): completions for text prompts, chat for the model's own.

Requests run in one background thread. A failed attempt is repeated, on whichever endpoint has room; a trial that keeps
failing is reported lost, so that the scheduler starts it again under its number, and after three such losses (each of
them while others succeeded) its query is set aside.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import random
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from dart_tasks.console import printable
from synth.engines import EngineError, Health, SamplingSettings, SetAside
from synth.engines.allowance import Allowance
from synth.engines.endpoints import (
    BusyError,
    Endpoint,
    EndpointPool,
    FailedError,
    RefusedError,
    header_value,
    most_tokens,
    request_body,
)
from synth.records import Completion, Request
from synth.scheduler import TrialId

if TYPE_CHECKING:
    import aiohttp

__all__ = ["OpenAIEngine"]

_ATTEMPTS = 4  # failed attempts that make a loss
_FIRST_PAUSE_S = 0.25  # after a failed attempt, at most; doubles with each
_LONGEST_PAUSE_S = 60.0
_LOSSES = 3  # losses that set a query aside
_REFUSALS_AT_START = 8  # refused queries before anything succeeded: then it is the settings that are refused
_NEEDED = {"model", "prompt", "messages"}  # of the fields of a request
_CONNECT_S = 30.0
_LONGEST_REASON = 400  # characters
_SHORTEST_SECRET = 4  # characters; shorter values of headers are words of every message
_log = logging.getLogger(__name__)


class OpenAIEngine:
    """Trials sampled by servers.

    Args:
        model: name under which the servers know the model.
        settings: how to sample; sent in full with every request.
        endpoints: base URLs, such as ``http://node7:8000/v1``.
        n_slots: requests in flight at each endpoint.
        request_timeout_s: time for one answer, waiting at the server included.
        outage_s: time without any success, with requests waiting, after which the engine gives up.
        api_key_env: environment variable with the key; it is sent and otherwise kept nowhere.
        body: fields added to every request's body (None leaves one out).
        headers: of every request; a value of ``$NAME`` is read from the environment. Values are shown nowhere.
        requests_per_minute, tokens_per_minute: limits of each endpoint, prompts included.

    Raises:
        EngineError: no endpoint answers, they deny access or serve another model.
    """

    def __init__(
        self,
        model: str,
        settings: SamplingSettings,
        endpoints: Sequence[str],
        *,
        n_slots: int,
        request_timeout_s: float = 600.0,
        outage_s: float = 600.0,
        api_key_env: str = "OPENAI_API_KEY",
        body: Mapping[str, Any] | None = None,
        headers: Sequence[tuple[str, str]] = (),
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> None:
        if not endpoints:
            raise EngineError("--engine openai needs --endpoint URL")
        self._model = model
        self._settings = settings
        key = os.environ.get(api_key_env, "")
        self._endpoints = [
            Endpoint(url, number, n_slots, key, Allowance(requests_per_minute, tokens_per_minute))
            for number, url in enumerate(endpoints)
        ]
        self._timeout_s = request_timeout_s
        self._outage_s = outage_s
        self._key_name = api_key_env
        self._has_key = bool(key)
        self._headers = {name: header_value(name, value) for name, value in headers}
        self._secrets = [key, *_secrets_of(self._headers.values())]
        self._body = dict(body or {})
        self._finished: queue.Queue[Completion] = queue.Queue()  # never more than were submitted
        self._lock = threading.Lock()  # guards the three below
        self._lost: list[TrialId] = []
        self._set_aside: list[SetAside] = []
        self._fatal = ""
        self._resumable = True
        self._tasks: dict[TrialId, asyncio.Task[None]] = {}  # the loop's own, as all that follows
        self._waiting: set[TrialId] = set()  # for an endpoint
        self._losses: dict[TrialId, tuple[int, int]] = {}  # -> losses counted, successes of others at the last
        self._refused: set[int] = set()
        self._fields: list[str] = []  # of a request
        self._answered: set[int] = set()  # queries with a completion
        self._n_succeeded = 0
        self._idle_or_success_s = time.monotonic()
        self._last_failure = "none answered"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="openai-engine", daemon=True)
        self._thread.start()
        connecting = asyncio.run_coroutine_threadsafe(self._connect(), self._loop)
        try:
            connecting.result()
        except BaseException:
            connecting.cancel()
            self.close()
            raise

    # ------------------------------------------------------------------ the driver's side
    @property
    def description(self) -> str:
        return f"openai {self._model} at {' '.join(endpoint.root for endpoint in self._endpoints)}"

    @property
    def capacity(self) -> int:
        """Slots of the endpoints that work; of one where none does, whose trials wait for the first that comes back."""
        return max(self._n_working(), 1) * self._endpoints[0].slots

    def submit(self, requests: Sequence[Request]) -> None:
        self._loop.call_soon_threadsafe(self._start, list(requests))

    def poll(self, timeout_s: float) -> list[Completion]:
        completions: list[Completion] = []
        try:
            completions.append(self._finished.get(timeout=timeout_s))
            while True:
                completions.append(self._finished.get_nowait())
        except queue.Empty:
            return completions

    def abort(self, trials: Iterable[TrialId]) -> None:
        self._loop.call_soon_threadsafe(self._cancel, list(trials))

    def health(self) -> Health:
        with self._lock:
            lost, self._lost = tuple(self._lost), []
            set_aside, self._set_aside = tuple(self._set_aside), []
            trouble = "; ".join(filter(None, (endpoint.trouble() for endpoint in self._endpoints)))
            n_answering = sum(endpoint.answers() for endpoint in self._endpoints)
            return Health(
                not self._fatal, n_answering, lost, set_aside, self._fatal, self._resumable, trouble,
                tuple(self._waiting),
            )  # fmt: skip

    def close(self) -> None:
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _n_working(self) -> int:
        return sum(endpoint.n_failures == 0 for endpoint in self._endpoints)

    # ------------------------------------------------------------------ the loop's side
    async def _connect(self) -> None:
        import aiohttp

        self._session: aiohttp.ClientSession = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=0),  # the pool of endpoints sets the limits
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=10.0),
        )
        self._pool = EndpointPool(self._endpoints)
        self._watch = asyncio.create_task(self._watch_for_outage())
        deadline_s = time.monotonic() + _CONNECT_S
        while True:
            outcomes = await asyncio.gather(*(self._check(endpoint) for endpoint in self._endpoints))
            for endpoint, failure in zip(self._endpoints, outcomes, strict=True):
                if failure is not None:
                    self._note_failure(endpoint, failure, logging.WARNING)
            if not all(outcomes):
                return
            forbidden = [failure for failure in outcomes if failure and failure.forbidden]
            if forbidden or time.monotonic() > deadline_s:
                hint = self._key_hint(forbidden[0]) if forbidden else ""
                raise EngineError(f"no endpoint can be used: {self._last_failure}{hint}")
            await asyncio.sleep(2.0)

    async def _check(self, endpoint: Endpoint) -> FailedError | None:
        try:
            served = await asyncio.wait_for(endpoint.served_models(self._session), 10.0)
        except FailedError as failure:
            return failure
        except TimeoutError:
            return FailedError(f"{endpoint.root}: no answer in 10 s")
        if served and self._model not in served:
            names = ", ".join(served[:5])
            raise EngineError(
                f"{endpoint.root} serves {names}, not {self._model}: start it with --served-model-name {self._model}, "
                "or name the model as it does"
            )
        return None

    def _start(self, requests: list[Request]) -> None:
        if not self._tasks:
            self._idle_or_success_s = time.monotonic()
        for request in requests:
            task = self._loop.create_task(self._sample(request))
            self._tasks[request.id] = task
            task.add_done_callback(partial(self._forget, request.id))

    def _cancel(self, trials: list[TrialId]) -> None:
        for trial in trials:
            if (task := self._tasks.get(trial)) is not None:
                task.cancel()

    def _forget(self, trial: TrialId, done: asyncio.Task[None]) -> None:
        if self._tasks.get(trial) is done:
            del self._tasks[trial]
        if not done.cancelled() and (error := done.exception()) is not None:  # a mistake of ours: say so, do not hang
            self._give_up(self._masked(f"the client failed ({type(error).__name__}: {error})"))

    async def _sample(self, request: Request) -> None:
        """Ask until a server answers, or enough attempts have failed; a server that is busy is no failed attempt."""
        body = request_body(self._model, self._settings, request, self._body)
        self._fields = list(body)
        failed_at: list[Endpoint] = []
        n_tokens, n_busy = most_tokens(request, self._settings), 0
        not_before_s: dict[Endpoint, float] = {}
        while True:
            self._waiting.add(request.id)
            try:
                endpoint, spent = await self._pool.acquire(n_tokens, failed_at, not_before_s)
            finally:
                self._waiting.discard(request.id)
            completion = None
            try:
                completion = await endpoint.sample(self._session, request, body)
                endpoint.succeeded()
                break
            except BusyError as error:
                n_busy += 1
                self._last_failure = self._masked(error)
                endpoint.busy(self._last_failure, error.retry_after_s)
                wait_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**n_busy) * random.uniform(0.5, 1.0)
                not_before_s[endpoint] = self._loop.time() + max(error.retry_after_s, wait_s)
                continue
            except FailedError as error:
                self._note_failure(endpoint, error)
                if error.forbidden and (not self._n_succeeded or all(e.n_failures >= 3 for e in self._endpoints)):
                    self._give_up(f"{self._last_failure}{self._key_hint(error)}", resumable=False)
                reason = self._masked(error)
            except RefusedError as error:  # of a proxy perhaps, or a server in trouble, unless it is for the length
                reason = self._masked(error)
                if error.too_long and request.id.query not in self._answered:
                    self._put_aside(request.id.query, reason)
                    return
                if len(failed_at) + 1 == _ATTEMPTS:
                    self._note_refusal(request.id.query, reason)
            finally:
                await self._pool.release(endpoint, spent, completion)
            failed_at.append(endpoint)
            if len(failed_at) == _ATTEMPTS:
                self._lose(request.id, reason)
                return
            await asyncio.sleep(random.uniform(0.0, _FIRST_PAUSE_S * 2 ** len(failed_at)))
        self._n_succeeded += 1
        self._answered.add(request.id.query)
        self._idle_or_success_s = time.monotonic()
        self._losses.pop(request.id, None)
        self._finished.put(completion)

    def _key_hint(self, error: FailedError) -> str:
        if not error.denied:
            return ""
        return f" (the key is read from {self._key_name}{'' if self._has_key else ', which is not set'})"

    def _note_failure(self, endpoint: Endpoint, error: Exception, level: int = logging.INFO) -> None:
        self._last_failure = self._masked(error)
        endpoint.failed(self._last_failure)
        _log.log(level, "%s", self._last_failure)

    def _lose(self, trial: TrialId, reason: str) -> None:
        # Losses count against a trial only while others succeed: else it is the servers that fail.
        n_losses, seen = self._losses.get(trial, (0, 0))
        if self._n_succeeded > seen:
            n_losses += 1
            self._losses[trial] = (n_losses, self._n_succeeded)
        if n_losses >= _LOSSES:
            self._put_aside(trial.query, f"failed {_LOSSES * _ATTEMPTS} times while others succeeded, last: {reason}")
            return
        with self._lock:
            self._lost.append(trial)

    def _note_refusal(self, query: int, reason: str) -> None:
        """While nothing has succeeded, and many queries or all in flight are refused, it is for the settings."""
        self._refused.add(query)
        n_refused, in_flight = len(self._refused), {trial.query for trial in self._tasks}
        if not self._n_succeeded and (n_refused >= _REFUSALS_AT_START or in_flight <= self._refused):
            optional = (name for name in self._fields if name not in _NEEDED)
            named = next((name for name in optional if re.search(rf"\b{name}\b", reason)), "FIELD")
            hint = f" (--engine-arg {named}=null leaves out a field that a server does not know)"
            self._give_up(reason + hint, resumable=False)

    def _put_aside(self, query: int, reason: str) -> None:
        with self._lock:
            self._set_aside.append(SetAside(query, reason))

    def _give_up(self, reason: str, *, resumable: bool = True) -> None:
        with self._lock:
            if not self._fatal:
                self._fatal, self._resumable = reason, resumable

    def _masked(self, reason: object) -> str:
        """A server's words, made safe to show: no key, no control characters, and not more than are read."""
        text = printable(str(reason))
        for secret in filter(None, self._secrets):
            text = text.replace(secret, "***")
        return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "..."

    async def _watch_for_outage(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self._outage_s / 4))
            if not self._tasks:
                self._idle_or_success_s = time.monotonic()
            elif time.monotonic() - self._idle_or_success_s > self._outage_s:
                self._give_up(f"no endpoint has answered for {self._outage_s:g} s (last: {self._last_failure})")

    async def _shut_down(self) -> None:
        tasks = [*self._tasks.values(), self._watch]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.close()


def _secrets_of(values: Iterable[str]) -> list[str]:
    """What may not be shown: whole values, and what follows a word such as Bearer; the longest first."""
    parts = {part for value in values for part in (value, value.split()[-1]) if len(part) >= _SHORTEST_SECRET}
    return sorted(parts, key=len, reverse=True)
