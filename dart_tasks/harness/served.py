"""A served model's answer on its way through lm-eval, which passes texts on and nothing beside them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Beside", "ServedText", "beside_of", "whole"]


@dataclass(frozen=True)
class Beside:
    """What came beside a response.

    Attributes:
        finish_reason: as the server named it: ``stop``, ``length`` (cut off), ...; None where it is not known.
        thought: the thought, where the server gave it apart from the response.
        n_tokens, n_thought_tokens: the server's own counts: of all it generated, and of the thought's part in that.
    """

    finish_reason: str | None = None
    thought: str | None = None
    n_tokens: int | None = None
    n_thought_tokens: int | None = None

    def unfinished(self, response: str) -> bool:
        """Whether there is a thought and no response: it was still thinking when it ended."""
        return bool(self.thought) and not response.strip()


class ServedText(str):
    """The response (what a message's ``content`` says) as a text that carries what came beside it.

    lm-eval's response cache pickles it whole; its logs show the text.
    """

    beside = Beside()

    @classmethod
    def of(cls, response: str, what: Beside) -> ServedText:
        """The text with that beside it."""
        text = cls(response)
        text.beside = what
        return text


def whole(response: str) -> str:
    """The response as a model without a server's parser would have given it: the thought in tags before it."""
    thought = beside_of(response).thought
    if not thought:
        return str(response)
    return f"<think>{thought}" + (f"</think>{response}" if response.strip() else "")


def beside_of(response: str) -> Beside:
    """What came beside a response; nothing, of models that are not our own."""
    return response.beside if isinstance(response, ServedText) else Beside()
