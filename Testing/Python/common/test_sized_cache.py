"""A cache whose memory is bounded."""

from __future__ import annotations

import pytest

from ActiveSegmentationLib.common.sized_cache import SizedCache


def test_values_used_last_are_kept_as_far_as_they_fit():
    made = []

    def value(size):
        def make():
            made.append(size)
            return bytes(size)

        return make

    cache = SizedCache(len, limit=10)
    for size in (4, 5, 4, 3):  # the third is there, the fourth drives out what was not used for longest
        assert cache.get(size, value(size)) == bytes(size)
    assert made == [4, 5, 3]
    cache.get(4, value(4))
    assert made == [4, 5, 3]
    cache.get(5, value(5))
    assert made == [4, 5, 3, 5]
    for _ in range(2):
        cache.get(20, value(20))  # larger than the limit, and kept alone
    cache.get(4, value(4))
    assert made == [4, 5, 3, 5, 20, 4]


def test_a_value_that_cannot_be_made_is_asked_for_again():
    cache = SizedCache(len)

    def fail():
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        cache.get("a", fail)
    assert cache.get("a", lambda: b"there") == b"there"
