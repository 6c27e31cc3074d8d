"""Served models: how they are addressed, how much they are asked, and what they do to a run, through the command."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from served import answer, options, rows

from synth.engines.allowance import Allowance, Spent
from synth.engines.endpoints import EndpointPool

SECRET = "s3cret-0123456789"


async def right(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
    return answer(body, f"Try {id(body)}.")


def stop_after(seconds: float) -> None:
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM)).start()


def everything(folder: Path) -> bytes:
    """The contents of all files below a folder."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


# ---------------------------------------------------------------------- addresses and headers
def test_azure_style_urls_get_the_key_as_azure_wants_it(
    make_server: Any, dart_synth: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    server = make_server(right)
    url = f"{server.url}/openai/deployments/big/chat/completions?api-version=2024-10-21"
    done = dart_synth(*options(url, tmp_path), "--prompt-template", "model")
    assert done.code == 0, done.err
    assert set(server.paths) == {"/openai/deployments/big/chat/completions?api-version=2024-10-21"}
    for headers, body in zip(server.headers, server.bodies, strict=True):
        assert headers["api-key"] == SECRET and "Authorization" not in headers
        assert not body.keys() & {"top_k", "min_p", "repetition_penalty", "ignore_eos"}  # Azure refuses them
    assert len(rows(tmp_path / "run")) == 16


def test_headers_are_sent_and_their_values_are_nowhere(
    make_server: Any, dart_synth: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Every third answer repeats the header in an error, as careless gateways do."""
    count = iter(range(10**6))

    async def leak(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        if next(count) % 3 == 1:
            return web.json_response({"error": {"message": f"bad {request.headers['X-Token']}"}}, status=500)
        return await right(body, request)

    monkeypatch.setenv("OPENAI_API_KEY", "another")
    monkeypatch.setenv("MY_TOKEN", f"Bearer {SECRET}-2")
    caplog.set_level("DEBUG")
    server = make_server(leak)
    given = [*options(server.url, tmp_path), "--header", f"X-Token: {SECRET}", "--header", "Authorization: $MY_TOKEN"]
    done = dart_synth(*given)
    assert done.code == 0, done.err
    assert "header X-Token, header Authorization" in done.out
    for headers in server.headers:
        assert headers["X-Token"] == SECRET and headers["Authorization"] == f"Bearer {SECRET}-2"
    assert SECRET not in done.out + done.err + caplog.text
    assert SECRET.encode() not in everything(tmp_path / "run")
    for wrong, message in (("X-Token", "--header takes 'NAME: VALUE'"), (f"X {SECRET}: y", "--header takes"),
                           ("X: $NOT_SET", "the environment variable NOT_SET is not set")):  # fmt: skip
        refused = dart_synth(*options(server.url, tmp_path), "--header", wrong, "--output", tmp_path / "other")
        assert refused.code in (1, 2) and message in refused.err and SECRET not in refused.err


# ---------------------------------------------------------------------- limits
@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(1, 60), st.floats(0, 1)), max_size=60),
    st.integers(1, 10),
    st.integers(30, 200),
)
@settings(max_examples=60, deadline=None)
def test_in_no_minute_is_more_asked_for_than_allowed(
    asked: list[tuple[float, int, float]], n_requests: int, n_tokens: int
) -> None:
    """Requests come after pauses, wait as they are told, and cost a share of the tokens that were set aside."""
    allowance, now_s, sent = Allowance(n_requests, n_tokens), 0.0, list[Spent]()
    for pause_s, tokens, share in asked:
        now_s += pause_s
        if (wait_s := allowance.wait_s(now_s, tokens)) > 0:
            now_s = now_s + wait_s
            assert allowance.wait_s(now_s + 1e-6, tokens) <= 0
            now_s += 1e-6
        sent.append(allowance.spend(now_s, tokens))
        window = [spent for spent in sent if spent.at_s > now_s - 60.0]
        assert len(window) <= n_requests
        assert sum(spent.n_tokens for spent in window) <= n_tokens or len(window) == 1
        allowance.settle(sent[-1], int(share * tokens))


def test_requests_per_minute_hold_and_a_signal_does_not_wait_for_the_next_minute(
    make_server: Any, dart_synth: Any, tmp_path: Path
) -> None:
    server = make_server(right)
    stop_after(4.0)
    started_s = time.monotonic()
    done = dart_synth(*options(server.url, tmp_path), "--requests-per-minute", 5)
    assert done.code == 130 and time.monotonic() - started_s < 9.0
    assert len(server.bodies) == 5
    assert "5 requests a minute each" in done.out
    assert dart_synth(*options(server.url, tmp_path)).code == 0  # the limit is not part of the run
    assert len(rows(tmp_path / "run", "pool")) == 16


def test_tokens_per_minute_are_counted_as_the_server_counts_them(
    make_server: Any, dart_synth: Any, tmp_path: Path
) -> None:
    """Of each answer 9 tokens are used, and of each request 40 set aside: all fit once the first ones are settled."""
    server = make_server(right)
    limit = ("--tokens-per-minute", 16 * 15 + 60, "--max-new-tokens", 40)
    done = dart_synth(*options(server.url, tmp_path), *limit)
    assert done.code == 0, done.err
    assert server.most_open <= 6  # of 8 slots: more would not fit before they are settled


# ---------------------------------------------------------------------- too busy
@pytest.mark.slow
def test_a_429_delays_its_own_request_and_no_other(make_server: Any, dart_synth: Any, tmp_path: Path) -> None:
    count, seen = iter(range(10**6)), Counter[int]()

    async def limited(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        number = next(count)
        seen[int(time.monotonic() - started_s)] += 1
        if number % 6 == 5:
            return web.Response(status=429, headers={"Retry-After": "3"})
        await asyncio.sleep(0.05)
        return answer(body, f"Try {number}.")

    server = make_server(limited)
    started_s = time.monotonic()
    done = dart_synth(*options(server.url, tmp_path, 8), "-k", 6)
    assert done.code == 0, done.err
    assert time.monotonic() - started_s < 12.0  # as many seconds as each 429 asks for would be 27
    assert len(rows(tmp_path / "run")) == 48


def test_429s_that_come_together_rest_the_endpoint(make_server: Any, dart_synth: Any, tmp_path: Path) -> None:
    began_s = None

    async def limited(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        nonlocal began_s
        began_s = began_s or time.monotonic()
        if time.monotonic() - began_s < 3.0:
            return web.Response(status=429, headers={"Retry-After": "3"})
        return await right(body, request)

    server = make_server(limited)
    assert dart_synth(*options(server.url, tmp_path)).code == 0
    assert len(server.bodies) <= 16 + 10


def test_requests_that_are_aborted_while_they_wait_leave_no_task_behind() -> None:
    """Aborted by the driver, and then once more by the engine's end."""

    async def main() -> int:
        pool = EndpointPool([])
        waiting = [asyncio.create_task(pool.acquire()) for _ in range(50)]
        await asyncio.sleep(0.01)
        async with pool._changed:  # as while a request is over: who waits cannot end at once
            for _ in range(2):
                for task in waiting:
                    task.cancel()
                await asyncio.sleep(0.01)
        await asyncio.gather(*waiting, return_exceptions=True)
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(main()) == 0


# ---------------------------------------------------------------------- silence
@pytest.mark.slow
@pytest.mark.parametrize("n_before", [0, 6])
def test_a_server_that_hangs_is_named_and_a_signal_ends_the_run(
    make_server: Any, dart_synth: Any, tmp_path: Path, n_before: int
) -> None:
    count = iter(range(10**6))

    async def hang(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        if (number := next(count)) >= n_before:
            await asyncio.sleep(3600)
        return answer(body, f"Try {number}.")

    server = make_server(hang)
    started_s = time.monotonic()
    stop_after(13.0)
    done = dart_synth(*options(server.url, tmp_path))
    assert done.code == 130 and time.monotonic() - started_s < 13.0 + 10.0
    assert f"{server.url}/v1: nothing has come back for 10 s" in done.out
    assert sum("nothing has come back" in line for line in done.out.splitlines()) <= 3


# ---------------------------------------------------------------------- tokens and cost
def test_tokens_and_cost_of_each_server_over_all_attempts(make_server: Any, dart_synth: Any, tmp_path: Path) -> None:
    """Each request has 7 prompt tokens and 9 of the response. The first attempt is stopped, and had another price."""
    first, second = make_server(right), make_server(right)
    given = [*options(first.url, tmp_path), "--endpoint", second.url]
    stop_after(3.0)
    limited = ("--requests-per-minute", 2, "--price-in", 2, "--price-out", 4)
    assert dart_synth(*given, *limited).code == 130
    done = dart_synth(*given, "--price-in", 1, "--price-in", 10, "--price-out", 2, "--price-out", 20)
    assert done.code == 0, done.err
    shown = json.loads(dart_synth("status", tmp_path / "run", "--json").out)["servers"]
    assert len(shown) == 2 and sum(used["n_trials"] for used in shown.values()) == 16
    for url, price in ((first.url, 1.0), (second.url, 10.0)):
        used = shown[url]
        late = used["n_trials"] - 2
        assert used["n_prompt_tokens"] == 7 * used["n_trials"] and used["n_tokens"] == 9 * used["n_trials"]
        assert used["cost"] == pytest.approx(1e-6 * (2 * (7 * 2 + 9 * 4) + late * price * (7 + 9 * 2)))
        line = f"{url}: {used['n_trials']} trials, {used['n_prompt_tokens']} prompt tokens"
        assert line in done.out and line in dart_synth("status", tmp_path / "run").out
    total = sum(used["cost"] for used in shown.values())
    assert f"all servers: 16 trials, 112 prompt tokens, 144 response tokens, cost {total:.6f}" in done.out
    assert dart_synth("report", tmp_path / "run").code == 0
    assert f"{shown[second.url]['cost']:.6f}" in (tmp_path / "run/report.html").read_text()
    for wrong, message in ((("--price-in", 1), "go together"), (("--price-in", "x"), "as 0.15"),
                           (("--price-in", 1, "--price-in", 1, "--price-in", 1), "2 endpoints")):  # fmt: skip
        refused = dart_synth(*given, *wrong)
        assert refused.code == 2 and message in refused.err


def test_a_server_that_does_not_count_prompts_has_a_cost_of_at_least(
    make_server: Any, dart_synth: Any, tmp_path: Path
) -> None:
    async def uncounted(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        text = answer(body, "So.").body
        assert isinstance(text, bytes)
        return web.json_response({**json.loads(text), "usage": {"completion_tokens": 9}})

    done = dart_synth(*options(make_server(uncounted).url, tmp_path), "--price-in", 1, "--price-out", 2)
    assert "0 prompt tokens, 144 response tokens, cost at least 0.000288 (prompts of 16 trials not counted)" in done.out
