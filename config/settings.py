"""Read every setting of Frontrow from the environment; each default works on one machine.

`config/environment.py` reads the variables, `.env.example` lists them, and `docs/operator.md` says when to change them.
"""

import functools
import ipaddress
import logging
import tomllib
from pathlib import Path
from typing import Any

from csp.constants import NONCE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from config import api_document, databases, logs
from config.admin_site import UNFOLD as UNFOLD  # a setting
from config.environment import env, env_int, env_list, env_rate, key_bytes, redis_database
from ticketing.payments.gateways import registry

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION: str = tomllib.loads((BASE_DIR / "pyproject.toml").read_text())["project"]["version"]
INSECURE_SECRET = "demo-only-secret-key-that-production-refuses"  # noqa: S105 production refuses it below

# --- Kind of installation: demo (accounts with a known password), test or production
FRONTROW_ENV = env("FRONTROW_ENV", "demo")
PRODUCTION = FRONTROW_ENV == "production"
DEBUG = False
SECRET_KEY = env("SECRET_KEY", INSECURE_SECRET)
RATE_LIMITS = env("RATE_LIMITS", "on") != "off"  # `off` is for load tests
SITE_URL = env("SITE_URL", "http://127.0.0.1:8000").rstrip("/")  # in e-mails and QR codes
LIVE_URL = env("LIVE_URL").rstrip("/")  # where pages open their sockets if no proxy joins the ports

if FRONTROW_ENV not in {"demo", "test", "production"}:
    raise ImproperlyConfigured(f"FRONTROW_ENV must be demo, test or production, not {FRONTROW_ENV!r}")
if PRODUCTION and (SECRET_KEY == INSECURE_SECRET or len(SECRET_KEY) < 32):
    raise ImproperlyConfigured("SECRET_KEY must be set to 32 random characters or more in production")
if PRODUCTION and not RATE_LIMITS:
    raise ImproperlyConfigured("RATE_LIMITS=off is only for load tests and not allowed in production")
for _name in ("DATABASE_URL", "REDIS_URL", "CACHE_URL", "RABBITMQ_URL", "CELERY_BROKER_URL"):
    if PRODUCTION and "frontrow-demo" in env(_name):
        raise ImproperlyConfigured(f"{_name} carries the demo's password; production refuses it")

# --- Ticket codes: signed, so that a gate without a connection can recognise forged ones
TICKET_SIGNING_KEY = key_bytes(
    "TICKET_SIGNING_KEY", env("TICKET_SIGNING_KEY")
)  # by default a key that is made from SECRET_KEY
# keys of tickets that were signed earlier
TICKET_PUBLIC_KEYS = [key_bytes("TICKET_PUBLIC_KEYS", key) for key in env_list("TICKET_PUBLIC_KEYS")]

DOORS_OPEN_MINUTES = env_int(
    "DOORS_OPEN_MINUTES", 180
)  # before a session's start; from then to its end the gates accept tickets

# --- Addresses of the site
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", "" if PRODUCTION else "*")
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS")
CORS_ALLOWED_ORIGINS = env_list("CORS_ALLOWED_ORIGINS")  # off by default
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_HEADERS = ["accept", "authorization", "content-type", "idempotency-key", "prefer", "x-request-id"]
CORS_EXPOSE_HEADERS = ["Location", "Retry-After", "Idempotent-Replayed", "Preference-Applied", "X-Request-ID", "ETag"]
TRUSTED_PROXIES = env_list("TRUSTED_PROXIES")  # addresses or networks whose X-Forwarded-For is believed
SECURE_COOKIES = env("SECURE_COOKIES", "on" if PRODUCTION else "off") == "on"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_COOKIES
SESSION_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "config.web.problems.csrf_failed"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
HTTPS = env("HTTPS", "on" if PRODUCTION else "off") == "on"  # plain HTTP is redirected, and browsers remember it
SECURE_SSL_REDIRECT = HTTPS  # health and metrics answer without a redirect
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
PORT = env_int("PORT", 8000)
WEB_PROCESSES = env_int("WEB_PROCESSES", 1)
WEB_THREADS = env_int("WEB_THREADS", 64)
WEB_WAITING = env_int("WEB_WAITING", 2_000)  # requests that may wait for one of these threads
WORKER_PROCESSES = env_int("WORKER_PROCESSES", 1)
STALL_SECONDS = env_int("STALL_SECONDS", 60)  # a worker, beat or relay whose work hangs ends itself after this time
PULSE_FILE = env("PULSE_FILE")  # file that they write twice a second, for the program that restarts them
METRICS_PORT = env_int("METRICS_PORT", 0)  # port on which live, workers, beat and relay answer Prometheus; 0: none
AUDIT_EVERY_MINUTES = env_int("AUDIT_EVERY_MINUTES", 15)  # how often the relay audits for the metrics; 0: never

