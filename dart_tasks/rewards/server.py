"""``dart-grade serve``: the verifier over HTTP, for trainers on other machines and in other languages.

``POST /grade`` takes ``{"cases": [{"response": "It is \\\\boxed{4}.", "reference": "4"}]}`` (a case may also have
``prompt``, ``question``, ``benchmark``, ``tolerance`` and ``finish_reason``) and answers, in the same order::

    {"rewards": [{"reward": 1.0, "judged": true, "correct": true, "answer": "4", "source": "boxed", "explicit": true,
                  "reason": "same text", "flags": [], "truncated": false, "unreadable": false, "hedged": false}],
     "grader_version": "1.2"}

``reward`` is null where nothing can be judged. ``GET /health`` says "ok", or "draining" (503) once it is to end;
``GET /metrics`` is Prometheus' text format. On SIGTERM it takes no more connections and ends when every request that it
took is answered.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dart_tasks.grading import GRADER_VERSION, Case
from dart_tasks.grading.policy import check
from dart_tasks.rewards.core import Reward, RewardOptions, judge_async, sample

__all__ = ["Limits", "serve"]

REQUIRED = ("response", "reference")
OPTIONAL = ("prompt", "question", "benchmark", "tolerance", "finish_reason")
SMALL = 1 << 20  # bytes of a body that are read before its request has its turn
QUIET_S = 0.5  # without a request, after which a draining server believes that its clients have heard


@dataclass(frozen=True)
class Limits:
    """What one request may ask for.

    Attributes:
        max_body_mb: size of a request's body in MiB; a larger one is refused (413).
        read_timeout_s: seconds in which a body must have arrived (408).
        max_requests: requests that are graded at a time; of others no more than a MiB is read.
        drain_s: seconds that the server goes on for requests under way once it is to end.
    """

    max_body_mb: float = 64
    read_timeout_s: float = 60
    max_requests: int = 64
    drain_s: float = 150


class Verifier:
    """The handlers, and what they count."""

    def __init__(self, options: RewardOptions, limits: Limits) -> None:
        self.options, self.limits = options, limits
        self.draining = False
        self.last_s = time.monotonic()
        self.room = asyncio.Semaphore(limits.max_requests)
        self.registry = CollectorRegistry()
        to = self.registry
        self.requests = Counter("dart_grade_requests", "Requests answered.", ["status"], registry=to)
        self.cases = Counter("dart_grade_cases", "Cases judged.", ["outcome"], registry=to)
        self.flags = Counter("dart_grade_flags", "Flags of verdicts (timeout, truncated, ...).", ["flag"], registry=to)
        self.seconds = Histogram("dart_grade_request_seconds", "From a request's head to its answer.", registry=to)
        self.in_flight = Gauge("dart_grade_requests_in_flight", "Requests read, waiting or graded.", registry=to)

    def app(self) -> web.Application:
        """The application."""
        app = web.Application(middlewares=[self._count])
        app.add_routes(
            [web.post("/grade", self.grade), web.get("/health", self.health), web.get("/metrics", self.metrics)]
        )
        return app

    @web.middleware
    async def _count(self, request: web.Request, handler: Any) -> web.StreamResponse:
        began_s = self.last_s = time.monotonic()
        status = 500
        with self.in_flight.track_inprogress():
            try:
                response: web.StreamResponse = await handler(request)
                status = response.status
            except web.HTTPException as refusal:  # in one form, and JSON as all else
                status = refusal.status
                response = web.json_response({"error": refusal.text or refusal.reason}, status=status)
            finally:
                self.requests.labels(status).inc()
                if request.path == "/grade":
                    self.seconds.observe(time.monotonic() - began_s)
        if self.draining or status >= 400:  # what is left of a refused body is not read
            response.force_close()
        return response

    async def grade(self, request: web.Request) -> web.Response:
        """Rewards of the cases in the body."""
        limit = int(self.limits.max_body_mb * 2**20)
        body = await self._read(request, min(SMALL, limit + 1))  # a slow client keeps no other from its turn
        async with self.room:
            body += await self._read(request, limit + 1 - len(body))
            if len(body) > limit:
                raise web.HTTPRequestEntityTooLarge(limit, len(body), text=f"a body may have {limit:,} bytes")
            try:
                cases = _cases(body, self.options)
            except ValueError as error:
                raise web.HTTPBadRequest(text=str(error)) from None
            rewards = await judge_async(cases, self.options)
        for reward in rewards:
            self.cases.labels({None: "unjudged", 1.0: "right"}.get(reward.value, "wrong")).inc()
            for flag in reward.verdict.flags:
                self.flags.labels(flag).inc()
        return web.json_response({"rewards": [_row(reward) for reward in rewards], "grader_version": GRADER_VERSION})

    async def _read(self, request: web.Request, size: int) -> bytes:
        """As many bytes of the body, or all that are left."""
        data = bytearray()
        try:
            async with asyncio.timeout(self.limits.read_timeout_s):
                while chunk := await request.content.read(size - len(data)):
                    data += chunk
        except TimeoutError:
            raise web.HTTPRequestTimeout(text=f"no body within {self.limits.read_timeout_s:g} s") from None
        except (web.RequestPayloadError, HttpProcessingError, ConnectionError) as error:
            raise web.HTTPBadRequest(text=f"the body cannot be read: {error}") from None
        return bytes(data)

    async def health(self, _: web.Request) -> web.Response:
        """Whether new requests are welcome."""
        status = "draining" if self.draining else "ok"
        return web.json_response(
            {"status": status, "grader_version": GRADER_VERSION}, status=503 if self.draining else 200
        )

    async def metrics(self, _: web.Request) -> web.Response:
        """Prometheus' text format."""
        return web.Response(body=generate_latest(self.registry), content_type="text/plain", charset="utf-8")

    async def drained(self) -> None:
        """Return when no request is under way and none has come for a moment, or ``drain_s`` are over."""
        ends_s = time.monotonic() + self.limits.drain_s
        while time.monotonic() < ends_s:
            busy = self.registry.get_sample_value("dart_grade_requests_in_flight")
            if not busy and time.monotonic() - self.last_s > QUIET_S:
                return
            await asyncio.sleep(0.05)


