"""The demo's report: one HTML page that needs no network."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..evaluation.metrics import Overlap
from ..files.atomic import whole_file
from .run import Run, versions

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2rem auto; padding: 0 1rem; color: #1b2733; }
h1 { margin-bottom: 0 } .note { background: #fff3cd; padding: .6rem 1rem; border-left: 4px solid #e69f00 }
img { width: 100%; border-radius: 6px; margin: .5rem 0 } table { border-collapse: collapse; margin: .5rem 0 1.5rem }
td, th { padding: .3rem .9rem; border-bottom: 1px solid #d5dde5; text-align: right } td:first-child, th:first-child { text-align: left }
small { color: #5b6b7b }
"""


def write_report(path: Path, folder: Path, run: Run, scores: Mapping[str, Overlap], title: str) -> None:
    """Write the page at `path`; pictures are taken from `folder` and embedded."""
    rows = [_score_row(name, score) for name, score in scores.items()]
    findings = [(f["kind"].replace("_", " "), f["severity"], f["advice"]) for f in run.found.get("findings", [])]
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        "<p class=note>Everything here is simulated. Research software, not a medical device.</p>",
        *(f"<p class=note>{html.escape(note)}</p>" for note in [*run.found.get("notes", []), *run.found.get("warnings", [])]),
        _picture(folder / "navigation.png", "Navigation scene: lesion, reconstructed volume and probe"),
        "<h2>Against the simulated truth</h2>",
        _table(("method", "Dice", "precision", "recall", "volume difference", "mL", "truth mL"), rows),
        _picture(folder / "slices.png", "Slices through the box with the contours of the truth and of every method"),
        "<h2>The sweep</h2>",
        f"<p>Received over OpenIGTLink on this computer: {run.found['record']['frames']} frames, {run.found['record']['lost']} lost.</p>",
        f"<p>Check: <b>{run.found['verdict']}</b>; {run.found['frames_used']} frames used, {sum(run.found['frames_skipped'].values())} skipped.</p>",
        _table(("finding", "severity", "advice"), findings) if findings else "",
        "<h2>Seconds per stage</h2>",
        _table(("stage", "s"), [(name, f"{value:.2f}") for name, value in run.seconds.items()]),
        f"<p><small>{html.escape(', '.join(f'{name} {version}' for name, version in versions().items()))}</small></p>",
    ]
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>{''.join(parts)}</html>\n"
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _score_row(name: str, score: Overlap) -> tuple[str, ...]:
    ratios = (f"{score.dice:.3f}", f"{score.precision:.3f}", f"{score.recall:.3f}", f"{100 * score.relative_volume_difference:+.0f} %")
    return (name, *ratios, f"{score.volume_ml:.2f}", f"{score.truth_ml:.2f}")


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    def row(cells: tuple[str, ...], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{row(header, 'th')}{''.join(row(cells, 'td') for cells in rows)}</table>"


def _picture(path: Path, text: str) -> str:
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{html.escape(text)}" src="data:image/png;base64,{data}"><br><small>{html.escape(text)}</small>'
