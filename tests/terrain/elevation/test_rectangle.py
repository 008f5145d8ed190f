import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crosslocate.terrain.elevation import rectangle
from crosslocate.terrain.elevation.rectangle import SMALL, Rectangle, divide


@st.composite
def rectangles(draw, most=400):
    top, left = draw(st.integers(-most, most)), draw(st.integers(-most, most))
    return Rectangle(top, left, top + draw(st.integers(1, 60)), left + draw(st.integers(1, 60)))


def marked(rects, box):
    canvas = np.zeros((box.bottom - box.top, box.right - box.left), bool)
    for r in rects:
        canvas[r.moved(-box.top, -box.left).slices] = True
    return canvas


@given(st.lists(rectangles(), min_size=1, max_size=25))
def test_the_parts_hold_all_and_are_no_larger_than_the_whole(rects):
    box = Rectangle.around(rects)
    small, rectangle.SMALL = rectangle.SMALL, 500
    try:
        parts = divide(rects)
    finally:
        rectangle.SMALL = small
    assert not (marked(rects, box) & ~marked(parts, box)).any()
    assert sum(part.area for part in parts) <= box.area


def test_two_far_corners_are_two_and_a_small_or_full_rectangle_is_one():
    near, far = Rectangle(0, 0, 1000, 1000), Rectangle(9000, 9000, 10_000, 10_000)
    assert divide([near, far]) == [near, far]
    assert divide([near, Rectangle(1000, 0, 2000, 500)]) == [Rectangle(0, 0, 2000, 1000)]
    assert len(divide([Rectangle(0, 0, 2, 2), Rectangle(1998, 1998, 2000, 2000)])) == int(SMALL < 2000 * 2000) + 1


@given(rectangles(), rectangles(), st.integers(-50, 50), st.integers(-50, 50))
def test_what_two_have_in_common(one, other, down, right):
    box = Rectangle.around([one, other])
    common = one.clipped(other)
    assert common.area == (marked([one], box) & marked([other], box)).sum()
    assert common.area == one.moved(down, right).clipped(other.moved(down, right)).area
