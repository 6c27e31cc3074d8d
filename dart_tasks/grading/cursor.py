"""A position in a list of tokens, with a bound on nesting: what the parser's layers share."""

from __future__ import annotations

from dart_tasks.grading.lexer import Token, UnreadableError

__all__ = ["END", "Cursor"]

MAX_DEPTH = 24
END = Token("end", "")


class Cursor:
    """Looks at, takes and expects tokens."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0
        self.bars = 0  # how many |...| are open here

    def peek(self, ahead: int = 0) -> Token:
        """The token ``ahead`` of the position; END after the last."""
        index = self.position + ahead
        return self.tokens[index] if index < len(self.tokens) else END

    def next(self) -> Token:
        """Take the token at the position."""
        token = self.peek()
        self.position += 1
        return token

    def accept(self, *texts: str) -> str | None:
        """Take the token if it is one of these marks or commands; its text, else None."""
        token = self.peek()
        if token.text in texts and token.kind in ("symbol", "command"):
            self.position += 1
            return token.text
        return None

    def expect(self, *texts: str) -> None:
        """Take one of these tokens.

        Raises:
            UnreadableError: something else is there.
        """
        if self.accept(*texts) is None:
            raise UnreadableError(f"expected {texts[0]!r}, found {self.peek().text!r}")

    def at_mark(self, text: str, ahead: int = 0) -> bool:
        """Whether this mark (no word, letter or command of that name) is there."""
        token = self.peek(ahead)
        return token.text == text and token.kind == "symbol"

    def descend(self) -> None:
        """Go one level deeper; the caller comes back up with ``self.depth -= 1``.

        Raises:
            UnreadableError: deeper than MAX_DEPTH.
        """
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnreadableError("nested too deeply")
