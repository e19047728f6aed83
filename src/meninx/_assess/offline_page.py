"""Fill page templates, with embedded pictures: one file that opens offline."""

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape
from PIL import Image

from meninx._errors import printable

_MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}


def render_page(template: str, **values: Any) -> str:
    """Return a page as HTML.

    Args:
        template: File name of the template in `templates/`.
        **values: Values for the template; texts are escaped.

    Returns:
        HTML that needs no other file.
    """
    environment = Environment(
        loader=PackageLoader("meninx._assess"),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return printable(environment.get_template(template).render(**values))


def embedded(picture: Path) -> str:
    """Return a picture as a `data:` address.

    Args:
        picture: File of a PNG, SVG or JPEG picture.

    Returns:
        Address that contains the picture.
    """
    kind = _MEDIA_TYPES[picture.suffix.lower()]
    return f"data:{kind};base64," + base64.b64encode(picture.read_bytes()).decode()


def embedded_image(picture: Image.Image, quality: int | None = None) -> str:
    """Return a picture in memory as a `data:` address.

    Args:
        picture: Gray or RGB picture.
        quality: JPEG quality, 1..95; None for PNG, which is lossless.

    Returns:
        Address that contains the picture.
    """
    buffer = io.BytesIO()
    if quality is None:
        picture.save(buffer, "PNG")
    else:
        picture.save(buffer, "JPEG", quality=quality)
    kind = _MEDIA_TYPES[".png" if quality is None else ".jpg"]
    return f"data:{kind};base64," + base64.b64encode(buffer.getvalue()).decode()
