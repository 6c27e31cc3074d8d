"""``python -m train``: fine-tune, or export a checkpoint of a run that was stopped.

    python -m train sft --recipe demo --data runs/demo/dataset      # train/sft.py
    python -m train export runs/demo/model/checkpoint-12            # to runs/demo/model/export-12

``export`` runs the command that ``run.json`` beside the checkpoint records, in the folder where it was run, without
another step. Further flags are added to it (``--export-dtype``, ...).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from train import sft

__all__ = ["main"]


def _export(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="train export", description="Export a checkpoint of a run that was stopped.")
    parser.add_argument("checkpoint", type=Path, help="checkpoint-N in the output folder of a run")
    parser.add_argument("--output_dir", "--output-dir", type=Path, help="default: export-N beside the checkpoint")
    options, more = parser.parse_known_args(arguments)
    checkpoint = options.checkpoint.resolve()
    if not checkpoint.is_dir():
        print(f"train export: {checkpoint}: no such folder", file=sys.stderr)
        return 1
    output_dir = options.output_dir or checkpoint.with_name(f"export-{checkpoint.name.removeprefix('checkpoint-')}")
    try:
        record = json.loads((checkpoint.parent / "run.json").read_text(encoding="utf-8"))
        command = [str(flag) for flag in record["command"]]
        folder = str(record["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        print(
            f"train export: no run.json beside {checkpoint} tells how its run was started: run that command again with "
            f"--export-checkpoint {checkpoint} --output_dir {output_dir}",
            file=sys.stderr,
        )
        return 1
    more += ["--export-checkpoint", str(checkpoint), "--output_dir", str(output_dir.resolve())]
    try:
        os.chdir(folder)  # paths in the command are relative to it
    except OSError as error:
        print(
            f"train export: the run was started in {folder} ({error.strerror}): run its command again, with "
            f"--export-checkpoint {checkpoint} --output_dir {output_dir}",
            file=sys.stderr,
        )
        return 1
    return sft.main([*command, *more])


def main(arguments: list[str]) -> int:
    """Run the program; its exit code."""
    commands = {"sft": sft.main, "export": _export}
    if arguments and arguments[0] in commands:
        return commands[arguments[0]](arguments[1:])
    print(__doc__)
    return 0 if arguments[:1] in (["-h"], ["--help"]) else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
