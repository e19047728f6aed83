"""Draw the explanation sheet: hottest slice with contour, other slices, and all scores."""

from textwrap import wrap

import numpy as np
from PIL import Image, ImageDraw

from meninx._detect.answer_words import (
    answer_in_words,
    borders_in_words,
    hottest_in_words,
    scale_in_figures,
    slice_in_words,
    why_referred,
)
from meninx._detect.findings import Findings, SliceFinding
from meninx._render.annotation import INK, PAPER, scale_bar, write_letters
from meninx._render.heatmap import gray_picture, overlay, panel_size, slice_heatmap
from meninx._scan.scan import Scan

# Number of slices in the strip, and width of each, pixels.
MAX_SHOWN, THUMB = 10, 150
GAP, LINE = 6, 16
_GRAPH_HEIGHT = 70
# Mean width of a letter, pixels, and fewest letters of a line of the caption.
_LETTER, _FEWEST_COLUMNS = 6, 60
# A light line with a dark outline is visible on any gray.
INNER, OUTER = (255, 255, 255), (0, 0, 0)
SOFT, MARK = (120, 128, 136), (245, 125, 20)


def explanation_sheet(scan: Scan, findings: Findings, withheld: str | None) -> Image.Image:
    """Draw the explanation sheet of a scan.

    Args:
        scan: The scored scan.
        findings: Findings of the scan, with the cells of all slices.
        withheld: Why no heat map is drawn, in words; None to draw it.

    Returns:
        An RGB picture: the hottest slice without and with heat map, contour and color scale; for a
        volume also a strip of slices and a graph of their scores.

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
    parts.append(_caption(findings, withheld, max(part.width for part in parts)))
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


def _hottest_panels(scan: Scan, finding: SliceFinding, *, shown: bool) -> Image.Image:
    scan_slice = scan.slice(finding.index)
    width, height = panel_size(scan_slice)
    plain = Image.fromarray(gray_picture(scan_slice.image)).resize((width, height))
    write_letters(plain, scan_slice.plane)
    if not shown:
        return plain
    heat = slice_heatmap(finding, scan_slice)
    warm = Image.fromarray(overlay(scan_slice.image, heat)).resize((width, height))
    large = np.asarray(Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR))
    # At half of the peak, so that the contour does not depend on the height of the peak.
    edge = contour(large, float(large.max()) / 2)
    outline = np.zeros_like(edge)
    outline[1:], outline[:-1] = edge[:-1], edge[1:]
    pixels = np.array(warm)
    pixels[outline & ~edge], pixels[edge] = OUTER, INNER
    marked = Image.fromarray(pixels)
    write_letters(marked, scan_slice.plane)
    bar = scale_bar(height)
    canvas = Image.new("RGB", (2 * width + bar.width + 2 * GAP, height), PAPER)
    for part, left in ((plain, 0), (marked, width + GAP)):
        canvas.paste(part, (left, 0))
    canvas.paste(bar, (2 * width + 2 * GAP, 0))
    row, column = scan_slice.position_of(finding.peak)
    y = (row + 0.5) / scan_slice.image.shape[0] * height
    x = (column + 0.5) / scan_slice.image.shape[1] * width + width + GAP
    ImageDraw.Draw(canvas).ellipse((x - 6, y - 6, x + 6, y + 6), outline="white")
    return canvas


def _strip(scan: Scan, findings: Findings, *, shown: bool) -> Image.Image:
    """Return evenly spread slices with their scores, including the hottest slice."""
    slices, hottest = findings.slices, findings.hottest
    count = min(MAX_SHOWN, len(slices))
    chosen = set(np.linspace(0, len(slices) - 1, count).round().astype(int).tolist())
    place = next(n for n, finding in enumerate(slices) if finding is hottest)
    if place not in chosen:
        chosen.remove(min(chosen, key=lambda n: abs(n - place)))
        chosen.add(place)
    thumbs = []
    for number in sorted(chosen):
        finding = slices[number]
        scan_slice = scan.slice(finding.index)
        pixels = gray_picture(scan_slice.image)
        if shown:
            pixels = overlay(scan_slice.image, slice_heatmap(finding, scan_slice))
        width, height = panel_size(scan_slice)
        scaled = (THUMB, max(1, round(THUMB * height / width)))
        thumbs.append((finding, Image.fromarray(pixels).resize(scaled)))
    height = max(thumb.height for _, thumb in thumbs)
    columns = min(len(thumbs), 5)
    rows = -(-len(thumbs) // columns)
    cell = (THUMB + GAP, height + LINE + GAP)
    strip = Image.new("RGB", (columns * cell[0], rows * cell[1]), PAPER)
    draw = ImageDraw.Draw(strip)
    for number, (finding, thumb) in enumerate(thumbs):
        left, top = number % columns * cell[0], number // columns * cell[1]
        strip.paste(thumb, (left, top))
        text = f"{finding.index + 1}: {finding.probability:.2f}"
        draw.text((left + 2, top + height + 2), text, fill=MARK if finding is hottest else INK)
    return strip


def _graph(findings: Findings, width: int) -> Image.Image:
    """Return the scores of all slices as a bar chart, with the hottest slice marked."""
    graph = Image.new("RGB", (width, _GRAPH_HEIGHT + LINE), PAPER)
    draw = ImageDraw.Draw(graph)
    slices = findings.slices
    step = width / len(slices)
    for number, finding in enumerate(slices):
        top = _GRAPH_HEIGHT * (1 - finding.probability)
        color = MARK if finding is findings.hottest else SOFT
        left = number * step
        draw.rectangle((left, top, max(left + step - 1, left), _GRAPH_HEIGHT), fill=color)
    draw.line((0, _GRAPH_HEIGHT // 2, width, _GRAPH_HEIGHT // 2), fill=SOFT)
    draw.text((2, _GRAPH_HEIGHT // 2 - LINE + 2), "0.5", fill=INK)
    last = slice_in_words(slices[-1].index, findings.slice_count)
    text = f"probability of a tumor in slices {slices[0].index + 1} to {last}"
    draw.text((2, _GRAPH_HEIGHT + 2), text, fill=INK)
    return graph


def _caption(findings: Findings, withheld: str | None, width: int) -> Image.Image:
    hottest = hottest_in_words(findings)
    where = f", slice {hottest}" if hottest else ""
    probability, _ = scale_in_figures(findings)
    lines = [f"{answer_in_words(findings)}{where}, probability {probability}"]
    lines += [borders_in_words(findings)] if findings.borders is not None else []
    lines += [f"incomplete: {count.text}" for count in findings.incomplete]
    if not findings.incomplete:
        lines += filter(None, [why_referred(findings)])
    lines += [f"doubtful: {warning.text}" for warning in findings.warnings]
    lines.append(withheld or "line: half of the map's peak; ring: hottest voxel")
    lines.append("research only, not for diagnosis")
    columns = max(_FEWEST_COLUMNS, width // _LETTER)
    lines = [part for line in lines for part in wrap(line, columns)]
    caption = Image.new("RGB", (max(width, columns * _LETTER), LINE * len(lines)), PAPER)
    for number, line in enumerate(lines):
        ImageDraw.Draw(caption).text((2, number * LINE), line, fill=INK)
    return caption
