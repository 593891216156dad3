"""`manage.py dead_letters`: list, retry or discard requests, payments, jobs and mail that failed for good."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from base import causes
from realtime import wire
from reservations.queueing import queues
from reservations.queueing.letters import DeadLetter, OutOfReach
from reservations.staff import dead_letters
from reservations.staff.dead_letters import Pile
from sessions_app.staff import terminal
from sessions_app.staff.questions import Question

QUEUES = ("inbox", "holds", *queues.JOBS)

Act = Callable[[DeadLetter], bool]


@dataclass(frozen=True, kw_only=True)
class Which:
    """The letters that a person names: some of them, or all that wait, perhaps of one queue."""

    names: list[str]
    everything: bool = False
    queue: str | None = None

    def require_some(self) -> None:
        """Require names or --all. Raises: CommandError."""
        if self.everything == bool(self.names) or (self.queue and not self.everything):
            raise CommandError("Name some dead letters, or give --all, with --queue if you like.")


class Command(BaseCommand):
    help = (
        "List, retry or discard the requests, payments, jobs and mail that failed for good. The buyer of a "
        "discarded request gets a message."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listing = actions.add_parser(
            "list", help="list the dead letters of every queue and of the inbox, one line each"
        )
        listing.add_argument("--queue", choices=QUEUES, help="list only this queue")
        show = actions.add_parser("show", help="show everything that is known about one dead letter")
        show.add_argument("ids", metavar="ID", nargs=1)
        retry = actions.add_parser(
            "retry", aliases=["requeue"], help="send dead letters back to their queue, after the cause is fixed"
        )
        discard = actions.add_parser(
            "discard", aliases=["drop"], help="discard dead letters for good; the buyers of requests get a message"
        )
        terminal.add_yes(discard)
        for action in (retry, discard):
            action.add_argument("ids", metavar="ID", nargs="*")
            action.add_argument("--all", action="store_true", help="all dead letters")
            action.add_argument("--queue", choices=QUEUES, help="with --all: only the dead letters of this queue")

    @causes.working_for(causes.job("dead_letters"))
    def handle(self, *, action: str, **options: Any) -> None:
        try:
            match action:
                case "list":
                    self.list_all(options["queue"])
                case "show":
                    self.show(options["ids"][0])
                case _:
                    act: Act = self.retry if action in {"retry", "requeue"} else self.discard
                    which = Which(names=options["ids"], everything=options["all"], queue=options["queue"])
                    which.require_some()
                    if act == self.discard:
                        self.require_yes(which, yes=options["yes"])
                    self.decide(act, which)
        except OutOfReach as error:
            raise CommandError(
                f"The connection to the broker was lost: {error}. The dead letters are back at the broker. "
                "Run the command again."
            ) from error
        finally:
            wire.flush()

    def list_all(self, queue: str | None) -> None:
        with dead_letters.pile(queue) as pile:
            for letter in pile.letters:
                self.stdout.write(
                    f"{letter.name}  {letter.queue:12}  {letter.tries} tries  {letter.since}  {letter.reason}"
                )
        self.stdout.write(f"{len(pile.letters) + pile.more} dead letters.")
        self.require_all(pile)

    def show(self, name: str) -> None:
        with dead_letters.pile() as pile:
            for letter in self.chosen(pile, Which(names=[name])):
                facts = {"queue": letter.queue, "tries": letter.tries, "since": letter.since, "reason": letter.reason}
                said = {"message" if letter.queue in queues.JOBS else "request": letter.said}
                self.stdout.write(json.dumps(facts | said, indent=2, default=str))

    def require_yes(self, which: Which, *, yes: bool) -> None:
        """Ask the person to confirm. Raises: CommandError."""
        with dead_letters.pile(which.queue) as pile:
            chosen = self.chosen(pile, which)
        requests = sum(1 for letter in chosen if letter.request)
        told = f"{requests} buyer whose request is" if requests == 1 else f"{requests} buyers whose requests are"
        queues = Counter(letter.queue for letter in chosen)
        facts = [
            ("Dead letters", ", ".join(f"{number} of {queue}" for queue, number in sorted(queues.items())) or "none"),
            ("Money to be given back", "none: no money was taken for a request, and sweeps do the work of payments"),
            ("People who get a message", f"{told} rejected; none for messages of jobs"),
        ]
        if which.everything and pile.more:
            facts.append(("Further dead letters at the broker", f"{pile.more}, which are discarded too"))
        question = Question(
            title="Discard these dead letters for good?",
            facts=facts,
            warning="A discarded request has ended, and a discarded letter of the queue mail is never sent.",
            about=[letter.name for letter in chosen],
        )
        terminal.require_yes(self, question, yes=yes)

    def decide(self, act: Act, which: Which) -> None:
        seen: set[str] = set()
        stayed: list[DeadLetter] = []
        while True:
            with dead_letters.pile(which.queue) as pile:
                chosen = self.chosen(pile, which)
                fresh = [letter for letter in chosen if letter.name not in seen]
                stayed += [letter for letter in fresh if not act(letter)]
                seen |= {letter.name for letter in fresh}
            if not (which.everything and pile.more and fresh):
                break
        if which.everything:
            self.require_all(pile)
        if stayed:
            raise CommandError(
                f"{len(stayed)} dead letters cannot be tried again, because they cannot be read or stored. "
                "Discard them."
            )

    def retry(self, letter: DeadLetter) -> bool:
        done = dead_letters.retry(letter)
        self.stdout.write(f"{letter.name}  {'back in the queue' if done else 'stays'}")
        return done

    def discard(self, letter: DeadLetter) -> bool:
        ended = dead_letters.discard(letter)
        if ended:
            self.stdout.write(f"{letter.name}  {ended.status} {ended.reason}".rstrip())
        else:
            self.stdout.write(f"{letter.name}  discarded; it said: {json.dumps(letter.said, default=str)}")
        return True

    def chosen(self, pile: Pile, which: Which) -> list[DeadLetter]:
        if which.everything:
            return pile.letters
        letters = pile.named(which.names)
        if unknown := set(which.names) - {letter.name for letter in letters}:
            self.require_all(pile)
            raise CommandError(f"There is no dead letter with the name {', '.join(sorted(unknown))}.")
        return letters

    def require_all(self, pile: Pile) -> None:
        """Require that every letter was at hand. Raises: CommandError."""
        if pile.missing:
            raise CommandError(
                f"The broker cannot be reached: {pile.missing}. These dead letters are only those of the inbox."
            )
        if pile.more:
            raise CommandError(f"{pile.more} more are at the broker. Retry or discard the first ones, then look again.")
