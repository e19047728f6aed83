"""Metrics of services in the text format of OpenMetrics 1.0, which Prometheus reads.

References:
    OpenMetrics 1.0.0, 2020, https://github.com/prometheus/OpenMetrics.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from meninx._version import __version__

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True)
class Metric:
    """A metric with its values.

    Args:
        name: Name in snake case; it ends with the unit if there is one.
        help: What it counts or measures, in a sentence.
        values: Value by the label's value; the key is empty without a label.
        label: Name of the label that parts the values; empty for none.
        kind: `gauge` for a state, `counter` for what only grows, `info` for a text.
        unit: Unit, such as `bytes` or `seconds`; empty for a number of things.
    """

    name: str
    help: str
    values: Mapping[str, float]
    label: str = ""
    kind: Literal["gauge", "counter", "info"] = "gauge"
    unit: str = ""

    def lines(self) -> Iterator[str]:
        """Yield the lines of the metric."""
        yield f"# TYPE {self.name} {self.kind}"
        if self.unit:
            yield f"# UNIT {self.name} {self.unit}"
        yield f"# HELP {self.name} {self.help.translate(_ESCAPES)}"
        sample = self.name + {"counter": "_total", "info": "_info"}.get(self.kind, "")
        for key, value in self.values.items():
            labels = f'{{{self.label}="{key.translate(_ESCAPES)}"}}' if self.label else ""
            yield f"{sample}{labels} {value:.17g}"


def service_metrics(data: Path) -> list[Metric]:
    """Return what every service states: its version, its memory, and the space left for its data.

    Args:
        data: Folder of the service's data.

    Returns:
        The metrics; the memory is left out where the system does not tell.
    """
    free = float(shutil.disk_usage(data).free)
    metrics = [
        Metric("meninx", "Version of meninx.", {__version__: 1}, label="version", kind="info"),
        Metric("meninx_disk_free_bytes", "Space left for data.", {"": free}, unit="bytes"),
    ]
    if memory := _resident_bytes():
        name = "process_resident_memory_bytes"
        metrics.append(Metric(name, "Memory of this process.", {"": memory}, unit="bytes"))
    return metrics


def _resident_bytes() -> int:
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:  # not Linux
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def exposition(metrics: Sequence[Metric]) -> str:
    """Return metrics as one text.

    Args:
        metrics: Metrics with different names.

    Returns:
        The text, of the media type `CONTENT_TYPE`.
    """
    lines = [line for metric in metrics for line in metric.lines()]
    return "\n".join([*lines, "# EOF"]) + "\n"
