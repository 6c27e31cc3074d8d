"""A run's configuration: presets, what options override, and what must match when a run is resumed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dart_tasks.files import write_atomically
from dart_tasks.problems.record import Problem
from synth.data import KNOWN_DATASETS, DatasetSpec, dataset_fingerprint
from synth.ledger import LedgerError, damaged
from synth.strategy import get_strategy

__all__ = ["PRESETS", "Manifest", "ManifestMismatchError", "RunConfig", "config_of_manifest", "resolve"]

_MANIFEST = "manifest.json"
MODEL_TEMPLATE = "model"
"""Prompt template name for the model's own chat template."""


@dataclass(frozen=True)
class RunConfig:
    """Everything a synthesis depends on. Fields marked ``runtime`` may change when a run is resumed.

    Units: ``max_new_tokens`` in tokens, ``probe``, ``max_trials`` and ``k`` in trials or responses per query;
    ``futility`` is a probability; ``grade_timeout_s`` in seconds.
    """

    strategy: str
    k: int
    max_trials: int
    probe: int
    datasets: tuple[DatasetSpec, ...]
    where: tuple[tuple[str, tuple[str, ...]], ...]
    limit: int | None
    balance_levels: bool
    model: str
    revision: str | None
    prompt_template: str
    temperature: float
    top_p: float
    top_k: int
    max_new_tokens: int
    stop: tuple[str, ...]
    ignore_eos: bool
    lenient_extraction: bool
    futility: float
    seed: int
    reproducible: bool
    trust_remote_code: bool
    engine_args: tuple[tuple[str, Any], ...] = field(metadata={"runtime": True})
    n_slots: int = field(metadata={"runtime": True})
    grade_workers: int | None = field(metadata={"runtime": True})
    grade_timeout_s: float = field(metadata={"runtime": True})
    dataset_format: Literal["parquet", "jsonl"] = field(metadata={"runtime": True})
    engine: Literal["vllm", "ray", "openai"] = field(default="vllm", metadata={"runtime": True})
    replicas: int = field(default=1, metadata={"runtime": True})
    replica_cpus: float = field(default=1.0, metadata={"runtime": True})
    replica_gpus: float | None = field(default=None, metadata={"runtime": True})
    replica_resources: tuple[tuple[str, float], ...] = field(default=(), metadata={"runtime": True})
    ray_address: str | None = field(default=None, metadata={"runtime": True})
    endpoints: tuple[str, ...] = field(default=(), metadata={"runtime": True})
    request_timeout_s: float = field(default=600.0, metadata={"runtime": True})
    api_key_env: str = field(default="OPENAI_API_KEY", metadata={"runtime": True})

    def identity(self) -> dict[str, Any]:
        """The fields that two attempts at one run must agree on, as JSON values."""
        values = json.loads(json.dumps(dataclasses.asdict(self)))
        return {f.name: values[f.name] for f in dataclasses.fields(self) if not f.metadata.get("runtime")}


def _paper() -> dict[str, Any]:
    """DART-Math's recipe (arXiv 2407.13690, section 3.1 and Appendix A)."""
    return {
        "strategy": "prop2diff",
        "probe": 32,
        "datasets": (KNOWN_DATASETS["math"], KNOWN_DATASETS["gsm8k-fix"]),
        "where": (),
        "limit": None,
        "balance_levels": False,
        "model": "deepseek-ai/deepseek-math-7b-rl",
        "revision": None,
        "prompt_template": "deepseekmath",
        "temperature": 1.6,
        "top_p": 0.95,
        "top_k": 0,
        "max_new_tokens": 2048,
        "stop": (),
        "ignore_eos": False,
        "lenient_extraction": False,
        "futility": 0.0,
        "seed": 0,
        "reproducible": False,
        "trust_remote_code": False,
        "engine_args": (),
        "n_slots": 256,
        "grade_workers": None,
        "grade_timeout_s": 5.0,
        "dataset_format": "parquet",
    }


def _demo() -> dict[str, Any]:
    """The tiny embedded model on the embedded problems: about a minute on two CPU cores."""
    from dart_tasks import embedded

    return {
        **_paper(),
        "probe": 8,
        "k": 16,
        "max_trials": 128,
        "datasets": (DatasetSpec(str(embedded.TRAIN_PROBLEMS), "embedded", benchmark="generic"),),
        "limit": 200,
        "balance_levels": True,
        "model": str(embedded.MODEL_DIR),
        "prompt_template": "alpaca",
        "temperature": 1.0,
        "top_p": 1.0,
        "max_new_tokens": 256,
        "futility": 0.01,
        "engine_args": (("enforce_eager", True), ("max_model_len", 1024), ("dtype", "float32")),
        "n_slots": 128,
    }


PRESETS = {"paper": _paper, "demo": _demo}


