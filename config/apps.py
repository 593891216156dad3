from importlib import import_module

from django.apps import AppConfig
from django.core.checks import Tags, register

from config.checks import https_has_a_proxy


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        """Load our Celery application. A process without it would send tasks to a broker on localhost."""
        import_module("config.celery")
        register(https_has_a_proxy, Tags.security, deploy=True)
