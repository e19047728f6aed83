"""Score paths given on standard input, one a line as JSON, and print what it took.

A process of its own: what a decoder does to it, a crash included, is seen from outside.
"""

import json
import sys
import time
from pathlib import Path

from meninx._detect.loading import load_detector
from meninx._scoring.loop import score_path


def highest_memory() -> float:
    """Return the most memory since `forget_highest`, MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:", 1)[1].split()[0]) / 1024


def forget_highest() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def main() -> None:
    detector = load_detector(threads=1)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        path = json.loads(line)
        forget_highest()
        began = time.process_time()
        outcomes = sorted(
            {
                "scored" if result.scored else str(result.findings.reason)
                for result in score_path(detector, path)
            }
        )
        response = {"outcomes": outcomes, "seconds": time.process_time() - began}
        print(json.dumps(response | {"megabytes": highest_memory()}), flush=True)


if __name__ == "__main__":
    main()
