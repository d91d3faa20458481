from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cueapi.domain.cron import check_cron, parse
from cueapi.domain.errors import Refusal

YEAR = (datetime(2027, 1, 1), datetime(2028, 1, 1))


def days_of_2027(cron: str) -> list[str]:
    return [wall_time.strftime("%m-%d") for wall_time in parse(cron).wall_times(*YEAR)]


def times_of_day(cron: str) -> list[str]:
    day = parse(cron).wall_times(datetime(2027, 3, 1), datetime(2027, 3, 2))
    return [wall_time.strftime("%H:%M") for wall_time in day]


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("0 9 * * *", "0 9 * * *"),
        ("  0\t9  * *   mon-Fri \n", "0 9 * * mon-Fri"),
        ("00 09 1,15 JAN,jul *", "00 09 1,15 JAN,jul *"),
        ("*/15 9-17/2 1-31/7 */3 0-7", "*/15 9-17/2 1-31/7 */3 0-7"),
        ("0 0 L * *", "0 0 L * *"),
        ("0 0 15,l * *", "0 0 15,l * *"),
        ("0 0 * * MON#2,fri#5,0#1", "0 0 * * MON#2,fri#5,0#1"),
        ("*/60 */24 */31 */12 */7", "*/60 */24 */31 */12 */7"),
        ("*,5 1,*/2 * * *", "*,5 1,*/2 * * *"),
        (" @Daily ", "@daily"),
        ("@hourly", "@hourly"),
        ("@midnight", "@midnight"),
        ("@weekly", "@weekly"),
        ("@monthly", "@monthly"),
        ("@yearly", "@yearly"),
        ("@annually", "@annually"),
    ],
)
def test_a_cron_of_the_grammar_is_taken_and_tidied(written: str, normal: str) -> None:
    assert check_cron(written) == normal


