"""SQL over the lake and the stream's fresh tail."""

from tickerlake.query.base import VIEWS, Engine, Result
from tickerlake.query.registry import open_engine
from tickerlake.query.settings import QuerySettings

__all__ = ["VIEWS", "Engine", "QuerySettings", "Result", "open_engine"]
