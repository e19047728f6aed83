"""Tables of docs/results.md."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import groupby
from typing import Any

from lab.pictures.figures.tables import (
    SEQUENCES,
    as_table,
    bracketed,
    counted,
    flat_table,
    interval,
    percent,
    read,
)

# Columns of each table of slices, by their keys.
SLICE_FIGURES = {
    "pooled": "AUROC over slices",
    "within": "AUROC within patient",
    "peak": "hottest voxel in tumor",
    "baseline": "AUROC of position and brightness alone",
}


def people_table() -> str:
    """Return the figures of held-out tumor patients' slices, by sequence."""
    stored = read("people")["slices"]
    rows = (
        [
            f"{sequence}, {stored[sequence]['people']} people, {stored[sequence]['slices']} slices",
            *(bracketed(stored[sequence]["all"][key]) for key in SLICE_FIGURES),
        ]
        for sequence in SEQUENCES
    )
    return as_table(["held out", *SLICE_FIGURES.values()], rows)


def sites_table() -> str:
    """Return the same by hospital, and for tumors that cover over 3 % of the head."""
    stored = read("people")["slices"]
    rows = (
        [sequence, name, *(bracketed(stored[sequence][part][key]) for key in SLICE_FIGURES)]
        for sequence in SEQUENCES
        for part, name in (("HT", "HT"), ("DU", "DU"), ("large", "over 3 %"))
    )
    return as_table(["sequence", "subset", *SLICE_FIGURES.values()], rows)


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
    stored = read("people")
    rows = [
        [name, *how, str(own["scans"]), *(percent(own["shares"][key]) for key in ANSWERS)]
        for part, how in ANSWERED.items()
        for name, own in stored[part].items()
        if part == "scans by all others" or "," not in name
    ]
    answers = (answer.replace("_", " ") for answer in ANSWERS)
    return as_table(["held out", "answered", "calibrated on", "number", *answers], rows)


def volumes_table() -> str:
    """Return the figures of the scans that nothing was fitted on."""
    rows = (
        [name, *(bracketed(figures[key]) for key in SLICE_FIGURES)]
        for name, figures in read("volumes")["table"].items()
    )
    return as_table(["set", *SLICE_FIGURES.values()], rows)


def called_table() -> str:
    """Return the answers about whole scans, and which operating point calls how many a tumor."""
    points = ("balanced", "sensitive", "specific")
    heading = ["scans", "tumor", "refer", "no tumor", *(f"called at {point}" for point in points)]
    rows = (
        [
            f"{name}, {counts['scans']}",
            *counted(counts["answers"])[:3],
            *(str(counts[point]) for point in points),
        ]
        for name, counts in read("volumes")["called tumor"].items()
    )
    return as_table(heading, rows)


def planes_table() -> str:
    """Return the answers about tumor-free volumes in their other planes, and about phantoms."""
    stored = read("other-planes")
    # The file compares the shipped detector, its "other", with one that did not ship.
    rows = (
        [name, str(sum(map(int, counted(answers)))), *counted(answers)]
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
        return [interval(figure) for figure in (point["referred"], point["risk"], *lost)]

    rows = []
    for same, group in groupby(read("volumes")["referral"], figures):
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
    stored = read("curated")
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
        ["fold 1 of curated", "value"], ([name, interval(value)] for name, value in rows.items())
    )


def splits_table() -> str:
    """Return the same recipe on the same pictures, split by groups of copies and by picture."""
    names = {"grouped": "copies kept together", "random": "picture by picture (leaking)"}
    stored = [read(f"navoneel-{split}") for split in names]
    figures = ("auroc", "average_precision", "sensitivity", "specificity", "accuracy", "f1")
    rows = [
        [name.replace("_", " "), *(interval(split["figures"][name]) for split in stored)]
        for name in figures
    ]
    rows += [
        [f"shortcut probe, {probe}: AUROC"]
        + [interval(split["shortcuts"][probe]) for split in stored]
        for probe in ("file", "intensity", "both")
    ]
    difference = (interval(split["auroc_less_best_shortcut"]) for split in stored)
    rows.append(["AUROC, detector minus best probe", *difference])
    return as_table(["5 folds", *names.values()], rows)


def finetuning_table() -> str:
    """Return what the shipped weights are worth to somebody with few pictures."""
    stored = read("finetuning")
    (learned,) = stored["learned from"]
    heading = [f"{learned} pictures to learn from, {stored['tested on']} to test", "AUROC"]
    rows = ([name, _interval_of_mean(found)] for name, found in stored["auroc"].items())
    return as_table(heading, rows)


def _interval_of_mean(found: Mapping[str, list[float]]) -> str:
    value, low, high = found["mean"]
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def other_models_table() -> str:
    """Return what `evaluate` says of models of others, beside the shipped detector."""
    rows = []
    for name, found in read("other_models").items():
        best = max(found["shortcuts"].values(), key=lambda figure: figure["value"] or 0)
        copies = found["copies"]
        left_out = f"{found['left_out']}" if copies["known"] else "not known"
        rows.append(
            [
                name,
                str(found["cases"]),
                left_out,
                interval(found["auroc"]),
                interval(best),
                interval(found["sensitivity"]),
                interval(found["specificity"]),
            ]
        )
    heading = ["model, pictures", "cases", "learned from, left out", "AUROC"]
    return as_table([*heading, "best shortcut probe", "sensitivity", "specificity"], rows)


def copies_table() -> str:
    """Return times of an audit, and copies found."""
    return as_table(["what", "measured"], ([k, str(v)] for k, v in read("copies").items()))


def refusals_table() -> str:
    """Return how many pictures of each kind are refused."""
    rows = (
        [name, str(row["pictures"]), f"{row['refused']:.1%}"]
        for name, row in read("refusals")["refused"].items()
    )
    return as_table(["what", "pictures", "refused"], rows)


def recognition_table() -> str:
    """Return what the recognition heads say of people, and of sites, that they never saw."""
    measured = read("recognition")
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
    measured = read("recognition")
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


def bench_table() -> str:
    """Return times of one picture, a folder and a series in each precision."""
    stored = read("bench")
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
    if times := read("rivals").get(eager):
        rows.append([eager, f"{times['median']:.2f} ({times['p95']:.2f})", *blank])
    return as_table(["median (95th percentile)", *precisions], rows)


def rivals_table() -> str:
    """Return one picture's time beside another program's."""
    stored = read("rivals")
    rows = [
        [name, f"{times['median']:.1f}", f"{times['p95']:.1f}"]
        for name, times in stored["one picture of 512 px, ms"].items()
    ]
    rows.append(["times as fast", f"{stored['times as fast']:.1f}", ""])
    return as_table(["one picture of 512 px, ms", "median", "95th percentile"], rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "people": people_table,
    "sites": sites_table,
    "answers": answers_table,
    "planes": planes_table,
    "volumes": volumes_table,
    "called": called_table,
    "referral": referral_table,
    "pictures": pictures_table,
    "splits": splits_table,
    "finetuning": finetuning_table,
    "other-models": other_models_table,
    "copies": copies_table,
    "refusals": refusals_table,
    "recognition": recognition_table,
    "turned": turned_table,
    "bench": bench_table,
    "rivals": rivals_table,
    "web": partial(flat_table, "web application", "web"),
    "node": partial(flat_table, "DICOM node", "node"),
    "archive": partial(flat_table, "scoring an archive", "archive"),
}
