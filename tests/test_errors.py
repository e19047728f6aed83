"""Messages can be encoded by any terminal, file and log."""

import pytest

from meninx._errors import UnreadableFile, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Größe/да \U0001f9e0", "Größe/да \U0001f9e0"),
        ("M\udcfcller", "M\\xfcller"),  # a byte of Latin-1
        ("half \ud83d", "half \\ud83d"),  # half of a character, as in a truncated JSON text
        ("\udc00 \udfff", "\\udc00 \\udfff"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown
    assert str(UnreadableFile(text, place=text)).encode() == f"{shown}: {shown}".encode()
