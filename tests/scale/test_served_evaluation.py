"""dart-completions and dart-chat-completions: what they send, what they keep, and how a server's faults end."""

from __future__ import annotations

import json
import logging
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from lm_eval.api.instance import Instance
from lm_eval.api.model import CachingLM
from lm_eval.api.registry import get_model
from vllm_server import VllmServer

from dart_tasks.harness.models import DartChatCompletions, DartCompletions
from dart_tasks.harness.served import Beside, beside_of
from dart_tasks.harness.task import TaskError

Command = Callable[..., "subprocess.CompletedProcess[str]"]
GREEDY = {"until": ["</s>"], "do_sample": False, "temperature": 0.0, "max_gen_toks": 64}
SAMPLED = {"until": [], "do_sample": True, "temperature": 0.6, "top_p": 0.95, "max_gen_toks": 64}


def instance(prompt: Any, options: dict[str, Any]) -> Instance:
    return Instance("generate_until", {}, (prompt, options), 0)


def texts(prompts: str, options: dict[str, Any], k: int = 1) -> list[Instance]:
    return [request for prompt in prompts.split() for request in [instance(prompt, options)] * k]


def chats(model: DartChatCompletions, prompts: str, options: dict[str, Any], k: int = 1) -> list[Instance]:
    messages = [model.apply_chat_template([{"role": "user", "content": prompt}]) for prompt in prompts.split()]
    return [request for message in messages for request in [instance(message, options)] * k]


