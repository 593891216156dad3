"""Check that account names are compared without case and outer spaces, everywhere."""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from rest_framework.test import APIClient

from base.asking import Buyer
from sessions_app.models import Session
from tests.api import assert_problem, client_of, post
from tests.conftest import Hold
from tests.factories import UserFactory
from tests.ticketing.test_paying import pay
from ticketing import identity
from ticketing.models import Ticket, User
from ticketing.refusals import UnknownReceiver
from ticketing.tickets import transfers

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "poltrona-da-frente-7"
WRITTEN = ["ANA", "  ana ", "\uff41\uff4e\uff41"]


@pytest.fixture
def ana_account() -> User:
    made: User = UserFactory.create(username="Ana")
    return made


class TestAName:
    @pytest.mark.parametrize("name", WRITTEN)
    def test_name_is_taken_however_it_is_written(self, ana_account: User, name: str) -> None:
        new = {"username": name, "password": PASSWORD}
        problem = assert_problem(post(APIClient(), "/auth/register", new), 400, "invalid")
        assert [error["field"] for error in problem["errors"]] == ["username"]
        page = Client().post("/register", {"username": name, "password1": PASSWORD, "password2": PASSWORD})
        assert "taken" in page.content.decode()
        owner = Client()
        owner.force_login(UserFactory.create(is_staff=True, is_superuser=True))
        fields = {"username": name, "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
        assert owner.post("/admin/ticketing/user/add/", fields).status_code == 200
        with pytest.raises(CommandError, match="taken"):
            call_command("createsuperuser", username=name, email="", interactive=False)
        with pytest.raises(IntegrityError, match="user_name_once_whatever_its_case"), transaction.atomic():
            User.objects.create(username=name)
        assert User.objects.filter(username__iexact="ana").count() == 1

    @pytest.mark.parametrize("name", WRITTEN)
    def test_name_signs_in_however_it_is_written(self, ana_account: User, name: str) -> None:
        tokens = post(APIClient(), "/auth/token", {"username": name, "password": "frontrow-demo"})
        assert tokens.json()["buyer"] == str(ana_account.pk)
        browser = Client()
        browser.post("/sign-in", {"username": name, "password": "frontrow-demo"})
        assert identity.read_cookie(browser.cookies["buyer"].value) == Buyer(id=ana_account.pk, is_guest=False)

    @pytest.mark.parametrize("name", WRITTEN)
    def test_name_gets_the_ticket_however_it_is_written(
        self, ana_account: User, name: str, session: Session, hold: Hold
    ) -> None:
        giver: User = UserFactory.create()
        pay(hold(session, "A1", buyer=giver.pk))
        ticket = Ticket.objects.get()
        assert post(client_of(giver), f"/tickets/{ticket.pk}/transfer", {"username": name}).status_code == 200
        ticket.refresh_from_db()
        assert ticket.holder == ana_account.pk

    def test_name_of_a_closed_account_gets_no_ticket(self, ana_account: User) -> None:
        User.objects.update(is_active=False)
        with pytest.raises(UnknownReceiver):
            transfers.account("ana")

    def test_name_is_kept_as_its_owner_writes_it(self) -> None:
        post(APIClient(), "/auth/register", {"username": " Élia ", "password": PASSWORD})
        assert User.objects.get().username == "Élia"
        assert_problem(post(APIClient(), "/auth/register", {"username": "éLIA", "password": PASSWORD}), 400, "invalid")

    def test_name_is_counted_once_for_a_guesser(self, ana_account: User, settings: LazySettings) -> None:
        settings.AXES_ENABLED = True
        names = itertools.islice(itertools.cycle(WRITTEN), settings.AXES_FAILURE_LIMIT)
        answers = [post(APIClient(), "/auth/token", {"username": name, "password": "wrong"}) for name in names]
        assert_problem(answers[-1], 429, "locked_out")


class TestTheMigration:
    @pytest.fixture
    def migration(self) -> Any:
        return importlib.import_module("ticketing.migrations.0012_accounts")

    def test_migration_names_equal_accounts_and_says_what_to_do(self, migration: Any) -> None:
        with transaction.atomic():
            twins = self.without_the_constraint("ana", "Ana", " ANA", "bruno")
            with pytest.raises(CommandError) as refused:
                migration.refuse_collisions(None, connection.schema_editor())
            transaction.set_rollback(True)
        said = str(refused.value)
        for name, account in list(twins.items())[:3]:
            assert f"{name!r} ({account})" in said
        assert "bruno" not in said
        assert "UPDATE ticketing_user SET username" in said

    def test_migration_passes_accounts_with_distinct_names(self, migration: Any) -> None:
        with transaction.atomic():
            twins = self.without_the_constraint(" Ana ", "bruno", "\uff44\uff4f\uff52\uff41")
            migration.refuse_collisions(None, connection.schema_editor())
            with connection.cursor() as cursor:
                cursor.execute(migration.TIDY)
            assert set(User.objects.values_list("username", flat=True)) == {"Ana", "bruno", "dora"}
            assert len(twins) == 3
            transaction.set_rollback(True)

    @staticmethod
    def without_the_constraint(*names: str) -> dict[str, Any]:
        """Make accounts as an older version could have them, by name."""
        made = {name: UserFactory.create().pk for name in names}
        with connection.cursor() as cursor:
            cursor.execute("DROP INDEX user_name_once_whatever_its_case")
            for name, account in made.items():
                cursor.execute("UPDATE ticketing_user SET username = %s WHERE id = %s", [name, account])
        return made
