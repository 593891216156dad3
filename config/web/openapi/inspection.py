"""Describe views in the OpenAPI document. DRF loads this module before its views exist."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

from base.refusals import Schema

# Query parameters that may be sent empty, which counts as missing: a form's "all".
FILTERS = {"show", "venue", "session", "date", "format", "at"}


class ViewSchema(AutoSchema):
    """Look for lists only among successes, because a problem never is one."""

    def _is_list_view(self, serializer: Any = None) -> bool:
        told: Any = self.get_response_serializers() if serializer is None else serializer
        if isinstance(told, dict):
            told = {status: body for status, body in told.items() if not isinstance(status, tuple)} or told
        return bool(super()._is_list_view(told))

    def _insert_field_validators(self, field: Any, schema: Schema) -> None:
        """Say that a list is not empty.

        Put a default beside its alternatives: an empty text is not an e-mail address.
        """
        super()._insert_field_validators(field, schema)  # type: ignore[no-untyped-call] # half typed
        if getattr(field, "allow_empty", True) is False and schema.get("type") == "array":
            schema.setdefault("minItems", 1)
        for alternative in schema.get("oneOf", ()):
            if "default" in alternative:
                schema["default"] = alternative.pop("default")


class BuyerAuthenticationScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call] # half typed
    """Describe our credentials. drf-spectacular finds this class by its base class."""

    target_class = "ticketing.identity.BuyerAuthentication"
    name = ["bearer", "cookie"]  # in alphabetical order, as Swagger UI shows them

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[Any]]]:
        """Require one of the two."""
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[Schema]:
        return [
            {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "`access` of `POST /auth/guest`, `/auth/register` or `/auth/token`.",
            },
            {
                "type": "apiKey",
                "in": "cookie",
                "name": "buyer",
                "description": (
                    "The cookie that the pages set. Unsafe methods need `X-CSRFToken` too. With "
                    "`Frontrow-Buyer: <id>`, the request is done only for that buyer, or for the account that "
                    "this guest became; for any other buyer the answer is 409 `other_buyer`."
                ),
            },
        ]


def empty_filters_are_none(result: Schema, **_generator: Any) -> Schema:
    """Declare that `FILTERS` may be empty. A hook of drf-spectacular."""
    for methods in result["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "query" and parameter["name"] in FILTERS:
                    parameter["schema"] = {"anyOf": [parameter["schema"], {"type": "string", "maxLength": 0}]}
    return result


def bodies_are_strict(result: Schema, **_generator: Any) -> Schema:
    """Close the objects of requests: they have only the properties that they name. A hook of drf-spectacular."""
    schemas = result["components"]["schemas"]

    def close(schema: Any) -> None:
        if isinstance(schema, list):
            for inner in schema:
                close(inner)
        elif isinstance(schema, dict):
            if "$ref" in schema:
                close(schemas[schema["$ref"].rpartition("/")[2]])
            elif "properties" in schema and schema.setdefault("additionalProperties", False) is False:
                close(list(schema["properties"].values()))
            else:
                close([inner for name, inner in schema.items() if name in {"items", "oneOf", "anyOf", "allOf"}])

    for methods in result["paths"].values():
        for operation in methods.values():
            for media in operation.get("requestBody", {}).get("content", {}).values():
                close(media["schema"])
    return result
