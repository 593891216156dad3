"""Provide Django's database engine for PostgreSQL with the metrics of django-prometheus."""