def answer(choice: dict[str, Any], **usage: Any) -> web.Response:
    return web.json_response({"choices": [choice], "usage": usage})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses, and no key of whoever runs the tests."""
    for name in ("_FIRST_PAUSE_S", "_LONGEST_PAUSE_S"):
        monkeypatch.setattr(f"dart_tasks.harness.models.{name}", 0.02)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


# ------------------------------------------------------------------ what is sent
@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/completions", "/v1/chat/completions"])
def test_any_form_of_the_address_and_the_only_model_are_found(make_server: Any, path: str) -> None:
    server = make_server(models=["tiny"])
    model = DartCompletions(base_url=server.url + path)
    assert (model.model, model.base_url) == ("tiny", f"{server.url}/v1/completions")
    assert model.generate_until(texts("7", GREEDY)) == [r"The answer is \boxed{7}."]
    assert server.bodies == [
        {"model": "tiny", "prompt": "7", "max_tokens": 64, "temperature": 0.0, "stop": ["</s>"]},
    ]


def test_a_query_goes_with_every_request_and_azure_s_key_in_its_own_header(
    make_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[web.Request] = []

    async def keep(body: dict[str, Any], request: web.Request) -> web.Response:
        asked.append(request)
        return answer({"text": body["prompt"], "finish_reason": "stop"})

    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    server = make_server(keep, models=["others"])  # Azure lists what could be deployed, not the deployments' names
    model = DartCompletions(model="m", base_url=f"{server.url}/v1/chat/completions?api-version=2024-10-21")
    assert model.generate_until(texts("7", GREEDY)) == ["7"]
    (request,) = asked
    assert request.path_qs == "/v1/completions?api-version=2024-10-21"
    assert request.headers["api-key"] == "sk-secret"


def test_sampled_requests_have_no_seed_and_messages_as_they_are(make_server: Any) -> None:
    server = make_server()
    model = DartChatCompletions(model="m", base_url=server.url, enable_thinking=False)
    assert model.generate_until(chats(model, "7 8", SAMPLED, k=2)) == [
        rf"The answer is \boxed{{{n}}}." for n in (7, 7, 8, 8)
    ]
    body = {"model": "m", "max_tokens": 64, "temperature": 0.6, "top_p": 0.95}
    body["chat_template_kwargs"] = {"enable_thinking": False}
    expected = [{**body, "messages": [{"role": "user", "content": n}]} for n in "7788"]
    assert sorted(server.bodies, key=str) == sorted(expected, key=str)


@pytest.mark.parametrize("gen_kwargs", [{}, {"seed": 5}])
def test_a_seed_is_one_for_each_sample_whatever_else_is_asked(make_server: Any, gen_kwargs: dict[str, Any]) -> None:
    def seeds(prompts: str) -> dict[str, list[int]]:
        server = make_server()
        model = DartCompletions(model="m", base_url=server.url, **({} if gen_kwargs else {"seed": 5}))
        model.generate_until(texts(prompts, SAMPLED | gen_kwargs, k=4))
        found: dict[str, list[int]] = {}
        for body in server.bodies:
            found.setdefault(body["prompt"], []).append(body["seed"])
        return {prompt: sorted(numbers) for prompt, numbers in found.items()}

    first, second = seeds("7 8"), seeds("9 8")
    assert first["8"] == second["8"]
    assert len({*first["7"], *first["8"], *second["9"]}) == 12


def test_the_key_comes_from_the_environment_and_is_shown_nowhere(
    make_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deny(body: dict[str, Any], request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": f"no such key: {request.headers['Authorization']}"}}, status=401)

    monkeypatch.setenv("MY_KEY", "sk-secret")
    server = make_server()
    model = DartCompletions(model="m", base_url=server.url, api_key_env="MY_KEY")
    model.generate_until(texts("7", GREEDY))
    assert server.headers[0]["Authorization"] == "Bearer sk-secret"
    server.handler = deny
    with pytest.raises(TaskError, match=r"HTTP 401 no such key: Bearer \*\*\* \(the key is read from MY_KEY"):
        model.generate_until(texts("7", GREEDY))
    assert len(server.bodies) == 2


# ------------------------------------------------------------------ what is kept
@pytest.mark.parametrize(
    ("message", "reason", "usage", "text", "beside"),
    [
        ({"content": "5"}, "stop", {}, "5", Beside("stop")),
        ({"content": "5", "reasoning_content": "2+3"}, "stop", {}, "5", Beside("stop", "2+3")),
        ({"content": None, "reasoning": "2+"}, "length", {"completion_tokens": 3}, "", Beside("length", "2+", 3)),
        ({"content": None}, "content_filter", {}, "", Beside("content_filter")),
        (
            {"content": "5", "reasoning": "2+3", "reasoning_content": None},
            *("stop", {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 4}}),
            *("5", Beside("stop", "2+3", 9, 4)),
        ),
        ({"content": "5"}, "stop", {"completion_tokens": 9, "reasoning_tokens": 8}, "5", Beside("stop", None, 9, 8)),
        (
            {"content": [{"type": "thinking", "thinking": [{"text": "2+3"}]}, {"type": "text", "text": "5"}]},
            *("stop", {}, "5", Beside("stop", "2+3")),
        ),
    ],
)  # fmt: skip
def test_how_a_response_ended_and_its_thought_are_kept(
    make_server: Any, message: dict[str, Any], reason: str, usage: dict[str, Any], text: str, beside: Beside
) -> None:
    async def respond(body: dict[str, Any], request: web.Request) -> web.Response:
        return answer({"message": message, "finish_reason": reason}, **usage)

    model = DartChatCompletions(model="m", base_url=make_server(respond).url)
    (found,) = model.generate_until(chats(model, "7", SAMPLED))
    assert (found, beside_of(found)) == (text, beside)


def test_the_cache_keeps_samples_apart_and_what_came_beside_them(make_server: Any, tmp_path: Path) -> None:
    """A run that a refusal ends goes on where it was; greedy requests are lm-eval's own to keep."""
    n = 0

    async def count(body: dict[str, Any], request: web.Request) -> web.Response:
        nonlocal n
        n += 1
        if n == 6:
            return web.json_response({"error": "no more"}, status=400)
        return answer({"text": str(n), "finish_reason": "length"}, completion_tokens=64)

    server = make_server(count)

    def run(options: dict[str, Any], k: int = 4) -> list[str]:
        model = CachingLM(DartCompletions(model="m", base_url=server.url, num_concurrent=1), str(tmp_path / "cache.db"))
        try:
            return list(model.generate_until(texts("7 8", options, k)))
        finally:
            model.dbdict.close()

    with pytest.raises(
        TaskError, match=r"HTTP 400 no more \(5 of 8 responses were there: they are kept in the cache\)"
    ):
        run(SAMPLED)
    assert run(SAMPLED) == ["1", "2", "3", "4", "5", "7", "8", "9"]
    again = run(SAMPLED)
    assert n == 9
    assert [beside_of(text) for text in again] == [Beside("length", None, 64)] * 8
    first, second = run(GREEDY, 1), run(GREEDY, 1)
    assert first == second and [beside_of(text) for text in second] == [Beside("length", None, 64)] * 2


