"""Training data: where samples come from, and the tokens they become.

One sample, with the ``alpaca`` template and a Llama tokenizer (``|`` separates tokens' roles, not tokens)::

    <s> Below is an instruction that ... ### Instruction:\nWhat is 2 + 3?\n\n### Response:\n | 2 + 3 = \boxed{5} </s>
    ------------------------------ prompt: no loss ------------------------------------------ | -- response: loss --

A conversation (a column of messages; see ``train/chat.py``) has such targets once per assistant turn.

Prompt and response are tokenised apart and joined, so that the prompt's tokens are exactly those that the model meets
in evaluation. The prompt is tokenised as inference does it (BOS if and only if the tokenizer adds one); EOS is appended
by id and is always a target, also where it doubles as the padding token.

The result is cached by content (columns, template, tokenizer, version of this code) in flat arrays that ranks map.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dart_tasks.console import counted, first_line
from dart_tasks.prompts import get_template
from train.chat import OWN, ChatTemplate, adds_bos, chat_template
from train.encoding import Arrays, encode_conversations, encode_pairs
from train.errors import UserError

__all__ = [
    "Encoded",
    "TrainingSet",
    "can_only_be_a_path",
    "default_cache_dir",
    "encode",
    "load_columns",
    "similar",
]

CODE_VERSION = 1
"""Part of the cache key: goes up with any change of what a sample's tokens are."""

CONVERSATIONS_VERSION = 2
"""The same for conversations alone."""

_MESSAGES = ("messages", "conversations")
"""Columns that hold conversations where no others are named."""

_FILE_SUFFIXES = (".json", ".jsonl", ".csv", ".parquet", ".arrow", ".gz", ".txt")
_SHOWN_REASON = 300  # characters


@dataclass(frozen=True)
class TrainingSet:
    """One source of samples (a folder or file that ``datasets`` reads, or a hub id), its columns and template."""

    source: str
    query: str = "query"
    response: str = "response"
    template: str = "alpaca"
    """The prompt template of (query, response) pairs."""
    messages: str = ""
    """The column of conversations; empty: ``messages`` or ``conversations`` where there are no pairs."""
    chat_template: str = ""
    """Chat template (see :func:`train.chat.is_known`), then of pairs too; empty: of messages, the tokenizer's own."""
    split_turns: bool = False
    """Whether every assistant turn is a sample of its own."""
    split: str = "train"
    weight: float = 1.0
    """How often each of its samples is in an epoch, on average."""


@dataclass(frozen=True)
class Encoded:
    """Samples as tokens: sample i is ``tokens[starts[i]:starts[i + 1]]``, prompt first."""

    tokens: npt.NDArray[np.uint32]
    starts: npt.NDArray[np.int64]
    is_target: npt.NDArray[np.bool_]
    """Of each token: whether its loss counts."""
    rows: npt.NDArray[np.int64]
    """Row of each sample in its training set."""
    faults: npt.NDArray[np.uint8]
    """Of each sample: why it cannot train, or 0."""
    sets: npt.NDArray[np.int32]
    """Index of each sample's training set in ``sources``."""
    sources: tuple[str, ...]
    forms: tuple[str, ...]
    """Of each training set, in words: its columns and template."""
    chat_templates: tuple[str, ...]
    """Of each training set: the Jinja template that renders its prompts."""
    key: str
    """Hash of everything the tokens depend on."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens per sample, prompt and EOS included."""
        return np.diff(self.starts)

    @cached_property
    def target_lengths(self) -> npt.NDArray[np.int64]:
        """Target tokens per sample: responses, each with the token that ends it."""
        return np.add.reduceat(self.is_target, self.starts[:-1], dtype=np.int64)

    @property
    def first_of_row(self) -> npt.NDArray[np.int64]:
        """Of each sample: the first sample of its row, where a conversation's turns are samples of their own."""
        new = np.diff(self.rows, prepend=-1).astype(bool) | np.diff(self.sets, prepend=-1).astype(bool)
        return np.maximum.accumulate(np.where(new, np.arange(len(self)), 0))

    def end_tokens(self, samples: npt.NDArray[np.int64]) -> list[int]:
        """The tokens that end the responses of ``samples``."""
        return [int(token) for token in np.unique(self.tokens[self.starts[samples + 1] - 1])]

    def sample(self, index: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.bool_]]:
        """The tokens of one sample, and which of them are targets."""
        whole = slice(self.starts[index], self.starts[index + 1])
        return self.tokens[whole], self.is_target[whole]

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


