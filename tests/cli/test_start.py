"""What a new process imports: each module costs a picture more than its network does."""

import subprocess
import sys

from meninx._synthesis.phantom_studies import make_studies
from meninx._synthesis.writing import write_studies

RUN = """
import sys
from meninx._cli import main
try:
    main()
except SystemExit as ended:
    status = ended.code or 0
print(status, *sorted(sys.modules), file=sys.stderr)
"""


def imported(*arguments):
    """Return exit status and modules of a command in a new process."""
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    status, *modules = done.stderr.split()
    return int(status), set(modules)


def test_a_picture_is_scored_without_what_it_does_not_need(tmp_path):
    (picture,) = write_studies(make_studies(1, 0), tmp_path, "png")
    status, modules = imported("predict", "--json", picture)
    assert status == 0
    assert {"onnxruntime", "PIL", "meninx._scan.raster"} <= modules
    assert not modules & {
        "importlib.resources",
        "meninx._cli.config_file",
        "meninx._render.heatmap",
        "meninx._scan.archives",
        "meninx._scan.series",
        "numpy.ma",
        "pydantic",
        "pydicom",
        "rich",
        "ssl",
        "tomllib",
    }


def test_the_list_of_verbs_is_written_without_what_they_need():
    status, modules = imported("--help")
    assert status == 0
    assert not modules & {"pydantic", "onnxruntime", "PIL", "pydicom", "sqlalchemy", "torch"}
