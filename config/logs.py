"""Configure the log of Django, Celery, the servers and Frontrow: one JSON object a line."""

from __future__ import annotations

import logging
import re
from typing import Any

import structlog


def without_rows(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Leave out the details that PostgreSQL adds to an error: they quote the row, which may name a person."""
    return {
        name: re.sub(r"(DETAIL|CONTEXT):.*?(?=\n\S|\Z)", r"\1: left out", value, flags=re.DOTALL)
        if isinstance(value, str) and ("DETAIL:" in value or "CONTEXT:" in value)
        else value
        for name, value in event.items()
    }


_SHARED_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    without_rows,
]


def configuration(level: str) -> dict[str, Any]:
    """Set structlog up, and return Django's `LOGGING`."""
    logging.captureWarnings(True)  # warnings become JSON lines too
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED_PROCESSORS,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.JSONRenderer(),
                ],
                "foreign_pre_chain": _SHARED_PROCESSORS,
            }
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            "axes": {"level": "WARNING"},
            "django.request": {"level": "ERROR"},  # config.web.middleware already logs every request
            "daphne": {"level": "WARNING"},
            "uvicorn": {"level": "WARNING"},  # each socket's line carries the address of its peer
            "websockets": {"level": "WARNING"},  # likewise
            "_granian": {"level": "INFO"},
            "granian.access": {"level": "WARNING"},
            "celery.beat": {"level": "DEBUG" if level == "DEBUG" else "WARNING"},  # one line per job per second
            "fontTools": {"level": "WARNING"},  # fifty lines per font of a PDF
            "stripe": {"level": "WARNING"},  # two lines per request otherwise
            "celery": {"level": level, "handlers": ["console"], "propagate": False},
            "celery.app.trace": {"level": "DEBUG" if level == "DEBUG" else "WARNING"},  # two lines per task otherwise
            "celery.worker.strategy": {"level": "DEBUG" if level == "DEBUG" else "WARNING"},
        },
    }
