from pathlib import Path
from runpy import run_path

import pytest

ROOT = Path(__file__).parents[1]
FAULTS = run_path(str(ROOT / "experiments" / "faults.py"))["FAULTS"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.file}: {fault.text[:30]}")
def test_each_fault_can_be_put_in(fault):
    """What experiments/faults.py changes is still in the code."""
    assert fault.text in (ROOT / "src/meninx" / fault.file).read_text(encoding="utf-8")
