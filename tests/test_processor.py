"""What libraries are told of the machine: only what it is, and never over what the user said."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from toolkit.processor import prepare, sorts_slowly

ZEN_4 = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC 9R14
flags\t\t: fpu sse4_2 avx2 avx512f avx512dq

processor\t: 1
vendor_id\t: AuthenticAMD
"""


def described(tmp_path, text):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "slow"),
    [
        (ZEN_4, True),
        (ZEN_4.replace(" avx512f avx512dq", ""), False),  # Zen 3 is of the same family
        (ZEN_4.replace("family\t: 25", "family\t: 26"), False),
        (ZEN_4.replace("AuthenticAMD", "GenuineIntel"), False),
        ("Processor : AArch64\nFeatures : fp asimd\n", False),
        ("", False),
    ],
)
def test_only_zen_4_sorts_faster_without_avx_512(tmp_path, text, slow):
    assert sorts_slowly(described(tmp_path, text)) is slow


def test_a_machine_that_does_not_describe_itself_is_left_as_it_is(tmp_path):
    assert not sorts_slowly(str(tmp_path / "no-such-file"))


def test_numpy_is_told_before_it_loads_unless_the_user_said_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    prepare(described(tmp_path, ZEN_4.replace("25", "6")))
    assert "NPY_DISABLE_CPU_FEATURES" not in os.environ
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    prepare(described(tmp_path, ZEN_4))
    assert os.environ["NPY_DISABLE_CPU_FEATURES"] == "X86_V4"
    os.environ["NPY_DISABLE_CPU_FEATURES"] = ""
    prepare(described(tmp_path, ZEN_4))
    assert os.environ["NPY_DISABLE_CPU_FEATURES"] == ""


def test_numpy_loads_and_sorts_with_what_it_is_told(tmp_path):
    told = described(tmp_path, ZEN_4)
    code = (
        f"from toolkit.processor import prepare; prepare({told!r}); import numpy as np; "
        "x = np.random.default_rng(1).integers(0, 2**64, 100_000, dtype=np.uint64); y = sorted(x.tolist()); x.sort(); "
        "assert x.tolist() == y"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NPY_")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
