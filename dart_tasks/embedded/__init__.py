"""What the project carries with it, so that every command runs with no network and no GPU.

- ``MODEL_DIR``: a Llama of about 0.9M parameters, trained from scratch by ``train_tiny.py`` on generated problems.
- ``BASE_MODEL_DIR``: an earlier checkpoint of the same run: the student that the demo fine-tunes.
- ``TRAIN_PROBLEMS``, ``HELDOUT_PROBLEMS``: JSONL with columns id, query, answer, level (1 to 5), domain.
- ``MINI_DIR``: about 25 items of our own in each of the six benchmarks' columns, for plumbing and not for scores.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["BASE_MODEL_DIR", "HELDOUT_PROBLEMS", "MINI_DIR", "MODEL_DIR", "TRAIN_PROBLEMS"]

_HERE = Path(__file__).resolve().parent

MODEL_DIR = _HERE / "model"
BASE_MODEL_DIR = _HERE / "base_model"
TRAIN_PROBLEMS = _HERE / "problems" / "train.jsonl"
HELDOUT_PROBLEMS = _HERE / "problems" / "heldout.jsonl"
MINI_DIR = _HERE / "mini"
