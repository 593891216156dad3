"""Configure checks that read only code, without a database.

Example: `manage.py makemigrations --check --settings tests.offline`.
"""

from config.settings import *  # noqa: F403 these are those settings

DATABASES = {"default": {"ENGINE": "django.db.backends.dummy"}}
