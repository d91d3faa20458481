"""What the arguments of a command may hold."""

import click


def utf_8(_context: click.Context, _parameter: click.Parameter, given: str | None) -> str | None:
    """
    An argument as it is; ends the command where it cannot be stored.

    Bytes that are not UTF-8 arrive as lone surrogates.
    """
    if given is not None and any("\ud800" <= sign <= "\udfff" for sign in given):
        raise click.BadParameter("it is not UTF-8.")
    return given
