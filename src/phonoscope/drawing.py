"""How figures look, and how they become files: the same bytes each time, whatever the user's own settings are."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonoscope.files import atomic_dir, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as PlotlyFigure

HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito (2008)
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
GREY = "0.35"
DPI = 150
UNDISTILLED = "_undistilled"  # end of the name of a codec that was trained without distillation
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "0.92",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's defaults and ours, whatever the user's own settings are; draw and save under it."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure with constrained layout, known to no window; call it under `style`."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")


def png(figure: Figure) -> bytes:
    """The figure as PNG at 150 dpi, the same bytes each time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    with style():
        FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def write_figures(folder: Path, figures: Mapping[str, Figure | None]) -> list[Path]:
    """Write a folder of PNGs by name, and return their paths; a figure that is None is left out."""
    images = {f"{name}.png": png(figure) for name, figure in figures.items() if figure is not None}
    with atomic_dir(folder) as temporary:
        for name, image in images.items():
            (temporary / name).write_bytes(image)
    return [folder / name for name in images]


def codec_looks(codecs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Line properties of each codec; its undistilled version has its hue and marker, but is dashed and hollow."""
    families = list(dict.fromkeys(codec.removesuffix(UNDISTILLED) for codec in codecs))
    looks = {}
    for codec in codecs:
        rank, hollow = families.index(codec.removesuffix(UNDISTILLED)), codec.endswith(UNDISTILLED)
        hue = HUES[rank % len(HUES)]
        looks[codec] = {
            "color": hue,
            "marker": MARKERS[rank % len(MARKERS)],
            "linestyle": (0, (4, 1.5)) if hollow else "-",
            "markerfacecolor": "white" if hollow else hue,
            "markersize": 4.5,
            "linewidth": 1.5,
        }
    return looks


def write_html(path: Path, figure: PlotlyFigure, *, script: str = "plotly.min.js") -> None:
    """Write an interactive figure, the same bytes each time; it loads plotly.js from `script`, relative to it."""
    write_text(path, figure.to_html(include_plotlyjs=script, full_html=True, div_id=path.stem))


def write_plotlyjs(folder: Path) -> None:
    """Write plotly.min.js, once for all the figures of a folder."""
    from plotly.offline import get_plotlyjs

    write_text(folder / "plotly.min.js", get_plotlyjs())
