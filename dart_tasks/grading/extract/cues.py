"""Ranked cues over a document's blocks: the first that yields something readable gives the answer.

1. Marks around an answer: JSON, boxes, ``####``, tags; of several, the one that ends last.
2. Sentences that name the answer: "The answer is 5", "Answer: 5", "# Answer", "5 is our answer", "答案是5".
3. What is merely last, never explicit: a response of one line, printed output, the last sentence with a value.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from dart_tasks.grading.extract.asked import asked_by
from dart_tasks.grading.extract.document import (
    DISPLAY,
    FORMULA,
    IMPLIES,
    MAX_TAIL,
    Block,
    Document,
    IsValue,
    prepared,
)
from dart_tasks.grading.extract.dollars import MONEY
from dart_tasks.grading.extract.prose import (
    MAX_CLAUSE,
    MAX_SENTENCE,
    NO_ANSWER,
    NONE,
    Extraction,
    clause_asked,
    count_before_list,
    is_opposite,
    last_list,
    lists_names,
    named_values,
    read_clause,
    read_marked,
    stated_answer,
    unboxed,
    value_in,
)
from dart_tasks.grading.extract.unwrap import MAX_ANSWER, clean
from dart_tasks.grading.extract.visible import visible
from dart_tasks.grading.parse.phrases import choice_letter, choice_letters
from dart_tasks.grading.question import hints
from dart_tasks.grading.verdict import Reasoning

__all__ = ["ends_in", "find"]


@dataclass(frozen=True, slots=True)
class _Mark:
    """An extraction and where its mark stands."""

    start: int
    end: int
    found: Extraction


def _last_mark(document: Document) -> _Mark | None:
    """The mark that ends last."""
    marks = [mark for find in (_json, _boxed, _hashes, _tagged) if (mark := find(document)) is not None]
    return max(marks, key=lambda mark: mark.end) if marks else None


MAX_MARKS = 32  # of each kind, looked at from the end
_JSON_FIELD = re.compile(
    r"[{,\n]\s*[\"'“](?:final[ _-]?|correct[ _-]?|the[ _])?(?:answer|ans|result|option|choice|答案|最终答案)[\"'”]"
    r"\s*[:：]\s*",
    re.IGNORECASE,
)
_STRING_END = re.compile(r"(?<!\\)[\"'”`]+(?=\s*(?:[,}\]\n]|$))")
_JSON_ESCAPE = re.compile(r"\\(\\|\"|/|n(?![a-z])|u([0-9a-fA-F]{4}))")
_GREEK = frozenset("alpha beta gamma delta epsilon theta lambda mu nu rho sigma tau phi omega".split())
_OBJECT_END = re.compile(r"\}\s*(?:```|$)|\n```")


def _json(document: Document) -> _Mark | None:
    """The ``answer`` field of a JSON object, before or after its reasoning, also of one that no parser would take."""
    text = document.text
    if "{" not in text or not ('"' in text or "'" in text or "“" in text):
        return None
    for field in reversed(list(_JSON_FIELD.finditer(text))[-MAX_MARKS:]):
        content = _json_value(text, field.end())
        found = read_marked(content, "json", document)
        if found is not None:
            end = _OBJECT_END.search(text, field.end())
            sentence = f"[{found.answer}]" if text[field.end()] == "[" else found.sentence
            return _Mark(field.start(), end.start() if end else len(text), replace(found, sentence=sentence))
    return None


def _json_value(text: str, start: int) -> str:
    if text[start : start + 1] in "\"'“" and start < len(text):
        end = _STRING_END.search(text, start + 1, start + MAX_CLAUSE)
        content = text[start + 1 : end.start() if end else start + MAX_CLAUSE]
        return _JSON_ESCAPE.sub(_unescaped, content)
    if text[start : start + 1] == "[":
        inside = text[start + 1 : start + MAX_CLAUSE].partition("]")[0]
        return ", ".join(clean(item) for item in inside.split(",")) if "[" not in inside else f"[{inside}]"
    if text[start : start + 1] == "{":
        inside = text[start + 1 : start + MAX_CLAUSE].partition("}")[0]
        return ", ".join(" = ".join(_named(side) for side in item.split(":", 1)) for item in inside.split(","))
    return re.split(r"[,}\n]", text[start : start + MAX_CLAUSE], maxsplit=1)[0]


def _named(side: str) -> str:
    """A key or value of an object; "alpha" is the letter."""
    name = clean(side)
    return f"\\{name}" if name in _GREEK else name


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[2], 16)) if escape[2] else "\n" if escape[1] == "n" else escape[1]


_BETWEEN_BOXES = re.compile(
    r"[\s$,;.&，、；/(?]*(?:\\quad\s*)*(?:(?:\\text\s*\{\s*)?(?:and|or|but|和|或|且|maybe|perhaps)\b\s*\}?){0,2}[\s$,;&]*(?:\\[()\[\]]|\\quad|\\q?quad"
    r"|\s|\$)*"
    r"(?:(?:[-*]\s+)?\$?(?:\\[a-zA-Z]+\s?|[a-zA-Z](?![a-zA-Z]))(?:[^=\n,，;$]{0,40})=\s*)?",
    re.IGNORECASE,
)
_NAMED_BEFORE = re.compile(
    r"\bthe (\w+)(?: \w+)?(?: of [^.\n]{1,30})? (?:is|equals|=)(?:\s|[:$*]|\\[(\[])*$", re.IGNORECASE
)
_AND_THE_NEXT = re.compile(
    r"(?:\s|[$*,;]|\\[)\]])*(?:and|while) the (\w+)(?: \w+)?(?: of [^.\n]{1,30})? (?:is|equals|=)"
    r"(?:\s|[:$*]|\\[(\[])*",
    re.IGNORECASE,
)
_REFUSED_BEFORE = re.compile(
    r"(?:\b(?:not|never|nor|instead of|rather than|other than|except)|n't(?: be)?)\s*[$\\(\[*_:]*\s*$"
    r"|\b(?:wrong|incorrect|false|naive|tempting)\s+(?:answer|result|value|solution|choice)s?\b[^.!?\n]{0,30}$",
    re.IGNORECASE,
)
_GUESS = r"[-−]?\d+(?:[.,/]\d+)*%?"
_OR_AFTER = re.compile(
    rf"[\s$*,]*\bor\s+(?:maybe |perhaps |possibly |[a-z] ?= ?)?[$\\(*]*({_GUESS})(?=[\s$*)]*(?:[.,;!?]|$))"
)
_OR_BEFORE = re.compile(
    rf"(?<![\w.,/^{{])({_GUESS})[\s$*,]+or\s+(?:maybe |perhaps |possibly |[$(\\]*[a-z] ?= ?)?[$\\(*]*$"
)
_PART = re.compile(r"\W*(?:part |question )?\(?(?:[a-h]|i{1,3}|iv|[1-9])\)", re.IGNORECASE)  # (a), (ii), 2)
_MINUS_BEFORE = re.compile(r"[$=(\[]\s*[-−]\s*$")


def _boxed(document: Document) -> _Mark | None:
    """The last filled box; boxes with only commas, "and", "or" and names between them are one answer."""
    text = document.text
    boxes = [box for box in document.boxes if box.content]
    while boxes:
        last = boxes[-1]
        if _REFUSED_BEFORE.search(text, max(0, last.start - 60), last.start):
            boxes.pop()
            continue
        joined = [_signed(text, last)]
        start = last.start
        for before in reversed(boxes[:-1]):
            if before.end > start or start - before.end > 80:
                break
            if not _BETWEEN_BOXES.fullmatch(text, before.end, start) and not _asks_both(document, before, start):
                break
            between = text[before.end : start]
            content = _signed(text, before)
            if content in joined or ("\n\n" in between and not re.search(r"\b(?:and|or)\b|或|和", between)):
                break
            joined.insert(0, content)
            start = before.start
        other = _OR_AFTER.match(text, last.end) or _OR_BEFORE.search(text, max(0, start - 40), start)
        if other is not None and other[1] not in joined:
            joined[-1] += rf" \text{{ or }} {other[1]}"
        found = read_marked(", ".join(joined), "boxed", document)
        if found is not None:
            in_parts = all(_PART.match(text[: box.start].rpartition("\n")[2]) for box in boxes)
            in_a_row = all(_AND_THE_NEXT.fullmatch(text, box.end, after.start) for box, after in pairwise(boxes))
            if len(boxes) > 1 and (in_parts or in_a_row):
                found = replace(found, sentence=", ".join(_signed(text, box) for box in boxes))
            return _Mark(start, last.end, found)
        boxes.pop()
    return None


def _asks_both(document: Document, box: Block, start: int) -> bool:
    """Whether two boxes are values of two names that the question asks for, as of a minimum and a maximum."""
    second = _AND_THE_NEXT.fullmatch(document.text, box.end, start)
    first = second and _NAMED_BEFORE.search(document.text, max(0, box.start - 80), box.start)
    if not first or not second:
        return False
    names = [re.escape(name[1]) for name in (first, second)]
    question = document.question or ""
    return any(
        re.search(
            rf"\b(?:find|what|determine|compute|calculate|give|state)\b[^.?]{{0,60}}\b{one}\b[^.?]{{0,60}}\band\b[^.?]{{0,40}}\b{other}\b",
            question,
            re.IGNORECASE,
        )
        for one, other in (names, names[::-1])
    )


def _signed(text: str, box: Block) -> str:
    minus = _MINUS_BEFORE.search(text, max(0, box.start - 8), box.start)  # x = -\boxed{5}
    return f"-({box.content})" if minus else box.content


_HASHES = re.compile(
    r"####[ \t]*(?!#)(?:(?:the )?(?:final )?answer(?: is)?:?)?[ \t]*([^\s#](?:(?!####)[^\n])*)", re.IGNORECASE
)
_STEP = re.compile(
    r"\*{0,2}(?:step|part|case|method|approach|solution|conclusion|problem|verification|note)\b"
    r"|\*{0,2}\d{1,2}[.)]\s+\*{0,2}[A-Za-z]",
    re.I,
)
_OPENED = re.compile(r"\\begin\{|\$\$|\\\[")
_FIRST_VALUE = re.compile(rf"[-−]?[{MONEY}$€£]?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?(?=[\s.]|$)(?!\s*[|/&;]\s*\d)")


def _hashes(document: Document) -> _Mark | None:
    """``#### 18``, as GSM8K's solutions end, also in the middle of a sentence; not a heading."""
    if "####" not in document.text:
        return None
    for hashes in reversed(list(_HASHES.finditer(document.text))[-MAX_MARKS:]):
        line = hashes[1] + _rest_of_formula(document.text, hashes.start(1), hashes.end(1))
        text = clean(unboxed(line))
        if not text or _STEP.match(text):
            continue
        first = _FIRST_VALUE.match(text)
        if document.is_value(text) or "\\begin" in text:
            found = stated_answer(text, "hashes")
        elif first:
            found = stated_answer(clean(first[0]), "hashes", text)
        elif _is_heading(document.text, hashes):
            continue
        else:
            found = stated_answer(value_in(text, document, bounds=False) or text, "hashes", text)
        return _Mark(hashes.start(), hashes.end(), found)
    return None


