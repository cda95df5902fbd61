"""The refusals of webhooks."""

from http import HTTPStatus

from service.refusals import NotFound, Refusal


class WebhookDisabled(Refusal):
    """The receiver of this URL has answered 410 Gone, so it gets no webhooks."""

    status, code = HTTPStatus.UNPROCESSABLE_ENTITY, "webhook-disabled"
    hint = (
        "redeliver one of its deliveries (POST /jobs/{id}/deliveries/{number}/redeliver), or ask the operator: "
        "undegrade keys webhooks KEY_ID --enable URL"
    )


class NoSuchDelivery(NotFound):
    """The job has no delivery of this number."""

    code = "no-such-delivery"
    hint = "GET /jobs/{id}/deliveries lists the deliveries of a job"


class DeliveryHeld(Refusal):
    """The delivery waits for the delivery of the result, and follows it at once."""

    status, code = HTTPStatus.CONFLICT, "delivery-held"
    hint = "redeliver the result (number 1), or wait: the webhook follows it"
