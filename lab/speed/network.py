"""Time the shipped network in both precisions, beside the processor's peak.

One core, one slice at a time, both in turns. The peak is the fastest plain matrix product of
several sizes and libraries. Answers are compared on a held-out fold of MANIFEST, or on synthetic
heads.

Run: python -m lab.speed.network [MANIFEST --fold 1] [--json FILE], with nothing else running.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from meninx._assess.speed import machine
from meninx._data.manifest import read_manifest
from meninx._detect.detector import Detector
from meninx._detect.head_slices import brain_slices
from meninx._detect.loading import shipped_detector
from meninx._detect.pooling import slice_logits
from meninx._detect.precision import PRECISIONS
from meninx._detect.runtimes import import_onnxruntime
from meninx._learn.file.formats import inputs_of
from meninx._synthesis.phantom_studies import make_studies

onnxruntime = import_onnxruntime()

ROUNDS, RUNS = 7, 12
SIDES = (512, 768, 1024)
# Number of pictures on which answers are compared.
PICTURES = 300
# Number of synthetic heads without a manifest.
PHANTOMS = 6
SHOWN_LAYERS = 12
SINGLE = "single precision"
Slices = NDArray[np.float32]
Run = Callable[[Slices], dict[str, NDArray[np.float32]]]


def onnx_run(path: Path, threads: int = 1) -> Run:
    """Return ONNX Runtime's answer to slices."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda x: dict(zip(names, session.run(names, {"x": x}), strict=True))


def ways() -> dict[str, Run]:
    """Return each way to compute the network, by name."""
    return {
        SINGLE: onnx_run(shipped_detector("fp32")),
        "8 bits": onnx_run(shipped_detector("int8")),
    }


