"""Train the shipped detector again, calibrate it, and put it into the package: `make detector`.

Goes through all steps after the packing. Finished steps are not repeated, stopped ones resume. A
machine with a GPU and only Python and its wheels runs just the first (`make detector DEVICE=cuda`);
afterwards this goes on from its RUNS. Networks that are finished, or in parts, lie in DETECTORS:
commit them. Run: python -m lab.release.whole PACK ... --recipe FILE --output RUNS --people FILE
--heads FOLDER --detectors FOLDER --weights FOLDER [--minutes 150]
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from lab.release import detector, finish, held_out_people, recognize, ship
from lab.release.training import WEIGHTS_NAME
from meninx._learn.fit.training import DETECTOR_NAME

# Folds that each network leaves out (people.py), in the order in which they are finished.
LEFT_OUT = {"half-a": (1, 5, 6), "half-b": (1, 5, 7), "all-0": (1,)}
HALVES = ("half-a", "half-b")
ALL_PEOPLE = "all-0"
# Fold of pictures that only measures.
MEASURED_FOLD = 1


def finished(options: argparse.Namespace, name: str) -> bool:
    """Make the detector file of a trained network, if there is none; return whether there is."""
    target = Path(options.detectors) / f"{name}.onnx"
    run = Path(options.output) / name
    if not target.is_file() and (run / WEIGHTS_NAME).is_file():
        finish.main(
            [
                *map(str, options.packs),
                *("--recipe", str(options.recipe), "--weights", str(run / WEIGHTS_NAME)),
                *("--manifest", str(options.people), "--heads", str(options.heads)),
                *("--unpacked", str(options.output / "unpacked"), "--output", str(run)),
                *("--leave-out", *map(str, LEFT_OUT[name])),
            ]
        )
        options.detectors.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run / DETECTOR_NAME, target)
        (options.detectors / f"{name}.part.safetensors").unlink(missing_ok=True)
    return target.is_file()


def calibrated(options: argparse.Namespace) -> Path:
    """Measure and calibrate on held-out people, unless that was done since; return the file."""
    halves = [options.detectors / f"{name}.onnx" for name in HALVES]
    path: Path = options.output / "calibration.json"
    newest = max(half.stat().st_mtime_ns for half in halves)
    if not path.is_file() or path.stat().st_mtime_ns < newest:
        held_out_people.main(
            [
                *map(str, (options.people, *halves)),
                *("--heads", str(options.heads), "--calibration", str(path)),
                *("--json", str(options.output / "people.json")),
            ]
        )
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Go through the steps, as far as the networks are finished."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packs", type=Path, nargs="+")
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--people", type=Path, required=True, help="people.py wrote it")
    parser.add_argument("--heads", type=Path, required=True, help="folder of packed heads")
    parser.add_argument("--detectors", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="folder of the package's files")
    parser.add_argument("--minutes", help="after them no further epoch begins")
    options = parser.parse_args(arguments)
    limit = ("--minutes", options.minutes) if options.minutes else ()
    detector.main(
        [
            *map(str, options.packs),
            *("--recipe", str(options.recipe), "--output", str(options.output)),
            *("--detectors", str(options.detectors), *limit),
        ]
    )
    if missing := [name for name in LEFT_OUT if not finished(options, name)]:
        print(f"{', '.join(missing)}: not finished; run this again")
        if set(missing) & set(HALVES):
            return
    calibration = calibrated(options)
    own = options.output / ALL_PEOPLE / DETECTOR_NAME
    if not own.with_suffix(".safetensors").is_file():
        print(f"{own}: not here; run this where the network of all people was finished")
        return
    ship.main(
        [
            *(str(own), str(options.people), "--fold", str(MEASURED_FOLD)),
            *("--calibration", str(calibration), "--heads", str(options.heads)),
            *("--unpacked", str(options.output / "unpacked"), "--weights", str(options.weights)),
            *("--packs", *map(str, options.packs)),
        ]
    )
    recognize.main(
        [
            *(str(options.people), "--heads", str(options.heads)),
            *("--json", str(options.output / "recognition.json")),
            *("--weights", str(options.weights)),
        ]
    )
    print(f"{options.weights} has the new detector and {options.output} its figures: look at both")


if __name__ == "__main__":
    main()