def resolve(preset: str, overrides: Mapping[str, Any]) -> RunConfig:
    """A preset with the options that were given; k and the cap default to the strategy's own.

    Raises:
        ValueError: an unknown strategy, or values that do not go together.
    """
    values = PRESETS[preset]()
    if "strategy" in overrides and overrides["strategy"] != values["strategy"]:
        values.pop("k", None)
    values.update(overrides)
    strategy = get_strategy(values["strategy"])
    values.setdefault("k", min(strategy.default_k, 8) if preset == "demo" else strategy.default_k)
    if strategy.fixed_trials:
        values["max_trials"] = values["k"]
    values.setdefault("max_trials", strategy.default_max_trials)
    known_fail_rates = all(spec.fail_rate_column for spec in values["datasets"])
    if not strategy.needs_difficulty or (known_fail_rates and "probe" not in overrides):
        values["probe"] = 0
    config = RunConfig(**values)
    _check_engine(config, overrides)
    for name, least in (("k", 1), ("max_trials", 1), ("max_new_tokens", 1), ("n_slots", 1)):
        if getattr(config, name) < least:
            raise ValueError(f"--{name.replace('_', '-')} must be at least {least} (got {getattr(config, name)})")
    if config.probe > config.max_trials:
        raise ValueError(f"--probe {config.probe} exceeds --max-trials {config.max_trials}")
    if strategy.needs_difficulty and config.probe < 1 and not known_fail_rates:
        raise ValueError(f"--strategy {strategy.name} needs a probe: --probe must be at least 1 (got {config.probe})")
    return config


def _check_engine(config: RunConfig, overrides: Mapping[str, Any]) -> None:
    """Options of one engine are mistakes with another."""
    owners = {
        "endpoints": "openai", "request_timeout_s": "openai", "api_key_env": "openai", "replicas": "ray",
        "replica_cpus": "ray", "replica_gpus": "ray", "replica_resources": "ray", "ray_address": "ray",
    }  # fmt: skip
    names = {"endpoints": "endpoint", "replica_resources": "replica-resource", "request_timeout_s": "request-timeout"}
    for field_name, engine in owners.items():
        if field_name in overrides and config.engine != engine:
            option = names.get(field_name, field_name.replace("_", "-"))
            raise ValueError(f"--{option} goes with --engine {engine} (got --engine {config.engine})")
    if config.engine == "openai" and not config.endpoints:
        raise ValueError("--engine openai needs --endpoint URL, as http://localhost:8000/v1")


class ManifestMismatchError(Exception):
    """The run directory belongs to another configuration."""


@dataclass(frozen=True)
class Manifest:
    """``RUN/manifest.json``: what the run is. Written before its first trial, compared at every later start."""

    identity: dict[str, Any]
    dataset_sha256: str
    grader_version: str
    n_queries: int

    @classmethod
    def read(cls, run_dir: Path) -> Manifest | None:
        """The manifest of a run; None where there is none.

        Raises:
            LedgerError: it is damaged.
        """
        path = run_dir / _MANIFEST
        if not path.is_file():
            return None
        try:
            manifest = cls(**json.loads(path.read_text(encoding="utf-8")))
            config_of_manifest(manifest)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise LedgerError(f"{path} is damaged: restore it, or start in a new --output") from error
        return manifest

    def write(self, run_dir: Path) -> None:
        """Store it in the run's directory."""
        write_atomically(run_dir / _MANIFEST, json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    def check(self, stored: Manifest, run_dir: Path) -> None:
        """Compare with the manifest that the run was started with.

        Raises:
            ManifestMismatchError: a setting differs; the message names each.
        """
        ours, theirs = (
            {**m.identity, "data set": m.dataset_sha256[:12], "grader version": m.grader_version}
            for m in (self, stored)
        )
        different = [name for name in ours if ours[name] != theirs.get(name)]
        if different:
            parts = [
                f"{name.replace('_', ' ')} {_short(theirs.get(name))} -> {_short(ours[name])}" for name in different
            ]
            raise ManifestMismatchError(
                f"{run_dir} holds a run of another configuration ({'; '.join(parts)}): "
                "repeat its options to resume it, or choose another --output"
            )

    def check_queries(self, queries: Sequence[Problem], run_dir: Path) -> None:
        """Compare with the queries in the run's ledger.

        Raises:
            LedgerError: they are not those that the run was started with.
        """
        try:
            same = dataset_fingerprint(queries) == self.dataset_sha256
        except TypeError:  # of a damaged ledger anything may come
            same = False
        if not same:
            raise LedgerError(damaged(run_dir, "its queries are not those that manifest.json tells of"))


def config_of_manifest(manifest: Manifest) -> RunConfig:
    """The configuration of an existing run; fields that may change between attempts have the paper preset's values."""
    stored = manifest.identity
    names = {f.name for f in dataclasses.fields(RunConfig)}
    values = {name: _tuples(value) for name, value in stored.items() if name in names}
    values["datasets"] = tuple(DatasetSpec(**{**d, "configs": tuple(d["configs"])}) for d in stored["datasets"])
    return RunConfig(**{**{k: v for k, v in _paper().items() if k in names}, **values})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
