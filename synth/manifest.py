"""``RUN/manifest.json``: what a run is. Written before its first trial, compared at every later start."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dart_tasks.files import write_atomically
from dart_tasks.problems.record import Problem
from synth.config import RunConfig, settings
from synth.data import DatasetSpec, dataset_fingerprint
from synth.ledger import LedgerError, damaged

__all__ = ["Manifest", "ManifestMismatchError", "adapter_fingerprint", "config_of_manifest", "manifest_lost"]

_MANIFEST = "manifest.json"


class ManifestMismatchError(Exception):
    """The run directory belongs to another configuration."""


def manifest_lost(what: str, run_dir: Path) -> str:
    """The line that says so, and what helps."""
    return (
        f"{what}: restore it, or start in a new --output; `dart-synth repair {run_dir}`, followed by the run's own "
        "options, makes it anew"
    )


def adapter_fingerprint(folder: str | None) -> str | None:
    """A LoRA adapter by what is in it, wherever it lies."""
    if folder is None:
        return None
    digest = hashlib.sha256()
    for name in ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"):
        if (path := Path(folder) / name).is_file():
            digest.update(path.read_bytes())
    return f"sha256 {digest.hexdigest()[:16]}"


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
            raise LedgerError(manifest_lost(f"{path} is damaged", run_dir)) from error
        return manifest

    def write(self, run_dir: Path) -> None:
        """Store it in the run's directory."""
        write_atomically(run_dir / _MANIFEST, json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    def check(self, stored: Manifest, run_dir: Path) -> None:
        """Compare with the manifest that the run was started with.

        Raises:
            ManifestMismatchError: a setting differs; the message names each.
        """
        defaults = RunConfig().identity()  # of settings that the version which started it did not have
        ours, theirs = (
            {
                **defaults,
                **m.identity,
                "model": _one_spelling(m.identity["model"]),
                "data set": m.dataset_sha256[:12],
                "grader version": m.grader_version,
            }
            for m in (self, stored)
        )
        if self.dataset_sha256 == stored.dataset_sha256:  # the same queries, wherever they were read from
            ours["datasets"] = theirs["datasets"]
        different = [name for name in ours if ours[name] != theirs.get(name)]
        if different:
            parts = [
                f"{name.replace('_', ' ')} {_short(theirs.get(name))} -> {_short(ours[name])}" for name in different
            ]
            if different == ["grader version"]:
                raise ManifestMismatchError(
                    f"{run_dir} was graded by version {stored.grader_version}, this is {self.grader_version}: "
                    f"`dart-synth regrade {run_dir}` shows what changes, and with --apply lets the run go on"
                )
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
    """The configuration of an existing run; settings that may change between attempts have their default values."""
    values = {name: _tuples(value) for name, value in manifest.identity.items() if name in settings()}
    sources = (DatasetSpec(**{**d, "configs": tuple(d["configs"])}) for d in manifest.identity["datasets"])
    return RunConfig(**{**values, "datasets": tuple(sources)})


def _one_spelling(model: str) -> str:
    """A model folder by one path, however it was written."""
    return str(Path(model).resolve()) if Path(model).is_dir() else model


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
