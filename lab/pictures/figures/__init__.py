"""Write the measured tables into the README and docs/, a module for each page.

A page says `<!-- table: NAME -->` where it wants a table of a module's `TABLES`. Run:
python -m lab.pictures.figures, after the programs of lab/evidence and lab/speed.
"""
