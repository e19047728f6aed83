"""Join detectors of several runs into one file that scores as their mean, with its own calibrators.

The file is a detector like any other: what reads one needs to know nothing of its members.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx

from meninx._assess.cases import score_cases
from meninx._data.descriptors import seen_slices
from meninx._data.manifest import Manifest, read_manifest
from meninx._data.progress import Progress, silent
from meninx._data.unchanged import check_unchanged
from meninx._detect.calibration import Calibration
from meninx._detect.calibrator import Calibrator
from meninx._detect.detector import Detector
from meninx._detect.engine import RECOGNITION
from meninx._detect.loading import MEMBERS, member_file
from meninx._detect.model_card import ModelCard
from meninx._errors import DataError, ModelError, OptionError
from meninx._learn.file.export import recalibrate
from meninx._learn.fit.crossvalidation import fit_pictures
from meninx._learn.fit.training import DETECTOR_NAME

# Outputs of a detector file: logits of cells and types, and the out-of-distribution score.
_CELLS, _TYPES, _DISTANCE = "cell_logits", "type_logits", "distance"


def build_ensemble(
    files: Sequence[Path], output: Path, progress: Progress = silent, workers: int = 1
) -> Path:
    """Write detectors of several runs as one that scores as their mean.

    Cell logits are averaged in the unit of each member's calibrator of pictures, so that none
    counts more because its logits are larger. A slice is out of distribution if it is for any
    member. The calibrators are fitted as those of the members: on the fold that chose their epochs,
    which must be the same.

    Args:
        files: Detector files in their run folders, two or more.
        output: Folder to write: `detector.onnx`, and copies of the members in `members`, by which
            `meninx evaluate` states the gain. It must be missing or empty.
        progress: Called with a step, the amount done, and the total.
        workers: Number of scans scored at a time.

    Returns:
        The detector file.

    Raises:
        ModelError: If the members differ in their input, their cells or their types.
        OptionError: If there are too few, one is no run's, or no common fold can calibrate.
        DataError: If the fold that calibrates lost a class because its scans were refused.
    """
    if output.exists() and any(output.iterdir()):
        raise OptionError(f"{output}: expected an empty folder to write into")
    members = [Detector(file, threads=1) for file in files]
    _check_alike(members)
    manifest, fold = _calibrating_fold(files)
    with tempfile.TemporaryDirectory() as folder:
        # The file gets its place when it is calibrated: without calibrators its answers mislead.
        path = Path(folder) / DETECTOR_NAME
        model = _joined([onnx.load(file) for file in files], [member.card for member in members])
        onnx.helper.set_model_props(model, _card_of(members).to_metadata())
        onnx.checker.check_model(model)
        onnx.save(model, path)
        recalibrate(path, _calibrated(path, manifest, fold, progress, workers))
        (output / MEMBERS).mkdir(parents=True)
        for file, member in zip(files, members, strict=True):
            shutil.copyfile(file, member_file(output, member.model["sha256"]))
        shutil.copyfile(path, output / DETECTOR_NAME)
    return output / DETECTOR_NAME


def _check_alike(members: Sequence[Detector]) -> None:
    """Check that the mean of these detectors means something."""
    if len(members) < 2:
        raise OptionError("an ensemble needs two or more detectors: add --with")
    first = members[0]
    known: dict[str, Path] = {}
    for member in members:
        same = known.setdefault(member.model["sha256"], member.path)
        if same is not member.path:
            raise OptionError(
                f"{same} and {member.path} are the same detector, byte for byte: name each once"
            )
    for member in members:
        path, card = member.path, member.card
        if card.members:
            raise ModelError(f"{path}: an ensemble itself; name its members")
        if not card.calibration.picture.tumor_logits:
            raise ModelError(f"{path}: it has no calibrator, so its unit is not known")
        for what, own, expected in (
            ("preprocessing", card.preprocessing, first.card.preprocessing),
            ("cells of a slice's score", card.top_cells, first.card.top_cells),
            ("types", card.types, first.card.types),
            ("manifest", card.manifest_sha256, first.card.manifest_sha256),
        ):
            if own != expected:
                raise ModelError(f"{path}: {what} {own}, those of {first.path}: {expected}")


def _calibrating_fold(files: Sequence[Path]) -> tuple[Manifest, int]:
    """Return the members' manifest, and the fold that none of them learned from."""
    folds = set()
    for file in files:
        run = file.parent / "run.json"
        if not run.is_file():
            raise OptionError(
                f"{run} is missing: name detector files in the run folders of `meninx train`, "
                "which say the fold that calibrates"
            )
        facts = json.loads(run.read_text(encoding="utf-8"))
        folds.add(facts["recipe"]["training"]["validation_fold"])
    if len(folds) > 1 or 0 in folds:
        raise OptionError(
            f"the runs' validation folds are {sorted(folds)}, expected the same one: an ensemble "
            "is calibrated on a fold that no member learned from"
        )
    return read_manifest(files[0].parent), folds.pop()


