"""Recipes run what is there: every command and option exists, the workflows parse, the DAGs are DAGs."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from toolkit.cli import app
from toolkit.settings import Settings

RECIPES = Path(__file__).parents[1] / "docs" / "recipes"
PAGES = sorted(RECIPES.glob("*.md"))
DAGS = sorted(RECIPES.glob("*.py"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|bin/|[`\"])lift ([a-z]+)([^\n`|&;#>'\"]*)", re.MULTILINE)


def commands_in(path):
    """Return (command, its words) for every call of `lift` in a recipe."""
    return [(name, rest.split()) for name, rest in COMMAND.findall(path.read_text())]


def blocks(language):
    return [
        pytest.param(body, id=f"{page.stem}-{place}")
        for page in PAGES
        for place, (said, body) in enumerate(BLOCK.findall(page.read_text()))
        if said == language
    ]


@pytest.mark.parametrize("path", [*PAGES, *DAGS], ids=lambda path: path.name)
def test_every_command_and_option_of_a_recipe_exists(path):
    commands = get_command(app).commands
    for name, words in commands_in(path):
        assert name in commands, f"{path.name}: there is no lift {name}"
        options = {option for each in commands[name].params for option in each.opts}
        for word in words:
            assert not word.startswith("--") or word in options, f"{path.name}: lift {name} has no {word}"


def test_recipes_call_what_a_week_needs():
    called = {name for path in [*PAGES, *DAGS] for name, _ in commands_in(path)}
    assert {"assign", "audit", "push", "pull", "weekly", "check"} <= called


@pytest.mark.parametrize("body", blocks("yaml"))
def test_a_workflow_is_one_that_github_would_take(body):
    workflow = yaml.safe_load(body)
    on = workflow[True] if True in workflow else workflow["on"]  # YAML 1.1 reads the key `on` as true
    assert on
    for job in workflow["jobs"].values():
        assert job["runs-on"]
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])
    for event in on.get("schedule", []) if isinstance(on, dict) else []:
        assert len(event["cron"].split()) == 5


@pytest.mark.parametrize("body", blocks("yaml"))
def test_a_workflow_names_only_variables_that_the_toolkit_or_the_store_reads(body):
    known = {name.upper() for name in Settings.model_fields}
    for job in yaml.safe_load(body)["jobs"].values():
        for name, value in job.get("env", {}).items():
            assert name in known or name.startswith(("AWS_", "GOOGLE_", "AZURE_")), name
            if any(each in name for each in ("KEY", "SECRET", "TOKEN")):
                assert str(value).startswith("${{ secrets."), f"{name} is a secret"


@pytest.mark.parametrize("body", blocks("cron"))
def test_a_crontab_line_has_five_fields_and_a_command(body):
    lines = [
        line for line in body.splitlines() if line and not line.startswith("#") and "=" not in line.split()[0]
    ]
    assert lines
    for line in lines:
        *fields, command = line.split(None, 5)
        assert len(fields) == 5
        assert all(re.fullmatch(r"[\d*/,-]+", field) for field in fields)
        assert "lift " in command
        assert "%" not in command  # cron would end the line there


def test_recipes_link_only_what_is_there():
    for page in PAGES:
        for linked in re.findall(r"\]\(([\w./-]+)\)", page.read_text()):
            assert (page.parent / linked).exists(), f"{page.name} links {linked}"


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.name)
def test_a_dag_is_python_and_names_notebooks_that_are_there(path):
    ast.parse(path.read_text())
    for notebook in re.findall(r"/(notebooks/\w+\.ipynb)", path.read_text()):
        assert (RECIPES.parents[1] / notebook).exists()


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.name)
def test_airflow_itself_reads_the_dag(path, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    pytest.importorskip("airflow", reason="Airflow is not installed here")
    if "papermill" in path.read_text():
        pytest.importorskip(
            "airflow.providers.papermill", reason="its papermill provider is not installed here"
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dags = [each for each in vars(module).values() if type(each).__name__ == "DAG"]
    assert dags or "with DAG(" in path.read_text()


def test_a_lake_behind_a_url_gives_the_same_numbers_as_a_folder(tmp_path):
    from datetime import date

    from toolkit.notebook.example import start_with_files
    from toolkit.steps.readout import keep, kept, record
    from toolkit.steps.workspace import Spec, Workspace

    spec = Spec.read(start_with_files(tmp_path / "own"))
    said = []
    for home in (str(tmp_path / "folder"), (tmp_path / "store").as_uri()):
        workspace = Workspace.open(Settings(lift_home=home))
        keep(workspace, record(workspace, spec, as_of=date(2026, 11, 1)))
        said.append(kept(workspace, spec)["lifts"])
    assert said[0] == said[1]
    assert (tmp_path / "store" / "readouts").is_dir()
