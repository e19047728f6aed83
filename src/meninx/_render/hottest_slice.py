"""Draw the hottest slice of a scan, without and with heat map."""

from PIL import Image, ImageDraw

from meninx._detect.answer_words import (
    answer_in_words,
    borders_in_words,
    hottest_in_words,
    scale_in_figures,
)
from meninx._detect.findings import Findings
from meninx._render.annotation import PAPER, scale_bar, write_letters
from meninx._render.heatmap import gray_picture, overlay, panel_size, slice_heatmap
from meninx._scan.scan import Scan

# Gap between the panels, and height of a line of the caption, pixels.
GAP, LINE = 6, 17


def hottest_slice_picture(scan: Scan, findings: Findings, withheld: str | None) -> Image.Image:
    """Draw the hottest slice of a scan.

    Args:
        scan: The scored scan.
        findings: Findings of the scan, with the cells of its hottest slice.
        withheld: Why no heat map is drawn, in words; None to draw it.

    Returns:
        An RGB picture with a caption: the slice with letters of orientation, and beside it the
        slice with heat map, a ring around the hottest voxel, and the color scale.

    Raises:
        ValueError: If no slice was scored.
    """
    finding = findings.hottest
    if finding is None or findings.probability is None:
        raise ValueError(f"{findings.scan}: nothing was scored, so there is no heat map")
    scan_slice = scan.slice(finding.index)
    width, height = panel_size(scan_slice)
    panels = [gray_picture(scan_slice.image, scan_slice.intensity_range)]
    if withheld is None:
        heat = slice_heatmap(finding, scan_slice)
        panels.append(overlay(scan_slice.image, heat, scan_slice.intensity_range))
    lines = _caption(findings, withheld)
    bar = None if withheld else scale_bar(height)
    across = len(panels) * (width + GAP) - GAP + (GAP + bar.width if bar else 0)
    canvas = Image.new("RGB", (across, height + len(lines) * LINE + GAP), PAPER)
    for column, pixels in enumerate(panels):
        panel = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
        write_letters(panel, scan_slice.plane)
        canvas.paste(panel, (column * (width + GAP), 0))
    draw = ImageDraw.Draw(canvas)
    if bar is not None:
        canvas.paste(bar, (across - bar.width, 0))
        row, column = scan_slice.position_of(finding.peak)
        y = (row + 0.5) / scan_slice.image.shape[0] * height
        x = (column + 0.5) / scan_slice.image.shape[1] * width + width + GAP
        draw.ellipse((x - 6, y - 6, x + 6, y + 6), outline="white")
    for number, line in enumerate(lines):
        draw.text((4, height + 5 + number * LINE), line, fill="white")
    return canvas


def _caption(findings: Findings, withheld: str | None) -> list[str]:
    hottest = hottest_in_words(findings)
    where = f"slice {hottest}, " if hottest else ""
    text = f"{answer_in_words(findings)}, {where}probability {scale_in_figures(findings)[0]}"
    use = "research only, not for diagnosis"
    remarks = [borders_in_words(findings)] if findings.borders is not None else []
    remarks += [f"incomplete: {count.text}" for count in findings.incomplete]
    remarks += [withheld] if withheld else []
    return [text, *remarks, use] if remarks else [f"{text}; {use}"]
