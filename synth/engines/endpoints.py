"""Served models: what is sent, what comes back, and which server takes the next request.

An endpoint that fails (no connection, time-out, 5xx) or is busy (429) rests for a while that doubles with every
failure in a row, or for as long as its ``Retry-After`` says; then a single request tries it before the others follow.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from synth.engines import EngineError, SamplingSettings
from synth.records import Completion, Request

if TYPE_CHECKING:
    import aiohttp

__all__ = [
    "BusyError",
    "Endpoint",
    "EndpointPool",
    "FailedError",
    "RefusedError",
    "api_root",
    "request_body",
]

_FIRST_REST_S = 0.25
_LONGEST_REST_S = 60.0
_RECHECK_S = 1.0
_TROUBLE_S = 3.0
_TOO_LONG = re.compile(r"too long|context|maximum.{0,20}length|longer than|reduce the (length|input)", re.IGNORECASE)
_THOUGHTS = ("reasoning_content", "reasoning")  # as older and newer servers name it


class BusyError(Exception):
    """The server has too much to do (429); nothing is wrong with the request."""


class FailedError(Exception):
    """This attempt failed; another one, here or elsewhere, may not. ``forbidden``: no such path, or no access."""

    def __init__(self, reason: str, *, forbidden: bool = False) -> None:
        super().__init__(reason)
        self.forbidden = forbidden


class RefusedError(Exception):
    """The server does not take this request (a 4xx); ``too_long``: and will not take it later."""

    def __init__(self, reason: str, *, too_long: bool = False) -> None:
        super().__init__(reason)
        self.too_long = too_long


def api_root(url: str) -> str:
    """The address that ``/completions`` is added to; ``/v1`` where the URL has no path.

    >>> api_root("http://node7:8000"), api_root("https://example.org/llm/v1/")
    ('http://node7:8000/v1', 'https://example.org/llm/v1')

    Raises:
        EngineError: not an http(s) URL, or one with a password in it.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise EngineError(f"--endpoint takes a URL such as http://localhost:8000/v1 (got {url!r})")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise EngineError(
            "--endpoint: no user, password, query or fragment in the URL; a key belongs in OPENAI_API_KEY"
        )
    return url.rstrip("/") if parts.path.strip("/") else url.rstrip("/") + "/v1"


