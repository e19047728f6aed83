"""Let atheris look for files that break the reader: `make fuzz`, or a few seconds in the tests.

Run: python -m tests.hostile.fuzz KIND CORPUS [libFuzzer's options]. Good files of the kind are
written into the folder CORPUS, where libFuzzer keeps what reaches new code, too.
"""

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


def main() -> None:
    kind, corpus, *options = sys.argv[1:]
    seeds = Path(corpus)
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


if __name__ == "__main__":
    if sys.argv[1:2] == ["--kinds"]:
        sys.stdout.write(" ".join(KINDS) + "\n")
    else:
        main()
