"""A report as a list of blocks, written as HTML or as Markdown: the same content in both."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

Cell = str | tuple[str, str, str]
"""Text, or the 25th, 50th and 75th percentile, of which the middle one is set bold."""

TIMING = "timing"
"""Class of every HTML element, and comment at the end of every LaTeX line, that holds times: what may differ between two runs."""


@dataclass(frozen=True)
class Heading:
    """A section's title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Plain text. notice: to be seen first; timing: holds times."""

    text: str
    notice: bool = False
    timing: bool = False


@dataclass(frozen=True)
class Code:
    """Text as it is to be typed."""

    text: str


@dataclass(frozen=True)
class Table:
    """rows: cells; a row of which timing says True (by its number) holds times. over: (title, columns) above the header, from the left on.

    folded: shut at first, where a page can do so, under the caption.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    over: tuple[tuple[str, int], ...] = ()
    timing: frozenset[int] = frozenset()
    folded: bool = False
    theirs: int = 0
    """So many columns on the right are another study's."""


@dataclass(frozen=True)
class Figure:
    """stem: of the PNG and SVG files below the report's folder, with /. raster: shown as PNG, because its SVG holds pictures anyway."""

    stem: str
    caption: str
    raster: bool = False
    timing: bool = False
    narrow: bool = False


NUMERIC = re.compile(r"(?:[\s\d.,+−\-–%()/<≥≈]|\bto\b|\bof\b|\bat\b|\de[+−-]?\d)*")
"""Cells of numbers, which are set to the right."""

DENSE = 7
"""Tables of more columns are set smaller."""

Block = Heading | Paragraph | Code | Table | Figure

STYLE = """
:root { color-scheme: light } * { box-sizing: border-box }
body { font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1b2733; background: #fff;
  max-width: 1080px; margin: 2rem auto 4rem; padding: 0 1.2rem }
h1 { font-size: 1.7rem; margin: 0 0 .6rem } h3 { font-size: 1rem; margin: 1.4rem 0 .3rem }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem; border-bottom: 2px solid #d5dde5; padding-bottom: .2rem }
p { max-width: 78ch; margin: .4rem 0 } pre { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace }
pre { background: #f4f6f8; padding: .6rem .9rem; white-space: pre-wrap; overflow-wrap: anywhere }
.notice { background: #fff3cd; border-left: 4px solid #e69f00; padding: .6rem 1rem; max-width: none }
.wide { overflow-x: auto; margin: .5rem 0 1rem }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
caption { text-align: left; color: #4a5866; padding: .2rem 0 .4rem; caption-side: top; max-width: 100ch }
td, th { padding: .25rem .7rem; border-bottom: 1px solid #d5dde5; text-align: right; vertical-align: top } th { vertical-align: bottom }
td { white-space: nowrap } td.text, th.text { text-align: left }
td.text { max-width: 60ch; overflow-wrap: anywhere; white-space: normal }
td:first-child { overflow-wrap: normal; min-width: 5em } td.q span { color: #4a5866 } .theirs { background: #f4f6f8 }
tr.over th { text-align: center; border-bottom: 1px solid #5b6b7b }
.dense td, .dense th { padding: .25rem .4rem } .dense { font-size: 12px }
figure { margin: .8rem 0 1.4rem; break-inside: avoid } figure img { width: 100%; height: auto; display: block }
figure.narrow img { width: 56% } figcaption { font-size: 13px; color: #4a5866; max-width: 100ch }
details > summary { cursor: pointer; font-size: 13px; color: #0b5394; margin: .5rem 0 }
@media print {
  @page { size: A4; margin: 15mm } body { font-size: 9.5pt; margin: 0; max-width: none; padding: 0 }
  h2 { break-after: avoid } table { font-size: 7.5pt } .dense { font-size: 6.8pt } td, th { padding: .12rem .35rem }
  .dense td, .dense th { padding: .12rem .22rem } tr { break-inside: avoid } .wide { overflow: visible }
  .theirs, .notice { print-color-adjust: exact } details::details-content { content-visibility: visible; block-size: auto }
}
"""


def to_html(title: str, blocks: Iterable[Block], folder: Path) -> str:
    """One page that needs nothing else: pictures are taken from `folder` and embedded."""
    body = "\n".join(_html(block, folder) for block in blocks)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{html.escape(title)}</title>'
    return f'<!doctype html>\n<html lang="en">\n<head>{head}\n<style>{STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n'


