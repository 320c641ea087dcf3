#!/usr/bin/env python3
"""Writes a history to Kafka until SIGTERM, and says how far it came. Never far ahead of who reads it."""
import argparse
import collections
import signal
import sys
import time

from history import History
from wire import KafkaError, Producer

# Records that are written together.
CHUNK = 100


def ahead(producer: Producer, given: argparse.Namespace) -> int:
    """How many records nobody has committed yet."""
    done = producer.broker.positions(given.group, producer.topic, given.partitions)
    return sum(at - done.get(partition, (0, ""))[0] for partition, at in producer.sequences.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--tag", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--tables", type=int, default=1)
    parser.add_argument("--rate", type=float, default=500, help="records a second; 0: as fast as it can")
    parser.add_argument("--first", type=int, default=0, help="the first record's number; the topic is empty")
    parser.add_argument("--group", required=True, help="who reads it")
    parser.add_argument("--ahead", type=int, default=1500, help="how many records may be there that the group has not committed")
    given = parser.parse_args()
    history = History(given.tag, given.seed, given.partitions, given.tables)
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    producer = Producer(given.brokers, history.topic)
    sent, began = given.first, time.monotonic()
    while not stopped:
        messages = collections.defaultdict(list)
        for n in range(sent, sent + CHUNK):
            record = history.record(n)
            messages[record.partition].append(history.message(record))
        try:
            for partition, some in sorted(messages.items()):
                producer.write(partition, some)
            sent += CHUNK
            print(f"sent {sent}", flush=True)
            while not stopped and ahead(producer, given) > given.ahead:
                time.sleep(0.05)
        except KafkaError as error:
            print(f"workload: {error}", file=sys.stderr, flush=True)
            return 1
        if given.rate:
            time.sleep(max(0.0, began + (sent - given.first) / given.rate - time.monotonic()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
