"""Serve the same request for seats in three ways: in its own transaction, through Celery, and not at all."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from base.asking import asking
from base.ids import uuid7
from base.rest import IsBuyer
from bench.usual import holding, tasks
from reservations.models import Reservation


class HoldFields(serializers.Serializer[Any]):
    session = serializers.UUIDField()
    seats = serializers.ListField(child=serializers.CharField(max_length=16), allow_empty=False, max_length=1_000)


class ReservationOut(serializers.ModelSerializer[Reservation]):
    class Meta:
        model = Reservation
        fields = ["id", "status", "session", "seats", "quantity", "lines", "total", "expires_at", "accepted_at"]


class HoldView(APIView):
    permission_classes = [IsBuyer]

    @staticmethod
    def asked(request: Request) -> tuple[UUID, list[str], UUID]:
        """Return session, seats and the buyer."""
        fields = HoldFields(data=request.data)
        fields.is_valid(raise_exception=True)
        buyer = asking(request)
        assert buyer is not None
        return fields.validated_data["session"], fields.validated_data["seats"], buyer.id


class Hold(HoldView):
    def post(self, request: Request) -> Response:
        session, seats, buyer = self.asked(request)
        try:
            reservation = holding.hold(session_id=session, labels=seats, buyer=buyer)
        except holding.Refused:
            return Response({"code": "seats_unavailable"}, status=409)
        return Response(ReservationOut(reservation).data, status=201)


class HoldLater(HoldView):
    def post(self, request: Request) -> Response:
        session, seats, buyer = self.asked(request)
        reservation = str(uuid7())
        tasks.hold.apply_async(
            kwargs={"reservation": reservation, "session": str(session), "seats": seats, "buyer": str(buyer)}
        )
        return Response({"id": reservation, "status": "queued"}, status=202)


QUEUED = b'{"status": "queued"}'


def constant(_request: HttpRequest) -> HttpResponse:
    headers = {"Content-Type": "application/json", "Content-Length": str(len(QUEUED))}
    return HttpResponse(QUEUED, headers=headers)
