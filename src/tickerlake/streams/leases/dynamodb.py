"""Leases in DynamoDB: for workers on AWS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tickerlake import clock
from tickerlake.streams.aws import RefusedError, Service

__all__ = ["DynamoLeaseStore"]

_LOST: Final = "ConditionalCheckFailedException"
_PATIENCE_SECONDS: Final = 5.0

_IS_NONE: Final[dict[str, object]] = {
    "ConditionExpression": "attribute_not_exists(#n)",
    "ExpressionAttributeNames": {"#n": "name"},
}


class DynamoLeaseStore:
    """One table, made if it is missing and paid for by request; its key is group and name."""

    def __init__(self, region: str, table: str) -> None:
        self._table = table
        self._service = Service(
            "dynamodb", region, endpoint_url=None, patience_seconds=_PATIENCE_SECONDS
        )
        self._is_there = False

    def read(self, group: str) -> Mapping[str, str]:
        """All texts of a group."""
        self._make()
        found: dict[str, str] = {}
        start: dict[str, object] = {}
        while True:
            reply = self._service.ask(
                "query",
                TableName=self._table,
                ConsistentRead=True,
                KeyConditionExpression="#g = :g",
                ExpressionAttributeNames={"#g": "group"},
                ExpressionAttributeValues={":g": {"S": group}},
                **start,
            )
            found |= {item["name"]["S"]: item["text"]["S"] for item in reply["Items"]}
            if not reply.get("LastEvaluatedKey"):
                return found
            start = {"ExclusiveStartKey": reply["LastEvaluatedKey"]}

    def write(self, group: str, name: str, text: str, *, expected: str | None) -> bool:
        """Set a text if it is what was expected."""
        item = {**_key(group, name), "text": {"S": text}}
        condition = _is(expected) if expected is not None else _IS_NONE
        return self._changed("put_item", Item=item, **condition)

    def remove(self, group: str, name: str, *, expected: str) -> bool:
        """Take a text away if it is what was expected."""
        return self._changed("delete_item", Key=_key(group, name), **_is(expected))

    def close(self) -> None:
        """Give back the connections."""
        self._service.close()

    def _changed(self, operation: str, **arguments: object) -> bool:
        self._make()
        try:
            # One that was done and is done again is refused, as if another had been faster: what
            # is then read again says who has it.
            self._service.ask(operation, TableName=self._table, **arguments)
        except RefusedError as error:
            if error.code == _LOST:
                return False
            raise
        return True

    def _make(self) -> None:
        while not self._is_there:
            try:
                reply = self._service.ask("describe_table", TableName=self._table)
                self._is_there = reply["Table"]["TableStatus"] in {"ACTIVE", "UPDATING"}
            except RefusedError as error:
                if error.code != "ResourceNotFoundException":
                    raise
                self._create()
            if not self._is_there:
                clock.sleep(0.2)

    def _create(self) -> None:
        kinds = {"group": "HASH", "name": "RANGE"}
        try:
            self._service.ask(
                "create_table",
                TableName=self._table,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[
                    {"AttributeName": name, "AttributeType": "S"} for name in kinds
                ],
                KeySchema=[
                    {"AttributeName": name, "KeyType": kind} for name, kind in kinds.items()
                ],
            )
        except RefusedError as error:
            if error.code != "ResourceInUseException":  # Somebody else was faster.
                raise


def _key(group: str, name: str) -> dict[str, dict[str, str]]:
    return {"group": {"S": group}, "name": {"S": name}}


def _is(expected: str) -> dict[str, object]:
    return {
        "ConditionExpression": "#t = :expected",
        "ExpressionAttributeNames": {"#t": "text"},
        "ExpressionAttributeValues": {":expected": {"S": expected}},
    }
