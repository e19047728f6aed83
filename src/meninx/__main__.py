"""Run meninx as `python -m meninx`."""

from meninx._cli import main

if __name__ == "__main__":
    main()
