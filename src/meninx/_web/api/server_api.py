"""The API for the server itself: health, readiness, metrics."""

import shutil
from datetime import UTC
from typing import Any

from fastapi import APIRouter, HTTPException, Response
from sqlalchemy import func, select, text

from meninx._metrics import CONTENT_TYPE, Metric, exposition, service_metrics
from meninx._system_errors import FULL
from meninx._version import __version__
from meninx._web.api.routes import ERRORS
from meninx._web.auth.rights import visible_to
from meninx._web.serving import MayRead, SessionNeeded, WebNeeded
from meninx._web.store.database import DONE, Study

# Space below which the server takes no more studies: the database needs some, too.
MIN_FREE_BYTES = 256 * 1024**2

server_api = APIRouter(prefix="/api/v1", responses=ERRORS)


@server_api.get("/health")
def health() -> dict[str, str]:
    """Report that the server runs. For research, not for diagnosis."""
    return {"status": "ok", "version": __version__, "use": "research only, not for diagnosis"}


@server_api.get("/ready")
def ready(web: WebNeeded, session: SessionNeeded) -> dict[str, str]:
    """Report that the database answers and the disk has space; 503 if not."""
    session.execute(text("SELECT 1"))
    if shutil.disk_usage(web.settings.data).free < MIN_FREE_BYTES:
        raise HTTPException(503, FULL)
    return {"status": "ready"}


@server_api.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {CONTENT_TYPE: {"schema": {"type": "string"}}}}},
)
def metrics(web: WebNeeded, reader: MayRead, session: SessionNeeded) -> Response:
    """Return figures in the format of OpenMetrics, of the studies that the caller may see."""

    def counts(column: Any) -> dict[str, float]:
        query = select(column, func.count()).where(visible_to(reader)).group_by(column)
        return {key: count for key, count in session.execute(query).all() if key}

    query = select(func.max(Study.finished)).where(visible_to(reader), Study.state == DONE)
    last = session.scalar(query)
    figures = [
        *service_metrics(web.settings.data),
        Metric(
            "meninx_studies",
            "Studies by state: received (waiting), scoring, done.",
            counts(Study.state),
            label="state",
        ),
        Metric(
            "meninx_findings",
            "Studies by the detector's answer, refused and failed ones too.",
            counts(Study.decision),
            label="decision",
        ),
        Metric(
            "meninx_last_study_seconds",
            "Time of the last study that was scored; 0 for none.",
            {"": last.replace(tzinfo=last.tzinfo or UTC).timestamp() if last else 0.0},
            unit="seconds",
        ),
    ]
    return Response(exposition(figures), media_type=CONTENT_TYPE)
