"""Generate what follows from pyproject.toml: requirements.lock (pip, uv) and environment.yml (conda).

`python .ci/lock.py` writes both; `python .ci/lock.py --check` says whether they are still true.
Only the lock needs a registry; the check needs none.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
CONDA = ROOT / "environment.yml"
NOT_ON_CONDA_FORGE = {"async-customerio", "launchdarkly-api", "launchdarkly-server-sdk"}
CONDA_NAMES = {"types-pyyaml": "types-pyyaml", "tzdata": "python-tzdata"}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def digest(declared: dict) -> str:
    """Return the fingerprint of the declared dependencies that the lock was solved for."""
    said = [declared["requires-python"], declared["dependencies"], declared["optional-dependencies"]]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def header(declared: dict) -> str:
    return (
        "# Generated from pyproject.toml by `make lock`. Do not edit by hand.\n"
        f"# dependencies: {digest(declared)}\n"
    )


def conda_file(declared: dict) -> str:
    """Return environment.yml: conda-forge packages, and from pip what conda-forge lacks."""
    wanted = declared["dependencies"] + declared["optional-dependencies"]["dev"]
    conda, pip = [], []
    for requirement in wanted:
        name, bounds = re.fullmatch(r"([A-Za-z0-9-]+)(?:\[.*?\])?(.*)", requirement).groups()
        if name in NOT_ON_CONDA_FORGE:
            pip.append(requirement)
        else:
            conda.append(CONDA_NAMES.get(name, name) + bounds)
    conda = [f"python{declared['requires-python']}", "pip", *sorted(set(conda))]
    lines = ["name: lift", "channels:", "  - conda-forge", "  - nodefaults", "dependencies:"]
    lines += [f'  - "{each}"' for each in conda]
    lines += ["  - pip:", *(f'      - "{each}"' for each in sorted(pip)), "      - --editable=."]
    return header(declared) + "\n".join(lines) + "\n"


def solve(declared: dict) -> str:
    """Return the pinned, hashed lock for every platform; names no registry."""
    command = [
        sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--extra", "dev",
        "--universal", "--python-version", declared["requires-python"].lstrip(">="),
        "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url",
        "--no-emit-find-links", "--quiet",
    ]  # fmt: skip
    solved = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return header(declared) + solved


def drift() -> list[str]:
    """Return what no longer follows from pyproject.toml, in words; empty when all is well."""
    declared = project()
    said = []
    if not LOCK.exists() or digest(declared) not in LOCK.read_text()[:400]:
        said.append("requirements.lock was solved for other dependencies: run `make lock`")
    elif re.search(r"https?://|index-url|find-links", LOCK.read_text()):
        said.append("requirements.lock names a registry: run `make lock`")
    if not CONDA.exists() or CONDA.read_text() != conda_file(declared):
        said.append("environment.yml differs from pyproject.toml: run `make lock`")
    return said


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        problems = drift()
        print("\n".join(problems) or "requirements.lock and environment.yml follow pyproject.toml")
        sys.exit(bool(problems))
    LOCK.write_text(solve(project()))
    CONDA.write_text(conda_file(project()))
    print(f"wrote {LOCK.name} ({LOCK.read_text().count('==')} pins) and {CONDA.name}")
