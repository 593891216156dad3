"""Ask on a terminal before a command does something that can't be undone."""

from __future__ import annotations

import sys

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sessions_app.staff.questions import Question


def add_yes(parser: CommandParser, *aliases: str) -> None:
    """Add --yes, by which scripts answer beforehand."""
    parser.add_argument("--yes", *aliases, dest="yes", action="store_true", help="do not ask (for scripts)")


def require_yes(command: BaseCommand, question: Question, *, yes: bool) -> None:
    """Print what the command changes, and go on only after a yes: typed on a terminal, or given by --yes.

    Raises: CommandError.
    """
    command.stdout.write(question.title)
    for name, value in question.facts:
        command.stdout.write(f"  {name}: {value}")
    if yes:
        return
    command.stdout.write(question.warning)
    if not sys.stdin.isatty():
        raise CommandError("Nothing was done: there is no terminal to ask on. To go on without a question, add --yes.")
    command.stdout.flush()
    try:
        answer = input('Type "yes" to go on: ')
    except EOFError:
        answer = ""
    if answer.strip().lower() != "yes":
        raise CommandError("Nothing was done.")