def to_markdown(blocks: Iterable[Block]) -> str:
    """Markdown with tables; pictures are linked where they lie."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def _html(block: Block, folder: Path) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
    if isinstance(block, Paragraph):
        classes = " ".join(name for name, is_so in (("notice", block.notice), (TIMING, block.timing)) if is_so)
        return f"<p{_class(classes)}>{html.escape(block.text)}</p>"
    if isinstance(block, Code):
        return f"<pre>{html.escape(block.text)}</pre>"
    if isinstance(block, Table):
        return _html_table(block)
    ending, kind = ("png", "image/png") if block.raster else ("svg", "image/svg+xml")
    data = base64.b64encode((folder / f"{block.stem}.{ending}").read_bytes()).decode("ascii")
    classes = " ".join(name for name, is_so in ((TIMING, block.timing), ("narrow", block.narrow)) if is_so)
    alt = html.escape(block.caption.split(". ")[0], quote=True)
    picture = f'<img alt="{alt}" src="data:{kind};base64,{data}">'
    return f"<figure{_class(classes)}>{picture}<figcaption>{html.escape(block.caption)}</figcaption></figure>"


def _html_table(table: Table) -> str:
    columns, text = len(table.header), _text_columns(table)
    caption = f"<caption>{html.escape(table.caption)}</caption>" if table.caption and not table.folded else ""

    def line(tag: str, cells: Sequence[Cell]) -> str:
        return "".join(_cell(tag, cell, text[n], n >= columns - table.theirs) for n, cell in enumerate(cells))

    over = "".join(f'<th colspan="{span}">{html.escape(title)}</th>' for title, span in table.over)
    head = (f'<tr class="over">{over}</tr>' if over else "") + f"<tr>{line('th', table.header)}</tr>"
    rows = [f"<tr{_class(TIMING if n in table.timing else '')}>{line('td', row)}</tr>" for n, row in enumerate(table.rows)]
    dense = _class("dense" if columns > DENSE else "")
    whole = f'<div class="wide"><table{dense}>{caption}\n<thead>{head}</thead>\n<tbody>\n' + "\n".join(rows) + "\n</tbody></table></div>"
    return f"<details><summary>{html.escape(table.caption)}</summary>{whole}</details>" if table.folded else whole


def _text_columns(table: Table) -> list[bool]:
    """Which columns are set to the left: the first, and those with a cell that is no number."""
    cells_of = [[row[n] for row in table.rows] for n in range(len(table.header))]
    return [n == 0 or any(isinstance(cell, str) and not NUMERIC.fullmatch(cell) for cell in cells) for n, cells in enumerate(cells_of)]


def _cell(tag: str, cell: Cell, text: bool, theirs: bool) -> str:
    classes = ["theirs"] * theirs + ["text"] * text
    if isinstance(cell, tuple):
        return f"<{tag}{_class(' '.join([*classes, 'q']))}><span>{cell[0]}</span> <b>{cell[1]}</b> <span>{cell[2]}</span></{tag}>"
    return f"<{tag}{_class(' '.join(classes))}>{html.escape(cell)}</{tag}>"


def _class(names: str) -> str:
    return f' class="{names}"' if names else ""


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {_escaped(block.text)}"
    if isinstance(block, Paragraph):
        return f"> **{_escaped(block.text)}**" if block.notice else _escaped(block.text)
    if isinstance(block, Code):
        return f"```\n{block.text}\n```"
    if isinstance(block, Figure):
        return f"![{_escaped(block.caption)}]({block.stem}.png)\n\n*{_escaped(block.caption)}*"
    header = list(block.header)
    place = 0
    for text, span in block.over:  # Markdown knows no cells across columns
        for column in range(place, place + span):
            header[column] = f"{header[column]} ({text})" if text and header[column] else header[column]
        place += span
    rule = "|" + "|".join("---" if text else "---:" for text in _text_columns(block)) + "|"
    lines = [_row(header), rule, *(_row(row) for row in block.rows)]
    return (f"{_escaped(block.caption)}\n\n" if block.caption else "") + "\n".join(lines)


def _row(cells: Sequence[Cell]) -> str:
    return "| " + " | ".join(f"{c[0]} **{c[1]}** {c[2]}" if isinstance(c, tuple) else _escaped(c) for c in cells) + " |"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", " ".join(text.split()))
