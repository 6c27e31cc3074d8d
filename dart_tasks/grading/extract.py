"""Response -> answer text, by ranked cue, in time linear in the response.

``... so $x=4$. The answer is $\\boxed{4}$.`` gives ``4``, found as "boxed". The cues, strongest first: the last filled
``\\boxed`` (neighbouring final boxes joined), ``####``, ``<answer>`` tags, "final answer is", "answer is"/"Answer:",
and only then what is merely last: the whole of a one-line response, the last formula, the last number.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, replace

from dart_tasks.grading.dollars import MONEY, mark_money

__all__ = ["Extraction", "clean", "ends_in", "find_answer"]

MAX_RESPONSE = 200_000  # characters kept, from the end
MAX_ANSWER = 20_000
MAX_FORMULA = 3_000  # of several lines
MAX_CUTS = 8
MAX_BOXES = 64  # looked at, from the end


@dataclass(frozen=True, slots=True)
class Extraction:
    """An answer's text, the cue it was found by, and whether that cue states it explicitly."""

    answer: str
    source: str
    explicit: bool
    unfinished: bool = False  # the response ends inside a thought


NONE = Extraction("", "none", False)

_RUN_ON = re.compile(
    r"(?m)^[ \t]*(?:#{2,}\s*(?:Instruction|Response|Input|Question|Problem|Query)\b"
    r"|(?:Question|Problem|User|Human|Q|Instruction)\s?\d*\s*:\s)"
    r"|<\|(?:im_end|im_start|endoftext|eot_id|end_of_text|start_header_id|user|end)\|>|</s>|<｜|\[INST\]"
    r"|\nBelow is an instruction that"
)
_THOUGHT = re.compile(
    r"<(?P<close>/)?(?:seed:)?(?:think|thinking|thought|thoughts|reasoning)\b[^<>]{0,100}>"
    r"|(?P<close2>◁/think▷|\[/THINK\]|<\|end_of_thought\|>)|◁think▷|\[THINK\]|<\|begin_of_thought\|>",
    re.IGNORECASE,
)
_ECHO = re.compile(r"question|problem|query|\bq\b", re.IGNORECASE)
_QUOTE = re.compile(r"(?<=\n)>[ \t]+(?=\S)")
_SPACE = re.compile(r"\s{2,}")
_HEADING = re.compile(r"final answer[*_:# ]{0,6}\n\s*([^\n]{1,300})", re.IGNORECASE)
_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*(?=[{\d A-Za-z\\-])")
_BETWEEN_BOXES = re.compile(
    r"[\s$,;.&]*(?:\\quad\s*)*(?:(?:\\text\s*\{\s*)?(?:and|or)\s*\}?)?[\s$,;&]*(?:\\[()\[\]]|\\quad|\s|\$)*",
    re.IGNORECASE,
)
_HASHES = re.compile(r"(?m)####[ \t]*(?!#)(?:(?:the )?(?:final )?answer(?: is)?:?)?[ \t]*(\S[^\n]*)", re.IGNORECASE)
_HOPE = re.compile(r"\s*I hope it is correct\.?\s*$", re.IGNORECASE)
_OPENED = re.compile(r"\\begin\{|\$\$|\\\[")
_ENVIRONMENT = re.compile(r"\\begin\{(\w+\*?)\}.*?\\end\{\1\}|\$\$.*?\$\$|\\\[.*?\\\]", re.DOTALL)
_TAGGED = re.compile(r"<answer>([^<]{1,2000})</answer>", re.IGNORECASE)
_STATED = re.compile(
    r"""\b(?:final|correct|right|required|desired|overall)?[ *_]{0,4}
    (?:(?:answer|ans|solution)s?|(?<=correct\ )option|(?<=correct\ )choice)\b[*_\s]{0,6}
    (?:(?:to|for|of)\ (?:the|this|our)\ (?:given\ |original\ )?(?:question|problem|equation|expression)[*_ ]{0,4})?
    (?:(?:is|are|was|will\ be|would\ be|must\ be|should\ be|equals?|becomes|=)\b[*_ ]{0,4}
       (?:therefore|thus|then|simply|just|indeed|given\ by|as\ follows|equal\ to)?[*_ ]{0,4}:?
    |[*_ ]{0,4}:|=)[*_ \t]*""",
    re.IGNORECASE | re.VERBOSE,
)
_AFTER_MARK = re.compile(r"\\(?:boxed|fbox|framebox)\b|####|</answer>", re.IGNORECASE)
_SENTENCE_END = re.compile(
    r"\.(?=\s+[A-Z*#\"(]|\s*\n|\s*$|\s+I hope)|\n\s*\n|(?<!\\)[!?](?=\s)|(?<=[^\\])\n(?![ \t]*[\\$\[])"
)
# A formula in TeX that may have lines of its own, as matrices do; amounts of money are none.
_INLINE = re.compile(r"\$(?=[^$]*\\)(?:(?!\.\s+[A-Z]|\n\s*\n)[^$])+\$|\\begin\{(\w+\*?)\}.*?\\end\{\1\}", re.DOTALL)
_TAIL = re.compile(
    r"""(?:,|;|\s)\s*\(?(?:which|because|since|as\ (?:required|desired|we|the|it)|so\ (?:that|the|we)|where\ (?:we|the)
    |when\ (?:we|the)|after|given\ that|and\ (?:the|this|that|we|it)|but|I\ hope|that\ is|i\.e
    |(?<=[,;]\ )not|(?<=,\ )so|rather\ than|instead|based\ on)\b.*""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_LEAD = re.compile(
    r"""^[\s:*_]*(?:(?:is|are|be|equals?|equal\ to|approximately|approx\.?|about|roughly|exactly|simply|clearly
    |therefore|thus|given\ by|option|choice|that|therefore,|:)\s+)*""",
    re.IGNORECASE | re.VERBOSE,
)
_FORMULA = re.compile(
    r"\$\$(.{1,2000}?)\$\$|(?<!\\)\$((?:[^$\n\\]|\\[^\n]){1,2000})\$|\\\((.{1,2000}?)\\\)|\\\[(.{1,2000}?)\\\]",
    re.DOTALL,
)
_NUMBER = re.compile(
    rf"(?<![\w.])-?[${MONEY}]?\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?%?"
    rf"|(?<![A-Za-z\d.])-?[${MONEY}]?(?:\d+(?:\.\d+)?(?:/\d+)?|\.\d+)%?"
)
_DELIMITERS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ('"', '"'), ("“", "”"))
_CONNECTIVE = re.compile(
    r"^(?:so|thus|hence|therefore|then|finally)\b[, ]+(?:we (?:have|get|find)(?: that)? )?", re.IGNORECASE
)
_MINUS_BEFORE = re.compile(r"[$=(\[]\s*[-−]\s*$")
MAX_TAIL = 8_000  # characters, from the end, in which a last formula or number is sought
_RETRACTED = re.compile(r"\b(?:wait|actually|mistake|incorrect|wrong|not (?:a )?valid|correction)\b", re.IGNORECASE)
_SUPPOSED = re.compile(
    r"\b(?:if|suppose|assume|assuming|whether|(?:might|may|could) think|some say|common mistake)\b[^.!?]*$"
    r"|\b(?:incorrect|wrong|naive|guess|guess that|guess the|guess that the)\s*$",
    re.IGNORECASE,
)
_NO_ANSWER = frozenset(("right", "wrong", "reasonable", "clear", "obvious", "as follows", "below", "above", "unique"))
_DENIED = re.compile(
    r"not (?!(?:an? [a-z]+|defined|possible|continuous|differentiable|invertible|enough information)$)", re.IGNORECASE
)
_HEDGED = re.compile(r"\bnot\s*$|n't\s*$", re.IGNORECASE)


def _shorter(match: re.Match[str]) -> str:
    return "\n\n" if match[0].count("\n") > 1 else "\n" if "\n" in match[0] else " "


def find_answer(response: str) -> Extraction:
    """The answer that a response states, or the best guess at it; never raises."""
    text, unfinished = _relevant(response)
    if unfinished:
        return Extraction("", "none", False, unfinished=True)
    found = _found(mark_money(text))
    return replace(found, answer=found.answer.replace(MONEY, "$"))


def _found(text: str) -> Extraction:
    marked = _boxed(text) or _hashes(text) or _tagged(text)
    if marked is not None:
        after = _AFTER_MARK.split(text)[-1]
        if not _RETRACTED.search(after):
            return marked
        return _stated(after) or Extraction(marked.answer, marked.source, False)  # taken back: no longer explicit
    return _stated(text) or _last(text) or NONE


def ends_in(response: str, answer: str) -> bool:
    """Whether a response ends with a cue (not a box) and then this answer, word for word.

    It finds answers of several sentences, of which :func:`find_answer` takes the first sentence or the last formula.
    """
    text, wanted = (" ".join(part.split()).rstrip("$. ") for part in (_HOPE.sub("", _relevant(response)[0]), answer))
    before = text.removesuffix(wanted.lstrip("$ ")).rstrip("$ ")[-200:]
    if not wanted or len(before) == len(text):
        return False
    if before.endswith("####"):
        return True
    cue = _final(_STATED, before + " ")
    return cue is not None and cue.end() > len(before) and not _SUPPOSED.search(before[: cue.start()])


def _relevant(response: str) -> tuple[str, bool]:
    """The part that can state the answer: after its thoughts, up to where it runs on; whether a thought stays open."""
    text = _SPACE.sub(
        _shorter, _QUOTE.sub("", response[-MAX_RESPONSE:])
    )  # so that no pattern below meets a long run of spaces
    closed = deque((tag for tag in _THOUGHT.finditer(text) if tag["close"] or tag["close2"]), maxlen=1)
    answered = text[closed[0].end() :] if closed else ""
    text = answered if answered.strip() else text  # what was thought aloud is no answer
    cut = _RUN_ON.search(text, 1)
    for _ in range(MAX_CUTS):
        before = text[: cut.start()] if cut is not None else ""
        # A problem that is repeated before anything is answered is no run-on.
        if cut is None or (before.strip() and (not _ECHO.search(cut[0]) or _answers(before))):
            break
        cut = _RUN_ON.search(text, cut.end())
    text = text if cut is None else text[: cut.start()]
    last = _final(_THOUGHT, text)
    return text, last is not None and not (last["close"] or last["close2"])


def _answers(text: str) -> bool:
    """Whether a text states an answer explicitly."""
    return bool(_boxed(text) or _hashes(text) or _tagged(text) or _stated(text))


# -- boxes --------------------------------------------------------------------------------------------------------


def _boxed(text: str) -> Extraction | None:
    starts = [match.start() for match in _BOX.finditer(text)][-MAX_BOXES:]
    boxes: list[tuple[int, int, str]] = []
    for start in starts:
        end, content = _box_at(text, start)
        if content.strip():
            minus = _MINUS_BEFORE.search(text, max(0, start - 8), start)  # x = -\boxed{5}
            boxes.append((start, end, f"-({content.strip()})" if minus else content.strip()))
    if not boxes:
        return None
    last = boxes[-1]
    hashes = _HASHES.search(text, last[1])
    if hashes is not None and re.search(r"\d", hashes[1]):
        return _hashes(text)
    joined = [last[2]]
    start = last[0]
    for before_start, before_end, content in reversed(boxes[:-1]):
        if before_end > start or start - before_end > 60 or not _BETWEEN_BOXES.fullmatch(text, before_end, start):
            break
        between = text[before_end:start]
        if content in joined or ("\n\n" in between and not re.search(r"\b(?:and|or)\b", between)):
            break
        joined.insert(0, content)
        start = before_start
    return Extraction(", ".join(joined)[:MAX_ANSWER], "boxed", True)


def _box_at(text: str, start: int) -> tuple[int, str]:
    """(end, content) of the box that starts here; an unclosed one reaches to the end of its line or formula."""
    index = start + 1
    while index < len(text) and text[index].isalpha():
        index += 1
    while index < len(text) and text[index] == " ":
        index += 1
    if index >= len(text) or text[index] != "{":
        match = re.compile(r"[^\s$.,;]+").match(text, index)
        return (match.end(), match[0]) if match else (index, "")
    depth = 0
    position = index
    limit = min(len(text), index + MAX_ANSWER)
    while position < limit:
        char = text[position]
        if char == "\\":
            position += 2
            continue
        if char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                return position + 1, text[index + 1 : position]
        position += 1
    rest = text[index + 1 : limit]
    end = min((found for mark in ("$", "\n", "\\]", "\\)") if (found := rest.find(mark)) >= 0), default=len(rest))
    return index + 1 + end, rest[:end].rstrip(" .")


# -- statements ---------------------------------------------------------------------------------------------------


def _hashes(text: str) -> Extraction | None:
    found = _final(_HASHES, text)
    if found is None:
        return None
    answer = clean(found[1] + _rest_of_formula(text, found.start(1), found.end(1)))
    return Extraction(answer[:MAX_ANSWER], "hashes", True) if answer else None


def _rest_of_formula(text: str, start: int, end: int) -> str:
    """What follows a line in which a matrix or a displayed formula is left open, to the end of that formula's line."""
    if end - start > MAX_FORMULA or not _OPENED.search(_ENVIRONMENT.sub("", text[start:end])):
        return ""
    for formula in _ENVIRONMENT.finditer(text, start, start + MAX_FORMULA):
        if formula.end() > end:
            return text[end : formula.end()] + text[formula.end() :].partition("\n")[0]
    return ""


def _tagged(text: str) -> Extraction | None:
    filled = [content.strip() for content in _TAGGED.findall(text) if content.strip()]
    return Extraction(filled[-1], "answer_tag", True) if filled else None


def _stated(text: str) -> Extraction | None:
    heading = _final(_HEADING, text)
    if heading is not None and not _STATED.search(text, heading.start() + 12):
        return Extraction(_clause(heading[1]), "final_answer", True) if _clause(heading[1]) else None
    for match in reversed(list(_STATED.finditer(text))[-32:]):
        if _SUPPOSED.search(text[max(0, match.start() - 60) : match.start()]):
            continue
        answer = _clause(text[match.end() : match.end() + MAX_FORMULA])
        denied = _DENIED.match(answer) and ":" not in match[0]
        if answer and not denied and answer.lower() not in _NO_ANSWER:
            source = "final_answer" if match[0].lower().startswith("final") else "answer_is"
            return Extraction(answer[:MAX_ANSWER], source, True)
    return None


def _clause(text: str) -> str:
    """The answer in the words after "the answer is": up to the sentence's end, without what only explains it."""
    stripped = text.lstrip(" \t\n*_:")
    display = re.match(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]", stripped, re.DOTALL)
    if display:
        return clean(display[1] or display[2])
    end = _SENTENCE_END.search(_INLINE.sub(lambda formula: f"${'x' * (len(formula[0]) - 2)}$", stripped))
    clause = stripped[: end.start()] if end else stripped
    if _HEDGED.search(clause):
        return ""
    if stripped[len(clause) : len(clause) + 1] != "$" and re.search(r"\d!$", clause) and "\\" not in clause:
        clause = clause[:-1]  # an exclamation, outside of formulas
    clause = _TAIL.sub("", _LEAD.sub("", clause))
    formulas = [next(filter(None, match.groups())) for match in _FORMULA.finditer(clause)]
    outside = _FORMULA.sub(" ", clause)
    if formulas and len(re.findall(r"[A-Za-z]{2,}", outside)) > 3:
        return clean(formulas[-1])
    return clean(clause)


# -- what is merely last ------------------------------------------------------------------------------------------


def _last(text: str) -> Extraction | None:
    stripped = text.strip()
    if stripped and "\n" not in stripped:
        stripped = _CONNECTIVE.sub("", stripped)
    if stripped and "\n" not in stripped and len(stripped) <= 300 and len(re.findall(r"[A-Za-z]{3,}", stripped)) <= 6:
        return Extraction(clean(stripped), "whole", False)
    text = text[-MAX_TAIL:]
    formula = _final(_FORMULA, text)
    if formula is not None:
        content = next(filter(None, formula.groups()))
        return Extraction(clean(re.split(r"(?<![<>!:\\])=", content)[-1]), "last_formula", False)
    number = _final(_NUMBER, text)
    return None if number is None else Extraction(number[0], "last_number", False)


def _final(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """The last match."""
    found = deque(pattern.finditer(text), maxlen=1)
    return found[0] if found else None


def clean(answer: str) -> str:
    """An answer without the marks around it: bold, quotes, code, a full stop, dollars."""
    answer = " ".join(answer.split())
    before = None
    while before != answer and answer:
        before = answer
        answer = answer.strip("*` ").removeprefix("__").removesuffix("__")
        if answer.endswith((".", ",", ";", ":")) and not answer.endswith(("\\,", "\\;", "\\:", ".m.", "...")):
            answer = answer.rstrip(answer[-1]).rstrip()
        for opening, closing in _DELIMITERS:
            inside = answer[len(opening) : len(answer) - len(closing)]
            if (
                len(answer) > len(opening) + len(closing)
                and answer.startswith(opening)
                and answer.endswith(closing)
                and opening not in inside
            ):
                answer = inside.strip()
    return answer
