"""Django's database engine for PostgreSQL, with django-prometheus' metrics."""
