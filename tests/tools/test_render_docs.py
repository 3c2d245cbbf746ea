import pytest

from tools.render_docs import TABLES, pages, rendered


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_the_tables_of_a_page_are_those_of_the_committed_metrics(page):
    text = page.read_text(encoding="utf-8")
    assert rendered(text) == text, "run `make docs`"


def test_only_what_stands_between_the_marks_is_written(monkeypatch):
    monkeypatch.setitem(TABLES, "square", lambda size: f"| {int(size) ** 2} |")
    page = "before\n<!-- table: square 3 -->\n\n| old |\n\n<!-- end -->\nafter\n"
    assert rendered(page) == "before\n<!-- table: square 3 -->\n\n| 9 |\n\n<!-- end -->\nafter\n"
    with pytest.raises(KeyError):
        rendered("<!-- table: circle -->\n<!-- end -->\n")
