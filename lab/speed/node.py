"""Time the DICOM node as a hospital meets it, on this machine's own network.

192 slices over one association, 20 studies interleaved over 8, and how long after the last slice
its results arrive at a peer. Run: python -m lab.speed.node [--json FILE], with nothing else
running.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.presentation import build_context

from meninx._assess.speed import machine, make_inputs
from meninx._clinic.node import Node
from meninx._clinic.node_settings import NodeSettings
from meninx._clinic.peers import peer_of
from meninx._synthesis.phantom import grid_of
from meninx._synthesis.phantom_studies import make_study
from meninx._synthesis.writing import dicom_slice, write_dicom

QUIET, RUNS = 1.0, 5
STUDIES, ASSOCIATIONS = 20, 8


def sent(port: int, datasets: list[pydicom.Dataset]) -> None:
    """Send datasets over one association."""
    entity = AE(ae_title="BENCH")
    contexts = [build_context(MRImageStorage, ExplicitVRLittleEndian)]
    association = entity.associate("127.0.0.1", port, contexts=contexts, ae_title="MENINX")
    for dataset in datasets:
        status = association.send_c_store(dataset)
        if status.Status != 0:
            raise SystemExit(f"not accepted: {status}")
    association.release()


def receiving(series: list[Path], folder: Path) -> dict[str, Any]:
    """Return the rates of meninx's sender and dcmtk's, and losses and mix-ups of many studies."""
    node = Node(NodeSettings(folder / "rate", port=0, quiet_seconds=3600))
    port = node.start()
    figures: dict[str, Any] = {}
    peer, times = peer_of(f"MENINX@127.0.0.1:{port}"), []
    for _ in range(RUNS):
        began = time.perf_counter()
        peer.send(series)
        times.append(time.perf_counter() - began)
    figures["192 slices received, slices a second"] = len(series) / float(np.median(times))
    if shutil.which("storescu"):
        times = []
        for _ in range(RUNS):
            began = time.perf_counter()
            subprocess.run(
                ["storescu", "-aec", "MENINX", "127.0.0.1", str(port), *series], check=True
            )
            times.append(time.perf_counter() - began)
        figures["192 slices received from storescu, slices a second"] = len(series) / float(
            np.median(times)
        )
    grid = grid_of("axial", (104, 120, 9), (1.9, 1.8, 11.0))
    scan = make_study("many", 8_000_000, "glioma", "T1c", "axial", grid).scan
    studies = [[dicom_slice(scan, n, seed) for n in range(len(scan))] for seed in range(STUDIES)]
    mixed = [dataset for group in zip(*studies, strict=True) for dataset in group]
    before = node.inbox.instances
    threads = [
        threading.Thread(target=sent, args=(port, mixed[n::ASSOCIATIONS]))
        for n in range(ASSOCIATIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    figures["20 studies over 8 associations: lost"] = len(mixed) - node.inbox.instances + before
    mixed_up = 0
    for incoming in (folder / "rate" / "studies").glob("*/incoming"):
        uids = {
            str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID)
            for path in incoming.iterdir()
        }
        mixed_up += len(uids) != 1
    figures["20 studies over 8 associations: mixed"] = mixed_up
    node.stop()
    return figures


def answering(series: list[Path], folder: Path) -> dict[str, Any]:
    """Return how long results take to arrive at a peer after the last slice and the quiet time."""
    arrived: list[float] = []

    def store(_: Any) -> int:
        arrived.append(time.perf_counter())
        return 0

    entity = AE(ae_title="ARCHIVE")
    entity.supported_contexts = AllStoragePresentationContexts
    archive = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]
    )
    peer = peer_of(f"ARCHIVE@127.0.0.1:{archive.server_address[1]}")
    seconds = []
    for run in range(2):  # the first one loads the detector
        node = Node(
            NodeSettings(folder / f"answer-{run}", port=0, quiet_seconds=QUIET, peers=(peer,))
        )
        port = node.start()
        for part in ("small", "whole"):
            if part == "small":
                grid = grid_of("axial", (104, 120, 9), (1.9, 1.8, 11.0))
                first = make_study("first", 8_100_000, "glioma", "T1c", "axial", grid)
                files = write_dicom(first.scan, folder / f"first-{run}", 8_100_000)
            else:
                files = series
            arrived.clear()
            peer_of(f"MENINX@127.0.0.1:{port}").send(files)
            began = time.perf_counter()
            while len(arrived) < 2:
                time.sleep(0.01)
            time.sleep(1.5)  # a third one, if the answer is a tumor
            if part == "whole":
                seconds.append(arrived[-1] - began - QUIET)
        node.stop()
    archive.shutdown()
    return {"192 slices, results at the peer after the quiet time, s": float(np.median(seconds))}


def main() -> None:
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        series = sorted(make_inputs(folder / "inputs", 1).series.iterdir())
        figures = {"machine": machine(), **receiving(series, folder), **answering(series, folder)}
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
