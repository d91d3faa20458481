"""What an error of PostgreSQL means for the daemon, by its SQLSTATE (PostgreSQL's manual, appendix A: Error Codes)."""

import re
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
    """A row that cannot be stored: for its values, or since a trigger of the operator's refuses it."""

    DUPLICATE = "duplicate"
    """A unique index has the value already."""

    EXISTS = "exists"
    """What is to be created is there already."""

    BUG = "bug"
    """A statement of ours is wrong."""


CLASSES = {
    "01": ErrorKind.UNSTORABLE,  # warning
    "02": ErrorKind.UNSTORABLE,  # no data
    "03": ErrorKind.BUG,  # SQL statement not yet complete
    "08": ErrorKind.UNAVAILABLE,  # connection exception
    "09": ErrorKind.UNSTORABLE,  # triggered action exception
    "0A": ErrorKind.BUG,  # feature not supported
    "0B": ErrorKind.BUG,  # invalid transaction initiation
    "0F": ErrorKind.UNSTORABLE,  # locator exception
    "0L": ErrorKind.UNSTORABLE,  # invalid grantor
    "0P": ErrorKind.REFUSED,  # invalid role specification: the role is gone
    "0Z": ErrorKind.UNSTORABLE,  # diagnostics exception
    "10": ErrorKind.UNSTORABLE,  # XQuery error
    "20": ErrorKind.UNSTORABLE,  # case not found
    "21": ErrorKind.BUG,  # cardinality violation
    "22": ErrorKind.UNSTORABLE,  # data exception
    "23": ErrorKind.UNSTORABLE,  # integrity constraint violation
    "24": ErrorKind.UNSTORABLE,  # invalid cursor state
    "25": ErrorKind.BUG,  # invalid transaction state
    "26": ErrorKind.UNAVAILABLE,  # a prepared statement that is gone: a pooler gave us another session
    "27": ErrorKind.UNSTORABLE,  # triggered data change violation
    "28": ErrorKind.REFUSED,  # invalid authorization: a wrong password, a role that may not log in
    "2B": ErrorKind.UNSTORABLE,  # dependent privilege descriptors still exist
    "2D": ErrorKind.UNSTORABLE,  # invalid transaction termination: a commit within a trigger
    "2F": ErrorKind.UNSTORABLE,  # SQL routine exception
    "34": ErrorKind.UNSTORABLE,  # invalid cursor name
    "38": ErrorKind.UNSTORABLE,  # external routine exception
    "39": ErrorKind.UNSTORABLE,  # external routine invocation exception
    "3B": ErrorKind.BUG,  # savepoint exception
    "3D": ErrorKind.REFUSED,  # the database does not exist
    "3F": ErrorKind.REFUSED,  # the schema does not exist
    "40": ErrorKind.ROLLED_BACK,  # deadlock, serialization failure
    "42": ErrorKind.BUG,  # syntax error or access rule violation
    "44": ErrorKind.UNSTORABLE,  # WITH CHECK OPTION violation
    "53": ErrorKind.UNAVAILABLE,  # insufficient resources: disk full, out of memory, too many connections
    "54": ErrorKind.UNSTORABLE,  # program limit exceeded: a row too large for an index, a document too deep
    "55": ErrorKind.UNAVAILABLE,  # not in the state for it: a lock, a database that allows no connections
    "57": ErrorKind.UNAVAILABLE,  # operator intervention: cancelled, terminated, starting, stopping
    "58": ErrorKind.UNAVAILABLE,  # system error: I/O
    "72": ErrorKind.UNAVAILABLE,  # snapshot failure: too old
    "F0": ErrorKind.UNAVAILABLE,  # configuration file error
    "HV": ErrorKind.UNSTORABLE,  # foreign data wrapper error: a trigger writes to another server
    "P0": ErrorKind.UNSTORABLE,  # PL/pgSQL error
    "XX": ErrorKind.UNAVAILABLE,  # internal error, corrupted data or index
}
"""All but 00, success. An error of a class that no statement of ours can meet comes from a trigger."""

CODES = {
    "23505": ErrorKind.DUPLICATE,  # unique violation
    "25006": ErrorKind.UNAVAILABLE,  # read-only: a standby during a fail-over, or maintenance
    "25P03": ErrorKind.UNAVAILABLE,  # the server's time-out of idle transactions
    "25P04": ErrorKind.UNAVAILABLE,  # the server's time-out of transactions
    "42501": ErrorKind.REFUSED,  # insufficient privilege
    "42703": ErrorKind.REFUSED,  # undefined column
    "42704": ErrorKind.REFUSED,  # undefined object: a domain
    "42883": ErrorKind.REFUSED,  # undefined function
    "42P01": ErrorKind.REFUSED,  # undefined table
    "42P05": ErrorKind.UNAVAILABLE,  # a prepared statement that is there already: likewise a pooler
    "42710": ErrorKind.EXISTS,  # duplicate object: a domain
    "42723": ErrorKind.EXISTS,  # duplicate function
    "42P06": ErrorKind.EXISTS,  # duplicate schema
    "42P07": ErrorKind.EXISTS,  # duplicate table, index or view
    "HV001": ErrorKind.UNAVAILABLE,  # out of memory
    "HV00L": ErrorKind.UNAVAILABLE,  # unable to create execution
    "HV00M": ErrorKind.UNAVAILABLE,  # unable to create reply
    "HV00N": ErrorKind.UNAVAILABLE,  # unable to establish connection
}
"""Codes whose meaning differs from that of their class."""

_SQLSTATE = re.compile("[0-9A-Z]{5}")


def kind_of(sqlstate: str) -> ErrorKind:
    """
    By the code, else by its class, which are its first two characters.

    A class that is not PostgreSQL's was made up for a trigger.
    """
    other = ErrorKind.UNSTORABLE if _SQLSTATE.fullmatch(sqlstate) else ErrorKind.BUG
    return CODES.get(sqlstate) or CLASSES.get(sqlstate[:2], other)