def _cases(body: bytes, options: RewardOptions) -> list[Case | None]:
    """The cases in a request's body; ValueError says which one is not right, and why."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    rows = document.get("cases") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise ValueError('the body must be {"cases": [{"response": ..., "reference": ...}]}')
    cases = []
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(f"case {number} is not an object")
        if missing := [name for name in REQUIRED if name not in row]:
            raise ValueError(f"case {number} has no {' and no '.join(missing)}")
        if unknown := row.keys() - {*REQUIRED, *OPTIONAL}:
            raise ValueError(f"case {number} has unknown fields: {', '.join(sorted(unknown))}")
        for name in ("response", "question", "benchmark", "finish_reason"):
            if not isinstance(row.get(name, ""), str) and (name == "response" or row[name] is not None):
                raise ValueError(f"case {number}: {name} is not text")
        if not _is_prompt(row.get("prompt")):
            raise ValueError(f"case {number}: prompt is neither text nor messages")
        try:
            case = sample(**row, options=options)
            if case is not None:
                check(case)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"case {number}: {error}") from None
        cases.append(case)
    return cases


def _is_prompt(prompt: Any) -> bool:
    return (
        prompt is None
        or isinstance(prompt, str)
        or (
            isinstance(prompt, list)
            and all(isinstance(turn, dict) and _is_content(turn.get("content")) for turn in prompt)
        )
    )


def _is_content(content: Any) -> bool:
    parts = content if isinstance(content, list) else []
    return isinstance(content, str | list | None) and all(
        isinstance(part, dict) and isinstance(part.get("text"), str | None) for part in parts
    )


def _row(reward: Reward) -> dict[str, Any]:
    return {"reward": reward.value, **reward.verdict.as_json(), **reward.signals}


async def _serve(host: str, port: int, options: RewardOptions, limits: Limits) -> None:
    verifier = Verifier(options, limits)
    await judge_async([sample("4", "4")], options)  # the workers start before the port opens
    runner = web.AppRunner(verifier.app(), access_log=None, shutdown_timeout=limits.drain_s)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=1024)
    await site.start()
    bound = runner.addresses[0]
    print(f"dart-grade: serving on http://{bound[0]}:{bound[1]} (POST /grade, GET /health, GET /metrics)", flush=True)
    asked_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_end.set)
    await asked_to_end.wait()
    verifier.draining = True
    print("dart-grade: answering what is under way, then ending", flush=True)
    await site.stop()
    await verifier.drained()
    await runner.cleanup()


def serve(host: str, port: int, options: RewardOptions, limits: Limits | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C, and then until every request under way is answered.

    Raises:
        OSError: the address cannot be bound.
    """
    asyncio.run(_serve(host, port, options, limits or Limits()))
