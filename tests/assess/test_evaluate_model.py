import csv

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from meninx._assess.classifiers import _keys_of
from meninx._assess.evaluate_model import evaluate, load_model
from meninx._assess.evaluation_report import verdict
from meninx._assess.occlusion import GRID, lost_logits
from meninx._assess.onnx_classifier import ClassifierSettings, tumor_logits
from meninx._data.manifest import read_manifest
from meninx._errors import DataError, OptionError
from meninx._synthesis.phantom_studies import make_studies
from meninx._synthesis.writing import write_studies
from tests.commands import meninx
from tests.conftest import coarse_grid


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Ten phantoms as pictures, with their manifest."""
    folder = tmp_path_factory.mktemp("evaluated")
    list(write_studies(make_studies(10, 40, coarse_grid), folder, "png"))
    return folder


@pytest.fixture(scope="module")
def manifest(data):
    return read_manifest(data)


def mean_network(path, *, last=False, channels=3, outputs=2, softmax=False):
    """Write a network whose last output is ten times a picture's mean, the others 4."""
    shape = ["b", 24, 20, channels] if last else ["b", channels, 24, 20]
    weights = np.zeros((1, outputs), np.float32)
    weights[0, -1] = 10
    bias = np.full(outputs, 4.0, np.float32)
    bias[-1] = 0 if outputs > 1 else -4
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["mean", "column"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["shares"], axis=1))
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(
                "shares" if softmax else "logits", TensorProto.FLOAT, ["b", outputs]
            )
        ],
        [
            helper.make_tensor("column", TensorProto.INT64, [2], [-1, 1]),
            helper.make_tensor("weights", TensorProto.FLOAT, weights.shape, weights.ravel()),
            helper.make_tensor("bias", TensorProto.FLOAT, bias.shape, bias),
        ],
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def mean_of(picture):
    with Image.open(picture.picture) as opened:
        resized = opened.convert("RGB").resize((20, 24), Image.Resampling.BILINEAR)
    return float(np.asarray(resized, dtype=np.float64).mean() / 255)


def logits_of(result):
    return np.array([case.findings.logit for case in result.cases])


@pytest.mark.parametrize(
    "made",
    [{}, {"last": True}, {"channels": 1}, {"softmax": True}, {"outputs": 4, "softmax": True}],
)
def test_a_network_sees_pictures_as_its_settings_say(data, manifest, tmp_path, made):
    path = mean_network(tmp_path / "mean.onnx", **made)
    count = made.get("outputs", 2)
    settings = {"tumor": str(count - 1), "normalize": "0..1"}
    result = evaluate(path, data, classifier=settings)
    # The other outputs have logits of 4 each.
    expected = [10 * mean_of(row) - 4 - np.log(count - 1) for row in manifest.pictures]
    assert logits_of(result) == pytest.approx(expected, abs=2e-2)
    assert result.thresholds == (0.5,)
    assert {case.findings.decision for case in result.cases} <= {"tumor", "no_tumor"}


