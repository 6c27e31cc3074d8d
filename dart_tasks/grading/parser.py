"""Tokens -> tree, by recursive descent of bounded depth. This layer reads what holds several values::

    sequence  = relation { ("," | ";" | "and" | "or") relation }
    relation  = sets { ("=" | "<" | "\\le" | "\\in" | ":" ...) sets }
    sets      = sum { ("\\cup" | "\\cap" | "\\setminus") sum }

Sums and everything below them are in :mod:`dart_tasks.grading.expressions`.
"""

from __future__ import annotations

from typing import Literal, cast

from dart_tasks.grading.cursor import END
from dart_tasks.grading.expressions import ExpressionParser
from dart_tasks.grading.lexer import Token, UnreadableError, plain, tokenize
from dart_tasks.grading.nodes import Builder, Group, Matrix, Node, Relation, Sequence, SetOperation, depth
from dart_tasks.grading.pieces import joined

__all__ = ["parse", "parse_tokens"]

_MARKS = {
    "=": "=", "==": "=", ":=": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!=": "!=", ":": ":", "->": "->",
    "=>": "->",
}  # fmt: skip
_COMMANDS = {
    "eq": "=", "equiv": "=", "lt": "<", "gt": ">", "le": "<=", "leq": "<=", "leqslant": "<=", "leqq": "<=", "ge": ">=",
    "geq": ">=", "geqslant": ">=", "geqq": ">=", "ne": "!=", "neq": "!=", "approx": "~", "simeq": "~", "sim": "~",
    "cong": "~", "doteq": "~", "in": "in", "to": "->", "rightarrow": "->", "mapsto": "->", "implies": "->",
    "Rightarrow": "->", "colon": ":",
}  # fmt: skip
_CONNECTIVES = {"land": "and", "wedge": "and", "lor": "or", "vee": "or"}
_SET_OPERATORS: dict[str, Literal["union", "intersection", "minus"]] = {
    "cup": "union", "bigcup": "union", "cap": "intersection", "setminus": "minus", "backslash": "minus",
}  # fmt: skip
_CLOSERS = {")": ")", "]": "]", "rangle": ">", "}": "}"}
_CLOSING = frozenset((")", "]", "}", "rangle"))
MAX_TREE_DEPTH = 80
_MATRICES = frozenset("matrix pmatrix bmatrix Bmatrix smallmatrix array cases".split())


def parse(text: str) -> Node:
    """The tree of an answer's text.

    Raises:
        UnreadableError: it is not mathematics that this grammar covers, or exceeds the bounds.
    """
    return parse_tokens(tokenize(plain(text)))


def parse_tokens(tokens: list[Token]) -> Node:
    """The tree of tokens, all of which must be used up."""
    parser = _AnswerParser(tokens)
    node = parser.sequence()
    if parser.position < len(tokens):
        raise UnreadableError(f"unexpected {parser.peek().text!r}")
    if depth(node) > MAX_TREE_DEPTH:  # 1/2/3/... nests without brackets
        raise UnreadableError("nested too deeply")
    return node


