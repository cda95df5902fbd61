"""The pages that the `type` of a problem points to: what each code means, and what to do.

A page says what the class of the refusal says (refusals.py), with the example of the OpenAPI document.
"""

import json
from collections.abc import Iterator
from functools import cache
from html import escape
from inspect import getdoc

from service.docs_page import STYLE
from service.example_problems import examples_of
from service.failed_jobs import STATUSES
from service.problems import problem_of
from service.refusals import InternalError, JobFailed, Refusal


@cache
def refusals_by_code() -> dict[str, type[Refusal]]:
    """Return the class of every code that a response may have, by status and code."""
    found = sorted(_tree(Refusal), key=lambda kind: (kind.status, kind.code))
    return {kind.code: kind for kind in found}


def _tree(kind: type[Refusal]) -> Iterator[type[Refusal]]:
    for child in kind.__subclasses__():
        yield child
        yield from _tree(child)


def problems_page() -> str:
    """Return the HTML page that lists every code."""
    rows = "".join(
        f'<tr><td><a href="problems/{code}">{code}</a></td><td>{kind.status.value}</td><td>{_meaning(kind)}</td></tr>'
        for code, kind in refusals_by_code().items()
    )
    return _page(
        "Problems",
        "<p>Every error is a problem (RFC 9457) with a stable <code>code</code>. Its <code>type</code> is the page of "
        f"that code.</p><table><thead><tr><th>code<th>status<th>meaning</thead>{rows}</table>"
        '<p><a href="docs">API reference</a></p>',
    )


def problem_page(kind: type[Refusal]) -> str:
    """Return the HTML page of one code."""
    hint = f"<h2>What to do</h2><p>{escape(_sentence(kind.hint))}</p>" if kind.hint else ""
    examples = "".join(
        f"<h2>Example</h2><pre>{escape(json.dumps(problem_of(one, 'the request_id').model_dump(), indent=2))}</pre>"
        for one in examples_of(kind)
    )
    return _page(
        kind.code,
        f"<p>Status {kind.status.value} {kind.status.phrase}</p><p>{_meaning(kind)}</p>"
        f"{_codes_of_jobs() if kind is JobFailed else ''}{hint}{examples}"
        '<p><a href="../problems">All problems</a> · <a href="../docs">API reference</a></p>',
    )


def _codes_of_jobs() -> str:
    """Return the statuses of failed jobs, which differ by the job's own error."""
    rows = "".join(f"<tr><td>{code}</td><td>{status.value}</td></tr>" for code, status in sorted(STATUSES.items()))
    every_other = f"<tr><td>every other</td><td>{InternalError.status.value}</td></tr>"
    return f"<table><thead><tr><th>error.code<th>status</thead>{rows}{every_other}</table>"


def _meaning(kind: type[Refusal]) -> str:
    return escape(" ".join((getdoc(kind) or "").replace("`", "").split()))


def _sentence(hint: str) -> str:
    return f"{hint[:1].upper()}{hint[1:]}."


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)} · undegrade</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><main><h1>{escape(title)}</h1>{body}'
        "</main></html>"
    )