def test_outputs_are_read_as_what_they_are():
    of = ClassifierSettings.of
    shares = np.array([[0.1, 0.2, 0.7], [0.6, 0.4, 0.0]])
    found = tumor_logits(shares, of({"tumor": "0,1", "normalize": "0..1"}))
    assert found[0] == pytest.approx(np.log(0.3 / 0.7))
    assert np.isfinite(found[1])
    assert found[1] > 300
    single = np.array([[0.8]])
    probable = of({"tumor": "0", "normalize": "0..1", "scores": "probability"})
    assert tumor_logits(single, probable) == pytest.approx(np.log(4))
    odds = of({"tumor": "0", "normalize": "0..1", "scores": "logit"})
    assert tumor_logits(single, odds) == pytest.approx(0.8)
    with pytest.raises(OptionError, match="scores=probability or scores=logit"):
        tumor_logits(single, of({"tumor": "0", "normalize": "0..1"}))
    with pytest.raises(OptionError, match="the network has 3 outputs"):
        tumor_logits(shares, of({"tumor": "0,1,2", "normalize": "0..1"}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalize": "0..1"}, "tumor is missing"),
        ({"tumor": "1", "normalize": "0..1", "dropout": "1"}, "unknown dropout"),
        ({"tumor": "glioma", "normalize": "0..1"}, "numbers of the tumor's outputs"),
        ({"tumor": "1", "normalize": "0.5,0"}, "mean and standard deviation"),
        ({"tumor": "1", "normalize": "imagenet", "size": "64"}, "the file says 24"),
        ({"tumor": "1", "normalize": "0..1", "channels": "2"}, "expected 1 or 3"),
        ({"tumor": "1", "normalize": "0..1", "scores": "odds"}, "probability or logit"),
    ],
)
def test_settings_that_do_not_fit_are_refused(data, manifest, tmp_path, settings, message):
    path = mean_network(tmp_path / "mean.onnx")
    with pytest.raises(OptionError, match=message):
        load_model(path, manifest, classifier=settings)


def test_a_network_of_others_is_no_detector_and_the_message_says_how_to_evaluate_it(
    manifest, tmp_path
):
    path = mean_network(tmp_path / "mean.onnx")
    with pytest.raises(OptionError, match="--classifier tumor=1"):
        load_model(path, manifest)
    with pytest.raises(OptionError, match="for models of others"):
        load_model("meninx", manifest, trained_on=[tmp_path])
    with pytest.raises(OptionError, match="describes an ONNX file"):
        load_model("meninx", manifest, classifier={"tumor": "1"})


def written(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["Image", "Score"], *rows])
    return path


def test_a_table_of_scores_is_matched_by_path_name_or_id(data, manifest, tmp_path):
    rows = manifest.pictures
    names = [row.id if n % 3 == 0 else row.picture.name for n, row in enumerate(rows)]
    names[1] = str(rows[1].picture)
    scores = [0.2 + 0.6 * row.tumor for row in rows]
    table = written(
        tmp_path / "scores.csv", [*zip(names[:-1], scores, strict=False), ["no.png", 0.5]]
    )
    result = evaluate(table, data, output=tmp_path / "report")
    assert [case.findings.probability for case in result.cases] == pytest.approx(scores[:-1])
    assert [case.findings.reason for case in result.unscored] == ["no_score"]
    assert result.figures["auroc"].value == 1
    page = (tmp_path / "report" / "report.html").read_text()
    assert "were taken for probabilities" in page
    assert "1 of its pictures are not in these data" in page
    assert "was given, and not chosen on these cases" in page
    assert "a table has scores alone" in (tmp_path / "report" / "misses.html").read_text()


