"""
Every single element of every field, and the values that it must mean: plain sets, computed here.

croniter does the expansion in the product, and what it makes of an element has changed between its versions.
Ranges with a step are complete for hour, month and day of week; for the 1,830 ranges of the minute and the 496
of the day of month three steps stand for all.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import lru_cache
from itertools import combinations_with_replacement, product

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from cueapi.domain.cron import MONTHS, WEEKDAYS, Cron, parse

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

Element = tuple[str, set[int]]


@frozen
class Place:
    """A field of a cron: what may stand in it, and how to see what it was taken for."""

    name: str
    cron: str
    """With `{}` where the field is."""
    values: range
    expanded: Callable[[Cron], set[int]]
    steps: tuple[int, ...]
    """Those of ranges; `*` takes every one."""
    names: tuple[str, ...] = ()

    def singles(self) -> Iterator[Element]:
        for value in self.values:
            for text in {str(value), f"{value:02}"}:
                yield text, {value}
        for value, name in zip(self.values, self.names, strict=False):
            yield from ((name, {value}), (name.lower(), {value}))

    def ranges(self) -> Iterator[Element]:
        for low, high in combinations_with_replacement(self.values, 2):
            for first, last in product(self.spelled(low), self.spelled(high, low)):
                yield f"{first}-{last}", set(range(low, high + 1))
                for step in self.steps:
                    yield f"{first}-{last}/{step}", set(range(low, high + 1, step))

    def spelled(self, value: int, low: int = 0) -> list[str]:
        """As a number and, where it has one, by its name; 7 is SUN only at the end of a range from *low*."""
        if self is WEEKDAY and value == 7:
            return ["7", "SUN"] if low > 0 else ["7"]
        return [str(value), *self.names[value - self.values[0] :][:1]]

    def stars(self) -> Iterator[Element]:
        yield "*", set(self.values)
        most = 7 if self is WEEKDAY else len(self.values)
        for step in range(1, most + 1):
            yield f"*/{step}", set(self.values[::step])

    def elements(self) -> list[Element]:
        return [*self.singles(), *self.ranges(), *self.stars()]

    def meant(self, values: set[int]) -> set[int]:
        return {value % 7 for value in values} if self is WEEKDAY else values

    def misread(self, elements: list[Element]) -> dict[str, set[int]]:
        """The elements that are not taken for their values, with what they are taken for."""
        found = {text: self.expanded(parse(self.cron.format(text))) for text, _ in elements}
        return {text: found[text] for text, values in elements if found[text] != self.meant(values)}


WEEKDAY = Place("day of week", "0 0 * * {}", range(8), lambda cron: {*cron.weekdays}, tuple(range(1, 8)), WEEKDAYS)
PLACES = [
    Place("minute", "{} 0 * * *", range(60), lambda cron: {time // MINUTE for time in cron.moments}, (2, 7, 60)),
    Place("hour", "0 {} * * *", range(24), lambda cron: {time // HOUR for time in cron.moments}, tuple(range(1, 25))),
    Place("day of month", "0 0 {} * *", range(1, 32), lambda cron: {*cron.dates}, (2, 7, 31)),
    Place("month", "0 0 * {} *", range(1, 13), lambda cron: {*cron.months}, tuple(range(1, 13)), MONTHS),
    WEEKDAY,
]
each_place = pytest.mark.parametrize("place", PLACES, ids=[place.name for place in PLACES])


@each_place
def test_every_single_element_means_its_values(place: Place) -> None:
    assert place.misread(place.elements()) == {}


@lru_cache
def lists(place: Place) -> st.SearchStrategy[list[Element]]:
    kinds = (place.singles, place.ranges, place.stars)
    return st.lists(st.one_of(*(st.sampled_from([*kind()]) for kind in kinds)), min_size=2, max_size=12)


@each_place
@given(data=st.data())
@settings(deadline=None, max_examples=50)
def test_a_list_means_what_its_elements_mean_together(place: Place, data: st.DataObject) -> None:
    chosen = data.draw(lists(place))
    together = set().union(*(values for _, values in chosen))

    assert place.misread([(",".join(text for text, _ in chosen), together)]) == {}


@pytest.mark.parametrize("name", ["L", "l"])
def test_the_last_day_of_the_month_is_no_other_day(name: str) -> None:
    cron = parse(f"0 0 {name} * *")

    assert (cron.last_date, cron.dates) == (True, frozenset())


def test_every_nth_weekday_is_that_one_alone() -> None:
    spelled = {**{str(value): value % 7 for value in range(8)}, **{name: WEEKDAYS.index(name) for name in WEEKDAYS}}
    crons = {(text, nth): parse(f"0 0 * * {text}#{nth}") for text in spelled for nth in range(1, 6)}

    assert {key: cron.nth_weekdays for key, cron in crons.items()} == {
        (text, nth): {(spelled[text], nth)} for text, nth in crons
    }
    assert {cron.weekdays for cron in crons.values()} == {frozenset()}


# To croniter the first two are every day, it refuses the third, and takes the fourth for the second Monday.
@pytest.mark.parametrize(
    ("cron", "dates", "last", "weekdays", "nths"),
    [
        ("0 0 2-31,L * *", {*range(2, 32)}, True, {*range(7)}, set()),
        ("0 0 1-29,31,L * *", {*range(1, 30), 31}, True, {*range(7)}, set()),
        ("0 0 * * FRI,MON#1", {*range(1, 32)}, False, {5}, {(1, 1)}),
        ("0 0 * * 1,1#2", {*range(1, 32)}, False, {1}, {(1, 2)}),
        ("0 0 *,5 * 1-5,*", {*range(1, 32)}, False, {*range(7)}, set()),
        ("0 0 15,l * SUN#1,7#2,0#5", {15}, True, set(), {(0, 1), (0, 2), (0, 5)}),
    ],
)
def test_in_a_list_each_element_keeps_its_meaning(
    cron: str, dates: set[int], last: bool, weekdays: set[int], nths: set[tuple[int, int]]
) -> None:
    read = parse(cron)

    assert (read.dates, read.last_date, read.weekdays, read.nth_weekdays) == (dates, last, weekdays, nths)
