"""Adjusted prices, derived at read from bars and corporate actions; and repair of bad data.

Pure functions over Arrow tables: nothing is asked for, nothing is stored. Adjusted prices are never
stored as truth, and `adj_close` is never used to derive one: it was true only when it was fetched.
"""

from tickerlake.adjust.apply import ADJUSTMENTS, UNADJUSTED_TYPES, Adjust, adjust
from tickerlake.adjust.basis import Basis, bases_of, basis_of
from tickerlake.adjust.derive import Derived, daily_request, derive, known_of
from tickerlake.adjust.events import DAILY, STEPS, known_spans, steps
from tickerlake.adjust.refusals import REASONS, refusal
from tickerlake.adjust.repair import CHANGES, Repaired, explained, repair

__all__ = [
    "ADJUSTMENTS",
    "CHANGES",
    "DAILY",
    "REASONS",
    "STEPS",
    "UNADJUSTED_TYPES",
    "Adjust",
    "Basis",
    "Derived",
    "Repaired",
    "adjust",
    "bases_of",
    "basis_of",
    "daily_request",
    "derive",
    "explained",
    "known_of",
    "known_spans",
    "refusal",
    "repair",
    "steps",
]
