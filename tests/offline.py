"""Settings without a database, for checks that read only code: `manage.py makemigrations --check --settings tests.offline`."""

from config.settings import *  # noqa: F403 these are those settings

DATABASES = {"default": {"ENGINE": "django.db.backends.dummy"}}
