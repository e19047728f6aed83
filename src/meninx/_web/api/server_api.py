"""The API for the server itself: health, readiness, metrics."""

import os
from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy import func, select, text

from meninx._version import __version__
from meninx._web.api.routes import ERRORS
from meninx._web.auth.rights import visible_to
from meninx._web.serving import MayRead, SessionNeeded
from meninx._web.store.database import Study

server_api = APIRouter(prefix="/api/v1", responses=ERRORS)


@server_api.get("/health")
def health() -> dict[str, str]:
    """Report that the server runs. For research, not for diagnosis."""
    return {"status": "ok", "version": __version__, "use": "research only, not for diagnosis"}


@server_api.get("/ready")
def ready(session: SessionNeeded) -> dict[str, str]:
    """Report that the database answers."""
    session.execute(text("SELECT 1"))
    return {"status": "ready"}


@server_api.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}}
)
def metrics(reader: MayRead, session: SessionNeeded) -> Response:
    """Return figures for Prometheus, of the studies that the caller may see."""

    def counts(column: Any) -> Any:
        query = select(column, func.count()).where(visible_to(reader)).group_by(column)
        return session.execute(query).all()

    states, decisions = counts(Study.state), counts(Study.decision)
    lines = ["# TYPE meninx_studies gauge"]
    lines += [f'meninx_studies{{state="{state}"}} {count}' for state, count in states]
    lines.append("# TYPE meninx_findings gauge")
    lines += [f'meninx_findings{{decision="{d}"}} {count}' for d, count in decisions if d]
    lines += [
        "# TYPE process_resident_memory_bytes gauge",
        f"process_resident_memory_bytes {_resident_bytes()}",
    ]
    return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return 0
