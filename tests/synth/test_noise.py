"""What libraries print while an engine starts goes to a file; what is ours, and errors, to the terminal."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from synth.config import RunConfig
from synth.engines import EngineError
from synth.engines.tape import TapeEngine
from synth.noise import quiet_maker


def noisy(config: RunConfig, seed: int) -> TapeEngine:
    """Prints as C++ code, a subprocess and Python do; seed 1 fails."""
    os.write(2, b"NUMA binding\n")
    subprocess.run([sys.executable, "-c", "print('from a subprocess')"], check=True)
    sys.__stderr__.write("Triton is installed\n")  # type: ignore[union-attr]
    logging.getLogger("synth.engines.ray_engine").warning("waiting for nodes")
    if seed == 1:
        raise EngineError("vLLM cannot load it")
    return TapeEngine(lambda request: ("", 1))


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_goes_to_the_log(
    configuration: Callable[..., RunConfig], tmp_path: Path, capfd: pytest.CaptureFixture[str], seed: int
) -> None:
    log, said = tmp_path / "engine.log", list[str]()
    make = quiet_maker(tmp_path, said.append, noisy)
    if seed:
        with pytest.raises(EngineError, match=f"vLLM cannot load it .more in {log}"):
            make(configuration(), seed)
    else:
        make(configuration(), seed)
    os.write(2, b"afterwards\n")
    out, err = capfd.readouterr()
    assert (out, err) == ("", "waiting for nodes\nafterwards\n")
    for noise in ("NUMA binding", "from a subprocess", "Triton is installed"):
        assert noise in log.read_text()
    (line,) = said
    assert str(log) in line


def test_servers_make_no_log(configuration: Callable[..., RunConfig], tmp_path: Path) -> None:
    config = configuration(engine="openai", endpoints=("http://127.0.0.1:9",))
    quiet_maker(tmp_path, pytest.fail, noisy)(config, 0)
    assert not list(tmp_path.glob("engine.log"))
