"""Hold how an archive is scored."""

from dataclasses import dataclass
from pathlib import Path

GIB = 2**30


@dataclass(frozen=True)
class Options:
    """Hold how an archive is scored.

    Args:
        source: As for `open_store`.
        named: Name and SHA-256 of the detector.
        model: The detector file; None for the one that ships.
        workers: How many score at a time; 0 for one a core, or on a cluster with GPUs one a GPU.
        address: Of a running Ray cluster; None for this machine alone.
        maps: Whether heat maps are kept.
        seconds: That a unit may take.
        memory_bytes: That scoring a unit may take.
    """

    source: str
    named: dict[str, str]
    model: Path | None = None
    workers: int = 0
    address: str | None = None
    maps: bool = False
    seconds: float = 300.0
    memory_bytes: int = 4 * GIB
