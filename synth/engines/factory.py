"""The engine that a configuration names."""

from __future__ import annotations

import dataclasses
import json
from functools import partial

from synth.config import RunConfig
from synth.engines import Engine, SamplingSettings

__all__ = ["make_engine", "make_vllm_engine", "sampling_settings"]


def sampling_settings(config: RunConfig) -> SamplingSettings:
    """How the configuration samples, the template's stop strings included."""
    template = config.template()
    return SamplingSettings(
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        max_new_tokens=config.max_new_tokens,
        stop=(*(template.stop if template else ()), *config.stop),
        ignore_eos=config.ignore_eos,
        template_kwargs=json.loads(config.chat_template_kwargs or "{}"),
        min_p=config.min_p,
        presence_penalty=config.presence_penalty,
        frequency_penalty=config.frequency_penalty,
        repetition_penalty=config.repetition_penalty,
    )


def make_vllm_engine(config: RunConfig, seed: int) -> Engine:
    """In-process vLLM as the configuration describes it."""
    from synth.engines.vllm_engine import VllmEngine

    return VllmEngine(
        config.model,
        sampling_settings(config),
        n_slots=config.n_slots,
        seed=seed,
        revision=config.revision,
        trust_remote_code=config.trust_remote_code,
        adapter=config.adapter,
        engine_args=dict(config.engine_args),
    )


def make_ray_engine(config: RunConfig, seed: int) -> Engine:
    """vLLM replicas on a Ray cluster."""
    from synth.engines.ray_engine import RayEngine, Resources

    arguments = dict(config.engine_args)
    n_parallel = int(arguments.get("tensor_parallel_size", 1)) * int(arguments.get("pipeline_parallel_size", 1))
    gpus = config.replica_gpus
    if n_parallel > 1:  # its workers are processes of the actor, on the GPUs that Ray gave to it
        arguments.setdefault("distributed_executor_backend", "mp")
        gpus = n_parallel if gpus is None else gpus
    replica = dataclasses.replace(config, engine="vllm", engine_args=tuple(arguments.items()))
    return RayEngine(
        partial(make_vllm_engine, replica),
        config.replicas,
        Resources(config.replica_cpus, gpus, dict(config.replica_resources)),
        seed=seed,
        address=config.ray_address,
    )


def make_openai_engine(config: RunConfig, seed: int) -> Engine:
    """OpenAI-compatible servers."""
    from synth.engines.openai_engine import OpenAIEngine

    return OpenAIEngine(
        config.model,
        sampling_settings(config),
        config.endpoints,
        n_slots=config.n_slots,
        request_timeout_s=config.request_timeout_s,
        api_key_env=config.api_key_env,
        body=dict(config.engine_args),
        headers=config.headers,
        requests_per_minute=config.requests_per_minute,
        tokens_per_minute=config.tokens_per_minute,
    )


def make_engine(config: RunConfig, seed: int) -> Engine:
    """The engine that the configuration names."""
    makers = {"vllm": make_vllm_engine, "ray": make_ray_engine, "openai": make_openai_engine}
    return makers[config.engine](config, seed)
