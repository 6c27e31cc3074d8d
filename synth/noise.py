"""What libraries print while an engine starts (Triton, NUMA, shard bars, Ray) goes to a file; errors do not."""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from synth.config import RunConfig
from synth.engines import Engine, EngineError
from synth.engines.factory import make_engine

__all__ = ["quiet_maker"]

_LOG = "engine.log"


def quiet_maker(
    folder: Path, say: Callable[[str], None], make: Callable[[RunConfig, int], Engine] = make_engine
) -> Callable[[RunConfig, int], Engine]:
    """As ``make``, but what libraries print meanwhile is appended to ``folder/engine.log``, whose path is said."""

    def make_quietly(config: RunConfig, seed: int) -> Engine:
        if config.engine == "openai":  # nothing of others is loaded, and what it says is ours
            return make(config, seed)
        log = folder / _LOG
        say(f"{'engine':<12} starting; what its libraries print goes to {log}")
        with _printing_to(log):
            try:
                return make(config, seed)
            except EngineError as error:
                os.write(2, traceback.format_exc().encode())  # to the log, whatever sys.stderr is
                raise EngineError(f"{error} (more in {log})") from error

    return make_quietly


@contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    """Standard output and error of this process, and of those it starts, go to a file; our own warnings do not."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    ours = logging.getLogger("synth")
    with log.open("ab") as file, os.fdopen(os.dup(kept[1]), "w") as terminal:
        file.write(time.strftime("---- %Y-%m-%dT%H:%M:%SZ\n", time.gmtime()).encode())
        file.flush()
        handler, propagates = logging.StreamHandler(terminal), ours.propagate
        ours.addHandler(handler)
        ours.propagate = False
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, descriptor in enumerate(kept, 1):
                os.dup2(descriptor, number)
                os.close(descriptor)
            ours.removeHandler(handler)
            ours.propagate = propagates
