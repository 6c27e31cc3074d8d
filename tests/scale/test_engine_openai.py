"""The client of OpenAI-compatible servers, against servers on loopback that misbehave in every way we know."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from synth.engines import EngineError, Health, SamplingSettings
from synth.engines.endpoints import api_root
from synth.engines.openai_engine import OpenAIEngine
from synth.records import Completion, Request
from synth.scheduler import TrialId

SETTINGS = SamplingSettings(1.6, 0.95, 0, 64, ("###",), False)
KEY = "sk-very-secret-0123456789"


@contextmanager
def engine_at(*urls: str, **options: Any) -> Iterator[OpenAIEngine]:
    engine = OpenAIEngine("m", SETTINGS, urls, **{"n_slots": 8, "request_timeout_s": 5.0, **options})
    try:
        yield engine
    finally:
        engine.close()


def requests(n: int, **options: Any) -> list[Request]:
    return [Request(TrialId(i, 0), f"What is {i}?", **options) for i in range(n)]


def collect(
    engine: OpenAIEngine, n: int, timeout_s: float = 30.0, healths: list[Health] | None = None
) -> dict[TrialId, Completion]:
    """Poll until n trials have finished; a trial that finishes twice fails the test."""
    found: dict[TrialId, Completion] = {}
    deadline_s = time.monotonic() + timeout_s
    while len(found) < n and time.monotonic() < deadline_s:
        for completion in engine.poll(0.05):
            assert completion.id not in found
            found[completion.id] = completion
        if healths is not None:
            healths.append(engine.health())
    return found


def until(engine: OpenAIEngine, wanted: str, timeout_s: float = 20.0) -> Health:
    """Poll until the engine reports something in a field of its health."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        engine.poll(0.02)
        if getattr(health := engine.health(), wanted):
            return health
    raise AssertionError(f"nothing {wanted}")


def unreachable() -> str:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


# ---------------------------------------------------------------------- what is sent
def test_every_sampling_parameter_is_sent(make_server: Any) -> None:
    server = make_server()
    with engine_at(server.url) as engine:
        engine.submit([Request(TrialId(0, 0), "What is 7?", seed=5)])
        (done,) = collect(engine, 1).values()
    assert done == Completion(TrialId(0, 0), "The answer is \\boxed{7}.", 4, "stop", 0)
    assert server.bodies == [
        {
            "model": "m", "prompt": "What is 7?", "n": 1, "stream": False, "temperature": 1.6, "top_p": 0.95,
            "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
            "max_tokens": 64, "stop": ["###"], "ignore_eos": False, "seed": 5,
        }
    ]  # fmt: skip


def test_the_models_own_template_goes_to_the_chat_endpoint(make_server: Any) -> None:
    server = make_server()
    with engine_at(server.url) as engine:
        engine.submit(requests(1, chat=True))
        assert collect(engine, 1)[TrialId(0, 0)].text == "The answer is \\boxed{0}."
    assert server.bodies[0]["messages"] == [{"role": "user", "content": "What is 0?"}]
    assert "prompt" not in server.bodies[0] and "seed" not in server.bodies[0]


THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}


@pytest.mark.parametrize(
    "message",
    [
        {"content": "7", "reasoning_content": "Hm."},
        {"content": "7", "reasoning": "Hm."},
        {"content": "7", "thinking": "Hm."},
        {"content": "7", "reasoning_content": "", "reasoning": "Hm."},
        {"content": "7", "reasoning_content": None, "reasoning": "Hm.", "reasoning_details": [{"text": "Hm."}]},
        {"content": [THINKING, {"type": "text", "text": "7"}]},
    ],
)
def test_a_thought_is_found_in_every_spelling(make_server: Any, message: dict[str, Any]) -> None:
    async def think(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})

    with engine_at(make_server(think).url) as engine:
        engine.submit(requests(1, chat=True))
        (found,) = collect(engine, 1).values()
    assert (found.text, found.reasoning) == ("7", "Hm.")


@pytest.mark.parametrize("content", [[{"type": "image"}], [], [None], ["7"], [{"text": "7"}], 7])
def test_a_content_that_is_no_text_is_no_completion(make_server: Any, monkeypatch: Any, content: Any) -> None:
    monkeypatch.setattr("synth.engines.endpoints._TROUBLE_S", 0.0)

    async def reply(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return web.json_response({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]})

    with engine_at(make_server(reply).url) as engine:
        engine.submit(requests(1, chat=True))
        assert until(engine, "trouble").trouble