INSTALLED_APPS = [
    "daphne",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "axes",
    "channels",
    "corsheaders",
    "csp",
    "django_filters",
    "django_prometheus",
    "django_structlog",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
    "config",
    "ticketing",
    "reservations",
    "sessions_app",
    "realtime",
]

MIDDLEWARE = [  # the REST API skips those of config.web.pages, which must stay together
    "config.web.middleware.RequestIdMiddleware",
    "config.web.middleware.ProbesMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.web.middleware.OtherOriginsMiddleware",
    "config.web.middleware.ApiMiddleware",
    "config.web.pages.MetricsBefore",
    "config.web.pages.SessionMiddleware",
    "config.web.pages.BuyerMiddleware",
    "config.web.pages.LocaleMiddleware",
    "config.web.pages.FormLimits",
    "config.web.pages.CommonMiddleware",
    "config.web.pages.CsrfViewMiddleware",
    "config.web.pages.AuthenticationMiddleware",
    "config.web.pages.MessageMiddleware",
    "config.web.pages.XFrameOptionsMiddleware",
    "config.web.pages.ContentSecurityMiddleware",
    "config.web.pages.AxesMiddleware",
    "config.web.pages.MetricsAfter",
    "config.web.idempotency.IdempotencyMiddleware",
]

PROMETHEUS_LATENCY_BUCKETS = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
)  # seconds; buckets for pages and statements

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"
APPEND_SLASH = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "ticketing.User"
AXES_ENABLE_ADMIN = False  # `ticketing.staff.guessing_admin` shows the lists
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
# The only algorithm that was ever used here. Django's other hashers would hash without waiting for their turn.
PASSWORD_HASHERS = ["ticketing.people.hashing.TurnsHasher"]
if FRONTROW_ENV == "test":  # tests make hundreds of accounts
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "/"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
            ],
        },
    },
]

# --- PostgreSQL decides
DATABASE_URL = env("DATABASE_URL", "postgres://postgres@127.0.0.1:5432/frontrow")
DB_POOL_SIZE = env_int("DB_POOL_SIZE", 8)  # largest number of connections per process
DB_POOL_SECONDS = env_int("DB_POOL_SECONDS", 2)  # a request that waits longer for one of them is refused as "busy"
# a request that waits longer for another transaction's lock is refused as "busy"
LOCK_TIMEOUT_MS = env_int("LOCK_TIMEOUT_MS", 2_000)
DB_ANSWER_SECONDS = env_int(
    "DB_ANSWER_SECONDS", 20
)  # a request or job gives up a statement and its connection if PostgreSQL does not answer for this time
DATABASES = {
    "default": databases.postgresql(
        DATABASE_URL, pool_size=DB_POOL_SIZE, pool_seconds=DB_POOL_SECONDS, lock_timeout_ms=LOCK_TIMEOUT_MS
    )
}

# --- Redis refuses requests above the limits
REDIS_URL = env("REDIS_URL", "redis://127.0.0.1:6379/0")
# longest delay of a request by a dead Redis before the breaker opens
REDIS_TIMEOUT_MS = env_int("REDIS_TIMEOUT_MS", 100)
CACHE_URL = env("CACHE_URL") or redis_database(REDIS_URL, 1)
KEY_PREFIX = env(
    "KEY_PREFIX", "frontrow"
)  # starts the name of every Redis key, queue and exchange; two installations may share a server


_cache = functools.partial(databases.redis_cache, prefix=KEY_PREFIX, timeout_ms=REDIS_TIMEOUT_MS)
CACHES = {
    "default": _cache(CACHE_URL, name="frontrow-cache"),  # kept answers and limits, which may be lost
    "claims": _cache(REDIS_URL, name="frontrow-claims", decode_responses=True),  # claims.py uses its connection
}
# How old a page or a list that is the same for every reader may be; 0: it is made anew for each reader
COPY_SECONDS = env_int("COPY_MS", 1_000) / 1_000
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": f"{KEY_PREFIX}.live"},
    }
}

# --- RabbitMQ holds the queue; without it, PostgreSQL's inbox does
RABBITMQ_URL = env("RABBITMQ_URL")
CELERY_BROKER_URL = RABBITMQ_URL or env("CELERY_BROKER_URL") or redis_database(REDIS_URL, 2)
BROKER_TIMEOUT_MS = env_int("BROKER_TIMEOUT_MS", 1_500)  # longest delay by a silent broker before the breaker opens
# seconds; RabbitMQ drops a worker that is silent for two or three of them
BROKER_HEARTBEAT = env_int("BROKER_HEARTBEAT", 5)
QUEUE = env("QUEUE") or ("rabbitmq" if RABBITMQ_URL else "inbox")  # rabbitmq, inbox, or in_process for tests
SHARDS = env_int("SHARDS", 1)
if QUEUE not in {"rabbitmq", "inbox", "in_process"}:
    raise ImproperlyConfigured(f"QUEUE must be rabbitmq, inbox or in_process, not {QUEUE!r}")
