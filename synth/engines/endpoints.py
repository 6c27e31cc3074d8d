"""Served models: what is sent, what comes back, and which server takes the next request.

An endpoint that fails (no connection, time-out, 5xx) rests for a while that doubles with every failure in a row, or for
as long as its ``Retry-After`` says; then a single request tries it before the others follow. A request that it is too
busy for (429) waits, and the others go on: only where several in a row are answered so does the endpoint rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from synth.engines import SamplingSettings
from synth.engines.allowance import Allowance, Spent
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
    "header_value",
    "most_tokens",
    "request_body",
]

_FIRST_REST_S = 0.25
_LONGEST_REST_S = 60.0
_RECHECK_S = 1.0
_TROUBLE_S = 3.0
_TOGETHER = 5  # answers of 429 in a row that are no chance
_SILENCE_S = 5.0  # with requests waiting, after which an endpoint may hang
_SILENCES_TOLD_S = (10, 30, 60, 120, 300, 600)
_CHARACTERS_PER_TOKEN = 2  # of a prompt; few, as it is a bound until the server has counted
_NEUTRAL: dict[str, Any] = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "ignore_eos": False}
"""Fields that OpenAI's own servers do not know, with the values that say nothing."""
_TOO_LONG = re.compile(r"too long|context|maximum.{0,20}length|longer than|reduce the (length|input)", re.IGNORECASE)
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # as older servers name it, newer ones, and Ollama


class BusyError(Exception):
    """The server has too much to do (429); nothing is wrong with the request, which may be sent again after a while."""

    def __init__(self, reason: str, retry_after_s: float) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class FailedError(Exception):
    """This attempt failed; another one, here or elsewhere, may not.

    ``forbidden``: no such path, or no access; ``denied``: the latter, for want of a key perhaps.
    """

    def __init__(self, reason: str, *, forbidden: bool = False, denied: bool = False) -> None:
        super().__init__(reason)
        self.forbidden = forbidden
        self.denied = denied


class RefusedError(Exception):
    """The server does not take this request (a 4xx); ``too_long``: and will not take it later."""

    def __init__(self, reason: str, *, too_long: bool = False) -> None:
        super().__init__(reason)
        self.too_long = too_long


def api_root(url: str) -> str:
    """The address that ``/completions`` is added to; ``/v1`` where the URL has no path.

    >>> api_root("http://node7:8000"), api_root("https://example.org/llm/v1/")
    ('http://node7:8000/v1', 'https://example.org/llm/v1')
    >>> api_root("https://me.openai.azure.com/openai/deployments/big/chat/completions?api-version=2024-10-21")
    'https://me.openai.azure.com/openai/deployments/big'

    Raises:
        ValueError: not an http(s) URL, or one with a password in it.
    """
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and url.isprintable()
    except ValueError:  # a port that is no number, an IPv6 address without its end
        is_address = False
    if not is_address or " " in url:
        raise ValueError(f"--endpoint takes a URL such as http://localhost:8000/v1 (got {url!r})")
    if parts.username or parts.password or parts.fragment or set(parse_qs(parts.query)) - {"api-version"}:
        raise ValueError(
            "--endpoint: no user, password, fragment or query but ?api-version=... in the URL; a key belongs in "
            "OPENAI_API_KEY"
        )
    bare = url.partition("?")[0].rstrip("/").removesuffix("/completions").removesuffix("/chat")
    return bare if parts.path.strip("/") else bare + "/v1"


