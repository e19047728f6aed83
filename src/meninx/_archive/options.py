"""The options of a run over an archive."""

from dataclasses import dataclass
from pathlib import Path

GIB = 2**30


@dataclass(frozen=True)
class Options:
    """The options of a run over an archive.

    Args:
        source: Archive: a folder, a file, a list, an object store or a DICOMweb service, as
            `open_store` takes it.
        named: Name and SHA-256 of the detector.
        model: Detector file; None for the one that ships.
        workers: Number of workers; 0 for one per core, or one per GPU of a cluster.
        address: Address of a running Ray cluster; None for this machine only.
        maps: Whether to store heat maps.
        seconds: Time limit of a unit, s.
        memory_bytes: Memory limit of a worker process, bytes.
    """

    source: str
    named: dict[str, str]
    model: Path | None = None
    workers: int = 0
    address: str | None = None
    maps: bool = False
    seconds: float = 300.0
    memory_bytes: int = 4 * GIB