def _is_heading(text: str, hashes: re.Match[str]) -> bool:
    """Whether ``#### words`` is a heading: no sentence, with text below it or headings of other ranks above it."""
    if re.search(r"[.!]\s|[=$]", hashes[1]):
        return False
    return bool(text[hashes.end() :].strip()) or bool(re.search(r"(?m)^#{1,3} ", text[: hashes.start()]))


def _rest_of_formula(text: str, start: int, end: int) -> str:
    """What follows a line in which a matrix or a displayed formula is left open, to the end of that formula's line."""
    if end - start > MAX_CLAUSE or not _OPENED.search(DISPLAY.sub("", text[start:end])):
        return ""
    for formula in DISPLAY.finditer(text, start, start + MAX_CLAUSE):
        if formula.end() > end:
            return text[end : formula.end()] + text[formula.end() :].partition("\n")[0]
    return ""


_TAG = re.compile(
    r"<(?P<name>(?:final_?|correct_?)?answer|solution|final|ans|result)(?:\s[^<>\n]{0,100})?>"
    r"|</(?P<end>(?:final_?|correct_?)?answer|solution|final|ans|result)\s*>?"
    r"|\[(?P<bracket>/?)(?:ANSWER|FINAL ANSWER|SOLUTION)\]",
    re.IGNORECASE,
)