def load_columns(training_set: TrainingSet, cache_dir: Path) -> list[Any]:
    """The query and response columns, or that of conversations alone, as ``pyarrow.ChunkedArray``.

    ``datasets`` names its cache of a folder by the folder's last name and its card alone, and would answer with the
    rows of another run's ``dataset`` folder, or of this one before it changed: local files get a cache of their own.

    Raises:
        UserError: no such data, split or column, or no rows.
    """
    import datasets
    import pyarrow
    import pyarrow.compute as pc

    path = Path(training_set.source)
    if path.is_file() and not path.stat().st_size:
        raise UserError(f"--data {training_set.source} is empty")
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to --cache-dir {cache_dir}: {error.strerror}") from error
    try:
        with _quiet_datasets():
            table = _table(training_set, cache_dir)
            names = _column_names(training_set, table)
            if mixed := "Json(" in str(table.features[names[0]]):
                # Texts of mixed columns are kept as JSON unless they read as such already: take the messages whole.
                whole = datasets.Features({**table.features, names[0]: datasets.Json()})
                table = _table(training_set, cache_dir, whole)
    except UserError:
        raise
    except Exception as error:  # datasets raises a dozen kinds, its own and fsspec's
        source = f"--data {training_set.source} (split {training_set.split})"
        reason = " ".join(str(_root(error)).split())[:_SHOWN_REASON] or type(_root(error)).__name__
        if "corresponds to no data" in reason:  # nothing but blank lines
            raise UserError(f"--data {training_set.source} has no rows") from error
        absent = "" if path.exists() else f"no such file or folder{similar(path)}, and of the hub: "
        raise UserError(f"cannot load {source}: {absent}{reason}") from error
    if not len(table):
        raise UserError(f"--data {training_set.source} has no rows")
    if mixed:
        texts = [json.dumps(messages) for messages in table[names[0]]]
        return [pyarrow.chunked_array([pyarrow.array(texts, pyarrow.large_string())])]
    table = table.with_format("arrow")
    if table._indices is not None:
        table = table.flatten_indices()
    columns = table.data.table.select(names)
    try:
        columns.validate(full=True)  # datasets reads JSON in any encoding as if it were UTF-8
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"--data {training_set.source} is not UTF-8: {first_line(error)}") from error
    asked, *answered = columns.columns
    # An empty response is counted by the preflight; a query it cannot see.
    if without := asked.null_count + (pc.sum(_blank(asked)).as_py() or 0 if answered else 0):
        raise UserError(f"--data {training_set.source}: {counted(without, 'row')} without {names[0]!r}: leave them out")
    return [asked, *map(_without_blanks, answered)]


def _blank(texts: Any) -> Any:
    """Of each text: whether it is nothing but white space (null where there is none)."""
    import pyarrow.compute as pc

    return pc.equal(pc.utf8_trim_whitespace(texts), "")


def _without_blanks(texts: Any) -> Any:
    """Responses, with those of nothing but white space empty, as which they are counted; the same column if none is."""
    import pyarrow.compute as pc

    blank = pc.and_(_blank(texts), pc.not_equal(texts, ""))
    return pc.if_else(blank, "", texts) if pc.any(blank).as_py() else texts


def _table(training_set: TrainingSet, cache_dir: Path, features: Any = None) -> Any:
    """The rows as ``datasets`` reads them; those of ``save_to_disk`` have their own ``features``."""
    import datasets

    path, split = Path(training_set.source), training_set.split
    own = str(cache_dir / "files" / _files_key(path)) if path.exists() else None
    if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        return _saved_split(datasets.load_from_disk(str(path)), split)
    if path.is_file():
        kind = {".parquet": "parquet", ".csv": "csv", ".arrow": "arrow"}.get(path.suffix, "json")
        texts = {"keep_default_na": False} if kind == "csv" else {}  # "None" and "NA" are texts
        return datasets.load_dataset(kind, data_files=str(path), split=split, cache_dir=own, features=features, **texts)
    return datasets.load_dataset(training_set.source, split=split, cache_dir=own, features=features)


def _column_names(training_set: TrainingSet, table: Any) -> list[str]:
    """The names of the query and response columns, or of that of conversations.

    Raises:
        UserError: a column is missing or holds something else.
    """
    source, names = training_set.source, table.column_names
    pair = [training_set.query, training_set.response]
    found = [] if set(pair) <= set(names) else [name for name in _MESSAGES if name in names]
    if column := training_set.messages or (found and pair == ["query", "response"] and found[0]):
        if column not in names:
            raise UserError(f"--data {source} has no column {column!r} (it has {', '.join(names)})")
        for other in ("tools", "image", "images", "video", "videos", "audio", "audios"):
            if other in names and any(value not in (None, "", "[]", []) for value in table[other]):
                raise UserError(
                    f"--data {source}: its column {other!r} says that it uses {other.removesuffix('s')}s: not supported"
                )
        _refuse_unread(source, table, [column])
        return [column]
    for column in pair:
        if column not in names:
            raise UserError(
                f"--data {source} has no column {column!r} (it has {', '.join(names)}): name them, as in --data "
                f"{source},query=COLUMN,response=COLUMN or --data {source},messages=COLUMN"
            )
        if getattr(table.features[column], "dtype", None) not in ("string", "large_string"):
            raise UserError(f"--data {source}: column {column!r} holds {table.features[column]}, not text")
    _refuse_unread(source, table, pair)
    return pair