# ------------------------------------------------------------------ faults
def test_requests_are_in_flight_together_and_failures_are_told_with_their_reason(
    make_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    import asyncio

    n = 0

    async def fail_at_times(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        nonlocal n
        n += 1
        number = n
        await asyncio.sleep(0.05)
        if number % 4 == 1:
            return web.json_response({"message": "out of breath"}, status=503)
        if number % 4 == 2:
            return web.json_response({"error": "slow down"}, status=429, headers={"Retry-After": "0"})
        if number % 8 == 3:
            return web.json_response({"choices": []})
        if number % 8 == 7 and request.transport is not None:
            request.transport.close()
        return answer({"text": body["prompt"], "finish_reason": "stop"})

    server = make_server(fail_at_times)
    model = DartCompletions(model="m", base_url=server.url, num_concurrent=8, max_retries=30)
    prompts = " ".join(map(str, range(24)))
    with caplog.at_level(logging.WARNING):
        assert model.generate_until(texts(prompts, SAMPLED)) == prompts.split()
    assert server.most_open == 8
    for reason in ("HTTP 503 out of breath", "HTTP 429 slow down", "not a completion", "trying again"):
        assert reason in caplog.text


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (400, {"message": "bad grammar", "param": "temperature"}, "HTTP 400 bad grammar"),
        (404, {"message": "The model `m` does not exist."}, "HTTP 404 The model `m` does not exist."),
        (422, "unknown field", "HTTP 422 unknown field"),
        (429, {"message": "no credit", "code": "insufficient_quota"}, "no credit (insufficient_quota)"),
        (403, "no", "HTTP 403 no (the key is read from OPENAI_API_KEY, which is not set; see api_key_env)"),
        (302, "", "HTTP 302"),
    ],
)  # fmt: skip
def test_what_will_never_succeed_is_told_at_once(make_server: Any, status: int, error: Any, told: str) -> None:
    async def refuse(body: dict[str, Any], request: web.Request) -> web.Response:
        return web.json_response({"error": error}, status=status)

    server = make_server(refuse)
    model = DartChatCompletions(model="m", base_url=server.url, num_concurrent=4)
    with pytest.raises(TaskError) as raised:
        model.generate_until(chats(model, "7 8 9 10 11 12", SAMPLED))
    assert told in str(raised.value) and "\n" not in str(raised.value)
    assert str(raised.value.code).startswith("lm_eval: dart-chat-completions: ")
    assert len(server.bodies) <= 4


def test_a_server_that_stays_away_is_one_line(make_server: Any) -> None:
    server = make_server()
    server.stop()
    with pytest.raises(TaskError, match=r"127.0.0.1.*[Cc]onnect"):
        DartCompletions(model="m", base_url=server.url, max_retries=2)


def test_another_model_than_the_server_has_is_named(make_server: Any) -> None:
    with pytest.raises(TaskError, match="serves tiny, small, not large"):
        DartCompletions(model="large", base_url=make_server(models=["tiny", "small"]).url)
    with pytest.raises(TaskError, match=r"add model=NAME to --model_args \(the server has: tiny, small\)"):
        DartCompletions(base_url=make_server(models=["tiny", "small"]).url)


@pytest.mark.parametrize("url", [None, "localhost:8000", "ftp://x"])
def test_an_address_is_asked_for(url: str | None) -> None:
    with pytest.raises(TaskError, match="add base_url=http://HOST:PORT/v1"):
        DartChatCompletions(model="m", base_url=url)


