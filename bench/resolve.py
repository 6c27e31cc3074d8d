"""Whether our requirements resolve together with the newest verl, OpenRLHF and TRL, one at a time. Installs nothing.

    python bench/resolve.py [trl verl openrlhf]

Each is resolved by ``pip install --dry-run`` in an empty environment. Packages that tell their requirements only when
they are built, for which CUDA or torch must be there (flash-attn, deepspeed), are left out, and that is said.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ("trl", "verl", "openrlhf")
UNBUILDABLE = {"flash-attn", "deepspeed"}
SHOWN = ("transformers", "torch", "datasets", "huggingface_hub", "numpy", "lm_eval")


def pip(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-m", "pip", *arguments, "-q", "--disable-pip-version-check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def requirements(python: Path, peer: str, folder: Path) -> tuple[str, list[str], list[str]]:
    """The newest version, what it requires without extras, and what of that is left out."""
    ended = pip(python, "download", "--no-deps", "--only-binary=:all:", "-d", str(folder), peer)
    if ended.returncode:
        sys.exit(f"resolve.py: {peer} could not be downloaded: {ended.stderr.strip().splitlines()[-1]}")
    (wheel,) = folder.glob(f"{peer}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    wanted = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    left_out = [line for line in wanted if re.split(r"[^\w.-]", line)[0].lower() in UNBUILDABLE]
    return metadata["Version"], [line for line in wanted if line not in left_out], left_out


def main() -> int:
    """One line for each peer; the exit code is 1 if one does not resolve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", nargs="*", default=PEERS, metavar="PEER", help="default: %(default)s")
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        pip(python, "install", "--upgrade", "pip")
        for peer in parser.parse_args().peers:
            version, wanted, left_out = requirements(python, peer, folder)
            report = folder / f"{peer}.json"
            ended = pip(python, "install", "--dry-run", "--report", str(report), str(ROOT), *wanted)
            if ended.returncode:
                failed += 1
                reasons = [line for line in ended.stderr.splitlines() if "ERROR" in line or "conflict" in line]
                outcome = "does NOT resolve: " + " ".join(reasons)
            else:
                chosen = {
                    item["metadata"]["name"]: item["metadata"]["version"]
                    for item in json.loads(report.read_text())["install"]
                }
                outcome = "resolves: " + ", ".join(f"{key} {chosen[key]}" for key in SHOWN if key in chosen)
            without = f" (without {', '.join(left_out)})" if left_out else ""
            print(f"{peer} {version}{without} {outcome}", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
