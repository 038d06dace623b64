"""Batches made ahead of their use: the same ones, in the same order, and a thread that always ends."""

from __future__ import annotations

import threading
import time

import pytest

from refinery.training.prefetch import Ahead


def threads() -> int:
    return sum(thread.name == "refinery-ahead" for thread in threading.enumerate())


def test_in_order_from_where_it_was_told_to_begin():
    ahead = Ahead(lambda number: number**2, first=3)
    assert [ahead.take() for _ in range(5)] == [9, 16, 25, 36, 49]
    ahead.close()
    assert not threads()


def test_no_more_than_the_depth_is_made_before_it_is_asked_for():
    made, enough = [], threading.Event()

    def make(number: int) -> int:
        made.append(number)
        if number == 2:
            enough.set()
        return number

    ahead = Ahead(make, first=0, depth=2)
    assert enough.wait(5)  # the third waits in the hand of the thread
    time.sleep(0.05)
    assert made == [0, 1, 2]
    ahead.close()
    assert not threads()


def test_an_error_comes_where_it_belongs_and_comes_again():
    def make(number: int) -> int:
        if number == 2:
            raise OSError("disk gone")
        return number

    ahead = Ahead(make, first=0)
    assert [ahead.take(), ahead.take()] == [0, 1]
    for _ in range(2):
        with pytest.raises(OSError, match="disk gone"):
            ahead.take()
    ahead.close()
    assert not threads()


def test_closing_does_not_wait_for_what_nobody_takes():
    ahead = Ahead(lambda number: number, first=0, depth=1)
    began = time.monotonic()
    ahead.close()
    assert time.monotonic() - began < 5
    assert not threads()
