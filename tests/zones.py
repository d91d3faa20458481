"""Another tzdata for a while: zones that run by the rules of others."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cueapi.domain import zone

CASABLANCA = "Africa/Casablanca"

# Of these names the sign is inverted (POSIX).
AT_UTC, AN_HOUR_AHEAD = "Etc/GMT", "Etc/GMT-1"

REAL = zone.DATABASE


@contextmanager
def tzdata(folder: Path, version: str, zones: Mapping[str, str]) -> Iterator[None]:
    """
    For the length of the block the product's tzdata is this *version*, made in *folder*.

    It has UTC and *zones*: each name with the rules of another one.
    """
    database = folder / version
    for name, rules in {"UTC": "UTC", **zones}.items():
        path = database / "zoneinfo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(REAL.joinpath("zoneinfo", *rules.split("/")).read_bytes())
    (database / "zoneinfo" / "tzdata.zi").write_text(f"# version {version}\n")
    (database / "zones").write_text("\n".join({"UTC", *zones}))
    _use(database)
    try:
        yield
    finally:
        zone.DATABASE = REAL
        _forget()


def _use(database: Path) -> None:
    zone.DATABASE = database
    _forget()


def _forget() -> None:
    for cached in (zone.zone_named, zone.tzdata_version, zone._names, zone._periods_of):
        cached.cache_clear()