def test_scores_outside_of_0_and_1_are_log_odds(data, manifest, tmp_path):
    rows = [[row.id, 3.0 if row.tumor else -2.0] for row in manifest.pictures]
    result = evaluate(written(tmp_path / "odds.csv", rows), data, threshold=0.96)
    assert sorted(set(logits_of(result))) == [-2, 3]
    # The odds of 3 are a probability of 0.953.
    assert not any(case.findings.called for case in result.cases)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["a.png", 0.1]], "none of its 1 pictures"),
        ([["{id}", "high"]], "line 2: score 'high'"),
        ([["{id}", 0.1], ["{id}", 0.2]], "line 3: a second score"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(manifest, tmp_path, rows, message):
    own = manifest.pictures[0].id
    table = written(tmp_path / "t.csv", [[name.format(id=own), score] for name, score in rows])
    with pytest.raises(DataError, match=message):
        load_model(table, manifest)


def test_what_a_function_learned_from_is_left_out_by_content(data, manifest, tmp_path):
    """Two pictures are saved anew, and one is named as it is."""
    folder = tmp_path / "learned"
    folder.mkdir()
    for number, row in enumerate(manifest.pictures[:2]):
        with Image.open(row.picture) as opened:
            opened.convert("L").resize((300, 280)).save(folder / f"{number}.jpg", quality=80)
    (folder / "notes.txt").write_text("no picture")
    third = manifest.pictures[2]
    table = written(tmp_path / "learned.csv", [[third.picture, ""]])

    def predict(picture):
        return float(np.asarray(picture).mean() / 255)

    unknown = evaluate(predict, data)
    assert len(unknown.cases) == 10
    assert verdict(unknown).startswith("No verdict. It is not recorded")
    known = evaluate(predict, data, trained_on=[folder, table], output=tmp_path / "out")
    assert {case.picture.id for case in known.cases} == {
        row.id for row in manifest.pictures if row not in manifest.pictures[:3]
    }
    assert (known.left_out, known.copies.found, known.copies.known) == (3, 2, True)
    assert known.models[0]["name"] == "predict"
    page = (tmp_path / "out" / "report.html").read_text()
    assert "learned from 3 files" in page
    assert "1 further files there are no pictures" in page
    # Of the folder that it learned from, the evaluated fold is held back.
    fold = manifest.folds[0]
    own = evaluate(predict, data, trained_on=[data / "manifest.csv"], fold=fold)
    assert len(own.cases) == len(manifest.fold(fold))


def test_occlusion_finds_the_place_that_a_score_depends_on():
    unit = np.full((3, 60, 90), 0.5, np.float32)
    unit[:, 10:20, 60:75] = 1.0

    def logits(units):
        return units[:, 0, 10:20, 60:75].mean(axis=(1, 2)) * 20

    lost = lost_logits(unit, logits)
    row, column = np.unravel_index(int(lost.argmax()), lost.shape)
    assert (row, column) == (15 * GRID // 60, 67 * GRID // 90)
    assert lost.min() == pytest.approx(0, abs=0.05)


FUNCTION = """
from helper import brightness

def predict(picture):
    return brightness(picture)

def broken(picture):
    raise ValueError("no such layer")

def odd(picture):
    return 3
"""


def test_evaluate_takes_a_function_of_a_file(data, tmp_path):
    """A function that scores by the brightest pixel, of a module beside it."""
    (tmp_path / "helper.py").write_text(
        "def brightness(picture):\n    return picture.convert('L').getextrema()[1] / 300\n"
    )
    model = tmp_path / "model.py"
    model.write_text(FUNCTION)
    out = tmp_path / "out"
    done = meninx("evaluate", f"{model}:predict", data, "--output", out, "--threshold", 0.4)
    assert done.returncode == 0, done.stderr
    assert "No verdict. It is not recorded which slices the model" in done.stdout
    page = (out / "report.html").read_text()
    assert "The function model.py:predict was given each picture" in page
    assert "maps by occlusion" in page
    misses = (out / "misses.html").read_text()
    assert misses.count("<img") == 10
    assert "occlusion is for the first 3" in misses
    for name, message in (
        ("broken", "ValueError: no such layer"),
        ("odd", "returned 3"),
        ("missing", "no function missing"),
    ):
        refused = meninx("evaluate", f"{model}:{name}", data, "--output", tmp_path / "no")
        assert refused.returncode == 2
        assert message in refused.stderr


def test_outputs_of_two_scales_are_not_guessed():
    settings = ClassifierSettings((1,), (0.0,), (1.0,), "tumor=1")
    softmax = np.array([[0.1, 0.9], [0.25, 0.75]])
    np.testing.assert_allclose(tumor_logits(softmax, settings), np.log([9, 3]))
    with pytest.raises(OptionError, match="do not sum to 1"):
        tumor_logits(np.array([[0.1, 0.9], [0.02, 0.999]]), settings)


def test_a_name_with_folders_that_are_not_here_is_no_other_picture(manifest, tmp_path):
    row = manifest.pictures[0]
    names = [row.picture.name, f"elsewhere/{row.picture.name}"]
    bare, foreign = _keys_of(tmp_path / "scores.csv", names, [row])
    assert bare == str(row.picture.resolve())
    assert foreign != bare
