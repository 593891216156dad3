from __future__ import annotations

import pytest
from pytest_django.fixtures import Settings

from tests import factories
from ticketing.checks import no_demo_accounts


@pytest.mark.django_db(transaction=True)
class TestNoDemoAccounts:
    def test_check_names_each_account_with_the_known_password(self, settings: Settings) -> None:
        settings.PRODUCTION = True
        factories.UserFactory(username="owner", password="frontrow-demo")
        factories.UserFactory(username="ana", password="something-of-her-own")
        (found,) = no_demo_accounts(None)
        assert found.id == "frontrow.E001"
        assert "'owner'" in found.msg

    def test_check_has_nothing_against_an_account_that_is_closed(self, settings: Settings) -> None:
        settings.PRODUCTION = True
        factories.UserFactory(username="Owner", password="frontrow-demo", is_active=False)
        assert no_demo_accounts(None) == []

    def test_check_has_nothing_against_them_in_the_demo(self, settings: Settings) -> None:
        settings.PRODUCTION = False
        factories.UserFactory(username="owner", password="frontrow-demo")
        assert no_demo_accounts(None) == []
