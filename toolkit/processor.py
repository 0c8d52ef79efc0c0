"""What libraries are told of this machine before they load. They read it from the environment, once."""

from __future__ import annotations

import os

__all__ = ["prepare", "sorts_slowly"]

CPUINFO = "/proc/cpuinfo"
ENOUGH = 4096
"""Bytes that describe the first processor; on a large machine the whole is long, and slow to be made."""
ZEN_4 = "25"
"""AMD's family of Zen 3 and Zen 4, of which only Zen 4 has AVX-512."""


def prepare(cpuinfo: str = CPUINFO) -> None:
    """Set what the libraries that are loaded next should know, unless the user has set it."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices here are small; idle threads only spin
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")  # looking for huge pages takes longer than they save
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # looking for some reads every package's metadata
    if sorts_slowly(cpuinfo):
        os.environ.setdefault("NPY_DISABLE_CPU_FEATURES", "X86_V4")


def sorts_slowly(cpuinfo: str = CPUINFO) -> bool:
    """Return whether NumPy sorts faster here without AVX-512, by the kernel's description of the processor.

    Its sort stores compressed vectors, which Zen 4 does in microcode: a sort takes four times as long as with
    AVX2. AMD's optimization guide for Zen 4 (57647, section 2.11.2) says to avoid it; OpenJDK's sort does.
    """
    try:
        with open(cpuinfo, "rb") as file:  # noqa: PTH123 (pathlib takes longer to load than this to read)
            said = file.read(ENOUGH).decode("ascii", "replace").partition("\n\n")[0]
    except OSError:
        return False
    told = {
        name.strip(): value.strip() for name, _, value in (line.partition(":") for line in said.splitlines())
    }
    return (
        told.get("vendor_id") == "AuthenticAMD"
        and told.get("cpu family") == ZEN_4
        and "avx512f" in told.get("flags", "").split()
    )