class _AnswerParser(ExpressionParser):
    def sequence(self) -> Node:
        """One relation, or a Sequence of several."""
        self.descend()
        items = [self.relation()]
        marks: list[str] = []
        while mark := self._separator():
            if self.peek() is END or self.peek().text in _CLOSING:
                break  # a trailing comma
            items.append(self.relation())
            marks.append(mark)
        self.depth -= 1
        for mark in ("and", "or"):
            items, marks = joined(items, marks, mark)
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _separator(self) -> str:
        """What stands between two items: "and", "or" of logic, a comma for anything else; empty where nothing does."""
        found = ""
        while True:
            token = self.peek()
            is_word = token.kind == "word" and token.text.lower() in ("and", "or")
            is_mark = token.kind == "symbol" and token.text in (",", ";")
            is_logical = token.kind == "command" and token.text in _CONNECTIVES
            if not (is_word or is_mark or is_logical):
                return found
            self.position += 1
            found = _CONNECTIVES[token.text] if is_logical and not found else ","

    def relation(self) -> Node:
        if not (self.peek().text == "sim" and self.starts_factor(self.peek(1)) and self.peek(1).kind != "number"):
            self.accept("approx", "=", "sim", "simeq")  # "= 5", "\approx 5": the left side was left out
        operands = [self.sets()]
        operators: list[str] = []
        while operator := self._operator():
            operators.append(operator)
            operands.append(self.sets())
        return operands[0] if not operators else Relation(tuple(operands), tuple(operators))

    def _operator(self) -> str | None:
        token = self.peek()
        if token.kind == "command" and token.text == "not" and self.peek(1).text in ("=", "eq"):
            self.position += 2
            return "!="
        operator = {"symbol": _MARKS, "command": _COMMANDS}.get(token.kind, {}).get(token.text)
        if operator is not None and not (operator == ":" and self.bars):
            self.position += 1
            return operator
        return None

    def sets(self) -> Node:
        operands = [self.sum()]
        operators: list[str] = []
        while True:
            token = self.peek()
            if token.kind == "command" and token.text in _SET_OPERATORS:
                operators.append(_SET_OPERATORS[token.text])
            elif token.kind == "letters" and token.text in ("U", "u") and self.is_plain_union():
                operators.append("union")
            else:
                break
            self.position += 1
            operands.append(self.sum())
        return operands[0] if not operators else SetOperation(tuple(operands), tuple(operators))

    def group(self, opening: str) -> Node:
        """The rest of ``( [ \\{ \\langle``: one bracketed expression, or a Group."""
        bars, self.bars = self.bars, 0
        if opening == "{" and self.accept("}"):
            self.bars = bars
            return Group("{", (), "}")
        inner = self.sequence()
        items = inner.items if isinstance(inner, Sequence) else (inner,)
        if opening == "{" and self.accept("|", "mid", "vert", ":"):
            conditions = self.sequence()
            self.expect("}")
            self.bars = bars
            return Builder(inner, (conditions,))
        self.bars = bars
        closing = _CLOSERS.get(self.next().text)
        curly = opening == "{"
        if closing is None or curly != (closing == "}") or (opening == "langle") != (closing == ">"):
            raise UnreadableError("brackets do not match")
        first, *others = items
        if curly and isinstance(first, Relation) and ":" in first.operators[:-1]:  # \{ x : x > 0 \}
            position = first.operators.index(":") + 1
            condition = Relation(first.operands[position:], first.operators[position:])
            return Builder(first.operands[0], (Sequence((condition, *others)) if others else condition,))
        if len(items) == 1 and opening in "([":
            if (opening == "(") != (closing == ")"):
                raise UnreadableError("brackets do not match")
            if opening == "(":
                return items[0]
        mark = "<" if opening == "langle" else opening
        return Group(cast(Literal["(", "[", "{", "<"], mark), items, cast(Literal[")", "]", "}", ">"], closing))

    def matrix(self, environment: str) -> Node:
        """The rest of a matrix after its ``\\begin``."""
        if environment not in _MATRICES:
            raise UnreadableError(f"environment {environment}")
        rows: list[tuple[Node, ...]] = []
        row: list[Node] = []
        bars, self.bars = self.bars, 0
        self.descend()
        while self.peek().kind != "end":
            row.append(self.sequence())
            if self.accept("&"):
                continue
            rows.append(tuple(row))
            row = []
            if self.accept("\\", "cr") is None and self.peek().kind != "end":
                raise UnreadableError("a matrix row that does not end")
        self.depth -= 1
        self.bars = bars
        if self.next() is END or not rows or len({len(entries) for entries in rows}) != 1:
            raise UnreadableError("a matrix that does not end, or is ragged")
        if environment == "cases" and all(len(entries) == 1 for entries in rows):  # a system of equations, solved
            return Sequence(tuple(entry for entries in rows for entry in entries))
        return Matrix(tuple(rows))
