"""Configure the usual way: what `startproject` gives, with DRF's defaults, on Frontrow's tables and services."""

import os

from config.settings import *  # noqa: F403 the same tables, services and secret; below is what differs

ROOT_URLCONF = "bench.usual.urls"
# The measurement of the limit removes all middleware, so that only Django is between the server and a view
MIDDLEWARE = (
    []
    if os.environ.get("USUAL_MIDDLEWARE") == "none"
    else [
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ]
)
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["ticketing.identity.BuyerAuthentication"]}  # the same JWT
SILENCED_SYSTEM_CHECKS = ["admin.E408", "admin.E409", "admin.E410"]
