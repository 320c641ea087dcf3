#!/usr/bin/env python3
"""The consumer that one writes first: reads events, keeps updates, inserts their rows over HTTP, one or so many at a time.

Prints how many events it read and how long that took, from the first of them to the answer to the last insert.
"""
import argparse
import json
import time

import requests
from kafka import KafkaConsumer


def row(event: dict) -> dict | None:
    """The row of an update; created_at stays microseconds, which ClickHouse reads."""
    event = event.get("payload", event)
    if event["op"] != "u":
        return None
    return event["after"] | {"updated_at": event["after"]["updated_at"].rstrip("Z").replace("T", " "), "op": "u"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("brokers", "topic", "group", "url", "user", "password", "table"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rows", type=int, required=True, help="in an insert")
    parser.add_argument("--events", type=int, required=True, help="how many to read")
    parser.add_argument("--seconds", type=float, required=True, help="how long to read at most")
    given = parser.parse_args()
    session = requests.Session()
    session.headers.update({"X-ClickHouse-User": given.user, "X-ClickHouse-Key": given.password})

    def insert(rows: list[dict]) -> None:
        body = "\n".join(map(json.dumps, rows)).encode()
        session.post(given.url, params={"query": f"INSERT INTO {given.table} FORMAT JSONEachRow"}, data=body, timeout=60).raise_for_status()

    consumer = KafkaConsumer(given.topic, bootstrap_servers=given.brokers, group_id=given.group, auto_offset_reset="earliest",
                             consumer_timeout_ms=60_000)
    began, seen, rows = 0.0, 0, []
    for message in consumer:
        began = began or time.monotonic()
        seen += 1
        if made := row(json.loads(message.value)):
            rows.append(made)
        if len(rows) == given.rows:
            insert(rows)
            rows = []
        if seen == given.events or time.monotonic() - began > given.seconds:
            break
    if rows:
        insert(rows)
    print(json.dumps({"events": seen, "seconds": time.monotonic() - began}))
    consumer.close()


if __name__ == "__main__":
    main()
