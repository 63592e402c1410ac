"""A picture of a design's pipeline: what each layer is, how wide its wires are, when it works."""

from __future__ import annotations

from html import escape
from typing import Any

from qpolicy_fpga.manifest import Manifest

WIDTH, ROW, LEFT, TOP = 960, 74, 250, 96
INK, MUTED, ACCENT, PALE = "#1b2a38", "#5b6b7a", "#0f7b8a", "#d7ecef"


def draw(manifest: Manifest, facts: dict[str, Any]) -> str:
    """Return an SVG: one bar a layer over a frame's cycles, with its form beside it."""
    layers = manifest.layers
    cycles = manifest.cycles
    captured = cycles - sum(layer.cycles for layer in layers)
    height = TOP + ROW * (len(layers) + 1) + 60
    scale = (WIDTH - LEFT - 40) / cycles
    title = f"{manifest.task}: {cycles} cycles on {manifest.part}"
    depth = facts["depth_ns"]
    detail = (
        f"{facts['lut']:,g} LUT, {facts['ff']:,g} FF, {facts['bram36']:g} block RAM, "
        + (f"{depth:.2f} ns before routing, " if depth is not None else "")
        + f"a new observation every {manifest.initiation_interval} cycles"
    )
    shapes = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'font-family="Helvetica, Arial, sans-serif" role="img" aria-label="{escape(title)}">'
        ),
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(24, 36, title, 20, INK, "bold"),
        _text(24, 60, detail, 13, MUTED),
    ]
    bus = manifest.codes_per_beat * manifest.b_in
    shapes += _row(
        0, 0, captured, scale, "input", f"{manifest.beats} beats of {bus} bits", manifest
    )
    start = captured
    for index, layer in enumerate(layers):
        last = index == len(layers) - 1
        bits = layer.neurons * (manifest.b_out if last else manifest.b_core)
        name = f"layer {index}: {layer.inputs} to {layer.neurons}"
        form = (
            f"{layer.trees} trees x {layer.fold}, {layer.planes} planes, "
            f"{layer.tail}, {bits} bits out"
        )
        shapes += _row(index + 1, start, layer.cycles, scale, name, form, manifest)
        start += layer.cycles
    bottom = TOP + ROW * (len(layers) + 1)
    for tick in _ticks(cycles):
        x = LEFT + tick * scale
        shapes.append(
            f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" '
            f'stroke="{MUTED}" stroke-opacity="0.25"/>'
        )
        shapes.append(_text(x, bottom + 18, str(tick), 12, MUTED, anchor="middle"))
    shapes.append(_text(LEFT, bottom + 42, "cycle after the first accepted beat", 12, MUTED))
    return "\n".join([*shapes, "</svg>", ""])


def _row(
    index: int,
    start: int,
    length: int,
    scale: float,
    name: str,
    form: str,
    manifest: Manifest,
) -> list[str]:
    """A label and a bar; a bar of no length is a line."""
    y = TOP + ROW * index
    x, width = LEFT + start * scale, max(length * scale, 2.0)
    fill = PALE if index == 0 else ACCENT
    time = f"{length} cycles, {length / manifest.clock_mhz:.2f} us"
    return [
        _text(24, y + 22, name, 14, INK, "bold"),
        f'<rect x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="26" rx="3" fill="{fill}"/>',
        _text(24, y + 42, form, 11, MUTED),
        _text(24, y + 57, time, 11, MUTED),
    ]


def _ticks(cycles: int) -> list[int]:
    """About eight round numbers from 0 to ``cycles``."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**6) if cycles / s <= 10)
    return list(range(0, cycles + 1, step))


def _text(
    x: float, y: float, text: str, size: int, fill: str, weight: str = "", anchor: str = ""
) -> str:
    """One line of text."""
    extra = (f' font-weight="{weight}"' if weight else "") + (
        f' text-anchor="{anchor}"' if anchor else ""
    )
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}"{extra}>'
        f"{escape(text)}</text>"
    )
