"""Rewrite the pages: `python -m lab.pictures.figures`."""

from lab.pictures.figures.pages import pages

if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
