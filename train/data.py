"""Training data: where samples come from, and the tokens they become.

One sample, with the ``alpaca`` template and a Llama tokenizer (``|`` separates tokens' roles, not tokens)::

    <s> Below is an instruction that ... ### Instruction:\nWhat is 2 + 3?\n\n### Response:\n | 2 + 3 = \boxed{5} </s>
    ------------------------------ prompt: no loss ------------------------------------------ | -- response: loss --

Prompt and response are tokenised apart and joined, so that the prompt's tokens are exactly those that the model meets
in evaluation. The prompt is tokenised as inference does it (BOS if and only if the tokenizer adds one); EOS is appended
by id and is always a target, also where it doubles as the padding token.

The result is cached by content (columns, template, tokenizer, version of this code) in flat arrays that ranks map.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dart_tasks.console import first_line
from dart_tasks.prompts import PromptTemplate, get_template
from train.errors import UserError

__all__ = ["Encoded", "TrainingSet", "default_cache_dir", "encode", "encode_texts", "load_columns"]

CODE_VERSION = 1
"""Part of the cache key: goes up with any change of what a sample's tokens are."""

_BATCH = 20_000
_ARRAYS = ("tokens", "starts", "prompt_lengths")


@dataclass(frozen=True)
class TrainingSet:
    """One source of samples (a folder or file that ``datasets`` reads, or a hub id), its columns and template."""

    source: str
    query: str = "query"
    response: str = "response"
    template: str = "alpaca"
    split: str = "train"
    weight: float = 1.0
    """How often each of its samples is in an epoch, on average."""