def _calibrated(
    path: Path, manifest: Manifest, fold: int, progress: Progress, workers: int
) -> Calibration:
    """Return the calibrators of a file without any, fitted on a fold of a manifest."""
    check_unchanged(manifest.fold(fold), progress, workers)
    cases = score_cases(Detector(path, threads=1), manifest.fold(fold), progress, workers)
    kinds = [
        fit_pictures([case for case in cases if case.findings.is_volume == is_volume])
        if any(case.findings.is_volume == is_volume for case in cases)
        else Calibrator()
        for is_volume in (False, True)
    ]
    fitted = [calibrator for calibrator in kinds if calibrator.tumor_logits]
    if not fitted:
        raise DataError(
            f"fold {fold} gives no scored scans of both classes, so the ensemble can't be "
            "calibrated and was not written"
        )
    # What the fold does not hold is calibrated by what it holds, as in a training.
    picture, volume = (own if own.tumor_logits else fitted[0] for own in kinds)
    return Calibration(picture, volume)


def _card_of(members: Sequence[Detector]) -> ModelCard:
    """Return the card of an ensemble that has no calibrators yet."""
    cards = [member.card for member in members]
    return ModelCard(
        name=" + ".join(card.name for card in cards),
        preprocessing=cards[0].preprocessing,
        calibration=Calibration(),
        types=cards[0].types,
        manifest_sha256=cards[0].manifest_sha256,
        top_cells=cards[0].top_cells,
        seen=tuple(sorted({value for card in cards for value in card.seen})),
        seen_slices=seen_slices([], *(card.seen_slices for card in cards)),
        leaking=any(card.leaking for card in cards),
        ood_threshold=None if all(card.ood_threshold is None for card in cards) else 1.0,
        heads=next((card.heads for card in cards if card.heads), {}),
        license="; ".join(sorted({card.license for card in cards} - {""})),
        backbone=" + ".join(card.backbone for card in cards),
        members=tuple(member.model["sha256"] for member in members),
        inherited_types=all(card.inherited_types for card in cards),
    )


def _joined(models: Sequence[onnx.ModelProto], cards: Sequence[ModelCard]) -> onnx.ModelProto:
    """Return one graph of several, with their outputs combined.

    Args:
        models: Graphs of the detector files.
        cards: Their cards.

    Returns:
        The graph, without a card.

    Raises:
        ModelError: If they have operators of different versions.
    """
    versions: dict[str, int] = {}
    for model in models:
        for entry in model.opset_import:
            if versions.setdefault(entry.domain, entry.version) != entry.version:
                raise ModelError(
                    f"the members have operators of versions {versions[entry.domain]} and "
                    f"{entry.version}; export them in one format first"
                )
    parts = [onnx.compose.add_prefix(model, _prefix(number)) for number, model in enumerate(models)]
    x = models[0].graph.input[0]
    nodes = [
        onnx.helper.make_node("Identity", [x.name], [part.graph.input[0].name]) for part in parts
    ]
    nodes += [node for part in parts for node in part.graph.node]
    initializers = [tensor for part in parts for tensor in part.graph.initializer]
    outputs = []
    units = [card.calibration.picture.unit * len(cards) for card in cards]
    thresholds = [card.ood_threshold or 1.0 for card in cards]
    for name, operator, divisors in (
        (_CELLS, "Sum", units),
        (_TYPES, "Mean", [1.0] * len(cards)),
        (_DISTANCE, "Max", thresholds),
        # Those of the first member that has them.
        (RECOGNITION, "Identity", [1.0] * len(cards)),
    ):
        combined = _Combined(name, operator, models, divisors)
        nodes += combined.nodes
        initializers += combined.initializers
        outputs += combined.outputs
    return onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "ensemble", [x], outputs, initializers),
        opset_imports=[onnx.helper.make_opsetid(*version) for version in versions.items()],
        ir_version=max(model.ir_version for model in models),
        functions=[function for part in parts for function in part.functions],
    )


class _Combined:
    """One output of an ensemble, from those members that have it.

    Args:
        name: Name of the output.
        operator: ONNX's operator of the members' outputs; `Identity` takes the first.
        models: Graphs of the members.
        divisors: What each member's output is divided by.
    """

    def __init__(
        self,
        name: str,
        operator: str,
        models: Sequence[onnx.ModelProto],
        divisors: Sequence[float],
    ) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        scaled = []
        for number, (model, divisor) in enumerate(zip(models, divisors, strict=True)):
            described = [output for output in model.graph.output if output.name == name]
            if not described:
                continue
            self.outputs = described
            own = _prefix(number) + name
            self.initializers.append(
                onnx.helper.make_tensor(f"{own}/divisor", onnx.TensorProto.FLOAT, [], [divisor])
            )
            scaled.append(f"{own}/scaled")
            self.nodes.append(onnx.helper.make_node("Div", [own, f"{own}/divisor"], scaled[-1:]))
        if scaled:
            taken = scaled[:1] if operator == "Identity" else scaled
            self.nodes.append(onnx.helper.make_node(operator, taken, [name]))


def _prefix(number: int) -> str:
    """Return what the names of a member's graph begin with."""
    return f"member{number}/"
