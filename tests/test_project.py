"""The project keeps its own promises: floors, docs, generated files, notebooks."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel
from typer.main import get_command

from toolkit.cli import app
from toolkit.design.experiment import Experiment
from toolkit.design.parse import parse_experiment

ROOT = Path(__file__).parents[1]
FLOORS = {
    "errors": set(),
    "exposure_hook": set(),
    "processor": set(),
    "settings": {"errors"},
    "design": {"errors"},
    "stats": {"errors", "design"},
    "lake": {"errors", "design", "stats"},
    "clients": {"errors", "design"},
    "readout": {"errors", "design", "stats"},
    "steps": {"errors", "settings", "design", "stats", "lake", "clients", "readout"},
    "receiver": {"errors", "settings", "lake", "steps"},
    "show": {"errors", "design", "stats", "lake", "readout", "receiver", "steps"},
    "notebook": {"errors", "design", "stats", "lake", "readout", "show", "steps"},
    "sandbox": {"errors"},
    "demo": {"errors", "settings", "lake", "readout", "sandbox", "show", "steps"},
    "cli": {"errors", "processor", "readout", "receiver", "steps", "show", "demo"},
}


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("toolkit."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (each.name.split(".")[1] for each in node.names if each.name.startswith("toolkit."))


def test_a_lower_floor_never_imports_a_higher_one():
    for path in (ROOT / "toolkit").rglob("*.py"):
        floor = path.relative_to(ROOT / "toolkit").parts[0].removesuffix(".py")
        if floor == "__init__":
            continue
        strange = set(imports_of(path)) - FLOORS[floor] - {floor}
        assert not strange, f"{path.relative_to(ROOT)} imports {', '.join(sorted(strange))}"


def test_the_architecture_lists_every_floor_above_those_that_build_on_it():
    text = (ROOT / "ARCHITECTURE.md").read_text().split("## Floors")[1].split("##")[0]
    rows = [
        re.findall(r"`toolkit/(\w+)(?:\.py)?`", line.split("|")[1])
        for line in re.findall(r"^\| `.*", text, re.MULTILINE)
    ]
    assert sorted(floor for row in rows for floor in row) == sorted(FLOORS)
    for at, row in enumerate(rows):
        below = {floor for each in rows[: at + 1] for floor in each}
        for floor in row:
            assert not FLOORS[floor] - below, f"{floor} stands above what it imports"


def test_design_and_stats_know_no_clock_network_disk_or_chance():
    forbidden = {
        "os",
        "time",
        "random",
        "socket",
        "httpx",
        "duckdb",
        "deltalake",
        "pathlib",
        "requests",
        "subprocess",
    }
    for folder in ("design", "stats"):
        for path in (ROOT / "toolkit" / folder).glob("*.py"):
            names = set()
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    names |= {each.name.split(".")[0] for each in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names.add(node.module.split(".")[0])
            allowed = {"pathlib"} if path.name == "experiment.py" else set()  # PurePath only: no disk
            assert not names & (forbidden - allowed), path


def test_lock_and_conda_file_follow_the_declared_dependencies():
    spec = importlib.util.spec_from_file_location("lock", ROOT / ".ci" / "lock.py")
    lock = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lock)
    assert lock.drift() == []


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_clean_short_and_hold_no_logic(path):
    notebook = json.loads(path.read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        source = "".join(cell["source"])
        assert not re.search(r"^\s*(def|class) ", source, re.MULTILINE)
        assert len(source.splitlines()) <= 14


def test_every_command_is_documented():
    readme = (ROOT / "README.md").read_text()
    for name, command in get_command(app).commands.items():
        assert f"lift {name}" in readme, name
        assert command.help


def test_documents_name_only_what_is_there():
    for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text()
        for mentioned in re.findall(
            r"`((?:toolkit|notebooks|experiments|tests|docs|benchmarks)/[\w./-]+)`", text
        ):
            assert (ROOT / mentioned).exists(), f"{name} names {mentioned}"
        for linked in re.findall(r"\]\(([\w./-]+)[#)]", text):
            assert (ROOT / linked).exists(), f"{name} links {linked}"


def fields_of(model, path=""):
    """Give the dotted name of every field of an experiment file, as the file writes it."""
    for name, field in model.model_fields.items():
        here = f"{path}{field.alias or name}"
        yield here
        for inner in models_in(field.annotation):
            yield from fields_of(inner, f"{here}.")


def models_in(annotation):
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)


def written_in(content, path=""):
    """Give the dotted name of every field that an example writes; places in a list are left out."""
    for each in content if isinstance(content, list) else [content] if isinstance(content, dict) else []:
        for name, value in each.items() if isinstance(each, dict) else ():
            yield f"{path}{'on' if name is True else name}"
            yield from written_in(value, f"{path}{'on' if name is True else name}.")


def test_every_field_of_an_experiment_file_is_documented_with_an_example_that_is_valid():
    text = (ROOT / "docs" / "experiment-file.md").read_text()
    fields = set(fields_of(Experiment))
    rows = re.findall(r"^\| `([a-z_.]+)` \|", text, re.MULTILINE)
    assert sorted(rows) == sorted(fields)
    examples = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    whole = yaml.safe_load(examples[0])
    used = set()
    for example in examples:
        content = yaml.safe_load(example)
        parse_experiment(example if "key" in content else yaml.safe_dump(whole | content), "example.yml")
        used |= set(written_in(content))
    assert not fields - used


def test_the_three_experiments_are_sound():
    from toolkit.sandbox import PROGRAMS
    from toolkit.steps.workspace import Spec

    for path in (ROOT / "experiments").glob("*.yml"):
        experiment = Spec.read(path).experiment
        program = PROGRAMS[experiment.key]
        assert set(program.eligible) == {key for trait in experiment.traits for key in trait.segments()}
        assert program.holdout_segment == experiment.holdout_segment
        assert set(program.schedule) == set(experiment.arms)