def header_value(name: str, value: str) -> str:
    """The value of a header, in which ``$NAME`` or, after a word such as Bearer, its last word is read from there.

    Raises:
        ValueError: there is no such environment variable, or it is empty.
    """
    match = re.fullmatch(r"(\w+ )?\$(\w+)", value, re.ASCII)
    if match is None:
        return value
    found = os.environ.get(match[2], "")
    if not found or not found.isprintable():
        raise ValueError(
            f"--header {name}: the environment variable {match[2]} is {'not printable' if found else 'not set'}"
        )
    return (match[1] or "") + found


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
        message = choice["message"] if request.chat else {"content": choice["text"]}
        text, reasoning = _in_parts(message["content"])
        reason = choice["finish_reason"]
        usage = payload.get("usage") or {}
        n_tokens = int(usage.get("completion_tokens") or 0)
        counted = int((usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0)
        n_prompt_tokens = int(usage["prompt_tokens"]) if usage.get("prompt_tokens") is not None else None
        if not 0 <= n_tokens < 2**31 or not 0 <= (n_prompt_tokens or 0) < 2**31:
            raise ValueError
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise FailedError(f"the answer is not a completion but {payload!r:.2000}") from None
    reasoning = next(
        (thought for name in _THOUGHTS if isinstance(thought := message.get(name), str) and thought), reasoning
    )
    if text is None and reasoning is None:
        raise FailedError("the completion has no text (content is null)")
    text = "" if text is None else text  # it was still thinking when its tokens ran out
    if reason not in ("stop", "length") or not isinstance(text, str):
        raise FailedError(f"the completion ended with {str(reason)[:40]!r}")
    return Completion(
        request.id, text, n_tokens, reason, replica, reasoning, counted if 0 < counted <= n_tokens else None,
        n_prompt_tokens,
    )  # fmt: skip


def _in_parts(content: Any) -> tuple[Any, str | None]:
    """Response and thought of a content that is a list of typed parts, as Mistral's is; any other is the response."""
    if not isinstance(content, list):
        return content, None
    kinds = [(part["type"], part.get(part["type"])) for part in content]
    thoughts = [piece["text"] for kind, pieces in kinds if kind == "thinking" for piece in pieces]
    texts = [text for kind, text in kinds if kind == "text"]
    return "".join(texts) if texts else None, "".join(thoughts) or None


def most_tokens(request: Request, settings: SamplingSettings) -> int:
    """A bound of the tokens of a request, prompt and response."""
    n_characters = sum(len(message["content"]) for message in request.messages)
    return n_characters // _CHARACTERS_PER_TOKEN + 1 + settings.max_new_tokens


class Endpoint:
    """One server: how to ask it, and how it has fared lately.

    Args:
        url: its address; with ``?api-version=...`` it is one of Azure's, which gets the key under another name.
        number: its place among the endpoints.
        slots: requests that it may have at a time.
        key: "" for none.
        allowance: what may be asked of it in a minute.
    """

    def __init__(self, url: str, number: int, slots: int, key: str = "", allowance: Allowance | None = None) -> None:
        self.root = api_root(url)
        self.number = number
        self.slots = slots
        self.allowance = allowance or Allowance()
        self._query = urlsplit(url).query
        name, value = ("api-key", key) if self._query else ("Authorization", f"Bearer {key}")
        self._headers = {name: value} if key else {}
        self.n_in_flight = 0
        self.n_busy = 0  # answers of 429 in a row
        self._heard_s = 0.0  # when anything came from it, or the first of the requests in flight was sent
        self._longest_s = 0.0  # that a completion took
        self.n_failures = 0  # in a row, one for each rest
        self.rest_until_s = 0.0
        self.failing_since_s = 0.0
        self.last_failure = ""

    async def served_models(self, session: aiohttp.ClientSession) -> list[str]:
        """Names that ``GET /models`` lists; none where the server does not tell.

        Raises:
            FailedError: no answer, or access denied.
        """
        status, payload, _ = await self._exchange(session, "GET", "/models", None)
        if status in (401, 403):
            raise FailedError(f"{self.root} denies access (HTTP {status})", forbidden=True, denied=True)
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
        if self._query:
            body = {name: value for name, value in body.items() if name not in _NEUTRAL or value != _NEUTRAL[name]}
        sent_s = time.monotonic()
        status, payload, retry_after_s = await self._exchange(session, "POST", path, body)
        if status == 200:
            try:
                completion = _completion(payload, request, self.number)
            except FailedError as error:
                raise FailedError(f"{self.root}: {error}") from None
            self._longest_s = max(self._longest_s, time.monotonic() - sent_s)
            return completion
        reason = f"{self.root}{path}: HTTP {status} {_message(payload)}".rstrip()
        if status == 429:
            raise BusyError(reason, retry_after_s)
        if status == 503 and retry_after_s:
            self._rest(retry_after_s)
        if status < 400:
            raise FailedError(f"{reason} (redirects are not followed: give the address it leads to)", forbidden=True)
        if status in (401, 402, 403, 404, 405):
            raise FailedError(reason, forbidden=True, denied=status < 404)
        if status >= 500 or status in (408, 409, 425):
            raise FailedError(reason)
        raise RefusedError(reason, too_long=status == 413 or _TOO_LONG.search(reason) is not None)

    async def _exchange(
        self, session: aiohttp.ClientSession, method: str, path: str, body: dict[str, Any] | None
    ) -> tuple[int, Any, float]:
        """Status, body, and for how long the server says to wait."""
        import aiohttp

        url = self.root + path + (f"?{self._query}" if self._query else "")
        headers = {name: value for name, value in self._headers.items() if name not in session.headers}
        try:
            # No redirects: they would turn a POST into a GET, and carry the key elsewhere.
            async with session.request(method, url, json=body, headers=headers, allow_redirects=False) as response:
                self._heard_s = time.monotonic()
                wait = response.headers.get("Retry-After", "")
                retry_after_s = min(float(wait), _LONGEST_REST_S) if wait.isdigit() else 0.0
                raw = await response.read()
                try:
                    return response.status, json.loads(raw), retry_after_s
                except ValueError:
                    return response.status, raw[:200].decode("utf-8", "replace"), retry_after_s
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

    def sends(self) -> None:
        """A request is on its way to it."""
        if not self.n_in_flight:
            self._heard_s = time.monotonic()
        self.n_in_flight += 1

    def _silent_s(self) -> float:
        """For how long nothing has come from it, with requests in flight."""
        return time.monotonic() - self._heard_s if self.n_in_flight else 0.0

    def answers(self) -> bool:
        """Whether what is in flight may be expected to come: it has not failed, nor been silent for very long."""
        return not self.n_failures and self._silent_s() < max(_SILENCE_S, 2 * self._longest_s)

    def trouble(self) -> str:
        """Why it has not answered for some seconds; empty where it has."""
        if self.n_failures and time.monotonic() - self.failing_since_s > _TROUBLE_S:
            return f"{self.last_failure}, trying again"
        told = [seconds for seconds in _SILENCES_TOLD_S if seconds <= self._silent_s()]
        return f"{self.root}: nothing has come back for {told[-1]} s" if told and not self.answers() else ""

    def succeeded(self) -> None:
        """A request went well."""
        self.n_failures = self.n_busy = 0

    def busy(self, reason: str, retry_after_s: float) -> None:
        """It was too busy for a request; where it is for several in a row, it rests."""
        self.n_busy += 1
        if self.n_busy >= _TOGETHER:
            self.failed(reason)
            self._rest(retry_after_s)

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

    async def acquire(
        self, n_tokens: int = 0, avoid: Collection[Endpoint] = (), not_before_s: Mapping[Endpoint, float] | None = None
    ) -> tuple[Endpoint, Spent]:
        """An endpoint with room, rather not one to ``avoid``; to be given back by :meth:`release`.

        Args:
            n_tokens: that the request may cost, prompt included.
            avoid: endpoints that take it only where no other can.
            not_before_s: when, by the loop's clock, this request may go to an endpoint again.
        """
        async with self._changed:
            while True:
                now_s = asyncio.get_running_loop().time()
                waits = {
                    e: max(e.rest_until_s - now_s, e.allowance.wait_s(now_s, n_tokens),
                           (not_before_s or {}).get(e, now_s) - now_s)
                    for e in self.endpoints
                }  # fmt: skip
                room = [e for e, wait_s in waits.items() if wait_s <= 0 and e.n_in_flight < e.n_allowed(now_s)]
                if room:
                    best = min(room, key=lambda e: (e in avoid, e.n_in_flight / e.slots))
                    best.sends()
                    return best, best.allowance.spend(now_s, n_tokens)
                soonest_s = min((wait_s for wait_s in waits.values() if wait_s > 0), default=_RECHECK_S)
                with contextlib.suppress(TimeoutError):  # wait_for of 3.11 leaves a task behind if cancelled twice
                    async with asyncio.timeout(min(soonest_s, _RECHECK_S)):
                        await self._changed.wait()

    async def release(self, endpoint: Endpoint, spent: Spent, completion: Completion | None) -> None:
        """The request is over, well or not."""
        endpoint.n_in_flight -= 1
        if completion is not None and completion.n_prompt_tokens is not None:
            endpoint.allowance.settle(spent, completion.n_prompt_tokens + completion.n_tokens)
        async with self._changed:
            # After a failure was made good all its slots open at once.
            self._changed.notify(max(1, endpoint.n_allowed(asyncio.get_running_loop().time()) - endpoint.n_in_flight))


def _message(payload: Any) -> str:
    """The reason in an error's body, in one short line."""
    if isinstance(payload, dict):
        inner = payload.get("error", payload)
        payload = inner.get("message", inner) if isinstance(inner, dict) else inner
    return " ".join(f"{payload!s:.2000}".split())
