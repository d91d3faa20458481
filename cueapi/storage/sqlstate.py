"""What an error of PostgreSQL means for the daemon, by its SQLSTATE (PostgreSQL's manual, appendix A: Error Codes)."""

from enum import StrEnum


class ErrorKind(StrEnum):
    """What follows from an error of PostgreSQL."""

    UNAVAILABLE = "unavailable"
    """PostgreSQL cannot do it now: wait, and send it again."""

    ROLLED_BACK = "rolled_back"
    """Another transaction was in the way, and nothing of ours was done: it may be begun again at once."""

    REFUSED = "refused"
    """The operator has taken something away: the role, the database, a privilege, a table. Wait until it is back."""

    UNSTORABLE = "unstorable"
    """A value that cannot be stored."""

    DUPLICATE = "duplicate"
    """A unique index has the value already."""

    EXISTS = "exists"
    """What is to be created is there already."""

    BUG = "bug"
    """A statement of ours is wrong."""


CLASSES = {
    "08": ErrorKind.UNAVAILABLE,  # connection exception
    "22": ErrorKind.UNSTORABLE,  # data exception
    "23": ErrorKind.UNSTORABLE,  # integrity constraint violation
    "28": ErrorKind.REFUSED,  # invalid authorization: a wrong password, a role that may not log in
    "3D": ErrorKind.REFUSED,  # the database does not exist
    "3F": ErrorKind.REFUSED,  # the schema does not exist
    "40": ErrorKind.ROLLED_BACK,  # deadlock, serialization failure
    "44": ErrorKind.UNSTORABLE,  # WITH CHECK OPTION violation
    "53": ErrorKind.UNAVAILABLE,  # insufficient resources: disk full, out of memory, too many connections
    "54": ErrorKind.UNSTORABLE,  # program limit exceeded: a row too large for an index, a document too deep
    "55": ErrorKind.UNAVAILABLE,  # not in the state for it: a lock, a database that allows no connections
    "57": ErrorKind.UNAVAILABLE,  # operator intervention: cancelled, terminated, starting, stopping
    "58": ErrorKind.UNAVAILABLE,  # system error: I/O
    "F0": ErrorKind.UNAVAILABLE,  # configuration file error
    "XX": ErrorKind.UNAVAILABLE,  # internal error, corrupted data or index
}

CODES = {
    "23505": ErrorKind.DUPLICATE,  # unique violation
    "25006": ErrorKind.UNAVAILABLE,  # read-only: a standby during a fail-over, or maintenance
    "25P03": ErrorKind.UNAVAILABLE,  # the server's time-out of idle transactions
    "25P04": ErrorKind.UNAVAILABLE,  # the server's time-out of transactions
    "26000": ErrorKind.UNAVAILABLE,  # a prepared statement that is gone: a pooler gave us another session
    "42501": ErrorKind.REFUSED,  # insufficient privilege
    "42703": ErrorKind.REFUSED,  # undefined column
    "42704": ErrorKind.REFUSED,  # undefined object: a domain
    "42883": ErrorKind.REFUSED,  # undefined function
    "42P01": ErrorKind.REFUSED,  # undefined table
    "42710": ErrorKind.EXISTS,  # duplicate object: a domain
    "42723": ErrorKind.EXISTS,  # duplicate function
    "42P06": ErrorKind.EXISTS,  # duplicate schema
    "42P07": ErrorKind.EXISTS,  # duplicate table, index or view
    "P0001": ErrorKind.UNSTORABLE,  # a trigger of the operator's refuses the row
}
"""Codes whose meaning differs from that of their class, or whose class has none."""


def kind_of(sqlstate: str) -> ErrorKind:
    """By the code, else by its class, which are its first two characters; what is on neither list is a bug."""
    return CODES.get(sqlstate) or CLASSES.get(sqlstate[:2], ErrorKind.BUG)
