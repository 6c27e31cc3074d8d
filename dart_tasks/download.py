"""Benchmark data from the network: a pinned file checked against its checksum, or a pinned dataset of the hub.

Without a network both answer within seconds (libraries retry for much longer), in one line that says what to do.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dart_tasks.benchmarks import DATA_DIR_VARIABLE
from dart_tasks.files import DataError, replacing

if TYPE_CHECKING:
    from dart_tasks.benchmarks import HubSource

__all__ = ["hub_rows", "pinned_file"]

_TIMEOUT_S = 10.0


def _no_network(title: str, source: str, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:120]
    return DataError(
        f"cannot get {title} from {source} ({reason}): connect to the network, or set {DATA_DIR_VARIABLE} "
        "to a folder that holds the benchmark files"
    )


def pinned_file(url: str, sha256: str, title: str) -> Path:
    """A local copy of the file at ``url``, from the cache if it is there; its bytes must have the given SHA-256."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dart-math-suite" / sha256
    if cache.is_file() and hashlib.sha256(cache.read_bytes()).hexdigest() == sha256:
        return cache
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
            content = response.read()
    except OSError as error:
        raise _no_network(title, url, error) from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(f"{title}: the file at {url} has changed (SHA-256 {found[:12]}…, expected {sha256[:12]}…)")
    cache.parent.mkdir(parents=True, exist_ok=True)
    with replacing(cache, "wb") as file:
        file.write(content)
    return cache


def hub_rows(source: HubSource, title: str) -> Iterator[Mapping[str, Any]]:
    """The rows of a hub dataset's split at its pinned revision, from ``datasets``' cache where it is offline."""
    import datasets

    with _offline_if_unreachable():
        for config in source.configs:
            try:
                rows = datasets.load_dataset(source.repo, config, split=source.split, revision=source.revision)
            except (OSError, ValueError) as error:  # what datasets raises for "no network and not in the cache"
                raise _no_network(title, f"the hub ({source.repo})", error) from None
            for name, feature in rows.features.items():
                if isinstance(feature, datasets.Image):  # whether there is a picture matters here, not its pixels
                    rows = rows.cast_column(name, datasets.Image(decode=False))
            yield from rows


@contextlib.contextmanager
def _offline_if_unreachable() -> Iterator[None]:
    """Ask the hub once; if it does not answer, tell the libraries so: they would retry for half a minute."""
    import datasets
    import huggingface_hub

    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=_TIMEOUT_S)
        reachable = True
    except Exception:  # any failure to connect, whichever HTTP library the hub client is built on
        reachable = False
    before = huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    if not reachable:
        huggingface_hub.constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before
