"""A completions server of the tests' own, over real sockets, that fails on demand."""

from __future__ import annotations

import asyncio
import ssl
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from synth.cli import main

sys.path.insert(0, str(Path(__file__).parent))  # helpers that tests import: served.py, vllm_server.py

Handler = Callable[[dict[str, Any], web.Request], Awaitable[web.StreamResponse]]


def completion(body: dict[str, Any], text: str, reason: str = "stop") -> web.Response:
    """A well-formed answer for either endpoint."""
    choice = {"message": {"content": text}} if "messages" in body else {"text": text}
    payload = {"choices": [{**choice, "finish_reason": reason}], "usage": {"completion_tokens": len(text.split())}}
    return web.json_response(payload)


async def answer_with_last_word(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
    """Answers with the prompt's last word."""
    prompt = body["prompt"] if "prompt" in body else body["messages"][0]["content"]
    return completion(body, f"The answer is \\boxed{{{prompt.split()[-1].rstrip('?')}}}.")


class Server:
    """Runs a handler behind any path in a thread; keeps the bodies, headers and paths it was sent."""

    def __init__(
        self,
        handler: Handler,
        models: list[str] | None = None,
        tls: ssl.SSLContext | None = None,
        max_model_len: int | None = None,
    ) -> None:
        self.handler = handler
        self.max_model_len = max_model_len
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.n_open = self.most_open = 0
        self._models = models
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    def stop(self) -> None:
        """Drop every connection."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/{path:.*}/completions", self._complete)
        app.router.add_get("/{path:.*}/models", self._list)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        stuck = asyncio.all_tasks() - {asyncio.current_task()}
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if self._models is None:
            return web.Response(status=404)
        return web.json_response({"data": [{"id": name, "max_model_len": self.max_model_len} for name in self._models]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.paths.append(request.path_qs)
        self.n_open += 1
        self.most_open = max(self.most_open, self.n_open)
        try:
            return await self.handler(body, request)
        finally:
            self.n_open -= 1


MakeServer = Callable[..., Server]


@pytest.fixture
def echo() -> Handler:
    """The handler that answers well."""
    return answer_with_last_word


@pytest.fixture
def make_server() -> Iterator[MakeServer]:
    """Starts servers that end with the test."""
    servers: list[Server] = []

    def make(handler: Handler = answer_with_last_word, models: list[str] | None = None, **options: Any) -> Server:
        servers.append(Server(handler, models, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


class Result:
    """How a command ended: exit code, standard output and error."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def dart_synth(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs a command in this process as if typed."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["dart-synth", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Result(int(ended.value.code or 0), out, err)

    return run