@dataclass(frozen=True)
class Encoded:
    """Samples as tokens: sample i is ``tokens[starts[i]:starts[i + 1]]``, prompt first."""

    tokens: npt.NDArray[np.uint32]
    starts: npt.NDArray[np.int64]
    prompt_lengths: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int64]
    """Row of each sample in its training set."""
    sets: npt.NDArray[np.int32]
    """Index of each sample's training set in ``sources``."""
    sources: tuple[str, ...]
    templates: tuple[str, ...]
    """The prompt template of each training set."""
    key: str
    """Hash of everything the tokens depend on."""

    def __len__(self) -> int:
        return len(self.prompt_lengths)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens per sample, prompt and EOS included."""
        return np.diff(self.starts)

    @property
    def target_lengths(self) -> npt.NDArray[np.int64]:
        """Target tokens per sample: the response and EOS."""
        return self.lengths - self.prompt_lengths

    def sample(self, index: int) -> tuple[npt.NDArray[np.uint32], int]:
        """The tokens of one sample and the length of its prompt."""
        return self.tokens[self.starts[index] : self.starts[index + 1]], int(self.prompt_lengths[index])

    def name(self, index: int) -> str:
        """How one sample is called in messages: source and row."""
        return f"{self.sources[self.sets[index]]}:{self.rows[index]}"


def default_cache_dir() -> Path:
    """Where tokenised data is kept: ``DART_MATH_CACHE``, or ``dart-math`` in the user's cache folder."""
    if folder := os.environ.get("DART_MATH_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dart-math"


def _files_key(path: Path) -> str:
    """Changes with any change of the files at ``path``: their names, sizes and times."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    facts = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return sha256(json.dumps(facts).encode()).hexdigest()[:32]


def load_columns(training_set: TrainingSet, cache_dir: Path) -> tuple[Any, Any]:
    """The query and response columns as ``pyarrow.ChunkedArray``.

    ``datasets`` names its cache of a folder by the folder's last name and its card alone, and would answer with the
    rows of another run's ``dataset`` folder, or of this one before it changed: local files get a cache of their own.

    Raises:
        UserError: no such data, split or column, or no rows.
    """
    import datasets
    import pyarrow

    path = Path(training_set.source)
    if path.is_file() and not path.stat().st_size:
        raise UserError(f"--data {training_set.source} is empty")
    own = str(cache_dir / "files" / _files_key(path)) if path.exists() else None
    try:
        with _quiet_datasets():
            if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
                table = _saved_split(datasets.load_from_disk(str(path)), training_set.split)
            elif path.is_file():
                kind = {".parquet": "parquet", ".csv": "csv", ".arrow": "arrow"}.get(path.suffix, "json")
                table = datasets.load_dataset(kind, data_files=str(path), split=training_set.split, cache_dir=own)
            else:
                table = datasets.load_dataset(training_set.source, split=training_set.split, cache_dir=own)
    except Exception as error:  # datasets raises a dozen kinds, its own and fsspec's
        source = f"--data {training_set.source} (split {training_set.split})"
        raise UserError(f"cannot load {source}: {first_line(_root(error))}") from error
    for column in (training_set.query, training_set.response):
        if column not in table.column_names:
            raise UserError(
                f"--data {training_set.source} has no column {column!r} (it has {', '.join(table.column_names)}): "
                f"name them, as in --data {training_set.source},query=COLUMN,response=COLUMN"
            )
        if getattr(table.features[column], "dtype", None) not in ("string", "large_string"):
            raise UserError(f"--data {training_set.source}: column {column!r} holds {table.features[column]}, not text")
    if not len(table):
        raise UserError(f"--data {training_set.source} has no rows")
    table = table.with_format("arrow")
    if table._indices is not None:
        table = table.flatten_indices()
    columns = table.data.table.select([training_set.query, training_set.response])
    try:
        columns.validate(full=True)  # datasets reads JSON in any encoding as if it were UTF-8
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"--data {training_set.source} is not UTF-8: {first_line(error)}") from error
    if nulls := columns.column(0).null_count:  # an empty response is counted by the preflight; a query it cannot see
        raise UserError(f"--data {training_set.source}: {nulls:,} rows have no {training_set.query!r}: leave them out")
    return columns.column(0), columns.column(1)


def _root(error: BaseException) -> BaseException:
    """Where an error began: datasets' own says only that one occurred."""
    return _root(error.__cause__) if error.__cause__ else error


def _saved_split(saved: Any, split: str) -> Any:
    """A split of what ``save_to_disk`` wrote, which is one table or a table per split."""
    tables = saved if isinstance(saved, dict) else {"train": saved}
    if split not in tables:
        raise ValueError(f"it has {', '.join(tables)}")
    return tables[split]


@contextlib.contextmanager
def _quiet_datasets() -> Iterator[None]:
    import datasets

    shown, level = not datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # it logs the errors that it raises
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if shown:
            datasets.enable_progress_bars()


def _hash_column(column: Any, digest: Any) -> None:
    for chunk in column.chunks:
        digest.update(f"{chunk.type}:{chunk.offset}:{len(chunk)};".encode())
        for buffer in chunk.buffers():
            if buffer is not None:
                digest.update(buffer)


def _batches(column: Any) -> Iterator[list[str]]:
    for start in range(0, len(column), _BATCH):
        yield [text or "" for text in column.slice(start, _BATCH).to_pylist()]


def _text_encoder(tokenizer: Any) -> Any:
    """``encode(texts, special) -> lists of token ids``, at the speed of plain ``tokenizers`` where that is used."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return lambda texts, special: tokenizer(texts, add_special_tokens=special)["input_ids"]
    fast = type(backend).from_str(backend.to_str())  # a copy: padding and truncation are state
    fast.no_padding()
    fast.no_truncation()

    def encode_batch(texts: Sequence[str], special: bool) -> list[list[int]]:
        return [encoding.ids for encoding in fast.encode_batch_fast(list(texts), add_special_tokens=special)]

    return encode_batch


def encode_texts(
    queries: Iterable[list[str]], responses: Iterable[list[str]], template: PromptTemplate, tokenizer: Any
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Tokens, starts and prompt lengths of samples given in batches. Equal queries are tokenised once."""
    encode_batch = _text_encoder(tokenizer)
    eos = [tokenizer.eos_token_id]
    prompts: dict[str, npt.NDArray[np.uint32]] = {}
    tokens: list[npt.NDArray[np.uint32]] = []
    lengths: list[int] = []
    prompt_lengths: list[int] = []
    for query_batch, response_batch in zip(queries, responses, strict=True):
        new = [query for query in dict.fromkeys(query_batch) if query not in prompts]
        rendered = encode_batch([template.render(query) for query in new], True)
        prompts.update(zip(new, (np.array(ids, dtype=np.uint32) for ids in rendered), strict=True))
        parts = []
        for query, ids in zip(query_batch, encode_batch(response_batch, False), strict=True):
            prompt = prompts[query]
            parts += [prompt, np.array(ids + eos, dtype=np.uint32)]
            prompt_lengths.append(len(prompt))
            lengths.append(len(prompt) + len(ids) + 1)
        tokens.append(np.concatenate(parts))
    starts = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=starts[1:])
    flat = np.concatenate(tokens) if tokens else np.empty(0, dtype=np.uint32)
    return flat, starts, np.array(prompt_lengths, dtype=np.int32)


