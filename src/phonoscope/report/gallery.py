"""A page that links to all interactive figures of a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

STYLE = "body{font-family:sans-serif;margin:2em} td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}"


def gallery(
    title: str, note: str, columns: Sequence[str], rows: Sequence[tuple[Sequence[str], str | Mapping[str, str]]]
) -> str:
    """An HTML page with one table: a row is its headings, one for each of `columns`, and links by name, or a remark."""
    head = "".join(f"<th>{escape(name)}</th>" for name in (*columns, "figures"))
    body = "\n".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}<td>{_links(links)}</td></tr>"
        for cells, links in rows
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n<p>{escape(note)}</p>\n"
        f"<table>\n<tr>{head}</tr>\n{body}\n</table>\n</body></html>\n"
    )


def _links(links: str | Mapping[str, str]) -> str:
    if isinstance(links, str):
        return escape(links)
    return " · ".join(f'<a href="{escape(target)}">{escape(name)}</a>' for name, target in links.items())
