"""What an `HttpProxy` does to Kinesis: refusals of whole calls and of single records."""

from __future__ import annotations

import json
from dataclasses import replace

from tickerlake.testing.services.http_proxy import Action, Answer, Exchange, answer

__all__ = ["EXPIRED", "THROTTLED", "fail", "fail_records"]

THROTTLED = "ProvisionedThroughputExceededException"
EXPIRED = "ExpiredIteratorException"
_CONTENT_TYPE = "application/x-amz-json-1.1"


def fail(code: str, *, status: int = 400) -> Action:
    """The call fails with this exception of the API; the stream never hears of it."""
    body = {"__type": code, "message": "by a fault proxy"}
    return answer(status, json.dumps(body).encode(), content_type=_CONTENT_TYPE)


def fail_records(*, every: int = 2, code: str = THROTTLED) -> Action:
    """PutRecords is done in part: the first record and each `every`-th after it is refused."""

    def action(exchange: Exchange) -> Answer:
        asked = json.loads(exchange.body)
        records = asked["Records"]
        passed = [record for place, record in enumerate(records) if place % every]
        refused = {"ErrorCode": code, "ErrorMessage": "by a fault proxy"}
        results = iter(())
        if passed:
            part = replace(exchange, body=json.dumps({**asked, "Records": passed}).encode())
            found = part.forward()
            if found.status != 200:
                return found
            results = iter(json.loads(found.body)["Records"])
        merged = [next(results) if place % every else refused for place in range(len(records))]
        failed = sum(bool(result.get("ErrorCode")) for result in merged)
        body = json.dumps({"FailedRecordCount": failed, "Records": merged}).encode()
        return Answer(200, body, [("Content-Type", _CONTENT_TYPE)])

    return action