def test_what_a_model_does_not_take_is_renamed_or_left_out_and_said(
    make_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As OpenAI's reasoning models answer."""

    async def choosy(body: dict[str, Any], request: web.Request) -> web.Response:
        error: dict[str, Any] = {}
        if "max_tokens" in body:
            error = {"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                                "'max_completion_tokens' instead.", "param": "max_tokens"}  # fmt: skip
        elif "temperature" in body:
            error = {"message": "Unsupported value: 'temperature' does not support 0.6 with this model."}
        elif "stop" in body:
            error = {"message": "Unsupported parameter: 'stop'", "param": "stop"}
        if error:
            return web.json_response({"error": error}, status=400)
        assert body["max_completion_tokens"] == 64
        return answer({"message": {"content": "5"}, "finish_reason": "stop"})

    server = make_server(choosy)
    model = DartChatCompletions(model="m", base_url=server.url, num_concurrent=3)
    with caplog.at_level(logging.WARNING):
        assert model.generate_until(chats(model, "7 8 9 10 11 12", SAMPLED | {"until": ["\n\n"]})) == ["5"] * 6
    assert caplog.text.count("temperature=0.6 is left out") == 1
    assert caplog.text.count("stop=['\\n\\n'] is left out") == 1
    assert model.get_model_info() == {"served_model": "m", "left_out_of_requests": ["stop", "temperature"]}


def test_a_misspelt_argument_is_named(make_server: Any) -> None:
    with pytest.raises(TaskError, match="leave think_end_token out"):
        DartChatCompletions(think_end_token="</think>", base_url="http://127.0.0.1:1/v1")
    with pytest.raises(TaskError, match="unknown in --model_args: num_concurent"):
        DartCompletions(model="m", base_url=make_server().url, num_concurent=4, batch_size=1, device="cpu")


def test_a_server_that_does_not_answer_is_one_line(make_server: Any) -> None:
    async def sleep(body: dict[str, Any], request: web.Request) -> web.Response:
        import asyncio

        await asyncio.sleep(60)
        return web.Response()

    model = DartCompletions(model="m", base_url=make_server(sleep).url, timeout=0.2, max_retries=2)
    with pytest.raises(TaskError, match=r"no answer in 0\.2 s"):
        model.generate_until(texts("7", SAMPLED))


def test_what_a_model_refuses_also_without_it_ends_the_run(make_server: Any) -> None:
    async def refuse(body: dict[str, Any], request: web.Request) -> web.Response:
        return web.json_response({"error": "unsupported: temperature"}, status=400)

    server = make_server(refuse)
    with pytest.raises(TaskError, match="HTTP 400 unsupported: temperature"):
        DartCompletions(model="m", base_url=server.url).generate_until(texts("7", SAMPLED))
    assert len(server.bodies) == 2


@pytest.mark.parametrize("chat", [True, False])
def test_a_thought_s_tokens_that_do_not_fit_are_what_the_context_leaves(
    make_server: Any, caplog: pytest.LogCaptureFixture, chat: bool
) -> None:
    async def refuse(body: dict[str, Any], request: web.Request) -> web.Response:
        if "max_tokens" in body:
            message = f"'max_tokens' is too large: {body['max_tokens']}. The context length is 4096."
            return web.json_response({"error": {"message": message, "param": "max_tokens"}}, status=400)
        return answer({"message": {"content": "5"}, "finish_reason": "stop"})

    server = make_server(refuse)
    options = SAMPLED | {"max_gen_toks": 32_768}
    if chat:
        model: DartCompletions = DartChatCompletions(model="m", base_url=server.url)
        with caplog.at_level(logging.WARNING):
            assert (
                model.generate_until(chats(DartChatCompletions(model="m", base_url=server.url), "7 8", options))
                == ["5"] * 2
            )
        assert caplog.text.count("32,768 new tokens do not fit") == 1
        options["max_gen_toks"] = 5000  # asked for: not to be changed
        with pytest.raises(TaskError, match="too large: 5000"):
            DartChatCompletions(model="m", base_url=server.url).generate_until(
                chats(DartChatCompletions(model="m", base_url=server.url), "7", options)
            )
    else:
        with pytest.raises(TaskError, match="too large: 32768"):
            DartCompletions(model="m", base_url=server.url).generate_until(texts("7", options))


@pytest.mark.parametrize("kind", [DartCompletions, DartChatCompletions])
def test_a_context_that_the_server_tells_is_what_thoughts_get(
    make_server: Any, caplog: pytest.LogCaptureFixture, kind: type[DartCompletions]
) -> None:
    server = make_server(models=["m"], max_model_len=4096)
    model = kind(base_url=server.url)
    options = SAMPLED | {"max_gen_toks": 32_768}
    ask = chats(model, "7 8", options) if isinstance(model, DartChatCompletions) else texts("7 8", options)
    with caplog.at_level(logging.WARNING):
        model.generate_until(ask)
    assert {body.get("max_tokens") for body in server.bodies} == ({4095} if kind is DartCompletions else {None})
    assert caplog.text.count("more than the server's context of 4,096") == 1


def test_prompts_and_messages_are_not_mixed_up(make_server: Any) -> None:
    url = make_server().url
    with pytest.raises(TaskError, match="use --model dart-chat-completions"):
        DartCompletions(model="m", base_url=url).apply_chat_template([])
    with pytest.raises(TaskError, match="add --apply_chat_template"):
        DartChatCompletions(model="m", base_url=url).generate_until(texts("7", GREEDY))


# ------------------------------------------------------------------ the command
@pytest.mark.slow
def test_the_command_samples_grades_and_logs(make_server: Any, lm_eval_command: Command, tmp_path: Path) -> None:
    n = 0

    async def think(body: dict[str, Any], request: web.Request) -> web.Response:
        nonlocal n
        n += 1
        if n % 4 == 0:  # a thought that was cut off, with the box that it was about to dismiss
            return answer({"message": {"content": None, "reasoning": r"\boxed{1}?"}, "finish_reason": "length"},
                          completion_tokens=8)  # fmt: skip
        return answer({"message": {"content": rf"\boxed{{{n}}}", "reasoning": "h m"}, "finish_reason": "stop"},
                      completion_tokens=10, completion_tokens_details={"reasoning_tokens": 6})  # fmt: skip

    metadata = {"data_dir": "mini", "verify": False, "k": 4, "protocol": "reasoning"}
    result = lm_eval_command(
        *("--model", "dart-chat-completions", "--model_args", f"model=m,base_url={make_server(think).url}"),
        *(
            "--tasks",
            "dart_math_gsm8k_chat",
            "--apply_chat_template",
            "--metadata",
            json.dumps(metadata),
            "--limit",
            "3",
        ),
        *("--log_samples", "--output_path", tmp_path),
    )
    assert result.returncode == 0, result.stderr
    scores = json.loads(next(tmp_path.glob("*/results_*.json")).read_text())["results"]["dart_math_gsm8k_chat"]
    assert scores["truncated,graded"] == scores["unfinished_thinking,graded"] == 0.25
    assert "likely_truncated,graded" not in scores
    assert (scores["thought_tokens,graded"], scores["answer_tokens,graded"]) == ((6 * 3 + 8) / 4, 3.0)
    assert "pass@4,graded" in scores
    rows = [json.loads(line) for line in next(tmp_path.glob("*/samples_*.jsonl")).read_text().splitlines()]
    for row in rows:
        graded = json.loads(row["filtered_resps"][0])
        assert len(graded["finish_reasons"]) == len(graded["thoughts"]) == len(row["resps"][0]) == 4
        assert {(bool(text), thought, reason) for text, thought, reason in
                zip(row["resps"][0], graded["thoughts"], graded["finish_reasons"], strict=True)} <= {
            (True, "h m", "stop"), (False, r"\boxed{1}?", "length")}  # fmt: skip


def test_without_an_address_the_command_says_so_in_one_line(lm_eval_command: Command) -> None:
    result = lm_eval_command("--model", "dart-completions", "--tasks", "dart_math_mini_gsm8k")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("lm_eval: dart-completions: add base_url=http://HOST:PORT/v1")
    assert "Traceback" not in result.stderr
    assert get_model("dart-completions") is DartCompletions


# ------------------------------------------------------------------ a real server
@pytest.mark.slow
def test_what_a_vllm_server_said_is_what_is_logged(
    make_server: Any, thinking_model: Path, lm_eval_command: Command, tmp_path: Path
) -> None:
    """k = 4 of a model whose template opens the thought, through a proxy that notes every answer."""
    answers: list[dict[str, Any]] = []

    async def pass_on(body: dict[str, Any], request: web.Request) -> web.Response:
        async with (
            aiohttp.ClientSession() as session,
            session.post(server.url + request.path, json=body) as answered,
        ):
            answers.append(await answered.json())
            return web.json_response(answers[-1], status=answered.status)

    def run(name: str, model_args: str, *options: str) -> tuple[list[tuple[Any, ...]], dict[str, Any]]:
        """(response, thought, finish reason) of each sample as logged, in order, and the scores."""
        metadata = {"template": "chat", "k": 4, "protocol": "reasoning", "temperature": 1.0}
        result = lm_eval_command(
            *("--model", "dart-chat-completions", "--model_args", f"base_url={proxy.url},model=thinker{model_args}"),
            *("--tasks", "dart_math_demo", "--apply_chat_template", "--metadata", json.dumps(metadata), "--limit", "8"),
            *("--log_samples", "--output_path", tmp_path / name, *options),
        )
        assert result.returncode == 0, result.stderr
        rows = next((tmp_path / name).glob("*/samples_*.jsonl")).read_text().splitlines()
        logged = []
        for row in map(json.loads, rows):
            graded = json.loads(row["filtered_resps"][0])
            thoughts = graded.get("thoughts") or [None] * 4
            logged += zip(row["resps"][0], thoughts, graded["finish_reasons"], strict=True)
        scores = json.loads(next((tmp_path / name).glob("*/results_*.json")).read_text())["results"]["dart_math_demo"]
        return logged, scores

    def said() -> list[tuple[Any, ...]]:
        """The same of each of the server's answers since the last time."""
        choices = [payload["choices"][0] for payload in answers]
        answers.clear()
        return [(c["message"]["content"] or "", c["message"]["reasoning"], c["finish_reason"]) for c in choices]

    options = ("--reasoning-parser", "deepseek_r1", "--served-model-name", "thinker", "--enable-log-requests")
    with VllmServer(
        *(thinking_model, tmp_path / "log", *options, "--enable-log-outputs"), VLLM_LOGGING_LEVEL="INFO"
    ) as server:
        server.wait()
        proxy = make_server(pass_on, models=["thinker"], max_model_len=1024)
        logged, _ = run("sampled", "")
        assert len(logged) == 32 and sorted(logged, key=str) == sorted(said(), key=str)
        assert any(thought for _, thought, _ in logged) and any(response for response, _, _ in logged)
        assert re.findall(r"Received request chatcmpl.* seed=(\w+)", server.log) == ["None"] * 32
        assert any(len(set(logged[start : start + 4])) > 1 for start in range(0, 32, 4))  # a sure item has one

        first, scores = run("seeded", ",seed=7", "--gen_kwargs", "max_gen_toks=24")
        n_tokens = [payload["usage"]["completion_tokens"] for payload in answers]
        assert sorted(first, key=str) == sorted(said(), key=str)
        assert len(set(re.findall(r"Received request chatcmpl.* seed=(\d+)", server.log))) == 32
        again, _ = run("again", ",seed=7", "--gen_kwargs", "max_gen_toks=24")
        assert again == first
        generated = Counter(re.findall(r"Generated response chatcmpl.*finish_reason: (\w+)", server.log))
    ends = Counter(reason for _, _, reason in first)
    assert ends["length"] > 0 and ends["stop"] > 0
    assert scores["truncated,graded"] == ends["length"] / 32
    assert scores["unfinished_thinking,graded"] == sum(not text.strip() for text, thought, _ in first if thought) / 32
    assert scores["thought_tokens,graded"] + scores["answer_tokens,graded"] == pytest.approx(sum(n_tokens) / 32)
    # vLLM logs no response that is all thought.
    assert generated == Counter(reason for text, _, reason in [*logged, *first, *again] if text)
