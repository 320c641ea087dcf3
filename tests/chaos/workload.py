#!/usr/bin/env python3
"""Writes a history to Kafka until SIGTERM, or until it has written all that it was asked for, and says how far it came."""
import argparse
import collections
import signal
import sys
import time

from history import History
from wire import KafkaError, Producer

# Records that are written together.
CHUNK = 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--tag", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--tables", type=int, default=1)
    parser.add_argument("--rate", type=float, default=500, help="records a second; 0: as fast as it can")
    parser.add_argument("--records", type=int, help="how many at most")
    given = parser.parse_args()
    history = History(given.tag, given.seed, given.partitions, given.tables)
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    producer = Producer(given.brokers, history.topic)
    sent, began = 0, time.monotonic()
    while not stopped and (given.records is None or sent < given.records):
        size = CHUNK if given.records is None else min(CHUNK, given.records - sent)
        messages = collections.defaultdict(list)
        for n in range(sent, sent + size):
            record = history.record(n)
            messages[record.partition].append(history.message(record))
        try:
            for partition, some in sorted(messages.items()):
                producer.write(partition, some)
        except KafkaError as error:
            print(f"workload: {error}", file=sys.stderr, flush=True)
            return 1
        sent += size
        print(f"sent {sent}", flush=True)
        if given.rate:
            time.sleep(max(0.0, began + sent / given.rate - time.monotonic()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
