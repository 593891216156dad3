"""`manage.py dead_letters`: requests that could not be settled, and what a person decides about them."""

import json
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime import wire
from reservations import dead_letters
from reservations.dead_letters import DeadLetter, OutOfReach, Pile

Act = Callable[[DeadLetter], bool]


class Command(BaseCommand):
    help = "Requests that could not be settled: look at them, put them back in line, or end them so that their buyers know."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("list", help="one line each, from RabbitMQ and from the inbox")
        show = actions.add_parser("show", help="all that is known of one")
        show.add_argument("ids", metavar="ID", nargs=1)
        requeue = actions.add_parser("requeue", help="back into line, once what made them fail is mended")
        drop = actions.add_parser("drop", help="reject them for good; their buyers are told")
        drop.add_argument("--yes", action="store_true", help="don't ask")
        for action in (requeue, drop):
            action.add_argument("ids", metavar="ID", nargs="*")
            action.add_argument("--all", action="store_true", help="every one that waits")

    def handle(self, *, action: str, **options: Any) -> None:
        try:
            match action:
                case "list":
                    self.list_all()
                case "show":
                    self.show(options["ids"][0])
                case _:
                    self.decide(action, names=options["ids"], everything=options["all"], sure=options.get("yes", True))
        except OutOfReach as error:
            raise CommandError(f"RabbitMQ went away: {error}. What was taken out of it is back.") from error
        finally:
            wire.flush()

    def list_all(self) -> None:
        with dead_letters.pile() as pile:
            for letter in pile.letters:
                self.stdout.write(
                    f"{letter.name}  {letter.place:8}  {letter.tries} tries  {letter.since}  {letter.reason}"
                )
        self.stdout.write(f"{len(pile.letters) + pile.more} dead letters.")
        self.require_all(pile)

    def show(self, name: str) -> None:
        with dead_letters.pile() as pile:
            for letter in self.chosen(pile, [name]):
                facts = {"place": letter.place, "tries": letter.tries, "since": letter.since, "reason": letter.reason}
                self.stdout.write(json.dumps({**facts, "request": letter.said}, indent=2, default=str))

    def decide(self, action: str, *, names: list[str], everything: bool, sure: bool) -> None:
        if everything == bool(names):
            raise CommandError("Name some of them, or say --all.")
        if not sure and not self.agreed("all of them" if everything else f"{len(names)} of them"):
            raise CommandError("Nothing was dropped.")
        act: Act = self.requeue if action == "requeue" else self.drop
        seen: set[str] = set()
        stayed: list[DeadLetter] = []
        while True:
            with dead_letters.pile() as pile:
                chosen = pile.letters if everything else self.chosen(pile, names)
                fresh = [letter for letter in chosen if letter.name not in seen]
                stayed += [letter for letter in fresh if not act(letter)]
                seen |= {letter.name for letter in fresh}
            if not (everything and pile.more and fresh):
                break
        if everything:
            self.require_all(pile)
        if stayed:
            raise CommandError(f"{len(stayed)} can't be requeued: they can't be read, or not be stored. Drop them.")

    def agreed(self, which: str) -> bool:
        return input(f"Reject {which} for good? Their buyers are told. [y/N] ").strip().lower() in {"y", "yes"}

    def requeue(self, letter: DeadLetter) -> bool:
        done = dead_letters.requeue(letter)
        self.stdout.write(f"{letter.name}  {'back in line' if done else 'stays'}")
        return done

    def drop(self, letter: DeadLetter) -> bool:
        ended = dead_letters.drop(letter)
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
            raise CommandError(f"RabbitMQ can't be asked: {pile.missing}. These are the inbox's alone.")
        if pile.more:
            raise CommandError(f"{pile.more} more lie in RabbitMQ. Deal with the first of them, then look again.")
