"""As much of Kafka's protocol as the workload and the faults need: topics, records, positions. Python's standard library only."""
import socket
import struct
import time

CREATE_TOPICS, DELETE_TOPICS, DELETE_RECORDS, PRODUCE, LIST_OFFSETS, OFFSET_FETCH, INIT_PRODUCER, OFFSET_COMMIT = 19, 20, 21, 0, 2, 9, 22, 8
DUPLICATE_SEQUENCE = 46
# No leader yet, not enough replicas, no coordinator yet, a request that timed out, and the like: asked again.
PASSING = {3, 5, 6, 7, 8, 9, 13, 14, 15, 16, 19, 20}


class KafkaError(Exception):
    """The broker says no."""


def table() -> list[int]:
    """Of CRC-32C."""
    made = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        made.append(byte)
    return made


CRC = table()


def crc32c(data: bytes) -> int:
    """The checksum of a batch."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def varint(number: int) -> bytes:
    """As in records."""
    number = number << 1 ^ number >> 63
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def string(text: str | None) -> bytes:
    """With its length; None is a null."""
    return struct.pack(">h", -1) if text is None else struct.pack(">h", len(text.encode())) + text.encode()


def array(items: list[bytes]) -> bytes:
    """With its length."""
    return struct.pack(">i", len(items)) + b"".join(items)


class Answer:
    """Reads an answer from its beginning."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> int:
        """A number."""
        value = struct.unpack_from(">" + form, self.data, self.at)[0]
        self.at += struct.calcsize(form)
        return value

    def text(self) -> str | None:
        """A string that may be null."""
        size = self.take("h")
        if size < 0:
            return None
        self.at += size
        return self.data[self.at - size: self.at].decode()


class Broker:
    """A connection to the one broker, made anew where it broke."""

    def __init__(self, address: str, patience: float = 120) -> None:
        self.address, self.patience = address, patience
        self.socket: socket.socket | None = None
        self.correlation = 0

    def ask(self, api: int, version: int, body: bytes) -> Answer:
        """One request; broken connections are errors."""
        try:
            if self.socket is None:
                host, port = self.address.rsplit(":", 1)
                self.socket = socket.create_connection((host, int(port)), timeout=10)
            self.correlation += 1
            request = struct.pack(">hhi", api, version, self.correlation) + string("chaos") + body
            self.socket.sendall(struct.pack(">i", len(request)) + request)
            answer = self.receive(struct.unpack(">i", self.receive(4))[0])
        except OSError:
            self.close()
            raise
        return Answer(answer[4:])

    def receive(self, size: int) -> bytes:
        """Exactly so many bytes."""
        parts = []
        while size:
            part = self.socket.recv(size)
            if not part:
                raise ConnectionResetError("the broker closed the connection")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """The next request connects again."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def until(self, what: str, attempt):
        """What `attempt` returns; it is repeated, within bounds, while it returns an error that passes or the broker is away."""
        end = time.monotonic() + self.patience
        while True:
            try:
                error, found = attempt()
            except OSError as broken:
                error, found = str(broken), None
            if error == 0:
                return found
            if (isinstance(error, int) and error not in PASSING) or time.monotonic() > end:
                raise KafkaError(f"{what}: error {error}")
            time.sleep(0.1)

    def create(self, topic: str, partitions: int, **settings: str) -> None:
        """A topic."""
        options = array([string(name.replace("_", ".")) + string(value) for name, value in settings.items()])
        body = array([string(topic) + struct.pack(">ih", partitions, 1) + array([]) + options]) + struct.pack(">ib", 10_000, 0)

        def attempt():
            answer = self.ask(CREATE_TOPICS, 2, body)
            answer.take("i"), answer.take("i"), answer.text()
            return answer.take("h"), None

        self.until(f"creating topic {topic}", attempt)

    def delete(self, topic: str) -> None:
        """Removes a topic."""

        def attempt():
            answer = self.ask(DELETE_TOPICS, 1, array([string(topic)]) + struct.pack(">i", 10_000))
            answer.take("i"), answer.take("i"), answer.text()
            return answer.take("h"), None

        self.until(f"deleting topic {topic}", attempt)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """As retention does."""
        body = array([string(topic) + array([struct.pack(">iq", partition, before)])]) + struct.pack(">i", 10_000)

        def attempt():
            answer = self.ask(DELETE_RECORDS, 0, body)
            answer.take("i"), answer.take("i"), answer.text(), answer.take("i"), answer.take("i"), answer.take("q")
            return answer.take("h"), None

        self.until(f"deleting records of {topic}", attempt)

    def positions(self, group: str, topic: str, partitions: int) -> dict[int, tuple[int, str]]:
        """Offset and metadata of each partition that the group has committed."""
        body = string(group) + array([string(topic) + array([struct.pack(">i", at) for at in range(partitions)])])

        def attempt():
            answer = self.ask(OFFSET_FETCH, 1, body)
            found, worst = {}, 0
            for _ in range(answer.take("i")):
                answer.text()
                for _ in range(answer.take("i")):
                    partition, offset, metadata = answer.take("i"), answer.take("q"), answer.text()
                    worst = worst or answer.take("h")
                    if offset >= 0:
                        found[partition] = (offset, metadata or "")
            return worst, found

        return self.until(f"positions of group {group}", attempt)

    def commit(self, group: str, topic: str, offsets: dict[int, int]) -> bool:
        """Sets a group's positions from outside; false while it has members."""
        parts = array([struct.pack(">iq", partition, offset) + string("") for partition, offset in offsets.items()])
        answer = self.ask(OFFSET_COMMIT, 2, string(group) + struct.pack(">i", -1) + string("") + struct.pack(">q", -1) + array([string(topic) + parts]))
        answer.take("i"), answer.text()
        return all((answer.take("i"), answer.take("h"))[1] == 0 for _ in range(answer.take("i")))

    def ends(self, topic: str, partitions: int) -> dict[int, int]:
        """The offset after the last record of each partition."""
        body = struct.pack(">i", -1) + array([string(topic) + array([struct.pack(">iq", at, -1) for at in range(partitions)])])

        def attempt():
            answer = self.ask(LIST_OFFSETS, 1, body)
            found, worst = {}, 0
            for _ in range(answer.take("i")):
                answer.text()
                for _ in range(answer.take("i")):
                    partition = answer.take("i")
                    worst = worst or answer.take("h")
                    answer.take("q")
                    found[partition] = answer.take("q")
            return worst, found

        return self.until(f"ends of {topic}", attempt)


