"""Reads a schedule in words as an English reader does; shares no line with what writes them."""

import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import TypeAlias

from attrs import frozen

MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
]  # fmt: skip
DAYS = ["Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"]
NTHS = ["first", "second", "third", "fourth", "fifth"]
ONE_MONTH = rf"(?:{'|'.join(MONTHS)})"
SPAN = rf"{ONE_MONTH}(?: to {ONE_MONTH})?"
MONTH_LIST = rf"{SPAN}(?:(?:, | and ){SPAN})*"
OF = rf"(?:the month|{MONTH_LIST})"

INTERVAL = re.compile(
    r"every (?:(?P<number>\d+) )?(?P<unit>minute|hour)s?"
    r"(?P<within> within each hour)?"
    r"(?: from :(?P<minute>\d\d))?"
    r"(?: at (?P<minutes>:\d\d(?:(?:, | and ):\d\d)*))?"
    r"(?: from (?P<begin>\d\d:\d\d)(?: to (?P<end>\d\d:\d\d))?)?"
    r"(?: in the hours (?P<hours>\d\d(?: to \d\d)?(?:(?:, | and )\d\d(?: to \d\d)?)*))?"
    r"(?P<days> (?:on|in|from) .*)?"
)

On: TypeAlias = Callable[[date], bool]


@frozen
class Meant:
    """The minutes of a day, and the days."""

    minutes: frozenset[int]
    on: On


def read_words(words: str) -> Meant:
    """What *words* mean. Raises AssertionError for what is no sentence."""
    interval = INTERVAL.fullmatch(words)
    if interval is None:
        days, _, clocks = words.rpartition(" at ")
        return Meant(frozenset(map(minute_of, split(clocks))), days_of(days))
    days = (interval["days"] or "").removeprefix(" on ").strip()
    if not days or days.startswith(("in ", "from ")):
        days = f"every day {days}".strip()
    return Meant(frozenset(minutes_of(interval)), days_of(days))


def minutes_of(interval: re.Match[str]) -> Iterator[int]:
    step = int(interval["number"] or 1) * (60 if interval["unit"] == "hour" else 1)
    hours = numbers(interval["hours"]) if interval["hours"] else {*range(24)}
    if interval["minutes"]:
        within = {int(one[1:]) for one in split(interval["minutes"])}
        yield from (hour * 60 + minute for hour in hours for minute in within)
    elif interval["within"] or interval["hours"]:
        first = int(interval["minute"] or 0)
        yield from (hour * 60 + minute for hour in hours for minute in range(first, 60, step))
    else:
        begin = minute_of(interval["begin"]) if interval["begin"] else int(interval["minute"] or 0)
        end = minute_of(interval["end"]) if interval["end"] else 24 * 60 - 1
        yield from range(begin, end + 1, step)


def days_of(text: str) -> On:
    """The days that *text* names."""
    months = {*range(1, 13)}
    if behind := re.fullmatch(rf"(.*) (?:in|from) ({MONTH_LIST})", text):
        text, months = behind[1], months_of(behind[2])
    on = _days_of(text)
    return lambda day: day.month in months and on(day)


def _days_of(text: str) -> On:
    if " that fall on " in text:
        weekdays, dates = map(_days_of, text.split(" that fall on "))
        return lambda day: weekdays(day) and dates(day)
    if either := re.fullmatch(r"((?:the \d|the last|odd|even|every \d).*) and on (.*)", text):
        dates, weekdays = _days_of(either[1]), _days_of(either[2])
        return lambda day: dates(day) or weekdays(day)
    if (found := dates_of(text)) is not None:
        numbers_of_days, months, last = found
        return lambda day: (
            day.month in months and (day.day in numbers_of_days or (last and (day + timedelta(1)).day == 1))
        )
    return (lambda _: True) if text == "every day" else weekly(text)


def dates_of(text: str) -> tuple[set[int], set[int], bool] | None:
    """Days of the month, the months, and whether their last day is one; None where *text* names no such days."""
    if parity := re.fullmatch(rf"(odd|even) days of ({OF})", text):
        return {*range(1 if parity[1] == "odd" else 2, 32, 2)}, months_of(parity[2]), False
    if step := re.fullmatch(rf"every (\d+)\w\w day of ({OF}) from the (\d+)\w\w", text):
        return {*range(int(step[3]), 32, int(step[1]))}, months_of(step[2]), False
    if listed := re.fullmatch(rf"the ((?:\d|last day).*) of ({OF})", text):
        words = [re.sub(r"(?<=\d)[a-z]{2}", "", one) for one in split(listed[1])]
        dates = set().union(*(numbers(one) for one in words if one != "last day"))
        return dates, months_of(listed[2]), "last day" in words
    return None


def weekly(text: str) -> On:
    nths = [
        (DAYS.index(f"{name}s"), NTHS.index(nth) + 1, months_of(of))
        for nth, name, of in re.findall(rf"the ({'|'.join(NTHS)}) (\w+) of ({OF})", text)
    ]
    plain = re.sub(rf"(?:, | and )?the (?:{'|'.join(NTHS)}) \w+ of {OF}", "", text)
    days = set().union(*map(weekdays_of, split(plain))) if plain else set()

    def on(day: date) -> bool:
        return day.weekday() in days or any(
            day.weekday() == weekday and (day.day + 6) // 7 == nth and day.month in months
            for weekday, nth, months in nths
        )

    return on


def weekdays_of(word: str) -> set[int]:
    if word in {"weekdays", "weekends"}:
        return {*range(5)} if word == "weekdays" else {5, 6}
    first, _, last = word.partition(" to ")
    return {*range(DAYS.index(first), DAYS.index(last or first) + 1)}


def months_of(text: str) -> set[int]:
    if text == "the month":
        return {*range(1, 13)}
    spans = [[MONTHS.index(one) + 1 for one in span.split(" to ")] for span in split(text)]
    return {month for span in spans for month in range(span[0], span[-1] + 1)}


def numbers(text: str) -> set[int]:
    spans = [[int(one) for one in span.split(" to ")] for span in split(text)]
    return {number for span in spans for number in range(span[0], span[-1] + 1)}


def split(text: str) -> list[str]:
    """The members of a list."""
    return re.split(r", | and ", text)


def minute_of(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)
