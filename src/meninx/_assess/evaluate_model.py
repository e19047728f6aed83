"""Evaluate a model on labeled scans: a detector, a table of scores, any classifier of pictures."""

import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from meninx._assess.claim import claim_answers
from meninx._assess.classifiers import Classifier, function_classifier, table_classifier
from meninx._assess.evaluation import Evaluation
from meninx._assess.evaluation import evaluate as evaluate_model
from meninx._assess.evaluation_report import Setting, check_no_report, write_evaluation
from meninx._assess.figures import PREVALENCES
from meninx._assess.learned_from import learned_from
from meninx._assess.onnx_classifier import onnx_classifier
from meninx._data.facts import sha256_of
from meninx._data.manifest import Manifest
from meninx._data.prepare import load_data
from meninx._data.progress import Progress, silent
from meninx._detect.detector import Detector
from meninx._detect.loading import load_detector
from meninx._detect.model_card import KEY
from meninx._detect.runtimes import OnnxNetwork
from meninx._errors import ModelError, OptionError
from meninx._processes import usable_cores

# Name of the shipped detector where a model is expected.
SHIPPED = "meninx"
_PYTHON = ".py:"
# A detector, `meninx`, a file of a detector, scores or a network, FILE.py:FUNCTION, or a function.
Model = Detector | str | Path | Callable[[Image.Image], float]


def evaluate(
    model: Model,
    data: str | Path,
    *,
    output: str | Path | None = None,
    fold: int | None = None,
    classifier: Mapping[str, str] | None = None,
    trained_on: Sequence[str | Path] = (),
    threshold: float = 0.5,
    prevalences: Sequence[float] = PREVALENCES,
    labels: Mapping[str, str] | None = None,
    allow_leaks: bool = False,
) -> Evaluation:
    """Measure a model on labeled scans that it did not learn from.

    Args:
        model: A `Detector`; `meninx` for the shipped one; the path of a detector file, of a table
            of scores (CSV: `picture`, `score`) or, with `classifier`, of an ONNX classifier;
            `FILE.py:FUNCTION`; or a function that returns the probability of a tumor, 0..1, in an
            RGB picture (`PIL.Image.Image`).
        data: Class folders, volumes beside their masks, or a manifest.
        output: Folder for report.html and all that it is made of; None to write nothing.
        fold: The only fold to measure on; None for all.
        classifier: What an ONNX file does not say: `tumor`, the numbers of the tumor's outputs,
            such as `0,1,3`; `normalize`: `0..1`, `-1..1`, `0..255`, `imagenet` or `MEAN,STD`; if
            the file leaves them open `size` and `channels`; `scores` of a single output:
            `probability` or `logit`.
        trained_on: Folders, or tables with a column `picture`, that a model of somebody else
            learned from; a detector file records them itself. Pictures of `fold` do not count.
        threshold: Probability from which on a model of somebody else says tumor, 0..1.
        prevalences: Shares of tumors, 0..1, for which PPV and NPV are stated.
        labels: Label of the folders of a name: `none`, `unknown`, or a type of tumor.
        allow_leaks: Whether to measure on all scans, and mark the figures as leaking.

    Returns:
        The evaluation.

    Raises:
        DataError: If the data contradict themselves, or nothing is left to measure on.
        ModelError: If the model can't be loaded.
        OptionError: If the options do not fit the model or the data, or `output` holds an
            evaluation.
    """
    place = Path(data)
    cores = usable_cores()
    if output is not None:
        check_no_report(Path(output))
    with tempfile.TemporaryDirectory() as folder:
        made = folder if output is None else output
        manifest = load_data(
            place, Path(made), labels=labels, allow_leaks=allow_leaks, workers=cores
        )
        loaded = load_model(
            model,
            manifest,
            fold=fold,
            classifier=classifier,
            trained_on=[Path(named) for named in trained_on],
            threshold=threshold,
            workers=cores,
        )
        result = evaluate_model(
            loaded,
            manifest,
            fold=fold,
            allow_leaks=allow_leaks,
            prevalences=prevalences,
            workers=cores,
        )
        if output is not None:
            file = Path(model) if isinstance(model, str | Path) else None
            write_report(result, loaded, str(data), Path(output), file=file)
    return result


