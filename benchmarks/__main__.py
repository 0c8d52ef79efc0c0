"""Run every benchmark and keep what they found in RESULTS.md."""

from __future__ import annotations

from pathlib import Path

from benchmarks import coverage

RESULTS = Path(__file__).parent / "RESULTS.md"

if __name__ == "__main__":
    text = (
        f"# Results\n\nWritten by `make bench`.\n\n## Coverage of the demo’s intervals\n\n{coverage.run()}\n"
    )
    RESULTS.write_text(text, encoding="utf-8")
    print(text)
