"""`manage.py dead_letters`: requests, payments, jobs and mail that failed for good, and what a person decides about them."""

import json
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime import causes, wire
from reservations import dead_letters, lines
from reservations.dead_letters import Pile
from reservations.letters import DeadLetter, OutOfReach

QUEUES = ("inbox", "holds", *lines.JOBS)

Act = Callable[[DeadLetter], bool]


class Command(BaseCommand):
    help = (
        "Requests, payments, jobs and mail that failed for good: look at them, try them again, or discard them. "
        "The buyer of a discarded request is told."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listing = actions.add_parser("list", help="one line each, of every queue and of the inbox")
        listing.add_argument("--queue", choices=QUEUES, help="this one alone")
        show = actions.add_parser("show", help="all that is known of one")
        show.add_argument("ids", metavar="ID", nargs=1)
        retry = actions.add_parser("retry", aliases=["requeue"], help="once the cause is mended: back in their queue")
        discard = actions.add_parser("discard", aliases=["drop"], help="end them for good; buyers of requests are told")
        discard.add_argument("--yes", action="store_true", help="don't ask")
        for action in (retry, discard):
            action.add_argument("ids", metavar="ID", nargs="*")
            action.add_argument("--all", action="store_true", help="every one that waits")
            action.add_argument("--queue", choices=QUEUES, help="with --all: every one of this queue alone")

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
                    self.decide(
                        act,
                        names=options["ids"],
                        everything=options["all"],
                        queue=options["queue"],
                        sure=options.get("yes", True),
                    )
        except OutOfReach as error:
            raise CommandError(f"The broker went away: {error}. What was taken out of it is back.") from error
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
            for letter in self.chosen(pile, [name]):
                facts = {"queue": letter.queue, "tries": letter.tries, "since": letter.since, "reason": letter.reason}
                said = {"message" if letter.queue in lines.JOBS else "request": letter.said}
                self.stdout.write(json.dumps(facts | said, indent=2, default=str))

    def decide(self, act: Act, *, names: list[str], everything: bool, queue: str | None, sure: bool) -> None:
        if everything == bool(names) or (queue and not everything):
            raise CommandError("Name some of them, or say --all, and with that perhaps --queue.")
        if not sure and not self.agreed("all of them" if everything else f"{len(names)} of them"):
            raise CommandError("Nothing was discarded.")
        seen: set[str] = set()
        stayed: list[DeadLetter] = []
        while True:
            with dead_letters.pile(queue) as pile:
                chosen = pile.letters if everything else self.chosen(pile, names)
                fresh = [letter for letter in chosen if letter.name not in seen]
                stayed += [letter for letter in fresh if not act(letter)]
                seen |= {letter.name for letter in fresh}
            if not (everything and pile.more and fresh):
                break
        if everything:
            self.require_all(pile)
        if stayed:
            raise CommandError(
                f"{len(stayed)} can't be tried again: they can't be read, or not be stored. Discard them."
            )

    def agreed(self, which: str) -> bool:
        return input(f"Discard {which} for good? The buyers of requests are told. [y/N] ").strip().lower() in {
            "y",
            "yes",
        }

    def retry(self, letter: DeadLetter) -> bool:
        done = dead_letters.retry(letter)
        self.stdout.write(f"{letter.name}  {'back in line' if done else 'stays'}")
        return done

    def discard(self, letter: DeadLetter) -> bool:
        ended = dead_letters.discard(letter)
        if ended:
            self.stdout.write(f"{letter.name}  {ended.status} {ended.reason}".rstrip())
        else:
            self.stdout.write(f"{letter.name}  gone; all that was known of it: {json.dumps(letter.said, default=str)}")
        return True

    def chosen(self, pile: Pile, names: list[str]) -> list[DeadLetter]:
        letters = pile.named(names)
        if unknown := set(names) - {letter.name for letter in letters}:
            self.require_all(pile)
            raise CommandError(f"No dead letter is named {', '.join(sorted(unknown))}.")
        return letters

    def require_all(self, pile: Pile) -> None:
        """Raises: CommandError, when there are more than were at hand."""
        if pile.missing:
            raise CommandError(f"The broker can't be asked: {pile.missing}. These are the inbox's alone.")
        if pile.more:
            raise CommandError(f"{pile.more} more lie at the broker. Deal with the first of them, then look again.")
