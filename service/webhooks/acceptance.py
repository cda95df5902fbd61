"""Checks the webhook and result URLs of a request before its job is queued."""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from jobs.hooks import NO_OWNER, WEBHOOK_EVENTS, Hooks, group_of
from jobs.webhook_secrets import is_disabled
from service.outgoing.host_rules import HostRules
from service.outgoing.refusals import UrlNotAllowed
from service.refusals import InvalidRequest
from service.settings import ServiceSettings
from service.webhooks.refusals import WebhookDisabled

OFF = "is switched off on this service; its operator allows hosts with"


def webhook_rules(settings: ServiceSettings) -> HostRules:
    """Returns the rules for webhook URLs."""
    return HostRules(hosts=settings.webhook_hosts, ports=settings.url_ports)


def result_rules(settings: ServiceSettings) -> HostRules:
    """Returns the rules for result URLs."""
    return HostRules(hosts=settings.result_hosts, ports=settings.url_ports)


async def accepted_hooks(
    fields: Mapping[str, Any], settings: ServiceSettings, redis: "Redis", owner: str | None, path_prefix: str
) -> Hooks | None:
    """Return the URLs of a request for its job; None where it has none.

    Nothing is resolved here: that happens when a URL is used, and would only make the caller wait.

    Raises:
        InvalidRequest, UrlNotAllowed: a field contradicts another, or its URL is not allowed.
        WebhookDisabled: the receiver wants no more webhooks.
    """
    webhook_url, result_url = fields.get("webhook_url"), fields.get("result_url")
    events = tuple(fields.get("webhook_events") or ())
    if events and webhook_url is None:
        raise _invalid("webhook_events", "given without webhook_url; give both, or leave it out")
    if webhook_url is None and result_url is None:
        return None
    values: dict[str, Any] = {"path_prefix": path_prefix}
    if webhook_url is not None:
        group = _group("webhook_url", webhook_url, webhook_rules(settings), owner)
        if await is_disabled(redis, owner or NO_OWNER, webhook_url):
            raise WebhookDisabled("webhook_url: its receiver has answered 410 Gone, so it gets no more webhooks")
        events = tuple(event for event in WEBHOOK_EVENTS if event in (events or WEBHOOK_EVENTS))
        values |= {"webhook_url": webhook_url, "webhook_group": group, "events": events}
    if result_url is not None:
        group = _group("result_url", result_url, result_rules(settings), owner)
        values |= {"result_url": result_url, "result_group": group}
    return Hooks(**values)


def _group(field: str, url: str, rules: HostRules, owner: str | None) -> str:
    if not rules.hosts:
        setting = "UNDEGRADE_WEBHOOK_HOSTS" if field == "webhook_url" else "UNDEGRADE_RESULT_HOSTS"
        raise _invalid(field, f"{OFF} {setting}")
    try:
        return group_of(owner, rules.destination(url).origin)
    except UrlNotAllowed as refusal:
        problem = [{"field": field, "problem": refusal.detail}]
        raise UrlNotAllowed(f"{field}: {refusal.detail}", hint=refusal.hint, errors=problem) from None


def _invalid(field: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {problem}", errors=[{"field": field, "problem": problem}])
