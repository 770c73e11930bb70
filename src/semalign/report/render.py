"""Figures as parts of a page: SVG that takes the page's colours, PNG as bytes, both without anything outside them."""

from __future__ import annotations

import base64
import io
import re
import struct
from dataclasses import dataclass

from markupsafe import Markup, escape
from matplotlib.figure import Figure

from semalign.report.theme import VARIABLES

_DROPPED = re.compile(
    r"<metadata>.*?</metadata>|<style.*?</style>|\s+style=\"image-rendering:[^\"]*\"|font-family: [^;\"]*;? ?",
    re.DOTALL,
)
_TITLE = re.compile(r"<svg[^>]*viewBox=\"([^\"]*)\"[^>]*>")
_LONG = re.compile(r"(?<=[\s\"(,-])(\d+\.\d\d)\d+(?=[\s\")])")


@dataclass(frozen=True)
class Plot:
    """A chart or picture with its title and a caption."""

    title: str
    image: Markup
    caption: str = ""


def to_svg(figure: Figure, key: str, label: str) -> Markup:
    """The figure as an inline SVG element, without size, in the page's fonts and colours.

    Args:
        figure: drawn in the colours of `theme.PAGE`, or in fixed ones.
        key: prefix of every id in it; unique on the page.
        label: what the figure shows, for those who cannot see it.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", dpi=72, transparent=True, metadata={"Date": None})
    text = buffer.getvalue().decode("utf-8")
    text = _DROPPED.sub("", text[text.index("<svg") :])
    text = re.sub(r"\bid=\"([^\"]+)\"", rf'id="{key}-\1"', text)
    text = re.sub(r"(url\(|xlink:href=\")#", rf"\1#{key}-", text)
    text = _LONG.sub(r"\1", text)
    text = re.sub(r"\s*\n\s*", " ", text).replace("> <", "><")
    for placeholder, variable in VARIABLES.items():
        text = text.replace(placeholder, variable)
    return Markup(
        _TITLE.sub(rf'<svg class="chart" viewBox="\1" role="img" aria-label="{escape(label)}">', text, count=1)
    )


def to_png(figure: Figure, pixels_per_point: float = 2.0, transparent: bool = True) -> bytes:
    """The figure as a PNG file; a figure's point is a CSS pixel."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="png", dpi=72 * pixels_per_point, transparent=transparent, metadata={"Software": None}
    )
    return buffer.getvalue()


def picture_tag(png: bytes, label: str) -> Markup:
    """An `<img>` that holds the PNG itself and reserves its place before it is decoded."""
    width, height = struct.unpack(">II", png[16:24])
    data = base64.b64encode(png).decode("ascii")
    return Markup('<img src="data:image/png;base64,{}" width="{}" height="{}" alt="{}">').format(
        data, width, height, label
    )
