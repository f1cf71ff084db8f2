"""Where bars come from: one file per provider behind one contract."""

from tickerlake.sources.base import Answer, BarsRequest, Limits, Source, empty_answer

__all__ = ["Answer", "BarsRequest", "Limits", "Source", "empty_answer"]
