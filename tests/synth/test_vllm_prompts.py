"""What the vLLM engine does with prompts: those that do not fit, without vLLM itself; seeded ones, with it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dart_tasks.embedded import MODEL_DIR
from dart_tasks.prompts import get_template
from synth.engines import EngineError, SamplingSettings
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
    made._max_model_len, made._template_kwargs = 10, {}
    made._prompts, made._names, made._refused, made._set_aside, made.steps = {}, {}, set(), {}, 0
    made._params = SimpleNamespace(clone=SimpleNamespace)
    made._engine = SimpleNamespace(add_request=lambda name, prompt, params, lora_request: name, step=lambda: [])
    made._lora = None
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


@pytest.mark.parametrize(
    ("ended", "recorded"), [("stop", "stop"), ("length", "length"), ("repetition", "length"), ("error", "length")]
)
def test_what_did_not_come_to_its_end_is_not_recorded_as_if_it_had(engine: Any, ended: str, recorded: str) -> None:
    best = SimpleNamespace(text="\\boxed{5}, \\boxed{5},", token_ids=[1, 2], finish_reason=ended)
    output = SimpleNamespace(finished=True, request_id="0-0", outputs=[best], prompt_token_ids=[1])
    engine._thought_opened, engine._engine.step = False, lambda: [output]
    engine.submit([request(0, 0, "short")])
    (completion,) = engine.poll(0.0)
    assert completion.finish_reason == recorded


def test_a_template_that_holds_bos_does_not_give_two(engine: Any) -> None:
    """The tokenizer adds one, and turns the template's own into another."""

    class Adds:
        bos_token_id = 1

        def __call__(self, text: str) -> dict[str, list[int]]:
            return {"input_ids": [1, *(1 if char == "^" else 5 for char in text)]}

    engine._tokenizer = Adds()
    assert engine._prompt_ids(request(0, 0, "^ab")) == engine._prompt_ids(request(1, 0, "ab")) == [1, 5, 5]


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


@pytest.mark.slow
def test_seeded_requests_beyond_one_prefill_batch_finish() -> None:
    """vLLM's CPU engine died of the first seeded prompt that it prefilled in parts."""
    settings = SamplingSettings(temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=4, stop=(), ignore_eos=False)
    engine = VllmEngine(str(MODEL_DIR), settings, n_slots=64, seed=0, engine_args={"enforce_eager": True})
    prompt = get_template("alpaca").render("Tom has 3 apples. " * 30)
    engine.submit([Request(TrialId(query, 0), prompt, seed=query) for query in range(64)])
    finished: list[int] = []
    while len(finished) < 64:
        finished += [completion.id.query for completion in engine.poll(0.01)]
    assert sorted(finished) == list(range(64))
