"""Prompt templates: how a query becomes the text a model completes.

One record, as Alpaca renders the query ``What is 2 + 3?``::

    Below is an instruction that describes a task. Write a response that appropriately completes the request.

    ### Instruction:
    What is 2 + 3?

    ### Response:

The same template serves synthesis, training and evaluation, so that a model is measured on the prompt it was trained
on. Sources: Alpaca (https://github.com/tatsu-lab/stanford_alpaca), as DART-Math trains and evaluates (arXiv
2407.13690, Appendix A); DeepSeekMath (arXiv 2402.03300), Qwen2.5-Math (arXiv 2409.12122) and Llama 3 model cards.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["TEMPLATES", "PromptTemplate", "get_template"]

QUERY_SLOT = "{query}"
_COT = r"Please reason step by step, and put your final answer within \boxed{}."


@dataclass(frozen=True)
class PromptTemplate:
    """A text with one ``{query}`` slot, and the strings at which a response must have ended.

    ``text`` never contains BOS: the tokenizer adds it, exactly once. ``chat_format`` says that it is written in a chat
    model's special tokens, in which exemplars would have to be turns.
    """

    name: str
    text: str
    stop: tuple[str, ...] = ()
    chat_format: bool = False

    def __post_init__(self) -> None:
        if self.text.count(QUERY_SLOT) != 1:
            raise ValueError(f"prompt template {self.name!r} must contain {QUERY_SLOT} exactly once")

    def render(self, query: str) -> str:
        """The prompt for one query (plain replacement: braces in the query or template mean nothing)."""
        return self.text.replace(QUERY_SLOT, query)


TEMPLATES: dict[str, PromptTemplate] = {
    template.name: template
    for template in (
        PromptTemplate(
            "alpaca",
            "Below is an instruction that describes a task. "
            "Write a response that appropriately completes the request.\n\n"
            "### Instruction:\n{query}\n\n### Response:\n",
            stop=("### Instruction:", "### Response:"),
        ),
        PromptTemplate("deepseekmath", f"User: {{query}}\n{_COT}\n\nAssistant:", stop=("\nUser:", "\n\nUser:")),
        PromptTemplate(
            "qwen-boxed",
            f"<|im_start|>system\n{_COT}<|im_end|>\n<|im_start|>user\n{{query}}<|im_end|>\n<|im_start|>assistant\n",
            stop=("<|im_end|>", "<|im_start|>"),
            chat_format=True,
        ),
        PromptTemplate(
            "llama3",
            "<|start_header_id|>user<|end_header_id|>\n\n{query}\n" + _COT + "<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
            stop=("<|eot_id|>", "<|start_header_id|>"),
            chat_format=True,
        ),
        PromptTemplate("plain", "Question: {query}\nAnswer:", stop=("\nQuestion:",)),
    )
}


def get_template(name_or_path: str) -> PromptTemplate:
    """A template by name, or from a text file that contains ``{query}`` once.

    Raises:
        ValueError: the name is unknown and no such file exists, or the file has no single ``{query}``.
    """
    if name_or_path in TEMPLATES:
        return TEMPLATES[name_or_path]
    path = Path(name_or_path)
    if path.is_file():
        return PromptTemplate(path.stem, path.read_text(encoding="utf-8-sig"))
    raise ValueError(
        f"unknown prompt template {name_or_path!r}: "
        f"choose one of {', '.join(TEMPLATES)}, or a file containing {QUERY_SLOT}"
    )