@pytest.mark.parametrize(
    ("cron", "why"),
    [
        ("", "The cron is empty"),
        (" \n", "The cron is empty"),
        ("0 9 * *", "has 4 fields"),
        ("0\u00a09 * * *", "has 4 fields"),
        ("0\u20289\u2028*\u2028*\u2028*", "has 1 fields"),
        ("0 9 * * *\u00a0", "not plain ASCII"),
        ("\u3000@daily", "has 1 fields"),
        ("0 0 9 * * *", "has 6 fields"),
        ("0 0 9 * * * 2030", "has 7 fields"),
        ("0 9 ? * 1", "day of month '?' of the cron is wrong: '?' is not known here, write '*'"),
        ("0 9 15W * *", "'W' (nearest weekday) is not known"),
        ("0 9 LW * *", "'W' (nearest weekday) is not known"),
        ("H 9 * * *", "minute 'H' of the cron is wrong: 'H' is not known"),
        ("H/15 9 * * *", "'H' is not known"),
        ("H(0-29)/10 9 * * *", "'H' is not known"),
        ("0 R * * *", "random times"),
        ("R(0-29) 9 * * *", "random times"),
        ("0~29 9 * * *", "random times"),
        ("0 9 L-3 * *", "'L' stands alone"),
        ("0 9 * * 5L", "'L' stands alone"),
        ("0 9 * * FRI#L", "'L' stands alone"),
        ("0 9 * * L", "'L' stands alone"),
        ("L 9 * * *", "'L' stands alone"),
        ("0 9 * * MON#6", "1 to 5 behind it"),
        ("0 9 * * MON#0", "1 to 5 behind it"),
        ("0 9 * * MON-FRI#1", "1 to 5 behind it"),
        ("0 9 2#1 * *", "'#' belongs to the day of week"),
        ("0 9 * * 8#1", "only 0 to 7 are possible"),
        ("@reboot", "'@reboot' is not known here"),
        ("@Reboot", "'@reboot' is not known here"),
        ("@every 5m", "there is no '@every 5m'"),
        ("@", "there is no '@'"),
        ("60 9 * * *", "minute '60' of the cron is wrong: only 0 to 59 are possible"),
        ("0 24 * * *", "hour '24' of the cron is wrong: only 0 to 23 are possible"),
        ("0 9 0 * *", "only 1 to 31 are possible"),
        ("0 9 32 * *", "only 1 to 31 are possible"),
        ("0 9 * 0 *", "only 1 to 12 are possible"),
        ("0 9 * 13 *", "only 1 to 12 are possible"),
        ("0 9 * * 8", "only 0 to 7 are possible"),
        ("0 9-24 * * *", "only 0 to 23 are possible"),
        ("0 17-9 * * *", "hour '17-9' of the cron is wrong: the range runs backwards"),
        ("0 9 * * FRI-MON", "the range runs backwards"),
        ("0 9 * * 5-0", "Sunday at the end of a range is 7"),
        ("0 9 * * 7-1", "the range runs backwards"),
        ("*/0 * * * *", "a step here is 1 to 60"),
        ("*/90 * * * *", "a step here is 1 to 60"),
        ("0 */25 * * *", "a step here is 1 to 24"),
        ("0 9 * * */8", "a step here is 1 to 7"),
        ("0/15 * * * *", "a step needs a range or '*' before it"),
        ("0 9 * * MON/2", "a step needs a range or '*' before it"),
        ("*/ * * * *", "cannot be read"),
        ("*/a * * * *", "cannot be read"),
        ("** * * * *", "cannot be read"),
        ("-5 * * * *", "a range has two ends"),
        ("5- * * * *", "a range has two ends"),
        ("1-2-3 * * * *", "a range has two ends"),
        ("*-5 * * * *", "a range has two ends"),
        ("1,,2 * * * *", "something is missing beside a comma"),
        ("1, * * * *", "something is missing beside a comma"),
        ("0 9 * JUL-DEZ *", "month 'DEZ' of the cron is wrong: no such name"),
        ("0 9 * MON *", "no such name"),
        ("0 9 * * JUL", "no such name"),
        ("0 9 * * MONDAY", "no such name"),
        ("1.5 * * * *", "cannot be read"),
        ("+5 * * * *", "cannot be read"),
        ("1_0 * * * *", "cannot be read"),
        ("² * * * *", "cannot be read"),
        ("٣ * * * *", "cannot be read"),
        ("0 9 * * frı", "cannot be read, since it is not plain ASCII"),
        ("0 9 * * ſun", "not plain ASCII"),
        ("0 9 * * MON-ſun", "not plain ASCII"),
        ("0 9 1 ſep *", "not plain ASCII"),
        ("0 9 * * ſun#1", "not plain ASCII"),
        ("@wee\u212aly", "there is no '@wee\u212aly'"),
        ("\0 * * * *", "cannot be read"),
        ("0,1" + ",1" * 200 + " * * * *", "at most 255 are taken"),
    ],
)
def test_whatever_is_outside_of_the_grammar_is_refused_with_its_reason_and_an_example(cron: str, why: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_cron(cron)

    assert refused.value.code == "invalid_schedule"
    assert why.lower() in refused.value.message.lower()
    assert "Valid are for example '0 9 * * MON-FRI'" in refused.value.message


@given(
    st.sampled_from(["0 9 * * FRI", "0 9 1 SEP SUN", "*/15 8-17 L JAN-JUL MON#2", "@weekly"]),
    st.lists(st.tuples(st.integers(0, 30), st.text(max_size=2) | st.sampled_from("ſıİK²٣０ﬁ,-*/#L")), max_size=3),
)
def test_any_text_is_a_cron_or_refused(cron: str, typed: list[tuple[int, str]]) -> None:
    for at, text in typed:
        cron = cron[:at] + text + cron[at + 1 :]
    try:
        taken = check_cron(cron)
    except Refusal:
        return
    assert taken.isascii()


def test_what_the_refusals_recommend_is_valid() -> None:
    assert [check_cron(cron) for cron in ("0 9 * * MON-FRI", "*/15 * * * *", "0 9 L * *", "0-59/15 * * * *")]


@pytest.mark.parametrize(
    ("cron", "times"),
    [
        ("30 9 * * *", ["09:30"]),
        ("0,30 8,20 * * *", ["08:00", "08:30", "20:00", "20:30"]),
        ("*/20 5 * * *", ["05:00", "05:20", "05:40"]),
        ("10-30/10 5 * * *", ["05:10", "05:20", "05:30"]),
        ("59 22-23 * * *", ["22:59", "23:59"]),
        ("@daily", ["00:00"]),
    ],
)
def test_minutes_and_hours_make_the_times_of_a_day(cron: str, times: list[str]) -> None:
    assert times_of_day(cron) == times


@pytest.mark.parametrize(
    ("cron", "days"),
    [
        ("0 0 1 2 *", ["02-01"]),
        ("0 0 29 2 *", []),
        ("0 0 L 2,4 *", ["02-28", "04-30"]),
        ("0 0 27,L 2 *", ["02-27", "02-28"]),
        ("0 0 * 2 MON#2", ["02-08"]),
        ("0 0 * 2 1#1,FRI#4", ["02-01", "02-26"]),
        ("0 0 * 2 MON#5", []),
        ("0 0 * 3 MON#5", ["03-29"]),
        ("0 0 * 2 0", ["02-07", "02-14", "02-21", "02-28"]),
        ("0 0 * 2 7", ["02-07", "02-14", "02-21", "02-28"]),
        ("0 0 * 2 SUN", ["02-07", "02-14", "02-21", "02-28"]),
        ("0 0 * 2 6-7", ["02-06", "02-07", "02-13", "02-14", "02-20", "02-21", "02-27", "02-28"]),
        ("0 0 * 2 FRI-SUN/2", ["02-05", "02-07", "02-12", "02-14", "02-19", "02-21", "02-26", "02-28"]),
        ("@yearly", ["01-01"]),
        ("@monthly", [f"{month:02}-01" for month in range(1, 13)]),
    ],
)
def test_dates_months_and_weekdays_make_the_days_of_a_year(cron: str, days: list[str]) -> None:
    assert days_of_2027(cron) == days


@pytest.mark.parametrize(
    ("cron", "days"),
    [
        ("0 0 13 8 FRI", ["08-06", "08-13", "08-20", "08-27"]),
        ("0 0 1 8 MON#1", ["08-01", "08-02"]),
        ("0 0 L 8 MON#1", ["08-02", "08-31"]),
        ("0 0 */13 8 SAT", ["08-14"]),
        ("0 0 1,15 8 */7", ["08-01", "08-15"]),
        ("0 0 *,13 8 FRI#2", ["08-13"]),
        ("0 0 13 8 *", ["08-13"]),
        ("0 0 * 8 FRI#1", ["08-06"]),
    ],
)
def test_either_day_field_matches_unless_one_begins_with_a_star(cron: str, days: list[str]) -> None:
    assert days_of_2027(cron) == days


def test_readings_backward_are_the_readings_forward_reversed() -> None:
    cron = parse("*/7 8-10 L,13 * TUE#2")
    bounds = (datetime(2027, 1, 13, 9, 0), datetime(2028, 2, 29, 8, 15))

    assert list(cron.wall_times(*bounds, backward=True)) == list(cron.wall_times(*bounds))[::-1]


def test_readings_begin_inclusively_and_end_exclusively() -> None:
    between = parse("0 * * * *").wall_times(datetime(2027, 1, 1, 9), datetime(2027, 1, 1, 11))

    assert [wall_time.hour for wall_time in between] == [9, 10]
