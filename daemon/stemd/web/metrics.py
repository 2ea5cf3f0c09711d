"""Figures for Prometheus; behind the same token as the pages."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from stemd.metrics import Studio, exposition

router = APIRouter(include_in_schema=False)


def figures_of(request: Request) -> Studio:
    """Give the figures that the application keeps."""
    return cast("Studio", request.app.state.metrics)


@router.get("/metrics")
def metrics(request: Request, figures: Annotated[Studio, Depends(figures_of)]) -> Response:
    """Tell how things stand, in Prometheus's text format or OpenMetrics."""
    text, kind = exposition(figures, request.headers.get("accept", ""))
    return Response(text, headers={"Content-Type": kind})