def _refuse_unread(source: str, table: Any, read: Sequence[str]) -> None:
    """Refuse data of which a part that belongs to the prompt is in a column beside those that are ``read``.

    Raises:
        UserError: it is; of Alpaca's and Dolly's columns too, where only one is named.
    """
    parts = {"system", "history"} | ({"instruction", "input", "context"} if "instruction" in read else set())
    for other in sorted(parts - set(read)):
        if other in table.column_names and any(table[other]):
            raise UserError(
                f"--data {source}: its column {other!r} would be left out: put its text into each query or "
                "conversation (as the first message, of the role system, or before the first user's if the chat "
                "template has no such role), or remove the column"
            )


def can_only_be_a_path(name: str) -> bool:
    """Whether a name, of data or of a model, is none that the hub has: NAME or OWNER/NAME."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or Path(name).suffix in _FILE_SUFFIXES


def similar(path: Path) -> str:
    """A hint at an existing path with a name like the first part of ``path`` that does not exist, or nothing."""
    known = next(parent for parent in (*path.parents, Path()) if parent.exists())
    wrong, *rest = path.relative_to(known).parts
    close = difflib.get_close_matches(wrong, [entry.name for entry in known.iterdir()] if known.is_dir() else [], 1)
    meant = Path(known, *close, *rest)
    return f" (did you mean {meant}?)" if close and meant.exists() else ""


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


def _tokenizer_text(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts = [backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)]
    return "\n".join([*parts, str(tokenizer.bos_token_id), str(tokenizer.eos_token_id)])


def _encode_set(training_set: TrainingSet, tokenizer: Any, cache_dir: Path) -> tuple[Path, str, str]:
    """The folder of one training set's arrays, made unless it is there; its form in words and its chat template."""
    columns = load_columns(training_set, cache_dir)
    form = "conversations" if len(columns) == 1 else f"{training_set.query} -> {training_set.response}"
    if len(columns) == 1 or training_set.chat_template:
        name, split = training_set.chat_template or OWN, training_set.split_turns
        chat = ChatTemplate(name, tokenizer)
        form, text, rendered = (
            f"{form}, {name} chat template{', split by turn' * split}",
            f"{CONVERSATIONS_VERSION} {split} {chat.text}",
            chat.text,
        )
        make = partial(encode_conversations, training_set.source, columns, chat, split, tokenizer)
    else:
        prompt = get_template(training_set.template)
        form, text, rendered = f"{form}, {prompt.name} prompt", prompt.text, chat_template(prompt, adds_bos(tokenizer))
        make = partial(encode_pairs, columns[0], columns[1], prompt, tokenizer)
    digest = sha256(f"{CODE_VERSION}\n{text}\n{_tokenizer_text(tokenizer)}\n".encode())
    for column in columns:
        _hash_column(column, digest)
    folder = cache_dir / "samples" / digest.hexdigest()[:32]
    if not folder.is_dir():
        _write(folder, make())
    return folder, form, rendered


def _write(folder: Path, arrays: Arrays) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    for name, array in arrays._asdict().items():
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


def encode(training_sets: Sequence[TrainingSet], tokenizer: Any, cache_dir: Path) -> Encoded:
    """All samples of all sets, tokenised or read from the cache (memory-mapped where there is one set).

    Raises:
        UserError: a set cannot be read (see :func:`load_columns`), or holds conversations that cannot train.
    """
    folders, forms, chat_templates = zip(
        *(_encode_set(training_set, tokenizer, cache_dir) for training_set in training_sets), strict=True
    )
    parts = [Arrays(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in Arrays._fields)) for folder in folders]
    whole = parts[0]
    if len(parts) > 1:  # one set alone stays mapped
        offsets = np.cumsum([0] + [len(part.tokens) for part in parts])
        moved = [part.starts[1:] + offset for part, offset in zip(parts, offsets, strict=False)]
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in Arrays._fields}
        whole = Arrays(**{**joined, "starts": np.concatenate([[0], *moved])})
    return Encoded(
        *whole,
        sets=np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.rows) for part in parts]),
        sources=tuple(training_set.source for training_set in training_sets),
        forms=forms,
        chat_templates=chat_templates,
        key=sha256("\n".join(folder.name for folder in folders).encode()).hexdigest()[:16],
    )
