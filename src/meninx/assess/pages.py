"""Fill page templates; pictures go inside, so that one file can be passed on and opened offline."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from meninx.errors import printable

MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}


def render_page(template: str, **values: Any) -> str:
    """Return a page.

    Args:
        template: Its name in `templates/`.
        **values: What it shows; texts are escaped.

    Returns:
        HTML that needs no other file.
    """
    environment = Environment(
        loader=PackageLoader("meninx.assess"),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return printable(environment.get_template(template).render(**values))


def embedded(picture: Path) -> str:
    """Return a picture as the address that holds it.

    Args:
        picture: PNG, SVG or JPEG.

    Returns:
        A `data:` address.
    """
    kind = MEDIA_TYPES[picture.suffix.lower()]
    return f"data:{kind};base64," + base64.b64encode(picture.read_bytes()).decode()