if SHARDS < 1:
    raise ImproperlyConfigured("SHARDS must be 1 or more")

# --- Taking money
PAYMENT_METHODS = env_list("PAYMENT_METHODS", "fake")
SANDBOX_IN_PRODUCTION = env("SANDBOX_IN_PRODUCTION", "off") == "on"  # for a rehearsal
SANDBOX_LATENCY_MS = env_int("SANDBOX_LATENCY_MS", 0)  # delays every answer of the sandbox gateway
_of_gateways = {setting.name: env(setting.name, setting.default) for setting in registry.settings()}
globals().update(_of_gateways)
# refund time after a session was moved, for earlier buyers; 0: none
MOVED_REFUND_HOURS = env_int("MOVED_REFUND_HOURS", 168)
if MOVED_REFUND_HOURS < 0:
    raise ImproperlyConfigured("MOVED_REFUND_HOURS must be 0 or more")
MOVED_NOTICE_HOURS = env_int(
    "MOVED_NOTICE_HOURS", 24
)  # time after an earlier start for deadlines that would end with the old one; 0: none
if MOVED_NOTICE_HOURS < 0:
    raise ImproperlyConfigured("MOVED_NOTICE_HOURS must be 0 or more")
FAULT_POINT = env("FAULT_POINT")  # where a test kills a process
for problem in registry.problems(PAYMENT_METHODS, _of_gateways, is_real=PRODUCTION and not SANDBOX_IN_PRODUCTION):
    raise ImproperlyConfigured(problem)
if PRODUCTION and FAULT_POINT:
    raise ImproperlyConfigured("FAULT_POINT is only for tests and not allowed in production")

