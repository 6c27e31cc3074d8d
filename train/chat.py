"""Conversations: what a chat template makes of messages, and which of the tokens are targets.

A record, and its tokens with the ``chatml`` template (``|`` parts what trains from what does not)::

    {"messages": [{"role": "user", "content": "2 + 3?"}, {"role": "assistant", "content": "5"}]}

    <|im_start|>user\n2 + 3?<|im_end|>\n<|im_start|>assistant\n | 5<|im_end|>

Targets are what the model generates: each assistant turn from the end of its generation prompt to the token that ends
it. A conversation becomes one sample only where the tokens before every turn are those of inference,
``apply_chat_template(messages[:i], add_generation_prompt=True)``. Templates that drop thoughts of earlier turns break
that: such a conversation is refused, or split into a sample per turn.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dart_tasks.console import first_line
from dart_tasks.prompts import QUERY_SLOT, TEMPLATES, PromptTemplate, get_template
from train.errors import UserError

__all__ = [
    "OWN",
    "ChatTemplate",
    "ConversationError",
    "Turn",
    "adds_bos",
    "assemble",
    "chat_template",
    "conversation",
    "is_known",
    "spelling",
]

Messages = list[dict[str, str]]

OWN = "own"
"""The name of the chat template that the tokenizer brings."""

_ROLES = {"human": "user", "gpt": "assistant", "user": "user", "assistant": "assistant", "system": "system"}
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_TOOL_KEYS = ("tool_calls", "function_call", "tool_call_id")
_WEIGHTS = ("weight", "train", "training", "loss")
"""Keys of a message that say whether it trains: OpenAI's, Axolotl's, ms-swift's."""
_PARTS_THAT_TRAIN = ("train_detail", "training_detail")
_THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)
_THOUGHT_MARK = re.compile(r"think|thought|reason", re.IGNORECASE)
_RENDERED_THOUGHTS = (
    "{% if message['reasoning_content'] %}"
    "{{ '<think>\\n' + message['reasoning_content'] + '\\n</think>\\n\\n' }}{% endif %}"
)


_CHATML_END = "<|im_end|>"
_LONGEST_MARK = 40
_OTHER = ": name another with --chat-template"


class ConversationError(ValueError):
    """Why a conversation cannot train."""


@dataclass(frozen=True)
class Turn:
    """One assistant turn as text: what the model is asked, and that followed by what it is to generate."""

    prompt: str
    whole: str


def is_known(name: str) -> bool:
    """Whether ``name`` is a chat template: the tokenizer's own, ``chatml``, a prompt template, or a file."""
    return name in (OWN, "chatml", *TEMPLATES) or Path(name).is_file()


def adds_bos(tokenizer: Any) -> bool:
    """Whether the tokenizer begins a text with BOS."""
    return tokenizer.bos_token_id is not None and tokenizer("1")["input_ids"][:1] == [tokenizer.bos_token_id]


def chat_template(template: PromptTemplate, bos: bool) -> str:
    """A Jinja chat template whose rendering of one user message is ``template``'s prompt, with BOS where it is added.

    A conversation is prompt, answer and EOS in turn; a system message goes before the prompt as a paragraph of its own.
    """
    before, after = (_literal(part) for part in template.text.split(QUERY_SLOT))
    return (
        ("{{ bos_token }}" if bos else "")
        + "{% for message in messages %}"
        + "{% if message['role'] == 'user' %}"
        + f"{{{{ {before} + message['content'] + {after} }}}}"
        + "{% elif message['role'] == 'assistant' %}"
        + _RENDERED_THOUGHTS
        + "{{ message['content'] + eos_token }}"
        + "{% elif message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
        + "{% else %}{{ raise_exception('only system, user and assistant messages are supported') }}{% endif %}"
        + "{% endfor %}"
    )


