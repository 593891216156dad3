"""How views are described in the OpenAPI document. DRF loads this before its views exist."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

# Query parameters that may be sent empty, which is as if they weren't: a form's "all".
FILTERS = {"show", "venue", "session", "date", "format", "at"}


class ViewSchema(AutoSchema):
    """Looks for lists among the successes alone: a problem never is one."""

    def _is_list_view(self, serializer: Any = None) -> bool:
        told: Any = self.get_response_serializers() if serializer is None else serializer
        if isinstance(told, dict):
            told = {status: body for status, body in told.items() if not isinstance(status, tuple)} or told
        return bool(super()._is_list_view(told))

    def _insert_field_validators(self, field: Any, schema: dict[str, Any]) -> None:
        """Say that a list isn't empty, and put a default beside the alternatives: an empty text is no e-mail address."""
        super()._insert_field_validators(field, schema)  # type: ignore[no-untyped-call] # half typed
        if getattr(field, "allow_empty", True) is False and schema.get("type") == "array":
            schema.setdefault("minItems", 1)
        for alternative in schema.get("oneOf", ()):
            if "default" in alternative:
                schema["default"] = alternative.pop("default")


class BuyerAuthenticationScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call] # half typed
    """drf-spectacular finds it by its base class."""

    target_class = "ticketing.identity.BuyerAuthentication"
    name = ["bearer", "cookie"]  # in the order of the alphabet, as Swagger UI shows them

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[Any]]]:
        """Either will do."""
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, Any]]:
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


def empty_filters_are_none(result: dict[str, Any], **_generator: Any) -> dict[str, Any]:
    """A hook of drf-spectacular's: what the document says of `FILTERS`."""
    for methods in result["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "query" and parameter["name"] in FILTERS:
                    parameter["schema"] = {"anyOf": [parameter["schema"], {"type": "string", "maxLength": 0}]}
    return result


def bodies_are_strict(result: dict[str, Any], **_generator: Any) -> dict[str, Any]:
    """A hook of drf-spectacular's: an object in a request has the properties that it names, and no other."""
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
