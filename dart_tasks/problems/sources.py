"""Rows from where they are published: a file with a known checksum, a dataset of the hub, a local file or folder.

Without a network the first two answer within seconds (libraries retry for much longer), in one line that says what to
do.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import logging
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dart_tasks.files import DataError, read_rows, replacing
from dart_tasks.problems.record import FileSource, HubSource

__all__ = ["hub_rows", "local_rows", "pinned_file"]

_log = logging.getLogger(__name__)
_TIMEOUT_S = 10.0
_MISSING = frozenset(("", "#N/A", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"))  # as in pandas


def _no_network(title: str, place: str, error: Exception, otherwise: str) -> DataError:
    return DataError(f"cannot get {title} from {place} ({_reason(error)}): connect to the network, or {otherwise}")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def pinned_file(source: FileSource, title: str, otherwise: str) -> Path:
    """A local copy of the file, from the cache if it is there; its bytes must have the pinned SHA-256.

    Args:
        title: what it is called in an error.
        otherwise: what else than connecting to the network helps, for an error.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dart-math-suite" / source.sha256
    if cache.is_file() and hashlib.sha256(cache.read_bytes()).hexdigest() == source.sha256:
        return cache
    import urllib.request  # only here: the grader reads the benchmarks' policies, and is to be imported quickly

    try:
        with urllib.request.urlopen(source.url, timeout=_TIMEOUT_S) as response:
            content = response.read()
    except OSError as error:
        raise _no_network(title, source.url, error, otherwise) from None
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256:
        raise DataError(
            f"{title}: the file at {source.url} has changed (SHA-256 {found[:12]}…, expected {source.sha256[:12]}…)"
        )
    cache.parent.mkdir(parents=True, exist_ok=True)
    with replacing(cache, "wb") as file:
        file.write(content)
    return cache


def hub_rows(source: HubSource, title: str, otherwise: str) -> list[dict[str, Any]]:
    """The rows of a hub dataset's split, from ``datasets``' cache where it is offline; arguments as above."""
    import datasets

    rows: list[dict[str, Any]] = []
    with _offline_if_unreachable():
        revision = source.revision or _newest(source.repo)
        for config in source.configs:
            try:
                part = datasets.load_dataset(source.repo, config, split=source.split, revision=revision)
            except (OSError, ValueError) as error:  # what datasets raises for "no network and not in the cache"
                raise _no_network(title, f"the hub ({source.repo})", error, otherwise) from None
            if revision is None:
                _log.warning(
                    "%s is pinned to no commit: this run reads %s from the cache", source.repo, _cached_commit(part)
                )
            for name, feature in part.features.items():
                if isinstance(feature, datasets.Image):  # whether there is a picture matters here, not its pixels
                    part = part.cast_column(name, datasets.Image(decode=False))
            rows.extend(part)
    return rows


def _newest(repo: str) -> str | None:
    """The newest commit of a dataset that is pinned to none, said in the log; None without a network."""
    import huggingface_hub

    try:
        revision = huggingface_hub.HfApi().dataset_info(repo).sha
    except (OSError, ValueError):  # offline, or not there: loading it says so
        return None
    _log.warning("%s is pinned to no commit: this run reads its newest, %s", repo, revision)
    return revision


def _cached_commit(part: Any) -> str:
    """The commit that a dataset in ``datasets``' cache is of, by the name of its folder there."""
    folders = [name for file in part.cache_files for name in Path(file["filename"]).parts]
    return next((name for name in folders if re.fullmatch(r"[0-9a-f]{40}", name)), "an unknown one")


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


def local_rows(path: Path, split: str = "train", configs: tuple[str | None, ...] = (None,)) -> list[dict[str, Any]]:
    """The rows of a file (.jsonl, .json, .parquet, .csv), or of a folder's split as ``datasets`` reads it.

    Raises:
        DataError: it cannot be read.
    """
    if path.suffix in (".jsonl", ".json") and path.is_file():
        return read_rows(path)
    if path.is_file() and path.suffix not in _READERS:
        raise DataError(f"{path} is neither .jsonl, .json, .parquet nor .csv")
    try:
        if path.is_file():
            return _READERS[path.suffix](path)
        import datasets

        # A folder gets a cache of its own: `datasets` names its shared one by the folder's last name and card alone.
        with tempfile.TemporaryDirectory() as cache:
            parts = [datasets.load_dataset(str(path), name, split=split, cache_dir=cache) for name in configs]
            return [row for part in parts for row in part]
    except Exception as error:  # the readers raise dozens of kinds
        raise DataError(f"cannot read {path}: {_reason(error)}") from error


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    _see_that_names_differ(table.column_names)
    return list(table.to_pylist())


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    """Texts as they stand: readers that guess types make 7.0 of 007, 1.5 of 1.50, and round long integers.

    A column of nothing but integers is one of integers; a cell that is empty, or says so, is None.
    """
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, strict=True)
        names = next(lines, [])
        _see_that_names_differ(names)
        rows: list[dict[str, Any]] = []
        for cells in lines:
            if cells and len(cells) != len(names):
                raise ValueError(f"line {lines.line_num} has {len(cells)} cells, the first has {len(names)}")
            if cells:
                rows.append({n: None if cell in _MISSING else cell for n, cell in zip(names, cells, strict=True)})
    for name in names:
        if all(isinstance(row[name], str) and re.fullmatch(r"0|-?[1-9]\d{0,17}", row[name], re.ASCII) for row in rows):
            for row in rows:
                row[name] = int(row[name])
    return rows


def _see_that_names_differ(names: list[str]) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"two columns are called {twice[0]!r}")


_READERS = {".parquet": _parquet_rows, ".csv": _csv_rows}
