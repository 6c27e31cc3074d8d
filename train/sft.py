"""Fine-tune a causal language model as DART-Math did: packed, with an exact loss, resumable.

    accelerate launch train/sft.py --recipe demo --data runs/demo/dataset --output_dir runs/demo/model

One training record, a row of the dataset that ``dart-synth`` wrote::

    {"query": "What is 2 + 3?", "response": "2 + 3 = 5. The answer is \\boxed{5}."}

The same command again resumes from the newest complete checkpoint in ``--output_dir``.
``python -m train.sft`` and ``accelerate launch -m train.sft`` are the same program.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # Run as a file, this folder is first on sys.path, where its modules could shadow others: put the checkout there.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from dart_tasks.console import first_line, printable
from train.arguments import parse
from train.errors import UsageError, UserError, is_disk_full

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the program. Exit codes: 0 done, 1 failed, 2 wrong usage, 143 stopped by SIGTERM, 130 by Ctrl-C."""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        from train.run import run

        return run(options)
    except UserError as error:
        _say(str(error))
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except Exception as error:
        if not is_disk_full(error):
            raise
        _say(f"no space left on a disk ({first_line(error)}): free some, and the same command goes on where it can")
        return 1


def _say(text: str) -> None:
    # One process of each machine speaks: what is wrong may be that machine's alone.
    if os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")) == "0":
        print(f"train/sft.py: {' '.join(printable(text).split())}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
