"""Prompts that do not fit the model, without vLLM itself: what the engine does before a request reaches it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from synth.engines import EngineError
from synth.engines.replica import Replica
from synth.engines.vllm_engine import VllmEngine
from synth.records import Request
from synth.scheduler import TrialId


class _Tokenizer:
    chat_template = None

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [0] * len(text)}


@pytest.fixture
def engine() -> Any:
    """An engine whose model takes 10 tokens and finishes nothing."""
    made: Any = object.__new__(VllmEngine)
    made._tokenizer = _Tokenizer()
    made._max_model_len = 10
    made._prompts, made._names, made._refused, made._set_aside, made.steps = {}, {}, set(), {}, 0
    made._params = SimpleNamespace(clone=SimpleNamespace)
    made._engine = SimpleNamespace(add_request=lambda name, prompt, params: name, step=lambda: [])
    made._description, made._slots = "fake", 4
    return made


def request(query: int, trial: int, prompt: str, chat: bool = False) -> Request:
    return Request(TrialId(query, trial), prompt, chat, None)


def test_a_query_too_long_for_the_model_is_set_aside_and_the_others_run(engine: Any) -> None:
    engine.submit([request(0, 0, "x" * 50), request(0, 1, "x" * 50), request(1, 0, "short")])
    health = engine.health()
    assert health.ok
    assert [query for query, _ in health.set_aside] == [0]
    assert "50 tokens" in health.set_aside[0].reason
    assert list(engine._names) == [TrialId(1, 0)]
    assert engine.health().set_aside == ()


def test_where_no_prompt_fits_the_engine_gives_up(engine: Any) -> None:
    engine.submit([request(query, 0, "x" * 50) for query in range(8)])
    health = engine.health()
    assert not health.ok
    assert "the model takes 10" in health.message


def test_a_missing_chat_template_is_fatal(engine: Any) -> None:
    with pytest.raises(EngineError, match="chat template"):
        engine.submit([request(0, 0, "short", chat=True)])


def test_a_replica_reports_what_its_engine_sets_aside(engine: Any) -> None:
    replica = Replica(0, lambda: engine)
    report = replica.work([request(0, 0, "x" * 50)], [], budget_s=5.0)  # and does not wait for it
    assert [query for query, _ in report.refused] == [0]
    assert engine.steps == 0