def fastest_ms(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the median over rounds of each call's fastest run, ms; the calls take turns."""
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for name, call in calls.items():
            call()
            times = []
            for _ in range(RUNS):
                began = time.perf_counter()
                call()
                times.append(time.perf_counter() - began)
            found[name].append(min(times) * 1e3)
    return {name: float(np.median(times)) for name, times in found.items()}


def peaks() -> dict[str, float]:
    """Return the peak of one core in plain matrix products, GMACs a second."""
    torch.set_num_threads(1)
    found: dict[str, float] = defaultdict(float)
    for side in SIDES:
        for name, ms in fastest_ms(products(side)).items():
            precision = name.partition(", ")[0]
            found[precision] = max(found[precision], side**3 / ms / 1e6)
    return dict(found)


def products(side: int) -> dict[str, Callable[[], Any]]:
    """Return products of square matrices by precision and library."""
    single = torch.rand(side, side)
    half, plain = single.bfloat16(), single.numpy()
    return {
        "single precision, PyTorch": lambda: single @ single,
        "single precision, NumPy": lambda: plain @ plain,
        "bfloat16, PyTorch": lambda: half @ half,
        "8 bits, ONNX Runtime": integer_product(side),
    }


def integer_product(side: int) -> Callable[[], Any]:
    """Return a product of matrices of 8 bits by ONNX Runtime, whose kernels the network uses."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-64, 64, (side, side)).astype(np.int8)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "product",
        [onnx.helper.make_tensor_value_info("a", onnx.TensorProto.UINT8, [side, side])],
        [onnx.helper.make_tensor_value_info("c", onnx.TensorProto.INT32, [side, side])],
        [onnx.numpy_helper.from_array(weights, "b")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    model.ir_version = 10
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    a = rng.integers(0, 255, (side, side)).astype(np.uint8)
    return lambda: session.run(None, {"a": a})


def convolutions(path: Path) -> Iterator[tuple[str, float, set[str]]]:
    """Yield weight, million MACs a slice and names in a profile of each convolution."""
    graph = onnx.shape_inference.infer_shapes(_folded(path)).graph
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output)
    }
    weights = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    activated = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "Relu"}
    for node in graph.node:
        if node.op_type == "Conv":
            output, weight = node.output[0], node.input[1]
            height, width = shapes[output][-2:]
            # ONNX Runtime names what it fuses and lays out anew by the result.
            names = {node.name, f"{output}_nchwc", f"{activated.get(output)}_nchwc"}
            name = weight.removeprefix("network.").removesuffix(".weight")
            yield name, float(np.prod(weights[weight])) * height * width / 1e6, names


def _folded(path: Path) -> onnx.ModelProto:
    """Return a network with its constants folded and a batch of one."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        options.add_free_dimension_override_by_name("batch", 1)
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def layer_ms(path: Path, x: Slices) -> dict[str, float]:
    """Return each node's fastest run, ms, by ONNX Runtime's own profile of one core."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for _ in range(RUNS * 3):
            session.run(None, {"x": x})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    found: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event["name"].endswith("_kernel_time"):
            name = f"{event['args']['op_name']} {event['name'].removesuffix('_kernel_time')}"
            found[name].append(event["dur"] / 1e3)
    return {name: min(times) for name, times in found.items()}


def by_operator(layers: dict[str, float]) -> dict[str, float]:
    """Return the time of each kind of operator, ms, the longest first."""
    sums: dict[str, float] = defaultdict(float)
    for name, ms in layers.items():
        sums[name.split()[0]] += ms
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def answers(detector: Detector, run: Run, x: Slices) -> NDArray[np.float64]:
    """Return the probability of each slice, shape (n,)."""
    cells = np.concatenate([run(stack[None])["cell_logits"] for stack in x])
    logits = slice_logits(cells, detector.card.top_cells)
    calibrator = detector.card.calibration.picture
    return np.array([calibrator.probability(float(logit)) for logit in logits])


def compared_slices(
    detector: Detector, manifest: Path | None, fold: int
) -> tuple[Slices, NDArray[np.bool_]]:
    """Return normalized slices, shape (n, 3, h, w), and which of them show a tumor, shape (n,)."""
    if manifest is None:
        studies = list(make_studies(PHANTOMS, 0))
        stacks = [
            detector.input_stack(study.scan, brain_slices(study.scan))[0] for study in studies
        ]
        shown = [
            np.full(len(stack), study.lesion is not None)
            for study, stack in zip(studies, stacks, strict=True)
        ]
        return detector.card.preprocessing.normalize(np.concatenate(stacks)), np.concatenate(shown)
    pictures = read_manifest(manifest).fold(fold)
    pictures = pictures[:: max(1, len(pictures) // PICTURES)]
    return inputs_of(detector, pictures), np.array([picture.tumor for picture in pictures])


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path, nargs="?")
    parser.add_argument("--fold", type=int, default=1, help="fold that was never learned from")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    detector = Detector(shipped_detector("fp32"), threads=1)
    x, tumor = compared_slices(detector, options.manifest, options.fold)
    every = ways()
    times = fastest_ms({name: (lambda run=run: run(x[:1])) for name, run in every.items()})
    probabilities = {name: answers(detector, run, x) for name, run in every.items()}
    first = next(iter(probabilities.values()))
    limits = peaks()
    layers = list(convolutions(shipped_detector("fp32")))
    million = sum(count for _, count, _ in layers)
    profiled = layer_ms(shipped_detector("fp32"), x[:1])
    figures: dict[str, Any] = {
        "machine": machine(),
        "million MACs a slice": million,
        "peak of one core, GMACs a second": limits,
        "ways": {
            name: {
                "one core, ms": ms,
                "share of the peak": million / ms / limits[name],
                "mean change of probability": float(np.abs(probabilities[name] - first).mean()),
                "largest": float(np.abs(probabilities[name] - first).max()),
                "AUROC": float(roc_auc_score(tumor, probabilities[name])),
            }
            for name, ms in times.items()
        },
        "pictures": len(x),
        "by operator, ms": {
            precision: by_operator(layer_ms(shipped_detector(precision), x[:1]))
            for precision in PRECISIONS
        },
        "convolutions, single precision": {
            name: {"million MACs": count, "ms": ms, "share": count / ms / limits[SINGLE]}
            for name, count, names in layers
            for ms in [_ms_of(names, profiled)]
        },
    }
    print_table(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def print_table(figures: dict[str, Any]) -> None:
    """Print a line for each way, and one for each slow convolution."""
    print(f"{figures['million MACs a slice']:.0f} million MACs a slice; one core does", end=" ")
    limits = figures["peak of one core, GMACs a second"].items()
    print(", ".join(f"{limit:.0f} GMACs a second in {name}" for name, limit in limits))
    for name, way in figures["ways"].items():
        changed = f"{way['mean change of probability']:.4f}, at most {way['largest']:.4f}"
        print(
            f"{name:32}{way['one core, ms']:6.1f} ms{way['share of the peak']:5.0%} of the peak, "
            f"probability moved by {changed}"
        )
    layers = figures["convolutions, single precision"].items()
    for name, layer in sorted(layers, key=lambda item: -item[1]["ms"])[:SHOWN_LAYERS]:
        print(f"  {name:32}{layer['ms']:6.2f} ms{layer['share']:5.0%} of the peak")


def _ms_of(names: set[str], profiled: dict[str, float]) -> float:
    """Return the time of the one node that has one of these names, ms."""
    (ms,) = (ms for node, ms in profiled.items() if node.split()[1] in names)
    return ms


if __name__ == "__main__":
    main()
