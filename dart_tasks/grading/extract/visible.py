"""What a response says aloud in its own turn: without thoughts, and up to the token that ends the turn.

``<think>7? No.</think>It is 8.<|im_end|>`` says ``It is 8.``
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from dart_tasks.grading.verdict import Reasoning

__all__ = ["Visible", "opens_thought", "visible"]

# Formats: DeepSeek-R1, Qwen3, GLM, MiniMax; Kimi; Magistral; OpenThinker; Command A; Apertus; gpt-oss; s1.
_NAME = (
    r"(?:[a-z]{1,12}[:_])?(?:think|thinking|thoughts?|reasoning|reflection|scratchpad|analysis|inner_monologue|cot)"
    r"(?:_[a-z]{1,12})?"
)
_CLOSES = (
    rf"<\s?/\s*{_NAME}\s*>|◁/think▷|\[/THINK\]|<\|end_of_thought\|>|<\|END_THINKING\|>|<\|inner_suffix\|>|<unused95>"
    r"|<｜end▁of▁thinking｜>|<\|/think(?:ing)?\|>|<\|channel\|>\s*final[^<>]{0,40}<\|message\|>|<\|im_start\|>answer\b"
)
_OPENS = (
    rf"<\s?{_NAME}(?:\s[^<>]{{0,100}})?>|◁think▷|\[THINK\]|<\|begin_of_thought\|>|<\|START_THINKING\|>|<\|inner_prefix\|>"
    r"|<unused94>|<｜begin▁of▁thinking｜>|<\|think(?:ing)?\|>|<\|channel\|>\s*(?:analysis|commentary)[^<>]{0,80}<\|message\|>"
    r"|<\|im_start\|>think\b"
)
_HARMONY = re.compile(r"analysis(?=[A-Z])")  # gpt-oss, decoded without its special tokens
_SIGNS = ("<", "◁", "[THINK]", "[/THINK]", "[think]", "[/think]", "[INST]")  # one is in each mark
_ENDS = (
    r"<\|(?:im_end|im_start|endoftext|eot_id|end_of_text|start_header_id|user|end|return|end_of_solution)\|>"
    r"|<(?:end_of_turn|start_of_turn|eos)>|</s>|<｜(?!(?:begin|end)▁of▁thinking)|\[INST\]"
)


_MAY_OPEN = re.compile(r"[<◁]|\[/?(?:THINK|INST)", re.IGNORECASE)  # one is in each mark


@dataclass(frozen=True, slots=True)
class Visible:
    """The text said aloud.

    Attributes:
        unfinished: the response ends inside a thought; the text is empty.
        only_thought: nothing is said but thoughts; the text is that of the thoughts.
    """

    text: str
    unfinished: bool = False
    only_thought: bool = False


@lru_cache(maxsize=16)
def _marks(opening: str, closing: str) -> re.Pattern[str]:
    return re.compile(rf"(?P<close>{closing})|(?P<open>{opening})|(?P<end>{_ENDS})", re.IGNORECASE)


_marks(_OPENS, _CLOSES)  # ready when the first response comes


def opens_thought(prompt: str, reasoning: Reasoning) -> bool:
    """Whether a prompt ends with the tag that opens a thought, so that the response begins inside one."""
    if reasoning is None:
        return False
    opening = _OPENS if reasoning == "auto" else re.escape(reasoning[0])
    return re.search(rf"(?:{opening})\s*\Z", prompt[-200:], re.IGNORECASE) is not None


def visible(response: str, reasoning: Reasoning, thought_opened: bool) -> Visible:
    """The part of a response that can state its answer.

    Args:
        reasoning: ``"auto"``: the usual tags of thoughts; ``(open, close)``: these only; None: nothing is a thought.
        thought_opened: the prompt ended with the opening tag, so the response starts inside a thought.
    """
    if reasoning is None:
        marks = _marks("(?!)", "(?!)")
    elif reasoning == "auto":
        marks = _marks(_OPENS, _CLOSES)
    else:
        marks = _marks(re.escape(reasoning[0]), re.escape(reasoning[1]))
    if reasoning == "auto" and (harmony := _HARMONY.match(response)):
        final = response.find("assistantfinal", harmony.end())
        return Visible(response[final + len("assistantfinal") :]) if final >= 0 else Visible("", unfinished=True)
    if reasoning in ("auto", None) and not any(map(response.__contains__, _SIGNS)):
        return Visible("", unfinished=True) if thought_opened and reasoning else Visible(response)
    said: list[str] = []
    thought = thought_opened  # whether we are inside one
    before = ""  # what was said before a closing tag that nothing opened
    start = 0
    may_have = reasoning not in ("auto", None) or _MAY_OPEN.search(response)
    for mark in marks.finditer(response) if may_have else ():
        if response[mark.start() - 1 : mark.start()] == "`":  # it is spoken of
            continue
        if mark["open"]:
            if not thought:
                said.append(response[start : mark.start()])
            thought = True
        elif mark["close"]:
            if not thought:  # the prompt opened the thought
                before = "".join((*said, response[start : mark.start()]))
                said.clear()
            thought, start = False, mark.end()
        elif not thought and ("".join(said) + response[start : mark.start()]).strip():
            said.append(response[start : mark.start()])
            start = len(response)
            break
        elif not thought:
            start = mark.end()
    if thought:
        return Visible("", unfinished=True)
    text = "".join((*said, response[start:]))
    if text.strip():
        return Visible(text)
    return Visible(before or response, only_thought=True)
