"""How far delivery is, as it stands in properties and summaries."""

from __future__ import annotations

from tickerlake.lake.positions import (
    Range,
    check_hash,
    decode_ranges,
    encode_ranges,
    offset_property,
    offsets_of,
)


def test_ranges_survive_their_packing_and_stay_short() -> None:
    """A range without repeats or loss is two numbers; the others keep theirs."""
    ranges = {"ab": {"0": Range(0, 5), "1": Range(3, 9, dropped=2), "2": Range(1, 4, 0, 3)}}
    text = encode_ranges(ranges)
    assert text == '{"ab":{"0":[0,5],"1":[3,9,2],"2":[1,4,0,3]}}'
    assert decode_ranges(text) == ranges


def test_the_check_sees_offsets_and_nothing_else() -> None:
    """Another property does not change the check; any offset of any stream does."""
    before = {offset_property("ab", "0"): "5", "write.format": "parquet"}
    assert check_hash(before) == check_hash({**before, "owner": "someone"})
    assert check_hash(before) != check_hash({**before, offset_property("cd", "0"): "5"})
    assert offsets_of({**before, offset_property("cd", "1"): "7"}, "ab") == {"0": 5}