_OR = re.compile(r"\s*(?:or|/)\s*", re.IGNORECASE)


def _tagged(document: Document) -> _Mark | None:
    """``<answer>...</answer>`` and its like, closed or not; a _whole solution inside is read as a document."""
    text = document.text
    if "<" not in text and "[" not in text:
        return None
    tags = list(_TAG.finditer(text))[-MAX_MARKS:]
    for index in range(len(tags) - 1, -1, -1):
        tag = tags[index]
        closing = tag["end"] or tag["bracket"]
        if closing and index and not (tags[index - 1]["end"] or tags[index - 1]["bracket"]):
            continue
        if closing:  # without an opening one: the line before it, from a closing one that stands for it
            start, end = text.rfind("\n", 0, tag.start()) + 1, tag.start()
            start = max(start, tags[index - 1].end()) if index else start
            continue_at = tag.end()
        else:
            start = tag.end()
            end = tags[index + 1].start() if index + 1 < len(tags) else len(text)
            continue_at = tags[index + 1].end() if index + 1 < len(tags) else len(text)
        content = _TAG.sub(" ", text[max(start, end - MAX_ANSWER) : end]).strip()
        if index > 1 and _OR.fullmatch(text, tags[index - 1].end(), tag.start()):
            content = f"{text[tags[index - 2].end() : tags[index - 1].start()][-MAX_ANSWER:]} or {content}"
        if not closing and index + 1 == len(tags):
            content = content.partition("\n\n")[0]
        if not content or content in ("...", "…"):
            continue
        found = _in_tag(content, document)
        if found is not None:
            return _Mark(tag.start(), continue_at, found)
    return None


def _in_tag(content: str, document: Document) -> Extraction | None:
    inner = document.part(content)
    mark = _last_mark(inner)
    explicit = mark.found if mark else (_stated(inner) if "\n" in content or ". " in content else None)
    if explicit is not None:
        return replace(explicit, source="answer_tag")
    if "\n" in content.strip() or ". " in content:
        value = clean(content)
        if not document.is_value(value):
            last = _concluded(inner)
            return replace(last, source="answer_tag", explicit=True, sentence=value[:MAX_ANSWER]) if last else None
    return read_marked(content, "answer_tag", document)