def _tokenizer_text(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts = [backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)]
    return "\n".join([*parts, str(tokenizer.bos_token_id), str(tokenizer.eos_token_id)])


def _encode_set(training_set: TrainingSet, tokenizer: Any, cache_dir: Path) -> Path:
    """The folder of one training set's arrays, made unless it is there."""
    queries, responses = load_columns(training_set, cache_dir)
    template = get_template(training_set.template)
    digest = sha256(f"{CODE_VERSION}\n{template.text}\n{_tokenizer_text(tokenizer)}\n".encode())
    _hash_column(queries, digest)
    _hash_column(responses, digest)
    folder = cache_dir / "tokenised" / digest.hexdigest()[:32]
    if folder.is_dir():
        return folder
    arrays = encode_texts(_batches(queries), _batches(responses), template, tokenizer)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    for name, array in zip(_ARRAYS, arrays, strict=True):
        with (aside / f"{name}.npy").open("wb") as file:
            np.save(file, np.asarray(array))
            file.flush()
            os.fsync(file.fileno())
    try:
        aside.rename(folder)  # whole or not at all
    except OSError:
        shutil.rmtree(aside)
        if not folder.is_dir():  # else another process was first: its arrays are the same
            raise
    return folder


def encode(training_sets: Sequence[TrainingSet], tokenizer: Any, cache_dir: Path) -> Encoded:
    """All samples of all sets, tokenised or read from the cache (memory-mapped where there is one set).

    Raises:
        UserError: a set cannot be read (see :func:`load_columns`).
    """
    folders = [_encode_set(training_set, tokenizer, cache_dir) for training_set in training_sets]
    parts = [[np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS] for folder in folders]
    key = sha256("\n".join(folder.name for folder in folders).encode()).hexdigest()[:16]
    counts = [len(prompt_lengths) for *_, prompt_lengths in parts]
    rows = np.concatenate([np.arange(count) for count in counts])
    sets = np.repeat(np.arange(len(parts), dtype=np.int32), counts)
    sources = tuple(training_set.source for training_set in training_sets)
    tokens, starts, prompt_lengths = parts[0]
    if len(parts) > 1:  # one set alone stays mapped
        offsets = np.cumsum([0] + [len(part[0]) for part in parts])
        tokens = np.concatenate([part[0] for part in parts])
        starts = np.concatenate([[0], *(part[1][1:] + offset for part, offset in zip(parts, offsets, strict=False))])
        prompt_lengths = np.concatenate([part[2] for part in parts])
    templates = tuple(training_set.template for training_set in training_sets)
    return Encoded(tokens, starts, prompt_lengths, rows, sets, sources, templates, key)
