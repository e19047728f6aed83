"""The explanation sheet: hottest slice with contour and color scale, more slices, all scores."""

import numpy as np
from PIL import Image, ImageDraw

from meninx._detect.answer_words import answer_in_words, borders_in_words, scale_in_figures
from meninx._detect.findings import Findings, SliceFinding
from meninx._render.annotation import INK, PAPER, scale_bar, write_letters
from meninx._render.heatmap import gray_picture, overlay, panel_size, slice_heatmap
from meninx._scan.scan import Scan

# Slices of the strip, and the width of each, pixels.
MAX_SHOWN, THUMB = 10, 150
GAP, LINE = 6, 16
GRAPH_HEIGHT = 70
# A light line beside a dark one is seen on any gray.
INNER, OUTER = (255, 255, 255), (0, 0, 0)
SOFT, MARK = (120, 128, 136), (245, 125, 20)


def explanation_sheet(scan: Scan, findings: Findings, withheld: str | None) -> Image.Image:
    """Return one picture that explains a finding.

    Args:
        scan: The scored scan.
        findings: Findings of the scan, all slices with their cells.
        withheld: Why no heat map is drawn, in words; None to draw it.

    Returns:
        An RGB picture: the hottest slice plain and with heat map, contour and color scale; for a
        volume also slices through it and the score of every slice.

    Raises:
        ValueError: If no slice was scored.
    """
    hottest = findings.hottest
    if hottest is None:
        raise ValueError(f"{findings.scan}: nothing was scored, so there is nothing to explain")
    shown = withheld is None
    parts = [_hottest_panels(scan, hottest, shown=shown)]
    if len(findings.slices) > 1:
        parts.append(_strip(scan, findings, shown=shown))
        parts.append(_graph(findings, parts[-1].width))
    parts.append(_caption(findings, hottest, withheld, max(part.width for part in parts)))
    width = max(part.width for part in parts) + 2 * GAP
    sheet = Image.new("RGB", (width, sum(part.height + GAP for part in parts) + GAP), PAPER)
    top = GAP
    for part in parts:
        sheet.paste(part, (GAP, top))
        top += part.height + GAP
    return sheet


def contour(heat: np.ndarray, level: float) -> np.ndarray:
    """Return the pixels along which a heat map crosses a level, shape (h, w), bool."""
    above = np.pad(heat >= level, 1, mode="edge")
    inner = above[1:-1, 1:-1]
    around = above[:-2, 1:-1] & above[2:, 1:-1] & above[1:-1, :-2] & above[1:-1, 2:]
    return np.asarray(inner & ~around)


def _hottest_panels(scan: Scan, found: SliceFinding, *, shown: bool) -> Image.Image:
    one = scan.slice(found.index)
    width, height = panel_size(one)
    plain = Image.fromarray(gray_picture(one.image)).resize((width, height))
    write_letters(plain, one.plane)
    if not shown:
        return plain
    heat = slice_heatmap(found, one)
    warm = Image.fromarray(overlay(one.image, heat)).resize((width, height))
    large = np.asarray(Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR))
    # At half of the peak, so that the contour does not depend on the peak's height.
    edge = contour(large, float(large.max()) / 2)
    halo = np.zeros_like(edge)
    halo[1:], halo[:-1] = edge[:-1], edge[1:]
    pixels = np.array(warm)
    pixels[halo & ~edge], pixels[edge] = OUTER, INNER
    marked = Image.fromarray(pixels)
    write_letters(marked, one.plane)
    bar = scale_bar(height)
    canvas = Image.new("RGB", (2 * width + bar.width + 2 * GAP, height), PAPER)
    for part, left in ((plain, 0), (marked, width + GAP)):
        canvas.paste(part, (left, 0))
    canvas.paste(bar, (2 * width + 2 * GAP, 0))
    row, column = one.position_of(found.peak)
    y = (row + 0.5) / one.image.shape[0] * height
    x = (column + 0.5) / one.image.shape[1] * width + width + GAP
    ImageDraw.Draw(canvas).ellipse((x - 6, y - 6, x + 6, y + 6), outline="white")
    return canvas


def _strip(scan: Scan, findings: Findings, *, shown: bool) -> Image.Image:
    """Return slices evenly through the scan, the hottest one among them, with their scores."""
    slices, hottest = findings.slices, findings.hottest
    count = min(MAX_SHOWN, len(slices))
    chosen = set(np.linspace(0, len(slices) - 1, count).round().astype(int).tolist())
    place = next(n for n, one in enumerate(slices) if one is hottest)
    if place not in chosen:
        chosen.remove(min(chosen, key=lambda n: abs(n - place)))
        chosen.add(place)
    thumbs = []
    for number in sorted(chosen):
        found = slices[number]
        one = scan.slice(found.index)
        pixels = gray_picture(one.image)
        if shown:
            pixels = overlay(one.image, slice_heatmap(found, one))
        width, height = panel_size(one)
        scaled = (THUMB, max(1, round(THUMB * height / width)))
        thumbs.append((found, Image.fromarray(pixels).resize(scaled)))
    height = max(thumb.height for _, thumb in thumbs)
    columns = min(len(thumbs), 5)
    rows = -(-len(thumbs) // columns)
    cell = (THUMB + GAP, height + LINE + GAP)
    strip = Image.new("RGB", (columns * cell[0], rows * cell[1]), PAPER)
    draw = ImageDraw.Draw(strip)
    for number, (found, thumb) in enumerate(thumbs):
        left, top = number % columns * cell[0], number // columns * cell[1]
        strip.paste(thumb, (left, top))
        text = f"{found.index}: {found.probability:.2f}"
        draw.text((left + 2, top + height + 2), text, fill=MARK if found is hottest else INK)
    return strip


def _graph(findings: Findings, width: int) -> Image.Image:
    """Return the score of every slice as a line of bars, the hottest one marked."""
    graph = Image.new("RGB", (width, GRAPH_HEIGHT + LINE), PAPER)
    draw = ImageDraw.Draw(graph)
    slices = findings.slices
    step = width / len(slices)
    for number, found in enumerate(slices):
        top = GRAPH_HEIGHT * (1 - found.probability)
        color = MARK if found is findings.hottest else SOFT
        left = number * step
        draw.rectangle((left, top, max(left + step - 1, left), GRAPH_HEIGHT), fill=color)
    draw.line((0, GRAPH_HEIGHT // 2, width, GRAPH_HEIGHT // 2), fill=SOFT)
    draw.text((2, GRAPH_HEIGHT // 2 - LINE + 2), "0.5", fill=INK)
    text = f"probability of a tumor in slices {slices[0].index} to {slices[-1].index}"
    draw.text((2, GRAPH_HEIGHT + 2), text, fill=INK)
    return graph


def _caption(
    findings: Findings, hottest: SliceFinding, withheld: str | None, width: int
) -> Image.Image:
    where = f", slice {hottest.index}" if findings.is_volume else ""
    probability, _ = scale_in_figures(findings)
    lines = [f"{answer_in_words(findings)}{where}, probability {probability}"]
    lines += [borders_in_words(findings)] if findings.borders is not None else []
    lines += [f"incomplete: {count.text}" for count in findings.incomplete]
    lines.append(withheld or "line: half of the map's peak; ring: hottest voxel")
    lines.append("research only, not for diagnosis")
    caption = Image.new("RGB", (max(width, 6 * max(map(len, lines))), LINE * len(lines)), PAPER)
    for number, line in enumerate(lines):
        ImageDraw.Draw(caption).text((2, number * LINE), line, fill=INK)
    return caption