def _chatml(bos: bool) -> str:
    return (
        ("{{ bos_token }}" if bos else "")
        + "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
        + _RENDERED_THOUGHTS
        + f"{{{{ message['content'] + '{_CHATML_END}\\n' }}}}{{% endfor %}}"
        + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )


def _literal(text: str) -> str:
    """A Jinja string literal: inside one, neither Jinja's markers nor its newline trimming apply."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def _special_tokens(tokenizer: Any) -> dict[str, int]:
    """The control tokens that a text could spell, with their ids; UNK alone is no control."""
    added = {how.content: token for token, how in tokenizer.added_tokens_decoder.items() if how.special}
    named = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    controls = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    return {
        text: token
        for text, token in {**added, **named}.items()
        if text and (token != tokenizer.unk_token_id or token in controls)
    }


def spelling(tokenizer: Any, thoughts: bool = False) -> Callable[[str], Any]:
    """A search for special tokens in a text; marks of ``thoughts``, which an assistant may write, are then none."""
    texts = [text for text in _special_tokens(tokenizer) if not (thoughts and _THOUGHT_MARK.search(text))]
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True)))).search


def conversation(messages: Any) -> tuple[Messages, frozenset[int]]:
    """Messages in the layout of ``role``/``content`` or ``from``/``value``, or their JSON, as templates take them.

    Thoughts may be in ``content`` or under ``reasoning_content``. What follows the last turn that trains is left out.

    Returns:
        The messages, and which of them train: the assistant's, but those with a ``weight`` (or ``train``) of 0.

    Raises:
        ConversationError: it has no assistant turn that trains, or parts that are not supported.
    """
    if isinstance(messages, str):
        with contextlib.suppress(ValueError):
            messages = json.loads(messages)
    if not isinstance(messages, list):
        raise ConversationError("it has no list of messages")
    made: Messages = []
    trained: list[int] = []
    for message in messages:
        if not isinstance(message, Mapping):
            raise ConversationError(f"a message is {type(message).__name__}, not an object with role and content")
        name = message.get("role") or message.get("from")
        if name in ("tool", "function", "ipython", "function_call", "observation") or any(map(message.get, _TOOL_KEYS)):
            raise ConversationError("it uses tools, which are not supported")
        if (role := _ROLES.get(str(name))) is None:
            raise ConversationError(f"a message has the role {name!r}: only system, user and assistant are supported")
        content = message["content"] if message.get("content") is not None else message.get("value")
        made.append({"role": role, "content": _text(content)})
        if thoughts := next(filter(None, map(message.get, _THOUGHTS)), None):
            made[-1]["reasoning_content"] = str(thoughts)
        if _trains(message, role):
            trained.append(len(made) - 1)
    if not trained:
        without = any(message["role"] == "assistant" for message in made)
        raise ConversationError(f"it has no assistant turn{' that trains: each has the weight 0' * without}")
    if made[0]["role"] == "assistant":
        raise ConversationError("it begins with the assistant")
    try:
        "".join(text for message in made for text in message.values()).encode()
    except UnicodeEncodeError:
        raise ConversationError("a text has one half of a surrogate pair, which is no character") from None
    return made[: trained[-1] + 1], frozenset(trained)


def _trains(message: Mapping[str, Any], role: str) -> bool:
    """Whether the tokens of a message are targets."""
    if any(map(message.get, _PARTS_THAT_TRAIN)):
        raise ConversationError("parts of a message are to train (train_detail): only whole messages can")
    weights = {key: message[key] for key in _WEIGHTS if message.get(key) is not None}
    for key, weight in weights.items():
        if weight not in (0, 1):
            raise ConversationError(f"a message has the {key} {weight!r}: only 0 and 1, false and true are supported")
        if weight and role != "assistant":
            raise ConversationError(f"a message of the {role} is to train ({key} {weight}): only the assistant's do")
    return role == "assistant" and all(weights.values())


def _text(content: Any) -> str:
    if isinstance(content, list):
        kinds = {str(part.get("type", "text")) if isinstance(part, Mapping) else "text" for part in content} - {"text"}
        if kinds:
            raise ConversationError(f"it has parts of kind {', '.join(sorted(kinds))}: only text is supported")
        texts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        if not all(isinstance(text, str) for text in texts):
            raise ConversationError("a part of a message has no text under 'text'")
        return "".join(map(str, texts))
    if content is not None and not isinstance(content, str):
        raise ConversationError(f"a message's content is {type(content).__name__}, not text")
    return content or ""


def _squashed(text: str) -> str:
    return "".join(text.split())


class ChatTemplate:
    """A chat template with its tokenizer."""

    def __init__(self, name: str, tokenizer: Any) -> None:
        """The template of this ``name`` (see :func:`is_known`).

        Raises:
            UserError: the tokenizer has none of its own.
        """
        self._tokenizer = tokenizer
        self._ends = tuple(text for text in _special_tokens(tokenizer) if not _THOUGHT_MARK.search(text))
        if name == OWN:
            if not tokenizer.chat_template:
                raise UserError(
                    "the model's tokenizer has no chat template of its own: name one with --chat-template "
                    f"({'chatml, ' * (_CHATML_END in self._ends)}{', '.join(TEMPLATES)}, or a Jinja file)"
                )
            self.text: str = tokenizer.get_chat_template()
        elif name == "chatml":
            self.text = _chatml(adds_bos(tokenizer))
        elif name in TEMPLATES:
            self.text = chat_template(get_template(name), adds_bos(tokenizer))
        else:
            try:
                self.text = Path(name).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(f"cannot read --chat-template {name}: {first_line(error)}") from error
        mentioned = (key for key in _THOUGHTS if re.search(rf"""[.'"]{key}\b""", self.text))
        self._thoughts_key = next(mentioned, "")
        self._tells = re.search(r"\{%-?\s*generation\s*-?%\}", self.text) is not None

    def _render(self, messages: Messages, generation: bool) -> str:
        from jinja2 import TemplateError

        options = {"chat_template": self.text, "add_generation_prompt": generation, "tokenize": False}
        try:
            rendered: str = self._tokenizer.apply_chat_template(messages, **options)
        except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
            reason = f"the chat template refuses it: {first_line(error)}"
            if messages[0]["role"] == "system":
                with contextlib.suppress(ConversationError):
                    self._render(messages[1:], generation)
                    reason += ", but not without its system message: put that text before the first user message"
            raise ConversationError(reason) from None
        return rendered

    def turns(self, messages: Messages, trained: Collection[int]) -> Iterator[Turn]:
        """The turns of a conversation that train, as :func:`conversation` tells them.

        Raises:
            ConversationError: the template refuses or drops a message, or does not render a turn after its prompt.
        """
        messages = [self._with_thoughts(message) for message in messages]
        for index, message in enumerate(messages):
            if index not in trained:
                continue
            prompt = self._render(messages[:index], True)
            rendered = self._render(messages[: index + 1], False)
            if not rendered.startswith(prompt):
                raise ConversationError(
                    "the chat template does not render an assistant turn after its generation prompt" + _OTHER
                )
            whole = rendered[: self._end(rendered, len(prompt))]
            # White space may change, and a thought be opened by the prompt.
            answer = _squashed(prompt[-_LONGEST_MARK:]) + _squashed(whole[len(prompt) :])
            if any(_squashed(text) not in answer for key, text in message.items() if key != "role"):
                raise ConversationError("the chat template drops text of an assistant turn (its thoughts?)" + _OTHER)
            if self._tells:
                self._check_mask(messages[: index + 1], len(prompt), len(whole))
            yield Turn(prompt, whole)
        asked = _squashed(prompt)
        for index, message in enumerate(messages):
            content = message["content"]
            if message["role"] == "assistant":  # a thought may go, as it does in inference
                content = content.rpartition("</think>")[2]
            if index not in trained and _squashed(content) not in asked:
                raise ConversationError(f"the chat template drops the text of the {message['role']}'s message")

    def _with_thoughts(self, message: dict[str, str]) -> dict[str, str]:
        """Thoughts under the key where the template looks for them, or else in the content, in think tags."""
        if message["role"] != "assistant":
            return message
        content, thoughts = message["content"], message.get("reasoning_content", "")
        if not thoughts and (match := _THOUGHT.match(content)):
            thoughts, content = match[1].strip(), content[match.end() :]
        if not thoughts:
            return message
        if self._thoughts_key:
            return {"role": "assistant", "content": content, self._thoughts_key: thoughts}
        if content == message["content"]:
            content = f"<think>\n{thoughts}\n</think>\n\n{content}"
        else:
            content = message["content"]
        return {"role": "assistant", "content": content}

    def _end(self, rendered: str, start: int) -> int:
        """Where the turn at the end of ``rendered`` is over: after the first of the special tokens that close it."""
        found, rest = 0, rendered
        while len(rest := rest.rstrip()) > start and rest.endswith(self._ends):
            found = len(rest)
            rest = rest[: -len(max(filter(rest.endswith, self._ends), key=len))]
        if found <= start:
            raise ConversationError(
                "the chat template does not end an assistant turn with a special token of the tokenizer: the model "
                "would never stop. --chat-template alpaca ends them with EOS"
            )
        return found

    def _check_mask(self, messages: Messages, start: int, end: int) -> None:
        """Hold the turn at the end of ``messages`` against what the template itself marks as generated."""
        from transformers.utils.chat_template_utils import render_jinja_template

        _, (spans,) = render_jinja_template(
            [messages], chat_template=self.text, return_assistant_tokens_mask=True, **self._tokenizer.special_tokens_map
        )
        before = len(self._render(messages[:-1], False))
        marked = sorted((max(first, start), last) for first, last in spans if last > start)
        reached = start
        for first, last in marked:
            reached = max(reached, last) if first <= reached else reached
        if reached < end:
            raise ConversationError(
                "the template's own {% generation %} mask leaves out a part of an assistant turn, or its end" + _OTHER
            )
        asked_only = all(message["role"] != "assistant" for message in messages[:-1])
        if asked_only and any(first < before for first, last in spans if last > first):
            raise ConversationError("the template's own {% generation %} mask marks more than assistant turns")


def assemble(
    turns: Sequence[Turn], ids_of: Mapping[str, Sequence[int]], encode: Callable[[str], Sequence[int]], split: bool
) -> list[tuple[list[int], list[bool]]]:
    """The samples of one conversation: tokens, and which of them are targets.

    Args:
        ids_of: the tokens of every text of ``turns``.
        encode: tokenises a text that is none of them.
        split: a sample for every turn.

    Raises:
        ConversationError: one sample cannot have every turn's prompt as it is in inference.
    """
    samples: list[tuple[list[int], list[bool]]] = []
    ids: list[int] = []
    targets: list[bool] = []
    for turn in turns:
        prompt, whole = list(ids_of[turn.prompt]), list(ids_of[turn.whole])
        if whole[: len(prompt)] == prompt:
            answer = whole[len(prompt) :]
        else:  # tokens that reach over the end of the prompt are none that the model could generate
            answer = list(encode(turn.whole[len(turn.prompt) :]))
        if split:
            ids, targets = [], []
        elif prompt[: len(ids)] != ids:
            raise ConversationError(
                "with this chat template, the prompt of a later turn does not begin with the earlier turns as they "
                "were generated (it may drop their thoughts): pass --split-turns to make each turn a sample of its own"
            )
        targets = targets + [False] * (len(prompt) - len(targets)) + [True] * len(answer)
        ids = prompt + answer
        if split:
            samples.append((ids, targets))
    return samples or [(ids, targets)]
