"""What a run would send first, shown without sampling: the prompt, token by token where the tokenizer is at hand.

Nothing is downloaded: of a data set that is not at hand the first query stays ``{query}``.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from dart_tasks.console import counted, first_line, printable
from dart_tasks.problems.record import Problem
from synth.config import RunConfig
from synth.data import dataset_name, is_at_hand
from synth.engines.factory import sampling_settings
from synth.prompting import prompt_ids, prompt_maker
from synth.run import check_dataset_names, load_run_queries
from synth.scheduler import TrialId

__all__ = ["first_prompt"]

_WIDTH = 120


def first_prompt(config: RunConfig) -> list[str]:
    """The lines that show it.

    Raises:
        DataError: the first data set, or the file of exemplars, cannot be used. ValueError: as of ``prompt_maker``
            and ``prompt_ids``.
    """
    first = config.datasets[0]
    check_dataset_names(config, map(dataset_name, config.datasets))
    if is_at_hand(first):
        alone = dataclasses.replace(config, datasets=(first,), limit=1, balance_levels=False, dataset_k=())
        (query,) = load_run_queries(dataclasses.replace(alone, dataset_max_trials=()))
    else:
        query = Problem("?", "{query}", "", first.benchmark or "generic")
    request = prompt_maker(config, [query.benchmark]).request(TrialId(0, 0), query)
    of = f"query {printable(query.id)}" if query.id != "?" else f"{first.path}, which is not at hand"
    lines = [f"first prompt, of {of}:"]
    if request.chat:
        lines += [f"{message['role']}: {printable(message['content'])}" for message in request.messages]
    else:
        lines.append(printable(request.prompt))
    try:
        tokenizer = _tokenizer(config)
    except Exception as error:  # no such files, or none that transformers can read: it raises many kinds
        return [*lines, f"its tokens are not shown: no tokenizer of {config.model} at hand ({first_line(error)})"]
    ids, _ = prompt_ids(tokenizer, request, sampling_settings(config).template_kwargs)
    tokens = [f"{number} {printable(repr(tokenizer.decode([number])))}" for number in ids]
    return [*lines, f"its {counted(len(ids), 'token')}:", *_filled(tokens)]


def _filled(tokens: list[str]) -> list[str]:
    """Lines of tokens; none is broken (``textwrap`` would do so at their spaces)."""
    lines = [""]
    for token in tokens:
        if len(lines[-1]) + len(token) + 3 > _WIDTH and lines[-1]:
            lines.append("")
        lines[-1] += f" | {token}" if lines[-1] else token
    return lines


def _tokenizer(config: RunConfig) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(
        config.model, revision=config.revision, trust_remote_code=config.trust_remote_code, local_files_only=True
    )
