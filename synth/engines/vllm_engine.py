"""vLLM in this process, requests added as slots free up.

``LLMEngine.step`` runs the whole batch one token further; between steps finished requests are replaced, so that no slot
waits for a round to end. Requests carry no seed unless the run is reproducible: a constant one makes the samples of a
query identical; the engine's own seed differs for every attempt at a run.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from dart_tasks.console import first_line
from synth.engines import EngineError, Health, SamplingSettings, SetAside
from synth.prompting import prompt_ids
from synth.records import Completion, Request
from synth.scheduler import TrialId

__all__ = ["VllmEngine"]

_REFUSALS_AT_START = 8  # prompts too long while none fits: then it is the model's length that is wrong


class _TooLongError(Exception):
    """A prompt that leaves the model no room for an answer."""


class VllmEngine:
    """The in-process engine.

    Args:
        model: local folder or hub name.
        settings: how to sample.
        n_slots: trials that run at once (vLLM's ``max_num_seqs``).
        seed: the engine's seed.
        adapter: folder of a LoRA adapter.
        engine_args: further vLLM ``EngineArgs`` by name.

    Raises:
        EngineError: vLLM is missing, an argument is unknown, or the model cannot be loaded.
    """

    def __init__(
        self,
        model: str,
        settings: SamplingSettings,
        *,
        n_slots: int,
        seed: int,
        revision: str | None = None,
        trust_remote_code: bool = False,
        adapter: str | None = None,
        engine_args: Mapping[str, Any] | None = None,
    ) -> None:
        _prepare_environment()
        try:
            import torch
            import vllm
            from vllm.engine.arg_utils import EngineArgs
            from vllm.lora.request import LoRARequest
            from vllm.v1.engine.llm_engine import LLMEngine
        except ImportError as error:
            raise EngineError(
                f"vLLM cannot be imported ({error}): install dart-math-suite[vllm] (GPU) or dart-math-suite[cpu]"
            ) from error
        # vLLM's CPU engine dies of a seeded request whose prompt is prefilled in parts ("does not use offset").
        defaults: dict[str, Any] = {} if torch.cuda.is_available() else {"enable_chunked_prefill": False}
        defaults |= {"max_num_seqs": n_slots, "disable_log_stats": True}
        if adapter:
            defaults |= {"enable_lora": True, "max_lora_rank": _rank_to_serve(adapter)}
        arguments = defaults | dict(engine_args or {})
        try:
            parsed = EngineArgs(
                model=model, revision=revision, seed=seed, trust_remote_code=trust_remote_code, **arguments
            )
        except TypeError as error:
            raise EngineError(f"--engine-arg: {str(error).split('() ')[-1]} (vLLM's EngineArgs names them)") from error
        try:
            self._engine = LLMEngine.from_engine_args(parsed)
            self._lora = LoRARequest("adapter", 1, adapter) if adapter else None
            if self._lora is not None:
                self._engine.add_lora(self._lora)
        except Exception as error:  # vLLM raises whatever its parts raise
            what = f"{model} with {adapter}" if adapter else model
            raise EngineError(f"vLLM cannot load {what}: {first_line(error)}") from error
        self._tokenizer = self._engine.renderer.tokenizer
        self._max_model_len = int(self._engine.model_config.max_model_len)
        self._slots = int(self._engine.vllm_config.scheduler_config.max_num_seqs)
        self._description = f"vllm {getattr(vllm, '__version__', '?')} {model}"
        self._prompts: dict[tuple[int, bool], list[int]] = {}
        self._names: dict[TrialId, str] = {}  # vLLM's own request names, needed to abort
        self._thought_opened = False  # by the chat template, at the end of the prompt
        self._refused: set[int] = set()
        self._set_aside: dict[int, str] = {}  # not reported yet
        self.steps = 0
        self.use(settings)

    def use(self, settings: SamplingSettings) -> None:
        """Sample differently from now on."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self._template_kwargs = settings.template_kwargs
        self._params = SamplingParams(
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=settings.top_k,
            min_p=settings.min_p,
            presence_penalty=settings.presence_penalty,
            frequency_penalty=settings.frequency_penalty,
            repetition_penalty=settings.repetition_penalty,
            max_tokens=settings.max_new_tokens,
            stop=list(settings.stop),
            ignore_eos=settings.ignore_eos,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    @property
    def description(self) -> str:
        return self._description

    @property
    def capacity(self) -> int:
        return self._slots

    def submit(self, requests: Sequence[Request]) -> None:
        for request in requests:
            try:
                prompt = {"prompt_token_ids": self._prompt_ids(request)}
            except _TooLongError as error:
                self._refused.add(request.id.query)
                self._set_aside[request.id.query] = str(error)
                continue
            params = self._params.clone()
            params.seed = request.seed
            name = f"{request.id.query}-{request.id.trial}"
            self._names[request.id] = self._engine.add_request(name, prompt, params, lora_request=self._lora)

    def poll(self, timeout_s: float) -> list[Completion]:
        if not self._names:
            time.sleep(min(timeout_s, 0.01))
            return []
        self.steps += 1
        completions = []
        for output in self._engine.step():
            if not output.finished:
                continue
            query, trial = output.request_id.split("-")[:2]
            identity = TrialId(int(query), int(trial))
            if self._names.pop(identity, None) is None:
                continue  # aborted meanwhile
            best = output.outputs[0]
            reason = "stop" if best.finish_reason == "stop" else "length"  # repetition, error: cut before its end, too
            text = "<think>" + best.text if self._thought_opened else best.text
            n_prompt_tokens = len(output.prompt_token_ids)
            completions.append(Completion(identity, text, len(best.token_ids), reason, n_prompt_tokens=n_prompt_tokens))
        return completions

    def abort(self, trials: Iterable[TrialId]) -> None:
        names = [name for trial in trials if (name := self._names.pop(trial, None)) is not None]
        if names:
            self._engine.abort_request(names, internal=True)

    def health(self) -> Health:
        set_aside = tuple(SetAside(query, reason) for query, reason in self._set_aside.items())
        self._set_aside.clear()
        if len(self._refused) >= _REFUSALS_AT_START and not self._prompts:
            return Health(
                False, 1, set_aside=set_aside, message=set_aside[-1].reason if set_aside else "no prompt fits"
            )
        return Health(ok=True, n_replicas=1, set_aside=set_aside)

    def close(self) -> None:
        self.abort(list(self._names))
        core = getattr(self._engine, "engine_core", None)
        if core is not None:
            core.shutdown()

    def _prompt_ids(self, request: Request) -> list[int]:
        key = (request.id.query, request.chat)
        if key not in self._prompts:
            try:
                ids, self._thought_opened = prompt_ids(self._tokenizer, request, self._template_kwargs)
            except ValueError as error:
                raise EngineError(str(error)) from error
            if len(ids) >= self._max_model_len:
                raise _TooLongError(
                    f"the prompt of query {request.id.query} has {len(ids)} tokens, "
                    f"the model takes {self._max_model_len}"
                )
            self._prompts[key] = ids
        return self._prompts[key]


def _rank_to_serve(adapter: str) -> int:
    """The least rank that vLLM can be set up for and that holds the adapter's."""
    from vllm.config.lora import MaxLoRARanks

    try:
        config = json.loads((Path(adapter) / "adapter_config.json").read_text(encoding="utf-8"))
        rank = max(int(config["r"]), *(int(value) for value in (config.get("rank_pattern") or {}).values()), 1)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"--adapter {adapter}: cannot read adapter_config.json ({first_line(error)})") from error
    return min((served for served in get_args(MaxLoRARanks) if served >= rank), default=rank)


def _prepare_environment() -> None:
    """Settings that vLLM reads from the environment at import; what the user has set stays."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch

    if torch.cuda.is_available():
        return
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    # vLLM would pin a spinning thread to every core, and the graders' processes would wait for them: leave one core.
    if "VLLM_CPU_OMP_THREADS_BIND" not in os.environ and "OMP_NUM_THREADS" not in os.environ:
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) - 1))
