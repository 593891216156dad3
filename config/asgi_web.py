"""Define the site for granian, without the sockets."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from config.run.serving import clock, watch  # noqa: E402 what follows needs Django's apps
from config.run.serving.site import Site  # noqa: E402
from config.wsgi import application as pages  # noqa: E402

application = Site(pages)
watch.start()
clock.follow()
