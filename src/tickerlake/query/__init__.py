"""SQL over the lake and the stream's fresh tail."""

from tickerlake.query.base import VIEWS, Engine, Result

__all__ = ["VIEWS", "Engine", "Result"]
