import pytest

from tools.render_docs import TABLES, csv, pages, rendered


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


def test_a_table_shows_the_chosen_rows_and_columns_of_a_csv(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(
        "site,kind,value,low,high,d,d_low,d_high,n,sure\na,x,0.5,0.4,0.6,1,0,2,7,True\nb,y,0.25,,,2,,,8,False\n"
    )
    shown = csv(str(path), "site=a|b", "show=site,value:score,d,n,sure")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown.splitlines()]
    assert rows[0] == ["site", "score", "d", "n", "sure"]
    assert rows[2] == ["a", "0.500 [0.400, 0.600]", "1.000 [0.000, 2.000]", "7", "yes"]
    assert rows[3] == ["b", "0.250", "2.000", "8", "no"]
    assert "| a " not in csv(str(path), "site=b")
