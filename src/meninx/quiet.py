"""Let no library tell what a header holds."""

import logging
import warnings


def quiet_libraries() -> None:
    """Keep libraries from telling what headers hold: they warn with values in their text.

    Of this process; every process of meninx begins with it.
    """
    warnings.simplefilter("ignore")
    for library in ("pydicom", "highdicom", "pynetdicom"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
