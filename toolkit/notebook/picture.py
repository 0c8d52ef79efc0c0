"""Pictures that stand alone: an SVG that shows itself in a notebook as an image, with words, and saves itself."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from toolkit.errors import DataError, StorageError
from toolkit.readout.parts import TEMPLATES, Section
from toolkit.readout.svg import element

__all__ = ["TEMPLATE", "Picture", "pictures_of", "standalone", "written"]

TEMPLATE = Path(__file__).parent / "template"
WIDE = re.compile(
    r'<svg viewBox="0 0 (?P<width>[\d.]+) (?P<height>[\d.]+)" class="chart wide".*?</svg>', re.DOTALL
)
SAID = re.compile(r"<desc[^>]*>(?P<said>.*?)</desc>", re.DOTALL)


@dataclass(frozen=True, slots=True, repr=False)
class Picture:
    """A drawing and what it says in words; `name` is what its file is called when it is saved from the page."""

    svg: str
    said: str
    name: str = "picture"

    def __repr__(self) -> str:
        return f"picture: {self.said}"

    def _repr_html_(self) -> str:
        return str(self.figure)

    @property
    def source(self) -> str:
        """Return the drawing as the address of an image."""
        return f"data:image/svg+xml;base64,{b64encode(self.svg.encode()).decode()}"

    @property
    def figure(self) -> Markup:
        """Return the image with its words and, where scripts may run, links that save it as SVG or PNG."""
        script = (TEMPLATE / "picture.js").read_text(encoding="utf-8")
        return element(
            "figure",
            Markup('<img src="{}" alt="{}">').format(self.source, self.said),
            element(
                "p",
                element("a", "SVG", href=self.source, download=f"{self.name}.svg"),
                " ",
                element("a", "PNG", download=f"{self.name}.png"),
                class_="save",
            ),
            element("script", Markup(script)),  # noqa: S704 (our own script)
            class_="lift-picture",
        )

    def save(self, path: str | Path) -> Path:
        """Write the drawing to `path`, an SVG file; browsers and office programs open it, and save it as PNG.

        Raises:
            StorageError: it cannot be written, or the name is not that of an SVG file.
        """
        target = Path(path)
        if target.suffix.lower() != ".svg":
            raise StorageError(f"{path}: a picture is saved as .svg; the link “PNG” below it saves it as PNG")
        return written(target, self.svg)


def standalone(chart: Markup, name: str = "picture") -> Picture:
    """Return a chart of the readout as a picture of its own: its wide drawing, with the page's stylesheet in it.

    Raises:
        DataError: it holds no such drawing.
    """
    found = WIDE.search(chart)
    if found is None:
        raise DataError(f"{name}: there is no chart in it")
    rules = (TEMPLATES / "readout.css").read_text(encoding="utf-8")
    for outside in (":root{", "body{"):
        rules = rules.replace(outside, "svg{")
    width, height = float(found["width"]), float(found["height"])
    inside = found[0].partition(">")[2].removesuffix("</svg>")
    paper = element("rect", x=-12.0, y=-12.0, width=width + 24, height=height + 24, fill="var(--paper)")
    drawn = element(
        "svg",
        element("style", Markup(rules)),  # noqa: S704 (our own stylesheet)
        paper,
        element("g", Markup(inside), class_="chart"),  # noqa: S704 (drawn and escaped by the readout)
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"-12 -12 {width + 24:g} {height + 24:g}",
        width=width + 24,
        height=height + 24,
    )
    said = SAID.search(found[0])
    return Picture(str(drawn), Markup(said["said"]).unescape() if said else name, name)  # noqa: S704


def pictures_of(section: Section) -> tuple[Picture, ...]:
    """Return every chart of a readout's section as a picture of its own, in order."""
    charts = [found[0] for found in WIDE.finditer(section.html)]
    return tuple(
        standalone(Markup(chart), f"{section.key}-{place}")  # noqa: S704 (drawn and escaped by the readout)
        for place, chart in enumerate(charts, start=1)
    )


def written(target: Path, content: str) -> Path:
    """Write a file, and the folder that it is to be in, and return where it is.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8", newline="")
    except OSError as refused:
        raise StorageError(f"{target}: cannot be written: {refused.strerror}") from None
    return target
