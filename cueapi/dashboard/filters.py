"""How values are shown: moments, durations, numbers, long names."""

from datetime import UTC, datetime

from markupsafe import Markup

LONG = 18
"""Characters beyond which an id or a URL is cut in its middle."""

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def moment(value: datetime | None, shown: str = "full") -> Markup | str:
    """
    A moment in UTC, marked up so that a script can show it in the viewer's zone; a dash for none.

    *shown* is `full` (to the second), `second` (without the zone), `minute`, `day` (month, day, minute: for a phone),
    `time` (of the day, to the second), or `clock` (of the day).
    """
    if value is None:
        return "–"
    at = value.astimezone(UTC)
    text = at.replace(tzinfo=None).isoformat(" ", "seconds")
    forms = {"full": f"{text} UTC", "second": text, "minute": f"{text[:16]} UTC", "time": text[11:]}
    forms |= {"day": text[5:16], "clock": text[11:16]}
    machine = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}" title="{}" data-shown="{}">{}</time>').format(
        machine, forms["full"], shown, forms[shown]
    )


def duration(seconds: float | None) -> str:
    """A duration as people say it: `42 ms`, `1.2 s`, `3 min`, `2 h 5 min`; a dash for none."""
    if seconds is None:
        return "–"
    if seconds < 0.9995:
        return f"{max(round(seconds * 1000), 0)} ms"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    for at, (size, name) in enumerate(_UNITS):
        if whole >= size:
            return _two_units(whole, at, size, name)
    return f"{whole} s"


def _two_units(whole: int, at: int, size: int, name: str) -> str:
    """A duration in a unit and, where something is left, the next smaller one."""
    if at + 1 == len(_UNITS):
        left, lower = whole % size, "s"
        return f"{whole // size} {name}" + (f" {left} {lower}" if left and whole < 600 else "")
    smaller, lower = _UNITS[at + 1]
    left = whole % size // smaller
    return f"{whole // size} {name}" + (f" {left} {lower}" if left else "")


def countdown(value: datetime, now: datetime) -> Markup:
    """How far away a moment is, marked up so that a script can count on: `in 4 min`, `now`, `due for 2 min`."""
    at, left = value.astimezone(UTC), (value - now).total_seconds()
    text = f"in {duration(max(left, 1))}" if left > 0 else "now" if left > -60 else f"due for {duration(-left)}"
    machine = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time datetime="{0}" title="{1}" data-countdown="{0}">{2}</time>').format(
        machine, at.strftime("%Y-%m-%d %H:%M:%S UTC"), text
    )


def number(value: int | None) -> str:
    """A number with its thousands apart: `1,204`; a dash for none."""
    return "–" if value is None else f"{value:,}"


def amount(value: float) -> str:
    """A cost with its thousands apart, without an exponent: `12,345,678,901.5`."""
    whole = f"{value:,.10f}".rstrip("0").removesuffix(".")
    # What is too small for ten digits is not nothing.
    return whole if value == 0 or whole.strip("0.") else f"{value:.3g}"


def cut(text: str, longest: int = LONG) -> str:
    """A text without its middle, where it is long: `01a2…538`."""
    if len(text) <= longest:
        return text
    end = max((longest - 1) // 3, 1)
    return f"{text[: longest - 1 - end]}…{text[-end:]}"