def test_fields_can_be_added_and_left_out(make_server: Any) -> None:
    server = make_server()
    with engine_at(server.url, body={"top_k": None, "min_tokens": 1}) as engine:
        engine.submit(requests(1))
        collect(engine, 1)
    assert "top_k" not in server.bodies[0] and server.bodies[0]["min_tokens"] == 1


def test_the_key_comes_from_the_environment_and_is_shown_nowhere(
    make_server: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def leak(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": f"wrong key {request.headers['Authorization']}"}}, status=401)

    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    server = make_server(leak)
    with engine_at(server.url, api_key_env="MY_KEY") as engine:
        engine.submit(requests(1))
        health = until(engine, "message")
        assert not health.ok
        assert "HTTP 401 wrong key Bearer ***" in health.message
        assert KEY not in health.message + engine.description + caplog.text + repr(vars(engine).get("_endpoints"))
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ("http://node7:8000", "http://node7:8000/v1"),
        ("http://node7:8000/", "http://node7:8000/v1"),
        ("https://example.org/llm/v1/", "https://example.org/llm/v1"),
    ],
)
def test_api_root(given: str, root: str) -> None:
    assert api_root(given) == root


@pytest.mark.parametrize("given", ["localhost:8000", "ftp://host", "", "http://me:secret@host", "http://host?key=1"])
def test_api_root_refuses(given: str) -> None:
    with pytest.raises(ValueError, match="--endpoint") as error:
        api_root(given)
    assert "secret" not in str(error.value)