class Producer:
    """Writes batches to partitions of one topic, each once: the broker knows a batch that comes again by its sequence."""

    def __init__(self, address: str, topic: str) -> None:
        self.broker, self.topic = Broker(address), topic
        self.sequences: dict[int, int] = {}

        def attempt():
            answer = self.broker.ask(INIT_PRODUCER, 0, string(None) + struct.pack(">i", 60_000))
            answer.take("i")
            return answer.take("h"), (answer.take("q"), answer.take("h"))

        self.id, self.epoch = self.broker.until("a producer's id", attempt)

    def batch(self, messages: list[tuple[bytes, bytes | None]], sequence: int) -> bytes:
        """As it stands in the log."""
        records = []
        for at, (key, value) in enumerate(messages):
            text = b"\0" + varint(0) + varint(at) + varint(len(key)) + key
            text += (varint(-1) if value is None else varint(len(value)) + value) + varint(0)
            records.append(varint(len(text)) + text)
        now = time.time_ns() // 1_000_000
        body = struct.pack(">hiqqqhii", 0, len(messages) - 1, now, now, self.id, self.epoch, sequence, len(messages)) + b"".join(records)
        rest = struct.pack(">ibI", -1, 2, crc32c(body)) + body
        return struct.pack(">qi", 0, len(rest)) + rest

    def write(self, partition: int, messages: list[tuple[bytes, bytes | None]]) -> None:
        """Returns when the broker has them."""
        sequence = self.sequences.get(partition, 0)
        batch = self.batch(messages, sequence)
        part = struct.pack(">ii", partition, len(batch)) + batch
        body = string(None) + struct.pack(">hi", -1, 10_000) + array([string(self.topic) + array([part])])

        def attempt():
            answer = self.broker.ask(PRODUCE, 3, body)
            answer.take("i"), answer.text(), answer.take("i"), answer.take("i")
            error, offset = answer.take("h"), answer.take("q")
            return (0 if error == DUPLICATE_SEQUENCE else error), (-1 if error else offset)

        offset = self.broker.until(f"writing to {self.topic}/{partition}", attempt)
        if offset not in (-1, sequence):
            raise KafkaError(f"{self.topic}/{partition}: offset {offset} in place of {sequence}: somebody else writes there")
        self.sequences[partition] = sequence + len(messages)