def request_body(
    model: str, settings: SamplingSettings, request: Request, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The JSON body of one request. Every sampling parameter is named: servers fill in gaps from the model's folder.

    ``extra`` adds fields of a server's own; a field that it sets to None is left out, for servers that do not know it.
    """
    body: dict[str, Any] = {
        "model": model,
        "n": 1,
        "stream": False,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "top_k": settings.top_k or -1,
        "min_p": settings.min_p,
        "repetition_penalty": settings.repetition_penalty,
        "presence_penalty": settings.presence_penalty,
        "frequency_penalty": settings.frequency_penalty,
        "max_tokens": settings.max_new_tokens,
        "stop": list(settings.stop) or None,
        "ignore_eos": settings.ignore_eos,
        "seed": request.seed,
    }
    if request.chat:
        body["messages"] = request.messages
        body["chat_template_kwargs"] = dict(settings.template_kwargs) or None
    else:
        body["prompt"] = request.prompt
    body.update(extra or {})
    return {name: value for name, value in body.items() if value is not None}


def _completion(payload: Any, request: Request, replica: int) -> Completion:
    """From a server's answer, which may be anything.

    Raises:
        FailedError: it is not a finished completion.
    """
    try:
        choice = payload["choices"][0]
        text = choice["message"]["content"] if request.chat else choice["text"]
        reason = choice["finish_reason"]
        usage = payload.get("usage") or {}
        n_tokens = int(usage.get("completion_tokens") or 0)
        counted = int((usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0)
        if not 0 <= n_tokens < 2**31:
            raise ValueError
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise FailedError("the answer is not a completion") from None
    message = choice["message"] if request.chat else {}
    reasoning = next((message[name] for name in _THOUGHTS if isinstance(message.get(name), str)), None) or None
    if text is None and reasoning is None:
        raise FailedError("the completion has no text (content is null)")
    text = "" if text is None else text  # it was still thinking when its tokens ran out
    if reason not in ("stop", "length") or not isinstance(text, str):
        raise FailedError(f"the completion ended with {str(reason)[:40]!r}")
    return Completion(
        request.id, text, n_tokens, reason, replica, reasoning, counted if 0 < counted <= n_tokens else None
    )


class Endpoint:
    """One server: how to ask it, and how it has fared lately."""

    def __init__(self, root: str, number: int, slots: int) -> None:
        self.root = root
        self.number = number
        self.slots = slots
        self.n_in_flight = 0
        self.n_failures = 0  # in a row, one for each rest
        self.rest_until_s = 0.0
        self.failing_since_s = 0.0
        self.last_failure = ""

    async def served_models(self, session: aiohttp.ClientSession) -> list[str]:
        """Names that ``GET /models`` lists; none where the server does not tell.

        Raises:
            FailedError: no answer, or access denied.
        """
        status, payload = await self._exchange(session, "GET", "/models", None)
        if status in (401, 403):
            raise FailedError(f"{self.root} denies access (HTTP {status})", forbidden=True)
        if status >= 500:
            raise FailedError(f"{self.root}/models: HTTP {status}")
        try:
            return [str(model["id"]) for model in payload["data"]] if status == 200 else []
        except (KeyError, TypeError):
            return []

    async def sample(self, session: aiohttp.ClientSession, request: Request, body: dict[str, Any]) -> Completion:
        """One completion.

        Raises:
            BusyError, FailedError, RefusedError: see there; the message names the endpoint.
        """
        path = "/chat/completions" if request.chat else "/completions"
        status, payload = await self._exchange(session, "POST", path, body)
        if status == 200:
            try:
                return _completion(payload, request, self.number)
            except FailedError as error:
                raise FailedError(f"{self.root}: {error}") from None
        reason = f"{self.root}{path}: HTTP {status} {_message(payload)}".rstrip()
        if status == 429:
            raise BusyError(reason)
        if status < 400 or status in (401, 402, 403, 404, 405):
            raise FailedError(reason, forbidden=True)
        if status >= 500 or status in (408, 409, 425):
            raise FailedError(reason)
        raise RefusedError(reason, too_long=status == 413 or _TOO_LONG.search(reason) is not None)

    async def _exchange(
        self, session: aiohttp.ClientSession, method: str, path: str, body: dict[str, Any] | None
    ) -> tuple[int, Any]:
        import aiohttp

        try:
            # No redirects: they would turn a POST into a GET, and carry the key elsewhere.
            async with session.request(method, self.root + path, json=body, allow_redirects=False) as response:
                if (wait := response.headers.get("Retry-After", "")).isdigit() and response.status in (429, 503):
                    self._rest(min(float(wait), _LONGEST_REST_S))
                raw = await response.read()
                try:
                    return response.status, json.loads(raw)
                except ValueError:
                    return response.status, raw[:200].decode("utf-8", "replace")
        except TimeoutError:
            raise FailedError(f"{self.root}: no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise FailedError(f"{self.root}: {str(error) or type(error).__name__}") from None

    def _rest(self, for_s: float) -> None:
        self.rest_until_s = max(self.rest_until_s, asyncio.get_running_loop().time() + for_s)

    def n_allowed(self, now_s: float) -> int:
        """Requests that may be in flight now: none while it rests, one to try it after a failure."""
        if now_s < self.rest_until_s:
            return 0
        return 1 if self.n_failures else self.slots

    def trouble(self) -> str:
        """Why it has not answered for some seconds; empty where it has."""
        lasting = self.n_failures and time.monotonic() - self.failing_since_s > _TROUBLE_S
        return f"{self.last_failure}, trying again" if lasting else ""

    def succeeded(self) -> None:
        """A request went well."""
        self.n_failures = 0

    def failed(self, reason: str) -> None:
        """A request did not: rest. Failures during a rest are part of the one that caused it."""
        self.last_failure = reason
        if not self.n_failures:
            self.failing_since_s = time.monotonic()
        if asyncio.get_running_loop().time() >= self.rest_until_s:
            longest = min(_LONGEST_REST_S, _FIRST_REST_S * 2**self.n_failures)
            self.n_failures += 1
            self._rest(longest * random.uniform(0.5, 1.0))
        else:
            self.n_failures = max(1, self.n_failures)


class EndpointPool:
    """Gives each request the endpoint with the most room, or makes it wait for one."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.endpoints = endpoints
        self._changed = asyncio.Condition()

    async def acquire(self, avoid: Collection[Endpoint] = ()) -> Endpoint:
        """An endpoint with room, rather not one to ``avoid``; to be given back by :meth:`release`."""
        async with self._changed:
            while True:
                now_s = asyncio.get_running_loop().time()
                room = [e for e in self.endpoints if e.n_in_flight < e.n_allowed(now_s)]
                if room:
                    best = min(room, key=lambda e: (e in avoid, e.n_in_flight / e.slots))
                    best.n_in_flight += 1
                    return best
                rests = [e.rest_until_s - now_s for e in self.endpoints if e.rest_until_s > now_s]
                try:
                    await asyncio.wait_for(self._changed.wait(), min([*rests, _RECHECK_S]))
                except TimeoutError:
                    continue

    async def release(self, endpoint: Endpoint) -> None:
        """The request is over, well or not."""
        endpoint.n_in_flight -= 1
        async with self._changed:
            # After a failure was made good all its slots open at once.
            self._changed.notify(max(1, endpoint.n_allowed(asyncio.get_running_loop().time()) - endpoint.n_in_flight))


def _message(payload: Any) -> str:
    """The reason in an error's body, in one short line."""
    if isinstance(payload, dict):
        inner = payload.get("error", payload)
        payload = inner.get("message", inner) if isinstance(inner, dict) else inner
    return " ".join(str(payload).split())[:300]