MAX_STATEMENTS = 32  # looked at, from the end
_STATED = re.compile(
    r"""(?:\b(?:answer|ans|solution(?:\ set)?)s?\b
      |(?<=correct\ )(?:option|choice)\b|(?<=right\ )(?:option|choice)\b)[*_\s`]{0,6}
    (?:\([^()\n]{1,40}\)[*_\s]{0,4})?
    (?:(?:to|for|of)\ (?:the|this|our|your)\ [^.\n:$]{1,60}?[*_\ ]{1,4}(?=is\b|are\b)
      |(?:to|for|of)\ (?:the|this|our)\ (?:given\ |original\ )?(?:question|problem|equation|expression)[*_ ]{0,4}(?=:))?
    (?:(?:is|are|was|will\ be|would\ be|must\ be|should\ be|equals?|becomes|=)(?![A-Za-z])[*_ ]{0,4}
       (?:therefore|thus|then|simply|just|indeed|given\ by|as\ follows|equal\ to)?[*_ ]{0,4}[:：]?
    |[*_ ]{0,4}[:：]|=|\ +[-–—]\ )[*_ \t]*
    |(?m:^)[ \t#>*_-]*(?:Output|A|Ans|Answer)[*_ ]{0,4}(?:[:：]|->|→|=>)[*_ \t]*
    |(?m:^)[ \t]*\*\*(?:Final\ )?Answer\.\*\*
    |(?m:^)[ \t]*(?:\#{1,6}[ \t]*|\*\*)(?:\d+[.)]\s*)?(?:final\ |the\ )?answers?[*_: ]{0,6}(?=\n)
    |\b(?:roots|zeros)(?:\ of\ [^.:\n]{1,40})?\ are[*_ ]{0,4}[:：][*_ \t]*(?=\n)
    |[【\[]\s*(?:最终)?答案\s*[】\]][*_:： \t]*|(?:最终)?(?:答案|答)\s*(?:应该|应)?(?:是|为|选|：|:)+[*_ \t]*[：:]?
    |(?:(?<=[故此以应该确，,。；\s])|(?<!.))选(?:择|项(?=[为是：:]))?[为是]?\s*[：:]?(?=[\s*$\\({（]*[A-J])""",
    re.IGNORECASE | re.VERBOSE,
)
_NOT_STATED = re.compile(
    r"\b(?:intermediate|partial|previous|first|second|third|fourth|incorrect|wrong|that"
    r"|(?:check|verify) (?:the|our|your|this|my)"
    r"|student'?s?)\s*$",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(
    r"\b(?:if|suppose|assume|assuming|whether|(?:might|may|could) think|some say|common mistake)\b[^.!?]*$"
    r"|\b(?:doubt|false that|unlikely|no one (?:knows|says)"
    r"|(?:friend|student|teacher|neighbou?r|someone|people|others) (?:says?|said|thinks?|claims?|believes?)"
    r"|(?:do|does|did|can|could|would|am|is) ?(?:not|n't) (?:say|think|believe|claim|know|agree|sure))\b"
    r"(?:(?!\b(?:but|so|yet|hence|thus|therefore)\b)[^.!?;])*$"
    r"|\b(?:incorrect|wrong|naive|guess|guess that|guess the|guess that the|intermediate|partial)\s*$",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"not (?!(?:an? [a-z]+|defined|possible|continuous|differentiable|invertible|enough information)$)", re.IGNORECASE
)
_FINAL_BEFORE = re.compile(r"\bfinal[ *_]{0,4}$", re.IGNORECASE)
_AFTERWARDS = re.compile(
    r"\b(?:is|are|as|for|be)\s+(?:therefore\s+|thus\s+)?(?:(?:our|the|my|your)\s+)"
    r"(?:final\s+|correct\s+|required\s+|desired\s+)?(?:answer|solution)\s*(?:[.!]|$|\n)",
    re.IGNORECASE,
)
_NOT_THE = re.compile(r"(?:\b(?:not|never|cannot|could|might|may)|n't)\s*$", re.IGNORECASE)
_DIGIT = re.compile(r"\d")
_TAKEN_BACK = re.compile(
    r"\bHowever\b|\b(?:But|but) wait\b|\bWait\b|\bmy mistake\b|\bmade (?:a|an) (?:mistake|error)\b"
)
_BACK_WORDS = ("However", "wait", "Wait", "mistake", "error")
_COLON = re.compile(r"[:：】\]]|->|→|=>")


_WORDS = (
    "ans",
    "solution",
    "option",
    "choice",
    "output",
    "roots",
    "zeros",
    "答",
    "选",
    "\na",
)  # one is in each statement


def _statements(text: str) -> Iterator[re.Match[str]]:
    """Where an answer is named, from the last to the first: the pattern is tried only where its words stand."""
    lower = text.lower()
    if len(lower) != len(text):  # İ
        yield from reversed(list(_STATED.finditer(text)))
        return
    starts: set[int] = {0}
    for word in _WORDS:
        hit = lower.find(word)
        while hit >= 0:
            if not (word[0].isascii() and hit and lower[hit - 1].isalpha()):
                starts |= {hit, lower.rfind("\n", max(0, hit - 40), hit + 1) + 1}
            hit = lower.find(word, hit + 1)
    for bracket in ("【", "[", "最终"):
        if bracket in text and "答案" in text:
            starts |= {found.start() for found in re.finditer(re.escape(bracket), text)}
    end = len(text) + 1
    for start in sorted(starts, reverse=True):
        match = _STATED.match(text, start)
        if match is not None and match.end() <= end:
            end = match.start() if match.start() < end else end
            yield match


def _stated(document: Document) -> Extraction | None:
    """The last sentence that names the answer: "The answer is 5", "Answer: 5", "答案是5", "# Answer"."""
    text = document.text
    words: Extraction | None = None
    tried = 0
    for match in _statements(text):
        before = text[max(0, match.start() - 60) : match.start()]
        if NO_ANSWER.match(text, match.end()) or _SUPPOSED.search(before) or _NOT_STATED.search(before):
            continue
        tried += 1
        if tried > MAX_STATEMENTS:
            break
        behind = text[match.end() : match.end() + MAX_CLAUSE]
        colon = behind.startswith("\n") or bool(_COLON.search(match[0]))
        answer, sentence, readable, stop = read_clause(behind, document, colon)
        if not answer or (_DENIED.match(answer) and not colon):
            continue
        is_a = match[0].strip(" \t#>*_-:：").lower() == "a"  # A: Let us think
        if is_a and not re.search(r"[\d\\]", answer) and not document.is_value(answer):
            continue
        rest = text[match.end() + stop :]
        if (
            match[0].lower().startswith(("solution", "roots", "zeros"))
            or (any(map(rest.__contains__, _BACK_WORDS)) and _TAKEN_BACK.search(rest))
        ) and _DIGIT.search(rest, 1):
            continue  # one of a step, or taken back
        final = "final" in match[0].lower() or _FINAL_BEFORE.search(before)
        found = Extraction(answer[:MAX_ANSWER], "final_answer" if final else "answer_is", True, sentence[:MAX_ANSWER])
        if readable:
            return found
        words = words or (None if NO_ANSWER.match(answer) else found)
    tail = text[-MAX_TAIL:]
    may_be_named = "answer" in tail or "solution" in tail or "Answer" in tail
    for match in reversed(list(_AFTERWARDS.finditer(tail))[-4:]) if may_be_named else ():
        line = match.string[: match.start()].rpartition("\n")[2]
        if _SUPPOSED.search(line[-300:]) or _NOT_THE.search(line[-300:]):
            continue
        part = re.split(r"[,;]\s|\bthat\b|\.\s", line)[-1]
        if value := value_in(part, document, bounds=False):
            return Extraction(value, "answer_is", True, clean(part))
    return words if words and len(words.answer) <= 200 else None


_CONNECTIVE = re.compile(
    r"^(?:so|thus|hence|therefore|then|finally)\b[, ]+(?:we (?:have|get|find)(?: that)? )?", re.IGNORECASE
)
_NO_CONCLUSION = re.compile(
    r"\W*(?:check(?!ing\b.*\b(?:find|get|conclude)\b)|verif"
    r"|verif|not(?:e|ice)\b|for example|for these values|of course|we check|let me know|let us know"
    r"|i hope|hope this|feel free|please|would you|do you"
    r"|if you(?: (?:have|need|want|would|are|wish|like)|['’]d)\b"
    r"|remember"
    r"|is there|to (?:verify|check|confirm)\b|(?:we|you) can (?:check|verify|confirm)|double-check|indeed\b"
    r"|alternatively"
    r"|(?:this|it|which) (?:follows (?:from|by)|makes sense|agrees|matches"
    r"|is (?:a |the )?(?:standard|well[- ]known|classic|known|famous))"
    r"|\((?=[^()]*[a-z]{3})[^()]{4,}\)\W*$)",
    re.IGNORECASE,
)
_INTENTION = re.compile(
    r"\W*(?:to (?:find|solve|determine|calculate|compute)\b"
    r"|(?:now,? |next,? |first,? )?(?:let['’]?s|let us|we (?:need|want|have|will|should|are going) (?:now )?to)\b).*"
    r"|.*\?\W*",
    re.IGNORECASE | re.DOTALL,
)
_AFTERTHOUGHT = re.compile(
    r"\n[ \t]*(?:(?:#{1,6}[ \t]*|\*{1,2}|\()"
    r"(?:Explanation|Breakdown|Verif\w+|Check\w*|Notes?|Reasoning|Why|Alternative|Additional|Remark)\b"
    r"|(?:Explanation|Comment|Verif\w+|Check\w*|Notes?|Reasoning|Remark|验证|检验|注)\s*[:：])",
    re.IGNORECASE,
)
_SENTENCES = re.compile(
    r"(?<=[.!?])(?<!Mr\.)(?<!Mrs\.)(?<!Ms\.)(?<!Dr\.)(?<!St\.)[*_)]{0,2}\s+(?=[A-Z*_#\"“(\[$\\✅])|[。！？\n]"
)
_UNABLE = re.compile(
    r"\bcan(?:not|'t| not) be (?:solved|determined|answered|found)|\b(?:I|we) can(?:not|['’]t) (?:solve|answer|help) "
    r"(?:with )?(?:this|that|your)|\b(?:not enough|insufficient) information"
    r"|\bunable to",
    re.IGNORECASE,
)
_NUMBERS = re.compile(r"\d+")
_NO_TEXT = re.compile(r"[\ud800-\udfff\u202a-\u202e]")  # broken, or shown in another order than written
_INEQUALITY = re.compile(r"(?!.*[A-Za-z]{3})[^<>≤≥]{1,20}[<>≤≥].{1,30}")
# typed plainly: 5 + 2√3, 2 x 3 x 5
_EXPRESSION = re.compile(r"(?=.*[√π^*/+(×]|.*\d x \d|.*[\d)][a-eiknp-z](?![a-z]))(?!.*[A-Za-z]{2})(?=.*\d)[^$]{1,60}")
_NOT = re.compile(r"\bnot\b|n't\b", re.IGNORECASE)
_SAYS = re.compile(
    r".*(?:\b(?:is|are|be|equals?|equal to|gives|get|have|to be)\b\s*:?|[=≈:：])\s*", re.IGNORECASE | re.DOTALL
)


_ALL_SUCH = re.compile(r".*\b(?:all|any) .{0,40}\b(?:such that|where|with|for which)\s+")  # all x such that x > 2
_LABEL = re.compile(r"^(?:[A-Za-z][A-Za-z' ]{1,60}:|[A-Z][a-z]{2,} =)\s+(?=[^\s:=]+$|[A-Za-z ]+$)")  # Ben: 60
_IS_CALLED = re.compile(r"\d+ = ([A-Z]{2,})")  # 2024 = MMXXIV
_PROSE = re.compile(r"\$,? [a-z]+ [a-z]+|^[A-Za-z'’-]{2,} [a-z'’-]{2,}\b|^\$ [a-z]{1,12}$")
_TOTALS = re.compile(
    r"\b(?:almost|nearly)\b|[,;]\s+(?:and )?(?:together|total|altogether|in all|sum)\b", re.IGNORECASE
)  # Ann: 5, Ben: 7


def _whole(document: Document) -> Extraction | None:
    """A response of one short line."""
    line = document.text.strip()
    if not line or "\n" in line or len(line) > 300:
        return None
    line = _LABEL.sub("", _CONNECTIVE.sub("", line))
    answer = clean(line)
    if name := _IS_CALLED.fullmatch(answer):
        return Extraction(name[1], "whole", False, answer)
    is_working = (  # 2 * 3 = 6, and 6 + 1 = 7
        answer.count("=") > 1 and (re.search(r"[,;→]\s", answer) or IMPLIES.search(answer)) and not lists_names(answer)
    )
    if (count := count_before_list(answer, document)) is not None:
        return Extraction(count, "whole", False, answer)
    if is_working or _TOTALS.search(answer) or "\\equiv" in answer or "\\begin{align" in answer:
        return None
    if is_opposite(line, asked_by(document.question)):
        return None
    has_digits = _DIGIT.search(answer)
    is_prose = has_digits and _PROSE.search(FORMULA.sub("$", answer))
    few = 8 if has_digits or ". " in answer else 24
    if (document.is_value(answer) and not is_prose) or (len(answer.split()) <= few and not value_in(line, document)):
        in_words = "" if has_digits else value_in(line, document, bounds=False)  # the logarithm equals four
        return Extraction(answer, "whole", False, in_words)
    return None


def _printed(document: Document) -> Extraction | None:
    """What a program _printed, where the response ends with that."""
    line = document.output.rpartition("\n")[2]
    return Extraction(clean(line), "output", False) if line.strip() else None


_PERSONS = re.compile(r"(?:^|\n)((?:[-*•\s]{0,4}[A-Z][a-z]+(?:['’]s [a-z ]{1,30})?\**[:=] [^\n]{1,60}(?:\n|$)){2,6})$")


_ROW, _END = "\\\\", "\\end{"


def _concluded(document: Document) -> Extraction | None:
    """The value in the last sentence or formula that has one."""
    tail = document.text[-MAX_TAIL:]
    if _NO_TEXT.search(tail):
        return None
    if tail.count("```") % 2 and (before := tail.rpartition("```")[0]).strip():
        tail = before  # JSON or a program that was begun
    for afterthought in _AFTERTHOUGHT.finditer(tail):
        if re.search(r"\d", tail[: afterthought.start()]):
            tail = tail[: afterthought.start()]
            break
    if (items := last_list(tail, document)) is not None:
        return Extraction(items, "last_formula", False)
    if (person := _PERSONS.search(tail[-400:])) is not None:
        told = person[1].strip().replace("\n", "; ")
        clause = clause_asked(told, asked_by(document.question))
        if clause != told and clause.split(":")[0].split("'")[0].strip("-* ") in (document.question or ""):
            return _in_last(clause, document)
    ends = [0]
    pieces: list[tuple[str, bool]] = []
    for display in DISPLAY.finditer(tail):
        pieces.append((tail[ends[-1] : display.start()], False))
        pieces.append((display[0], True))
        ends.append(display.end())
    pieces.append((tail[ends[-1] :], False))
    begins_at_end = True
    noted = ""
    tried: set[str] = set()  # what a model repeats is read once
    for piece, is_display in reversed(pieces):
        for sentence in (piece,) if is_display else reversed(_sentences(piece)):
            if not sentence.strip() or sentence in tried:
                continue
            if _NO_CONCLUSION.match(sentence):
                noted = noted or sentence
                continue
            tried.add(sentence)
            if len(sentence) > MAX_SENTENCE or (len(sentence) > 300 and len(_NUMBERS.findall(sentence)) > 60):
                if "\\end{align" not in sentence[-30:]:
                    return None  # a model that no longer says anything
                sentence = f"${sentence.rpartition(_ROW)[2].partition(_END)[0].replace('&', ' ')}$"
            if "=" not in sentence and _INTENTION.fullmatch(sentence):
                if begins_at_end and "?" not in sentence:
                    return None  # it ends before it gets anywhere
                continue
            begins_at_end = False
            if _UNABLE.search(sentence):
                return Extraction(clean(sentence)[:MAX_ANSWER], "last_sentence", False)
            found = _in_last(sentence, document)
            if found is not None:
                return replace(found, sentence=named_values(tail, document) or found.sentence)
    return _in_last(noted, document) if noted.startswith("Not") else None


def _in_last(sentence: str, document: Document) -> Extraction | None:
    sentence = clause_asked(_CONNECTIVE.sub("", sentence.strip()).replace(",$ ", "$, "), asked_by(document.question))
    says = _SAYS.match(sentence)
    said = clean(sentence[says.end() :] if says else sentence)
    inequality = clean(_ALL_SUCH.sub("", sentence))
    if len(inequality) < 40 and _INEQUALITY.fullmatch(inequality) and document.is_value(inequality):
        return Extraction(inequality, "last_formula", False)
    value = (
        said
        if (_EXPRESSION.fullmatch(said) or (said.startswith(("all ", "any ")) and not _NOT.search(sentence)))
        and document.is_value(said)
        else value_in(sentence, document, bounds=True)
    )
    if not value:
        return None
    from_formula = any(value in formula[0] for formula in FORMULA.finditer(sentence))
    return Extraction(value[:MAX_ANSWER], "last_formula" if from_formula else "last_number", False, clean(sentence))


def _sentences(text: str) -> list[str]:
    masked = FORMULA.sub(_masked, text)
    ends = [0, *(end.end() for end in _SENTENCES.finditer(masked)), len(text)]
    return [text[start:end] for start, end in pairwise(ends)]


def _masked(formula: re.Match[str]) -> str:
    """Nothing in a formula ends a sentence but a full stop at its end."""
    inside = formula[0].rstrip("$]) \\")
    return "x" * (len(formula[0]) - 1) + ("." if inside.endswith(".") else "x")


_RETRACTED = re.compile(r"\b(?:wait|actually|mistake|incorrect|wrong|not (?:a )?valid|correction)\b", re.IGNORECASE)


_CHOICE_BESIDE = re.compile(
    r"[\s$.,;:*)\\\]]*(?:(?:which|this|that|it) )?(?:is |corresponds to |matches |i\.e\.,? )?(?:the )?"
    r"\(?(?:(?:correct )?(?:option|choice|answer)) \(?([A-J])\b",
    re.IGNORECASE,
)


_NUMERAL = re.compile(rf"[{MONEY}$]?\s*(-?\d[\d,]*)(?:\.0+)?(?: [a-z]+)?")


def _marked(document: Document) -> Extraction | None:
    """The last of the marks, unless what follows takes it back; beside options, with the letter named after it."""
    mark = _last_mark(document)
    if mark is None:
        return None
    found = mark.found
    after = document.part(document.text[mark.end :])
    if _RETRACTED.search(after.text):
        return _stated(after) or replace(found, explicit=False)
    if _NUMERAL.fullmatch(found.answer) and "answer" in after.text and (later := _stated(after)) is not None:
        number, other = (_NUMERAL.fullmatch(text) for text in (found.answer, later.answer))
        if number and other and not later.sentence and number[1].replace(",", "") != other[1].replace(",", ""):
            return later  # \boxed{4}. So the answer is 5.
    if hints(document.question).choices and choice_letter(found.answer) is None and not choice_letters(found.answer):
        named = _stated(after)
        beside = _CHOICE_BESIDE.match(after.text)
        letter = choice_letter(named.answer) if named else beside[1] if beside else None
        if letter:
            return replace(found, answer=f"({letter}) {found.answer}")
    return found


def _is_stated(document: Document) -> bool:
    """Whether a text states an answer explicitly."""
    return _last_mark(document) is not None or _stated(document) is not None


CUES: tuple[Callable[[Document], Extraction | None], ...] = (_marked, _stated, _whole, _printed, _concluded)


# -- the whole response

MAX_RESPONSE = 200_000  # characters kept, from the end
MAX_CUTS = 8

_RUN_ON = re.compile(
    r"\n(?:[ \t]*(?:#{1,6}\s*(?:Instruction|Response|Input|Question|Problem|Query|Exercise|Example|Task)\b"
    r"|[*\[<(]{0,2}(?:(?:Next|New|Another|Sample|Similar)\s+)?"
    r"(?:Question|Problem|Exercise|Example|User|Human|Q|Instruction|Input|Task|Query|问题|题目|例题?)"
    r"\s?#?\d{0,3}[*\])>]{0,2}\s*[:：.][*\s]"
    r"|[*\[<(]{1,2}(?:Question|Problem|Exercise|Example)\s?#?\d{0,3}[*\])>]{1,2}\s)"
    r"|Below is an instruction that"
    r"|\s*\n(?=[A-Z][^\n]{40,800}\?\s*\n)(?=[^\n]*\b(?:[Hh]ow (?:many|much|long|old|far)|[Ww]hat (?:is|are|was)"
    r"|[Ff]ind)\b))"
)
_HOPE = re.compile(r"\s*I hope it is correct\.?\s*$", re.IGNORECASE)


def find(
    response: str, is_value: IsValue, question: str | None, reasoning: Reasoning, thought_opened: bool
) -> Extraction:
    """The answer that a response states, or the best guess at it; never raises for a string.

    Args:
        is_value: whether an answer's text can be compared as it stands.
        question: the query's text; of a sentence's values it tells which one is asked for.
        reasoning: ``"auto"``, the tags ``(open, close)`` of thoughts, or None where nothing is a thought.
        thought_opened: the prompt ended with the opening tag, so that the response starts inside a thought.
    """
    seen = visible(response, reasoning, thought_opened)
    if seen.unfinished:
        return replace(NONE, unfinished=True)
    document = _own(Document(prepared(seen.text[-MAX_RESPONSE:]), is_value, question))
    for cue in CUES:
        found = cue(document)
        if found is not None and found.answer:
            if not seen.only_thought and MONEY not in found.answer and MONEY not in found.sentence:
                return found
            return replace(
                found,
                answer=found.answer.replace(MONEY, "$"),
                sentence=found.sentence.replace(MONEY, "$"),
                explicit=found.explicit and not seen.only_thought,
            )
    return NONE


def _is_bare(document: Document) -> bool:
    """Whether a text is a value and no more, as base models answer before they invent a next problem."""
    line = document.text.strip()
    return (
        "\n" not in line
        and len(line) <= 60
        and line[:2] != "1."
        and bool(_DIGIT.search(line))
        and document.is_value(clean(line))
    )


_CONCLUDES = re.compile(
    r"(?:so|thus|hence|therefore|in total|altogether|this means|that means)\b.*\d.*"
    r"|.*=\s*[-$＄£€]?\d[\d,.]*[^=]{0,40}",
    re.IGNORECASE,
)


_POSED = re.compile(r"\s*(?:(?:Q|Question|Problem|User|Human)\s*[:：]|[A-Z][^\n]*\.\s[^\n]*\?\s*\n)")


def _concludes(document: Document, at: int) -> bool:
    """Whether the line before a next problem says what comes out: "So 14 boxes are filled.", "5 + 2 = 7 apples.".

    Before a problem that is posed, and is not the question once more, any sentence with a value does.
    """
    line = document.text[:at].rstrip().rpartition("\n")[2]
    last = _sentences(line)[-1].strip() if line.strip() else ""
    if last.endswith((".", "!")) and _CONCLUDES.fullmatch(last) is not None:
        return True
    if document.question is None or not last.endswith((".", "!")) or not _POSED.match(document.text, at):
        return False
    own, posed = ("".join(filter(str.isalnum, text)) for text in (document.question[:60], document.text[at : at + 200]))
    return own[:24] not in posed and not _INTENTION.fullmatch(last) and _in_last(last, document) is not None


def _own(document: Document) -> Document:
    """The document up to where it runs on into a next problem; a problem repeated before any answer is no run-on."""
    text = document.text
    cut = _RUN_ON.search(text, 1) if "\n" in text else None
    for _ in range(MAX_CUTS):
        if cut is None:
            return document
        before = document.part(text[: cut.start()])
        if _is_stated(before) or _is_bare(before) or _concludes(document, cut.start()):
            return before
        cut = _RUN_ON.search(text, cut.end())
    return document


def ends_in(response: str, answer: str, is_value: IsValue, reasoning: Reasoning, thought_opened: bool) -> bool:
    """Whether a response ends with a cue (not a box) and then this answer, word for word.

    It finds answers of several sentences, of which :func:`find` takes the first sentence or the last formula.
    """
    seen = visible(response, reasoning, thought_opened)
    said = _own(Document(prepared(seen.text[-MAX_RESPONSE:]), is_value)).text
    text, wanted = (" ".join(part.replace(MONEY, "$").split()).rstrip("$. ") for part in (_HOPE.sub("", said), answer))
    wanted = wanted.lstrip("$ ")
    if not wanted or not text.endswith(wanted):
        return False
    before = text.removesuffix(wanted).rstrip("$ ")[-200:]
    if before.endswith("####"):
        return True
    cues = deque(_STATED.finditer(before + " "), maxlen=1)
    return bool(cues) and cues[0].end() >= len(before) and not _SUPPOSED.search(before[: cues[0].start()])
