"""How far each hop of the chain is: for `status`, for `/metrics`, and for the page."""

from tickerlake.flow.figures import families
from tickerlake.flow.look import PartitionFlow, TopicFlow
from tickerlake.flow.pipeline import Flow

__all__ = ["Flow", "PartitionFlow", "TopicFlow", "families"]
