"""Trace each structure of a network once a run: tracing takes 3 s, filling in other weights 0.7."""

import hashlib
from pathlib import Path

import onnx
import onnx_ir
import torch
from torch.onnx import ONNXProgram

EXPORT = torch.onnx.export


class SharedExporter:
    """Stands in for `torch.onnx.export`: the same graph, with the weights of the network given.

    Args:
        folder: Where traced graphs are kept; several processes may share it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, module, arguments, path, **options):
        """Export as `torch.onnx.export` does."""
        state = module.state_dict()
        (x,) = arguments
        structure = (
            type(module.network).__name__,
            tuple(x.shape),
            options["output_names"],
            [(name, tuple(tensor.shape)) for name, tensor in state.items()],
        )
        digest = hashlib.sha256(repr(structure).encode()).hexdigest()
        traced = self.folder / f"{digest[:16]}.onnx"
        if not traced.is_file():
            part = traced.with_suffix(f".{id(self)}.part")
            EXPORT(module, arguments, part, optimize=False, **options)
            part.replace(traced)
        program = ONNXProgram(onnx_ir.from_proto(onnx.load(traced)), None)
        names = program.model.graph.initializers.keys()
        assert names <= state.keys(), "a graph holds values that are no weights"
        program.apply_weights({name: state[name] for name in names})
        program.optimize()
        program.save(path, external_data=False)
