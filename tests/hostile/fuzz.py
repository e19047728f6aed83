"""Let atheris look for files that break the reader: `make fuzz`, and a little in the tests.

Run: python -m tests.hostile.fuzz CORPUS [libFuzzer's options]. Each kind of file is fuzzed in a
process and a folder of CORPUS of its own; good files of the kind are written there, and libFuzzer
keeps what reaches new code beside them.
"""

import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["meninx", "pydicom", "nibabel", "nrrd", "PIL"]):
    from meninx._errors import InputError
    from meninx._scan.limits import MIB, Limits
    from meninx._scan.reading import read_scans

from tests.hostile.test_mutations import KINDS, good

# Small: what is slow or large within the limits is no fault.
LIMITS = Limits(file_bytes=4 * MIB, picture_pixels=10**6, volume_voxels=10**6, zip_bytes=16 * MIB)


def fuzz(kind: str, seeds: Path, options: list[str]) -> None:
    """Fuzz the reader with files of one kind; libFuzzer ends the process."""
    seeds.mkdir(parents=True, exist_ok=True)
    (seeds / f"good.{kind}").write_bytes(good(kind))
    path = Path(tempfile.mkdtemp()) / f"x.{kind}"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        errors: list[InputError] = []
        scans = list(read_scans(path, errors.append, LIMITS))
        if not scans and not errors:
            raise AssertionError("no answer at all")

    atheris.Setup([sys.argv[0], *options, str(seeds)], read)
    atheris.Fuzz()


def main() -> None:
    """Fuzz every kind; importing and instrumenting takes 2 seconds and is done once for all."""
    corpus, *options = sys.argv[1:]
    failed = []
    for kind in KINDS:
        sys.stderr.write(f"fuzzing {kind}\n")
        sys.stderr.flush()
        child = os.fork()
        if not child:
            fuzz(kind, Path(corpus) / kind, options)
        if os.waitpid(child, 0)[1]:
            failed.append(kind)
    if failed:
        sys.exit(f"broken by {', '.join(failed)}")


if __name__ == "__main__":
    main()
