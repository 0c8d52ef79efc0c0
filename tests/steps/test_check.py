"""What `lift check` and `lift traits` say of a file and of its neighbours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from tests.end_to_end.conftest import Lift
from tests.example import EXAMPLE
from toolkit.design.durations import in_words
from toolkit.design.experiment import Experiment
from toolkit.design.traits import USUAL_MAX_AGE, TraitContract
from toolkit.errors import SpecError
from toolkit.settings import Settings
from toolkit.show.markdown import code, prose, table_markdown
from toolkit.show.preview import preview_text
from toolkit.show.traits import traits_markdown, traits_text
from toolkit.steps.check import check
from toolkit.steps.traits import traits
from toolkit.steps.workspace import Spec, Workspace

ROOT = Path(__file__).parents[2]
BAND = '{name: offer_tier, type: band, attribute: ltv_90d, bands: {low: [0, 50], high: [50, null]}, arms: [free_shipping], default: none, computed: "Sum of 90 days\' orders.", schema: 3}'
HOSTILE = "<script>alert(1)</script> [x](javascript:1) **b** | `c` https://e.example www.e.example \u202etxt\nline $x$"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.yml").write_text(EXAMPLE)
    return tmp_path


def checked(folder, path=None):
    workspace = Workspace.open(Settings(lift_home=str(folder / "lake")))
    spec = Spec.read(path or folder / "mine.yml")
    return preview_text(spec.experiment, check(workspace, spec))


def test_check_warns_of_what_neighbours_do_to_each_other(folder):
    (folder / "theirs.yml").write_text(EXAMPLE.replace("key: cart-free-shipping", "key: theirs"))
    said = checked(folder)
    assert (
        f"warning: {folder}/mine.yml: traits[0] (free_shipping_eligible): is written by {folder}/theirs.yml"
        in said
    )
    assert "has no `meaning`" in said


def test_check_compares_a_file_with_itself_under_no_name(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for path in ("mine.yml", "./mine.yml", f"../{folder.name}/./mine.yml", str(folder / "mine.yml")):
        said = checked(folder, path)
        assert "is written by" not in said
        assert "is also the key" not in said


def test_check_tells_which_neighbour_it_could_not_read(folder):
    (folder / "broken.yaml").write_text("key: [")
    said = checked(folder)
    assert "broken.yaml: cannot be read, so its traits are not compared" in said
    assert "this is not YAML" in said


def test_a_band_and_its_contract_are_shown(folder):
    (folder / "mine.yml").write_text(EXAMPLE.replace("traits:\n", f"traits:\n  - {BAND}\n"))
    said = checked(folder)
    assert "offer_tier" in said
    document = traits_markdown(traits(str(folder)))
    assert "by `ltv_90d`, a number: `low` (from 0 below 50), `high` (from 50); otherwise `none`" in document
    assert "Sum of 90 days' orders." in document
    assert "**Schema:** 3" in document


def test_the_traits_document_is_what_the_experiments_say(monkeypatch):
    monkeypatch.chdir(ROOT)
    made = traits_markdown(traits("experiments"))
    assert (ROOT / "docs" / "traits.md").read_text() == made, "run `lift traits --write docs/traits.md`"
    assert "To be mended" not in made
    for path in (ROOT / "experiments").glob("*.yml"):
        experiment = Spec.read(path).experiment
        for trait in experiment.traits:
            for told in (trait.meaning, trait.computed, trait.owner, trait.flag, *trait.segments()):
                assert told
                assert told in made.replace("\\_", "_")


def test_every_field_of_a_contract_is_documented_and_the_documents_examples_are_valid():
    said = (ROOT / "docs" / "trait-fields.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", said, re.MULTILINE)
    assert rows == [field.alias or name for name, field in TraitContract.model_fields.items()]
    for kind, age in USUAL_MAX_AGE.items():
        assert re.search(rf"{in_words(age)} for [^|]*`{kind}`", said)
    for name in ("trait-fields.md", "escalation.md"):
        (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / name).read_text(), re.DOTALL)
        given = yaml.safe_load(example)
        plain = yaml.safe_load(EXAMPLE) | {"arms": {"holdout": 0.2, "free_shipping": 0.4, "escalating": 0.4}}
        assert Experiment.model_validate(plain | given).traits


def test_conflicts_stand_in_the_document_and_in_the_terminal(folder):
    (folder / "theirs.yml").write_text(EXAMPLE.replace("key: cart-free-shipping", "key: theirs"))
    found = traits(str(folder))
    assert "at the same time" in traits_text(found)
    assert "## To be mended" in traits_markdown(found)


def test_a_folder_that_cannot_be_read_is_told_by_file(folder, tmp_path_factory):
    with pytest.raises(SpecError, match="no experiment files"):
        traits(str(tmp_path_factory.mktemp("empty")))
    (folder / "broken.yml").write_text("key: Nope")
    with pytest.raises(SpecError, match="broken.yml:1: key"):
        traits(str(folder))


# ---- hostile words ---------------------------------------------------------------------------------------

MARKDOWN = MarkdownIt("commonmark").enable("table")


def inline(markdown):
    """Return the kinds of what a reader of Markdown finds within lines, and the text that is shown."""
    kinds, shown = set(), []
    for token in MARKDOWN.parse(markdown):
        kinds.add(token.type)
        for each in token.children or ():
            kinds.add(each.type)
            shown.append(each.content)
    return kinds, "".join(shown)


@pytest.mark.parametrize("how", [prose, code])
@pytest.mark.parametrize(
    "text",
    [
        HOSTILE,
        "a|b",
        "`",
        "``a`",
        "\\|",
        "\\",
        "&lt;b&gt;",
        "# head",
        "- item",
        "~~gone~~",
        "![x](y)",
        "<b@c.example>",
        "_a_",
    ],
)
def test_hostile_words_are_shown_and_take_no_effect(how, text):
    one_line = " ".join(text.replace("\u202e", " ").split())
    table = table_markdown(["a", "b"], [[how(text), "next"]])
    kinds, shown = inline(table)
    assert kinds <= {
        *(
            f"{part}_{side}"
            for part in ("table", "thead", "tbody", "tr", "th", "td")
            for side in ("open", "close")
        ),
        *("inline", "text", "text_special", "code_inline"),
    }
    assert shown == f"ab{one_line}next"
    assert "https://" not in prose(text)
    assert "www." not in prose(text)


def test_a_hostile_file_makes_a_document_without_its_markup(folder):
    quoted = "'" + HOSTILE.replace("\n", " ").replace("\u202e", "") + "'"
    text = EXAMPLE.replace(
        "owner: retention", f"owner: {quoted}, meaning: {quoted}, computed: {quoted}, flag: {quoted}"
    )
    text = text.replace("flag: free-shipping-banner, ", "").replace(
        "name: Free shipping for high-value cart abandoners", f"name: {quoted}"
    )
    (folder / "mine.yml").write_text(text)
    kinds, _ = inline(traits_markdown(traits(str(folder))))
    assert not kinds & {"html_inline", "html_block", "image"}
    links = [
        each.attrs["href"]
        for token in MARKDOWN.parse(traits_markdown(traits(str(folder))))
        for each in token.children or ()
        if each.type == "link_open"
    ]
    assert sorted(set(links)) == ["#free_shipping_eligible", "escalation.md", "lookup.md", "trait-fields.md"]


def test_the_commands_write_the_document_and_warn_without_failing(folder):
    lift = Lift(folder)
    assert "free_shipping" in lift("traits", folder, "--write", "traits.md").stdout
    assert (folder / "traits.md").read_text().startswith("# Traits")
    assert "cannot be written" in lift("traits", folder, "--write", "no/such/traits.md", expect=3).stderr
