"""From texts to the tokens of samples: queries and responses, and conversations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dart_tasks.prompts import PromptTemplate
from train.chat import ChatTemplate, ConversationError, Turn, assemble, conversation, spelling
from train.errors import UserError

__all__ = ["EMPTY", "SPECIAL", "Arrays", "encode_conversations", "encode_pairs"]

EMPTY, SPECIAL = 1, 2
"""Why a sample cannot train: its response (or that of a turn) is empty; its text spells a special token."""

_BATCH = 2_000
_NAMED = 3  # rows named in a message


class Arrays(NamedTuple):
    """Samples of one training set, as :class:`train.data.Encoded` describes them."""

    tokens: npt.NDArray[np.uint32]
    starts: npt.NDArray[np.int64]
    is_target: npt.NDArray[np.bool_]
    rows: npt.NDArray[np.int64]
    faults: npt.NDArray[np.uint8]


class _Samples:
    """Samples in the making, in the order of their rows."""

    def __init__(self) -> None:
        self._tokens: list[npt.NDArray[np.uint32]] = []
        self._is_target: list[npt.NDArray[np.bool_]] = []
        self._rows: list[int] = []
        self._faults: list[int] = []

    def add(self, row: int, ids: npt.ArrayLike, is_target: npt.ArrayLike, fault: int = 0) -> None:
        self._tokens.append(np.asarray(ids, dtype=np.uint32))
        self._is_target.append(np.asarray(is_target, dtype=bool))
        self._rows.append(row)
        self._faults.append(fault)

    def arrays(self) -> Arrays:
        starts = np.zeros(len(self._rows) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in self._tokens], out=starts[1:])
        tokens, is_target = np.concatenate(self._tokens), np.concatenate(self._is_target)
        return Arrays(tokens, starts, is_target, np.array(self._rows), np.array(self._faults, dtype=np.uint8))


def _text_encoder(tokenizer: Any) -> Callable[[Sequence[str], bool], list[list[int]]]:
    """``encode(texts, special) -> lists of token ids``, at the speed of plain ``tokenizers`` where that is used."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return lambda texts, special: tokenizer(list(texts), add_special_tokens=special)["input_ids"] if texts else []
    fast = type(backend).from_str(backend.to_str())  # a copy: padding and truncation are state
    fast.no_padding()
    fast.no_truncation()

    def encode_batch(texts: Sequence[str], special: bool) -> list[list[int]]:
        return [encoding.ids for encoding in fast.encode_batch_fast(list(texts), add_special_tokens=special)]

    return encode_batch


def encode_pairs(queries: Any, responses: Any, template: PromptTemplate, tokenizer: Any) -> Arrays:
    """Samples of a column of queries and one of responses. Equal queries are tokenised once."""
    encode_batch, spells, eos = _text_encoder(tokenizer), spelling(tokenizer), [tokenizer.eos_token_id]
    prompts: dict[str, list[int]] = {}
    samples = _Samples()
    for start in range(0, len(queries), _BATCH):
        asked, answered = (
            [text or "" for text in column.slice(start, _BATCH).to_pylist()] for column in (queries, responses)
        )
        new = [query for query in dict.fromkeys(asked) if query not in prompts]
        prompts.update(zip(new, encode_batch([template.render(query) for query in new], True), strict=True))
        for row, (query, response, ids) in enumerate(
            zip(asked, answered, encode_batch(answered, False), strict=True), start
        ):
            prompt = prompts[query]
            is_target = np.arange(len(prompt) + len(ids) + 1) >= len(prompt)
            fault = SPECIAL if spells(query) or spells(response) else EMPTY if not ids else 0
            samples.add(row, prompt + ids + eos, is_target, fault)
    return samples.arrays()


def encode_conversations(
    source: str, columns: Sequence[Any], template: ChatTemplate, split_turns: bool, tokenizer: Any
) -> Arrays:
    """Samples of a column of messages, or of queries and responses as conversations of two.

    Raises:
        UserError: some conversations cannot train, with their number, the first ones and why.
    """
    encode_batch = _text_encoder(tokenizer)

    def encode(text: str) -> list[int]:
        return encode_batch([text], False)[0]

    fault_of = _fault_finder(tokenizer)
    samples = _Samples()
    refused: dict[str, list[int]] = {}
    for start in range(0, len(columns[0]), _BATCH):
        turns: dict[int, list[Turn] | int] = {}
        for row, values in enumerate(zip(*(c.slice(start, _BATCH).to_pylist() for c in columns), strict=True), start):
            try:
                messages, trained = conversation(values[0] if len(values) == 1 else _as_messages(*values))
                turns[row] = fault_of(messages) or list(template.turns(messages, trained))
            except ConversationError as error:
                refused.setdefault(str(error), []).append(row)
        made = [turn for found in turns.values() if isinstance(found, list) for turn in found]
        texts = list(dict.fromkeys(text for turn in made for text in (turn.prompt, turn.whole)))
        ids_of = dict(zip(texts, encode_batch(texts, False), strict=True))
        for row, found in turns.items():
            if isinstance(found, int):  # whatever a template makes of it, it does not train
                samples.add(row, [0], [False], found)
                continue
            try:
                for ids, is_target in assemble(found, ids_of, encode, split_turns):
                    samples.add(row, ids, is_target)
            except ConversationError as error:
                refused.setdefault(str(error), []).append(row)
    if refused:
        count = sum(map(len, refused.values()))
        reasons = "; ".join(f"{reason} ({_named(rows)})" for reason, rows in refused.items())
        raise UserError(f"--data {source}: {count:,} of {len(columns[0]):,} conversations cannot train: {reasons}")
    return samples.arrays()


def _as_messages(query: str | None, response: str | None) -> list[dict[str, str | None]]:
    return [{"role": "user", "content": query}, {"role": "assistant", "content": response}]


def _named(rows: list[int]) -> str:
    first = ", ".join(map(str, rows[:_NAMED]))
    more = f" and {len(rows) - _NAMED:,} more" if len(rows) > _NAMED else ""
    return f"row{'s' if len(rows) > 1 else ''} {first}{more}"


def _fault_finder(tokenizer: Any) -> Callable[[list[dict[str, str]]], int]:
    """Why a conversation cannot train, or 0: a text spells a special token, or an assistant turn is empty."""
    spells, spells_beside_thoughts = spelling(tokenizer), spelling(tokenizer, thoughts=True)

    def fault(messages: list[dict[str, str]]) -> int:
        for message in messages:
            search = spells_beside_thoughts if message["role"] == "assistant" else spells
            if any(search(text) for key, text in message.items() if key != "role"):
                return SPECIAL
        empty = (message["role"] == "assistant" and not message["content"].strip() for message in messages)
        return EMPTY if any(empty) else 0

    return fault
