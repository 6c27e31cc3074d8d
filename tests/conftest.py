"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Before torch is imported, and for every process that a test starts: two threads that spin take ten times as long on
# busy cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

REPO = Path(__file__).resolve().parent.parent
SHARED_DATA = REPO.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests tolerate no warning; slow ones start engines whose libraries warn of themselves while importing."""
    for item in items:
        if item.get_closest_marker("slow") is not None:
            item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.fixture(scope="session")
def repo() -> Path:
    """The checkout's root."""
    return REPO


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real benchmark files beside the checkout; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the benchmarks' real test sets in {SHARED_DATA}")
    return SHARED_DATA


COMMAND = """
import sys, tempfile
import lm_eval.tasks.manager as manager
manager.__file__ = tempfile.mkdtemp() + "/manager.py"
sys.argv[0] = "lm_eval"
from lm_eval.__main__ import cli_evaluate
sys.exit(cli_evaluate())
"""


@pytest.fixture(scope="session")
def lm_eval_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The ``lm_eval`` command in a process of its own, without lm-eval's 14,000 tasks, which take 10 s to read."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", COMMAND, *map(str, arguments)]
        if "--include_path" not in words:
            words += ["--include_path", str(REPO / "task_configs")]
        return subprocess.run(words, capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture(scope="session")
def thinking_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the embedded model that thinks: its word " answer" has become the closing tag, and its chat template
    opens the thought unless ``enable_thinking`` is false."""
    import json
    import shutil

    from dart_tasks import embedded

    folder = shutil.copytree(embedded.MODEL_DIR, tmp_path_factory.mktemp("thinking") / "model")
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    model, renamed = tokenizer["model"], {"<pad>": "<think>", "\u0120answer": "</think>"}
    model["vocab"] = {renamed.get(token, token): index for token, index in model["vocab"].items()}
    model["merges"] = [pair for pair in model["merges"] if not set(renamed) & {"".join(pair), *pair}]
    for added in tokenizer["added_tokens"]:
        if added["content"] in renamed:
            added |= {"content": renamed[added["content"]], "special": False}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"pad_token": "</s>"}), encoding="utf-8")
    with (folder / "chat_template.jinja").open("a", encoding="utf-8") as template:
        template.write(
            "{% if add_generation_prompt and (enable_thinking is not defined or enable_thinking) %}<think>{% endif %}"
        )
    return folder


@pytest.fixture
def record_ids() -> Callable[[Any], list[list[int]]]:
    """Makes lm-eval's hf model note the prompt token ids that it generates from, in the list returned."""

    def record(model: Any) -> list[list[int]]:
        sent: list[list[int]] = []
        generate = model._model_generate

        def recording(context: Any, **options: Any) -> Any:
            sent.extend(context.tolist())
            return generate(context=context, **options)

        model._model_generate = recording
        return sent

    return record