# --- The API
API_LARGEST_BODY = 256 * 1024  # bytes; a request for 1,000 seats takes 10 KB
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["ticketing.identity.BuyerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["base.asking.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "base.asking.AlwaysJSON",
    "DEFAULT_PAGINATION_CLASS": "base.rest.CursorPagination",
    "DEFAULT_THROTTLE_CLASSES": ["config.web.throttles.AddressAndBuyerThrottle"],
    "DEFAULT_SCHEMA_CLASS": "config.web.openapi.inspection.ViewSchema",
    "EXCEPTION_HANDLER": "config.web.problems.exception_handler",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "URL_FORMAT_OVERRIDE": None,
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = api_document.about(site_url=SITE_URL, version=VERSION)
# Limits of requests: tokens per second, and the size of the bucket. Addresses get more, because a whole office or a
# phone network shares one; a buyer is one person.
LIMITS: dict[str, dict[str, tuple[float, int]]] = {
    "read": {
        "address": env_rate("LIMIT_READ_ADDRESS", "200/1000"),
        "buyer": env_rate("LIMIT_READ_BUYER", "20/200"),
    },
    "write": {
        "address": env_rate("LIMIT_WRITE_ADDRESS", "100/500"),
        "buyer": env_rate("LIMIT_WRITE_BUYER", "5/60"),
    },
    "guest": {"address": env_rate("LIMIT_GUEST_ADDRESS", "20/500")},
    "credentials": {"address": env_rate("LIMIT_CREDENTIALS_ADDRESS", "1/60")},
    "codes": {  # things that can be guessed: vouchers, lanes, recipients of tickets
        "address": env_rate("LIMIT_CODES_ADDRESS", "10/100"),
        "buyer": env_rate("LIMIT_CODES_BUYER", "0.5/20"),
    },
}
# --- How much may be held unpaid at once; see Note [What counts as held] in reservations/hold_caps.py
HOLDS_BUYER = env_int("HOLDS_BUYER", 50)  # places, in all sessions; never fewer than one session allows a buyer
HOLDS_ADDRESS = env_int("HOLDS_ADDRESS", 20)  # places that guests of one address may hold of a session, or if more …
HOLDS_ADDRESS_PERCENT = env_int("HOLDS_ADDRESS_PERCENT", 5)  # … this share of its seats, or of a ticket type's places
HOLDS_SHARED_NETWORKS = env_list(
    "HOLDS_SHARED_NETWORKS"
)  # addresses with a crowd behind each: schools, mobile carriers
HOLDS_SHARED_PERCENT = env_int("HOLDS_SHARED_PERCENT", 50)  # the share that guests of such an address may hold
HOLDS_LAPSES = env_int("HOLDS_LAPSES", 5)  # holds in a row that a buyer may leave unpaid without a wait
HOLDS_LONGEST_WAIT = env_int("HOLDS_LONGEST_WAIT", 900)  # seconds; the wait begins at 15 and doubles with each hold
if min(HOLDS_BUYER, HOLDS_ADDRESS, HOLDS_LAPSES, HOLDS_LONGEST_WAIT) < 1:
    raise ImproperlyConfigured("HOLDS_BUYER, HOLDS_ADDRESS, HOLDS_LAPSES and HOLDS_LONGEST_WAIT must be 1 or more")
if not 0 <= HOLDS_ADDRESS_PERCENT <= 100 or not 0 <= HOLDS_SHARED_PERCENT <= 100:
    raise ImproperlyConfigured("HOLDS_ADDRESS_PERCENT and HOLDS_SHARED_PERCENT must be between 0 and 100")
for _network in HOLDS_SHARED_NETWORKS:
    try:
        ipaddress.ip_network(_network, strict=False)
    except ValueError:
        raise ImproperlyConfigured(f"HOLDS_SHARED_NETWORKS: {_network!r} is no network like 203.0.113.0/24") from None

# --- Connections
LIMIT_CONNECTIONS_ADDRESS = env_int("LIMIT_CONNECTIONS_ADDRESS", 1_000)  # open at once, per process
LIMIT_SOCKETS_ADDRESS = env_int("LIMIT_SOCKETS_ADDRESS", 1_000)  # open at once, per live process
DIFFS_A_SECOND = env_int("DIFFS_A_SECOND", 10)  # updates per second to a session's watchers; 0: each change by itself
if DIFFS_A_SECOND < 0 or LIMIT_SOCKETS_ADDRESS < 1 or LIMIT_CONNECTIONS_ADDRESS < 1:
    raise ImproperlyConfigured(
        "DIFFS_A_SECOND must be 0 or more, LIMIT_SOCKETS_ADDRESS and LIMIT_CONNECTIONS_ADDRESS 1 or more"
    )

JWT_ACCESS_SECONDS = 30 * 60
JWT_REFRESH_SECONDS = 30 * 24 * 3600
BUYER_COOKIE_SECONDS = SESSION_COOKIE_AGE = 30 * 24 * 3600

# --- Language and time
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("pt-br", _("Portuguese (Brazil)"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env("TIME_ZONE", "America/Sao_Paulo")  # of the pages; the API speaks UTC
USE_TZ = True

# --- Static files
STATIC_URL = "static/"
STATIC_ROOT = Path(env("STATIC_ROOT") or BASE_DIR / ".frontrow" / "static")
WHITENOISE_USE_FINDERS = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF, *([LIVE_URL.replace("http", "ws", 1)] if LIVE_URL else [])],
        "frame-ancestors": ["'none'"],
        "base-uri": [SELF],
        "form-action": [SELF],
        "object-src": ["'none'"],
    }
}


# --- E-mail: written to files unless a server is named
EMAIL_HOST = env("EMAIL_HOST")
EMAIL_PORT = env_int("EMAIL_PORT", 25)
EMAIL_HOST_USER = env("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = env("EMAIL_USE_TLS", "off") == "on"
EMAIL_TIMEOUT = 10
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'filebased'}.EmailBackend"
# folder of the letters if no server is named
EMAIL_FILE_PATH = env("EMAIL_FILE_PATH") or str(BASE_DIR / ".frontrow" / "mail")
DEFAULT_FROM_EMAIL = env("DEFAULT_FROM_EMAIL", "Frontrow <tickets@frontrow.example>")

# --- Guessing of passwords
AXES_ENABLED = RATE_LIMITS
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_USERNAME_CALLABLE = "base.addresses.name_for_guesses"
AXES_LOCKOUT_CALLABLE = "config.web.problems.locked_out"
AXES_CLIENT_IP_CALLABLE = "base.addresses.network_of_request"
AXES_CLIENT_STR_CALLABLE = "base.addresses.name_in_log"
SILENCED_SYSTEM_CHECKS = [
    *("axes.W002", "security.W002", "security.W003"),  # their middleware is present as subclasses (config.web.pages)
    "security.W021",  # the owner of the host decides about the preload list, which is hard to leave
]

# --- Logs: one JSON object a line
LOG_LEVEL = env("LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in logging.getLevelNamesMapping():
    raise ImproperlyConfigured(f"LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, not {LOG_LEVEL!r}")
LOGGING = logs.configuration(LOG_LEVEL)
