"""Whole runs through the ``dart-synth`` command, at servers on loopback that answer as served models do."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from synth.cli import main
from synth.ledger import Ledger

Rows = list[dict[str, Any]]


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


def write_problems(path: Path, n_queries: int) -> Path:
    """Problems whose answers are in their text."""
    rows = [{"query": f"What is {i} + 0?", "answer": str(i), "level": 1} for i in range(n_queries)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def options(url: str, folder: Path, n_queries: int = 4) -> list[object]:
    """A small run at a server."""
    return [
        "--engine", "openai", "--endpoint", url, "--model", "m", "--prompt-template", "plain", "--dataset",
        write_problems(folder / "problems.jsonl", n_queries), "--strategy", "vanilla", "-k", 4, "--slots", 8,
        "--grade-workers", 1, "--format", "jsonl", "--output", folder / "run",
    ]  # fmt: skip


def rows(run_dir: Path, part: str = "data") -> Rows:
    text = (run_dir / "dataset" / part / "train.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def answer(body: dict[str, Any], words: str, reason: str = "stop") -> web.Response:
    """A well-formed completion that ends in the right answer."""
    return completion(body, f"{words} The answer is \\boxed{{{number_of(body)}}}.", reason)


def number_of(body: dict[str, Any]) -> int:
    """Which problem a request is about."""
    prompt = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
    return int(re.search(r"What is (\d+)", prompt).group(1))  # type: ignore[union-attr]


def completion(body: dict[str, Any], text: str | None, reason: str = "stop", **message: Any) -> web.Response:
    """A well-formed answer of either endpoint."""
    choice = {"message": {"content": text, **message}} if "messages" in body else {"text": text}
    payload = {"choices": [{**choice, "finish_reason": reason}], "usage": {"completion_tokens": 9}}
    return web.json_response(payload)


# ---------------------------------------------------------------------- what is kept
def test_a_response_cut_at_the_limit_or_inside_a_thought_is_failed_and_never_kept(
    make_server: Any, dart_synth: Any, tmp_path: Path
) -> None:
    """Of four responses one states the right answer and runs into the limit, and one ends inside its thought."""
    count = iter(range(1000))

    async def cut(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        number = next(count)
        words = f"<think>Try {number}." if number % 4 == 1 else f"Try {number}."
        return answer(body, words, "length" if number % 4 == 2 else "stop")

    assert dart_synth(*options(make_server(cut).url, tmp_path)).code == 0
    pool, kept, queries = (rows(tmp_path / "run", part) for part in ("pool", "data", "queries"))
    assert sum(row["finish_reason"] == "length" and row["correct"] for row in pool) == 4
    assert sum(row["flags"] == "unfinished_thinking" for row in pool) == 4
    assert len(kept) == 8 and {row["finish_reason"] for row in kept} == {"stop"}
    assert sum(query["n_correct"] for query in queries) == 8
    for pool_of in (tmp_path / "run", tmp_path / "run/dataset/pool/train.jsonl"):
        done = dart_synth("curate", pool_of, "-k", 9, "--output", tmp_path / "o", "--format", "jsonl",
                          "--decontaminate", "off")  # fmt: skip
        assert done.code == 0 and "8 responses" in done.out
        kept = [json.loads(line) for line in (tmp_path / "o/data/train.jsonl").read_text().splitlines()]
        assert {row["finish_reason"] for row in kept} == {"stop"}


# ---------------------------------------------------------------------- what a server of today sends
@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_thoughts_that_would_be_lost_end_the_run_in_one_line(
    make_server: Any, dart_synth: Any, tmp_path: Path, name: str
) -> None:
    async def think(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return completion(body, f"\\boxed{{{number_of(body)}}}", **{name: "Let me see."})

    done = dart_synth(*options(make_server(think).url, tmp_path), "--prompt-template", "model")
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert f"(in {name}) and they would be lost" in line and "same command" not in line
    with Ledger(tmp_path / "run", read_only=True) as ledger:
        assert ledger.n_trials() == 0


def test_null_content_is_no_empty_trial(make_server: Any, dart_synth: Any, tmp_path: Path) -> None:
    count = iter(range(1000))

    async def null(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return completion(body, None) if next(count) % 3 == 1 else completion(body, f"\\boxed{{{number_of(body)}}}")

    assert dart_synth(*options(make_server(null).url, tmp_path), "--prompt-template", "model").code == 0
    assert [row["response"] for row in rows(tmp_path / "run", "pool") if not row["response"]] == []
    assert len(rows(tmp_path / "run", "pool")) == 16


# ---------------------------------------------------------------------- refusals
def refusal(message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=400)


def test_a_stray_400_costs_no_query(make_server: Any, dart_synth: Any, tmp_path: Path) -> None:
    """Each problem is refused once for no good reason, and once for its length after it was taken."""
    count: Counter[int] = Counter()

    async def stray(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        number = number_of(body)
        count[number] += 1
        if count[number] in (1, 3):
            return refusal("bad gateway" if count[number] == 1 else "maximum context length is 4096")
        return answer(body, f"Try {count[number]}.")

    done = dart_synth(*options(make_server(stray).url, tmp_path), "--slots", 1)
    assert done.code == 0, done.err
    assert len(rows(tmp_path / "run", "pool")) == 16
    assert "set aside" not in done.out


def test_queries_set_aside_have_an_exit_code_and_the_same_command_tries_them_again(
    make_server: Any, dart_synth: Any, tmp_path: Path
) -> None:
    words = "This model's maximum context length is 64 tokens"

    async def refuse(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return refusal(words) if number_of(body) == 3 else answer(body, f"Try {id(request)}.")

    server = make_server(refuse)
    done = dart_synth(*options(server.url, tmp_path))
    assert done.code == 3
    assert done.out.count("set aside: query problems/3") == 1 and words in done.out
    assert "queries set aside: 1; give the same command again to try them again" in done.out
    assert [row["status"] for row in rows(tmp_path / "run", "queries")].count("set_aside") == 1
    words = ""
    server.handler = lambda body, request: asyncio.sleep(0, answer(body, f"Try {id(request)}."))
    assert dart_synth(*options(server.url, tmp_path)).code == 0
    assert len(rows(tmp_path / "run", "pool")) == 16


@pytest.mark.parametrize("n_queries", [4, 20])
def test_settings_that_are_refused_end_the_run(
    make_server: Any, dart_synth: Any, tmp_path: Path, n_queries: int
) -> None:
    async def refuse(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return refusal("unknown field min_p")

    done = dart_synth(*options(make_server(refuse).url, tmp_path, n_queries))
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert "HTTP 400 unknown field min_p" in line
