"""Serve the OpenAPI document and Swagger UI from the package's own files."""

from __future__ import annotations

from functools import cache

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer2, OpenApiYamlRenderer2
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from base.refusals import Schema


@cache
def document() -> Schema:
    """Make the document once per process: it is the same for all clients and takes a while."""
    generator = SchemaGenerator()  # type: ignore[no-untyped-call] # half typed
    made: Schema = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call] # likewise
    return made


class SchemaView(SpectacularAPIView):
    """The API's description as JSON, or as YAML if asked.

    It names the server that was asked: Swagger UI may try no other.
    """

    minds_its_query = False
    authentication_classes = []
    throttle_classes = []
    content_negotiation_class = DefaultContentNegotiation
    renderer_classes = [OpenApiJsonRenderer2, OpenApiYamlRenderer2]

    def _get_schema_response(self, request: Request) -> Response:
        here = {"servers": [{"url": request.build_absolute_uri("/").rstrip("/")}]}
        return Response({**document(), **here}, headers={"Cache-Control": "max-age=300"})


class DocsView(SpectacularSwaggerSplitView):
    """Serve Swagger UI. Its page has no inline script, and its one inline style has the nonce."""

    minds_its_query = False
    authentication_classes = []
    throttle_classes = []
    template_name = "config/docs.html"
