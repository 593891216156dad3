"""Define accounts."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models
from django.db.models import F
from django.db.models.functions import Upper
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from base.ids import uuid7
from ticketing import stamps
from ticketing.models.sales import Sale, Ticket


class Users(models.QuerySet["User"]):
    """Publish changes that end credentials at once; see stamps.py."""

    def update(self, **changes: Any) -> int:
        changed = list(self.values_list("pk", flat=True)) if (STAMPED | REACHED) & changes.keys() else []
        rows = super().update(**changes)
        if REACHED & changes.keys():
            end_links(changed)
        if STAMPED & changes.keys():
            stamps.publish(changed)
        return rows

    def delete(self) -> tuple[int, dict[str, int]]:
        gone = list(self.values_list("pk", flat=True))
        rows = super().delete()
        end_links(gone)
        stamps.publish(gone)
        return rows


class Accounts(UserManager["User"]):
    """Compare names without case and outer spaces."""

    use_in_migrations = False

    def get_queryset(self) -> Users:
        return Users(self.model, using=self._db)

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(username__iexact=User.normalize_username(username or ""))


STAMPED = frozenset({"password", "is_active", "generation"})  # fields that determine a stamp


REACHED = frozenset({"email", "is_active"})  # fields that determine the mailbox of an account's letters


def end_links(accounts: Iterable[uuid.UUID]) -> None:
    """End all links in letters that went to these accounts; see links.py."""
    some = list(accounts)
    Sale.objects.filter(buyer__in=some).update(links=F("links") + 1)
    Ticket.objects.filter(holder__in=some).update(links=F("links") + 1)


class User(AbstractUser):
    """Store a person with an account; its id is the buyer of all that this person holds and buys."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    generation = models.PositiveIntegerField(
        _("generation"),
        default=0,
        db_default=0,
        editable=False,
        help_text=_("How many times all its credentials were revoked."),
    )

    objects: ClassVar[Accounts] = Accounts()

    class Meta(AbstractUser.Meta):
        constraints = [
            models.UniqueConstraint(
                Upper("username"),
                name="user_name_once_whatever_its_case",
                violation_error_message=_("This name is already taken. Choose another name."),
            )
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.username = self.normalize_username(self.username)
        fields = kwargs.get("update_fields")
        moves = (fields is None or REACHED & set(fields)) and self._is_reached_otherwise()
        super().save(*args, **kwargs)
        if moves:
            end_links([self.pk])
        if fields is None or STAMPED & set(fields):
            stamps.publish([self.pk])

    def _is_reached_otherwise(self) -> bool:
        """Tell whether the stored row, if any, has another address, or was closed or opened since."""
        known = type(self).objects.filter(pk=self.pk).values_list("email", "is_active").first()
        return known is not None and known != (self.email, self.is_active)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        account, rows = self.pk, super().delete(*args, **kwargs)
        end_links([account])
        stamps.publish([account])
        return rows

    @classmethod
    def normalize_username(cls, username: str) -> str:
        """Return the name as stored: without outer spaces, with one spelling for what looks the same (NFKC)."""
        return super().normalize_username(username).strip() if username else ""

    @property
    def stamp(self) -> str:
        """Return the stamp of the account's credentials. See stamps.py."""
        return salted_hmac("ticketing.stamp", f"{self.password} {self.generation}", algorithm="sha256").hexdigest()[:20]

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """End Django's sessions with the other credentials. An account that never ended any keeps its sessions."""
        salt = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"
        said = f"{self.password}{self.generation or ''}"
        return salted_hmac(salt, said, secret=secret, algorithm="sha256").hexdigest()
