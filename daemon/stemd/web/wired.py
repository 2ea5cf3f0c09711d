"""How a page gets at the studio."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from stemd.web.studio import Studio


def studio_of(request: Request) -> Studio:
    """Give the studio that the application was made for."""
    return cast("Studio", request.app.state.studio)


Wired = Annotated[Studio, Depends(studio_of)]
