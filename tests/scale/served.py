"""Helpers of the tests that run the whole ``dart-synth`` command at a server on loopback."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from aiohttp import web

Rows = list[dict[str, Any]]


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
    details = {"reasoning_tokens": 7} if message else None
    usage = {"prompt_tokens": 7, "completion_tokens": 9, "completion_tokens_details": details}
    payload = {"choices": [{**choice, "finish_reason": reason}], "usage": usage}
    return web.json_response(payload)
