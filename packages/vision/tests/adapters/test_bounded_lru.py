"""What is kept never exceeds its bound, and what was used last is what is left."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.adapters.engine.bounded_lru import ENTRY_BYTES, BoundedLru

_KEYS = st.sampled_from("abcdef")
_KEEP = st.tuples(_KEYS, st.integers(0, 900))
_FIND = st.tuples(_KEYS, st.none())


@given(st.integers(0, 3000), st.lists(st.one_of(_KEEP, _FIND), max_size=60))
def test_it_is_a_bounded_dictionary_in_order_of_use(
    limit: int, steps: list[tuple[str, int | None]]
) -> None:
    cache: BoundedLru[int] = BoundedLru(limit)
    witness: OrderedDict[str, int] = OrderedDict()
    hits = 0
    for key, size in steps:
        if size is None:
            assert cache.find(key) == witness.get(key)
            if key in witness:
                witness.move_to_end(key)
                hits += 1
        else:
            cache.keep(key, size, size)
            if size + ENTRY_BYTES <= limit:
                witness.pop(key, None)
                witness[key] = size
                while sum(witness.values()) + ENTRY_BYTES * len(witness) > limit:
                    witness.popitem(last=False)
        assert cache.bytes == sum(witness.values()) + ENTRY_BYTES * len(witness) <= limit
        assert [key for key in "abcdef" if cache.holds(key)] == sorted(witness)
    assert cache.hits == hits
    finds = sum(size is None for _, size in steps)
    assert cache.misses == (finds - hits if limit else 0)


def test_what_is_too_large_drives_nothing_out() -> None:
    cache: BoundedLru[str] = BoundedLru(1000)
    cache.keep("small", "kept", 10)
    cache.keep("large", "not kept", 1000)
    assert (cache.find("small"), cache.find("large")) == ("kept", None)