def load_model(
    model: Model,
    manifest: Manifest,
    *,
    fold: int | None = None,
    classifier: Mapping[str, str] | None = None,
    trained_on: Sequence[Path] = (),
    threshold: float | None = None,
    workers: int = 1,
) -> Detector | Classifier:
    """Load a model to evaluate; for the arguments see `evaluate`.

    Args:
        model: The model.
        manifest: Pictures that it is measured on.
        fold: The only fold that it is measured on; None for all.
        classifier: Settings of an ONNX classifier.
        trained_on: What a model of somebody else learned from.
        threshold: Probability from which on it says tumor, 0..1; None for 0.5.
        workers: Number of files read at a time.

    Returns:
        A detector, or a classifier with the record of what it learned from.

    Raises:
        ModelError: If the model can't be loaded.
        OptionError: If the options do not fit it.
        DataError: If a table of scores is damaged, or `trained_on` names no picture.
    """
    if threshold is not None and not 0 < threshold < 1:
        raise OptionError(f"--threshold {threshold:g}: expected a probability between 0 and 1")
    found = _loaded(model, manifest, dict(classifier or {}))
    if isinstance(found, Detector):
        if trained_on or threshold not in (None, 0.5):
            raise OptionError(
                "--trained-on and --threshold are for models of others: a detector file records "
                "what it learned from, and has its operating points"
            )
        return found
    measured = () if fold is None else manifest.fold(fold)
    record = learned_from(trained_on, measured, workers)
    return replace(
        found, card=record, threshold=found.threshold if threshold is None else threshold
    )


def _loaded(model: Model, manifest: Manifest, settings: Mapping[str, str]) -> Detector | Classifier:
    """Return a model without what it learned from."""
    if isinstance(model, str | Path) and str(model).lower().endswith(".onnx") and settings:
        return onnx_classifier(Path(model), settings)
    if settings:
        raise OptionError("--classifier describes an ONNX file: name one as MODEL")
    if isinstance(model, Detector):
        return model
    if not isinstance(model, str | Path):
        return function_classifier(model, getattr(model, "__name__", type(model).__name__))
    if str(model) == SHIPPED:
        return load_detector(threads=1)
    if _PYTHON in str(model):
        return _function_of_file(str(model))
    if str(model).lower().endswith((".csv", ".tsv")):
        if not Path(model).is_file():
            raise OptionError(f"{model}: there is no such table of scores")
        return table_classifier(Path(model), manifest.pictures)
    return _detector_of(Path(model))


def _detector_of(path: Path) -> Detector:
    """Return the detector of a file; of an ONNX file of others an error that says how to go on."""
    try:
        return load_detector(path, threads=1)
    except ModelError:
        if path.is_file() and KEY not in OnnxNetwork(path.read_bytes(), threads=1).metadata:
            raise OptionError(
                f"{path}: an ONNX model but no meninx detector: evaluate a classifier of pictures "
                "with --classifier tumor=1 --classifier normalize=imagenet, or what fits it"
            ) from None
        raise


def _function_of_file(named: str) -> Classifier:
    """Return the classifier of `FILE.py:FUNCTION`."""
    file, _, name = named.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise OptionError(f"{path}: there is no such file; expected FILE.py:FUNCTION")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise OptionError(f"{path}: no Python file; expected FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    # So that it finds the modules beside it, as when it is run.
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise OptionError(f"{path}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    function = getattr(module, name, None)
    if not callable(function):
        raise OptionError(f"{path}: it has no function {name}")
    return function_classifier(function, f"{path.name}:{name}", sha256_of(path))


def write_report(
    result: Evaluation,
    model: Detector | Classifier,
    data: str,
    output: Path,
    *,
    file: Path | None = None,
    pdf: bool = False,
    progress: Progress = silent,
) -> None:
    """Write the files of an evaluation of one model.

    Args:
        result: The evaluation.
        model: The model.
        data: The data, as the user named it.
        output: Folder to write into.
        file: File of the model, beside which a run folder has its settings and curves.
        pdf: Whether to write report.pdf, too.
        progress: Called with a step, the amount done, and the total.

    Raises:
        OptionError: If a PDF is wanted and weasyprint can't run.
    """
    run, curves = None, None
    if isinstance(model, Detector) and file is not None:
        run_file, drawn = file.parent / "run.json", file.parent / "curves.svg"
        run = json.loads(run_file.read_text(encoding="utf-8")) if run_file.is_file() else None
        curves = drawn if drawn.is_file() else None
    claim = claim_answers(result, [model], data, run)
    setting = Setting(data, _how_of(model, result), claim, curves)
    if isinstance(model, Classifier):
        setting = replace(setting, operating_point="was given, and not chosen on these cases.")
    models = {model.model["sha256"]: model}
    write_evaluation(result, models, setting, output, pdf=pdf, progress=progress)


def _how_of(model: Detector | Classifier, result: Evaluation) -> str:
    """Return sentences on where a model's scores come from and what it learned from."""
    if isinstance(model, Classifier):
        how = f"{model.how} {model.card.how}"
    else:
        how = "The detector's file describes what it learned from."
    if result.copies.known:
        return how
    return f"{how} {result.copies.text}" if isinstance(model, Classifier) else result.copies.text