# ---------------------------------------------------------------------- what goes wrong
def test_nothing_is_lost_or_doubled_when_servers_fail_at_random(make_server: Any, echo: Any) -> None:
    """Of every ten answers: one 500, one 503, one 429, one cut connection, one that is no completion."""
    count = iter(range(10**9))

    async def unreliable(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        match next(count) % 10:
            case 0:
                return web.json_response({"error": "boom"}, status=500)
            case 2:
                return web.Response(status=503)
            case 4:
                return web.Response(status=429, headers={"Retry-After": "0"})
            case 6:
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            case 8:
                return web.json_response(["not", "a", "completion"])
        return await echo(body, request)

    servers = [make_server(unreliable), make_server(unreliable), make_server()]
    healths: list[Health] = []
    with engine_at(*(server.url for server in servers)) as engine:
        engine.submit(requests(60))
        done = collect(engine, 60, healths=healths)
    assert {trial.query: found.text for trial, found in done.items()} == {
        i: f"The answer is \\boxed{{{i}}}." for i in range(60)
    }
    assert not [health for health in healths if health.set_aside or not health.ok]


def test_a_server_that_stops_hands_its_trials_to_the_others_and_gets_new_ones_when_back(
    make_server: Any, echo: Any
) -> None:
    async def slow(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.05)
        return await echo(body, request)

    stays, goes = make_server(slow), make_server(slow)
    with engine_at(stays.url, goes.url) as engine:
        assert engine.capacity == 16
        engine.submit(requests(30))
        done = collect(engine, 5)
        goes.stop()
        done |= collect(engine, 30 - len(done))
        assert len(done) == 30
        goes.start()
        n_before = len(goes.bodies)
        for again in range(1, 200):
            engine.submit([Request(TrialId(i, again), "What is 1?") for i in range(8)])
            collect(engine, 8)
            if len(goes.bodies) > n_before and engine.capacity == 16:
                break
        assert engine.health() == Health(True, 2)


def test_a_hanging_server_does_not_hold_trials(make_server: Any) -> None:
    async def hang(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3600)
        raise AssertionError

    with engine_at(make_server(hang).url, make_server().url, request_timeout_s=0.4) as engine:
        engine.submit(requests(20))
        assert len(collect(engine, 20)) == 20


def test_a_signal_whose_handler_takes_long_does_not_hold_the_poll_for_ever(make_server: Any) -> None:
    """CPython's SimpleQueue waits without an end where the handler outlasts the timeout: a stop signal hung a run."""

    def hung(*_: object) -> None:
        raise AssertionError("the poll does not end")

    def linger(*_: object) -> None:
        time.sleep(0.1)
        signal.signal(signal.SIGALRM, hung)
        signal.setitimer(signal.ITIMER_REAL, 2.0)

    before = signal.signal(signal.SIGALRM, linger)
    try:
        with engine_at(make_server().url) as engine:
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            assert engine.poll(0.05) == []
            signal.setitimer(signal.ITIMER_REAL, 0.0)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_no_endpoint_gets_more_than_its_slots(make_server: Any, echo: Any) -> None:
    async def slow(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.01)
        return await echo(body, request)

    servers = [make_server(slow), make_server(slow)]
    with engine_at(*(server.url for server in servers), n_slots=3) as engine:
        engine.submit(requests(40))
        assert len(collect(engine, 40)) == 40
    assert max(server.most_open for server in servers) == 3


def test_an_aborted_trial_frees_its_connection(make_server: Any, echo: Any) -> None:
    async def hang(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        if "What is 0?" in body["prompt"]:
            await asyncio.sleep(3600)
        return await echo(body, request)

    server = make_server(hang)
    with engine_at(server.url, n_slots=1) as engine:
        engine.submit(requests(2))
        time.sleep(0.3)
        engine.abort([TrialId(0, 0)])
        assert set(collect(engine, 1)) == {TrialId(1, 0)}


def test_a_prompt_that_is_refused_is_set_aside_and_the_rest_goes_on(make_server: Any, echo: Any) -> None:
    async def refuse(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        if "What is 3?" in body["prompt"]:
            return web.json_response({"error": {"message": "too long\x1b[31m"}}, status=400)
        return await echo(body, request)

    server = make_server(refuse)
    healths: list[Health] = []
    with engine_at(server.url) as engine:
        engine.submit(requests(6))
        assert {trial.query for trial in collect(engine, 5, healths=healths)} == {0, 1, 2, 4, 5}
        healths.append(engine.health())
    ((query, reason),) = [entry for health in healths for entry in health.set_aside]
    assert (query, reason) == (3, f"{server.url}/v1/completions: HTTP 400 too long\\x1b[31m")


def test_a_trial_that_always_fails_is_lost_and_then_set_aside(make_server: Any, echo: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("synth.engines.openai_engine._ATTEMPTS", 2)

    async def fail(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        if "What is 3?" in body["prompt"]:
            return web.Response(status=500)
        return await echo(body, request)

    with engine_at(make_server(fail).url) as engine:
        for again in range(2):
            engine.submit([Request(TrialId(3, 0), "What is 3?"), Request(TrialId(1, again), "What is 1?")])
            assert until(engine, "lost").lost == (TrialId(3, 0),)
        engine.submit([Request(TrialId(3, 0), "What is 3?"), Request(TrialId(1, 9), "What is 1?")])
        ((query, reason),) = until(engine, "set_aside").set_aside
        assert query == 3
        assert "while others succeeded" in reason


def test_an_outage_blames_no_trial_and_ends_the_run_in_time(make_server: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("synth.engines.openai_engine._ATTEMPTS", 1)

    async def fail(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return web.Response(status=502)

    with engine_at(make_server(fail).url, outage_s=0.6) as engine:
        engine.submit(requests(1))
        health = engine.health()
        while health.ok:
            engine.submit([Request(trial, "What is 0?") for trial in health.lost])
            assert engine.poll(0.05) == []
            health = engine.health()
            assert not health.set_aside
    assert "no endpoint has answered for 0.6 s" in health.message and "HTTP 502" in health.message


# ---------------------------------------------------------------------- what cannot start
def test_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth.engines.openai_engine._CONNECT_S", 0.0)
    with pytest.raises(EngineError, match=r"no endpoint can be used: http://127\.0\.0\.1"):
        OpenAIEngine("m", SETTINGS, [unreachable()], n_slots=1)


def test_another_model(make_server: Any) -> None:
    with pytest.raises(EngineError, match="serves a, b, not m"):
        OpenAIEngine("m", SETTINGS, [make_server(models=["a", "b"]).url], n_slots=1)


def test_a_certificate_that_nobody_signed_is_refused(
    make_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synth.engines.openai_engine._CONNECT_S", 0.0)
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=127.0.0.1",
    ]
    try:
        subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1", *files], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs openssl to make a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = make_server(tls=context)
    with pytest.raises(EngineError, match=r"(?i)certificate"):
        OpenAIEngine("m", SETTINGS, [server.url], n_slots=1)
    assert not server.bodies
