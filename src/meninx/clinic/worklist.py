"""Hand a study to the web application, so that its readers find it in their worklist."""

import logging
from pathlib import Path

import requests

log = logging.getLogger(__name__)
SECONDS = 60
TITLE = "from the network"


def hand_over(files: Path, address: str, key: str) -> str | None:
    """Upload a study's files; what is there already is not doubled.

    Args:
        files: Folder of the instances.
        address: Of the application, such as http://127.0.0.1:8000.
        key: Of an account there.

    Returns:
        The study's name over there; None if it could not be handed over, which is logged: results
        still go to the peers.
    """
    api = f"{address.rstrip('/')}/api/v1/uploads"
    try:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {key}"
            begun = session.post(api, json={"title": TITLE}, timeout=SECONDS)
            begun.raise_for_status()
            upload = f"{api}/{begun.json()['id']}"
            for path in sorted(files.glob("*.dcm")):
                session.put(
                    f"{upload}/parts", params={"name": path.name, "offset": 0},
                    data=path.read_bytes(), timeout=SECONDS,
                ).raise_for_status()  # fmt: skip
            done = session.post(f"{upload}/finish", timeout=SECONDS)
            done.raise_for_status()
            return str(done.json()["id"])
    except (requests.RequestException, KeyError, ValueError) as error:
        log.warning("the worklist at %s did not take a study: %s", address, error)
        return None
