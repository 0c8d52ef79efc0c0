"""A bar moves in place, not too often, and ends with how long it took."""

from __future__ import annotations

from toolkit.notebook.progress import Bar


class Screen:
    def __init__(self):
        self.lines = []

    def __call__(self, shown, *, display_id):
        assert display_id
        self.lines.append([shown])
        return self

    def update(self, shown):
        self.lines[-1].append(shown)


def test_a_bar_moves_in_place_and_ends_with_the_time_it_took():
    times, screen = iter([0.0, 0.01, 1.0, 2.0]), Screen()
    bar = Bar(screen, lambda: next(times))
    for done in (0, 1, 5, 10):
        bar("pages", done, 10)
    assert [repr(each) for each in screen.lines[0]] == [
        "pages: 0 of 10, 0 s",
        "pages: 5 of 10, 1 s",
        "pages: 10 of 10, 2 s",
    ]
    assert "<progress" in screen.lines[0][0]._repr_html_()
    assert "<progress" not in screen.lines[0][-1]._repr_html_()


def test_each_kind_of_work_has_a_line_of_its_own_and_no_end_where_none_is_known():
    screen = Screen()
    bar = Bar(screen, lambda: 0.0)
    bar("pages", 3, 0)
    bar("<b>people</b>", 1, 4)
    assert [repr(line[0]) for line in screen.lines] == ["pages: 3, 0 s", "<b>people</b>: 1 of 4, 0 s"]
    assert "<progress" not in screen.lines[0][0]._repr_html_()
    assert "&lt;b&gt;" in screen.lines[1][0]._repr_html_()
