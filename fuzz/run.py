#!/usr/bin/env python3
"""Fuzzes each target for FUZZ_SECONDS (60), FUZZ_JOBS of them at once, and says how often each ran.

FUZZ_TARGETS names some of them, with spaces between. What grew out of the seeds is kept for the next time, below
the target directory; what made a target fail is kept beside it. Exit code 1 where any failed.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET_DIR = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
FOLDER = TARGET_DIR / "fuzz"
SECONDS = int(os.environ.get("FUZZ_SECONDS", "60"))
JOBS = int(os.environ.get("FUZZ_JOBS", "0")) or os.cpu_count() or 1
# A longer input says nothing new of a parser, and each run takes longer.
MAX_LENGTH = {"json": 8_192, "records": 32_768, "schema": 16_384, "lines": 4_096, "decimal_bytes": 200,
              "forms": 8_192, "avro": 4_096, "protobuf": 4_096, "json_schema": 8_192}

TYPES = """Int8 Int64 UInt256 Float32 Bool String FixedString(16) Decimal(76,38) Decimal64(3) Date32 DateTime('Europe/Berlin')
DateTime64(9,'UTC') Time64(6) UUID IPv6 Enum8('a'=-1,'b\\'\\\\('=2) Nullable(Int32) LowCardinality(Nullable(String))
Array(Array(Nullable(Decimal(18,4)))) Map(LowCardinality(String),Array(UInt8)) Tuple(`a`String,`b`Int8) Tuple(String,Int8)
JSON(max_dynamic_paths=10,`a.b`UInt32) Variant(String,UInt64) AggregateFunction(quantiles(0.5,0.9),Float64) Nested(a UInt8)
SimpleAggregateFunction(anyLast,Nullable(String)) Point""".split()

TIMES = ["2024-02-29", "2017-09-15Z", "+10000-01-01", "-0044-03-15", "2024-02-29T20:59:59.123456+02:00", "1969-12-31T23:59:59Z",
         "0001-01-01T00:00:00.000000001-12:30", "2024-05-06 07:08", "2024-05-06T07:08:09.123456789", "2024-05-06t07:08:09z",
         "2024-05-06T07:08:09+01", "9999-12-31T23:59:59.999999999Z"]

# How many forms of values there are in the targets.
FORMS = 64

NAMES = ["my_table", "a`b", "it's", "\\", "`", "\\`", "a\nb", "../x", ".inner", "\u00e4\U0001f642", "x" * 130, "{x:String}", ""]

CONFIG = """brokers: kafka:9092, other:9093
topics: [a.b.c, ^a[.].*$]
clickhouse_url: https://clickhouse:8443
table: t
transform: x.wasm
params: {times: "*_at", unit: ms}
kafka: {security.protocol: SASL_SSL}
dead_letters: table:letters
batch_rows: 1000
until_caught_up: true
for: 10s
out_of_range: saturate
out_of_range_columns: {amount: "null", t.born: as_string}
unavailable: default
columns: {"*_at": timestamp(millis), "orders.total": "decimal(10,2) base64"}
unavailable_placeholder: "hex:6e2f61"
"""

ANSWERS = [
    (404, "60", "", "Code: 60. DB::Exception: Table db.t does not exist. (UNKNOWN_TABLE) (version 26.7.1.1)"),
    (200, "", "abc", "1\t2\n__exception__\r\nabc\r\nCode: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)\r\n60 abc\r\n__exception__\r\n"),
    (500, "", "", "Code: 252, e.displayText() = DB::Exception: Too many parts (300). Merges are slower than inserts"),
    (200, "", "", "ok"),
    (502, "", "", "<html>https://user:password@host/</html>"),
]


def records():
    """The recorded events: key and value of each, as text or None."""
    for file in sorted((ROOT / "tests/fixtures").glob("*/*.ndjson")):
        if "expected" in file.name:
            continue
        for line in file.read_text().splitlines():
            record = json.loads(line)
            yield record.get("key"), record.get("value", record.get("payload"))


def leaves(value):
    """The columns' values of rows, as JSON."""
    payload = value.get("payload", value) if isinstance(value, dict) else {}
    for row in ("before", "after"):
        yield from (json.dumps(cell, ensure_ascii=False) for cell in (payload.get(row) or {}).values())


# Texts in the host's own tests, and in its code.
LITERAL = re.compile(r'r#"(.*?)"#|"((?:[^"\\\n]|\\.)*)"', re.DOTALL)


def texts(*paths):
    """The texts that stand in files of the host."""
    for path in paths:
        for raw, plain in LITERAL.findall((ROOT / "host/src" / path).read_text()):
            yield raw or plain.replace('\\"', '"').replace("\\n", "\n").replace("\\t", "\t").replace("\\0", "\0")


def registered(schema, body):
    """A schema with its length before it, and a body."""
    schema = schema.encode()
    return len(schema).to_bytes(2, "little") + schema + body


def registry_seeds(begin, values):
    here = "debezium/registry/"
    bodies = [b"", b"\2a", bytes([2, 2, 4, 0]), bytes(range(40)), b"\0" * 30, b"\x06a\"\n", bytes([0x0a, 2, 8, 1, 0x12, 0])]
    for text in texts(here + "avro/tests.rs", here + "tests.rs"):
        if text.startswith(("{", "[", '"')):
            begin["avro"] += [registered(text, body) for body in bodies]
    for text in texts(here + "protobuf/tests.rs"):
        text = text if "message" in text else "syntax = \"proto3\"; message M { " + text + " } enum E { A = 0; B = 2; }"
        begin["protobuf"] += [registered(text, b"\0" + body) for body in bodies]
    for text in texts(here + "tests.rs", here + "json_schema.rs"):
        if text.startswith("{"):
            begin["json_schema"] += [registered(text, event.encode()) for event in values[:3] + ['{"a":1}']]
    for flags in range(32):
        begin["framing"] += [bytes([flags, 5]) + b"\0\0\0\0\1" + b"\2\2a", bytes([flags, 8]) + b"\0" * 12 + b"\1\2\2a",
                             bytes([flags, 17]) + bytes([1] * 34) + b"\2\2a", bytes([flags, 0]) + b"\0\0\0\0\1\2\2a"]


def settings_seeds(begin):
    types = sorted(set(texts("debezium/hints.rs")))
    begin["hints"] = [f"{name}\n{ty}\na_at".encode() for ty in types for name in ("*_at", "s.t.a")]
    forms = sorted(set(texts("debezium/placeholder.rs")))
    begin["placeholder"] = [f"{setting}\n{form}".encode() for form in forms
                            for setting in ("__debezium_unavailable_value", "n/a?>", "hex:6e2f61")]
    options = [b"\0", b"\3__\tn/a\tu\t*\ttext", b"\1_x_\t\td\tid\tint32", b"\2__\thex:ff\t\t*_at\ttimestamp(millis)"]
    for text in texts("debezium/forms/tests.rs", "debezium/tests.rs"):
        if text.startswith("{"):
            begin["forms"] += [option + b"\n" + b'{"id":1}\n' + text.encode() for option in options]
    for text in texts("debezium/structured.rs"):
        if text.startswith("{"):
            begin["structured"] += [bytes([form]) + text.encode() for form in range(6)]


def target_seeds(begin):
    names = sorted({name for name in TYPES} | {text for text in texts("clickhouse/evolve.rs", "clickhouse/profile.rs")
                                               if re.match(r"[A-Z]\w+(\(|$)", text)})
    views = [text for text in texts("clickhouse/evolve.rs") if text.startswith("SELECT")]
    begin["evolve"] = [f"{name}\n{other}\n{views[at % len(views)]}".encode()
                       for at, name in enumerate(names) for other in names[at % 5::5]]
    catalogue = "".join(kind + "\t" + name + "\t0\n" for kind, name in [
        ("version", "26.7.1"), ("type", "Date32"), ("type", "DateTime64"), ("type", "Time64"), ("type", "Bool"), ("type", "Map"),
        ("setting", "enable_time_time64_type"), ("setting", "insert_deduplicate"), ("table", "clean_deleted_rows")])
    ranges = "1970-01-01\t2149-06-06\t1970-01-01 00:00:00\t2106-02-07 06:28:15\t1900-01-01\t2299-12-31"
    begin["profile"] = [f"{catalogue}\0{ranges}\0{name}".encode() for name in names]


def varint(number):
    head = b""
    while number >= 128:
        head += bytes([number % 128 + 128])
        number //= 128
    return head + bytes([number])


def block(ty, data, rows):
    text = lambda name: varint(len(name)) + name.encode()
    return varint(1) + varint(rows) + text("c") + text(ty) + data


def seeds():
    """What each target begins with."""
    begin = {name: [] for name in targets()}
    cells, values = set(), []
    for key, value in records():
        if value is None:
            continue
        text = value if isinstance(value, str) else json.dumps(value)
        record = ((key or "") + "\n" + text).encode()
        values.append(text)
        begin["json"].append(text.encode())
        begin["records"] += [record, record + b"\0" + record]
        event = json.loads(text)
        cells.update(leaves(event))
        if "schema" in event:
            begin["schema"].append(json.dumps(event["schema"]).encode())
    begin["records"] += [b"\0".join(b"\n" + text.encode() for text in values[at:at + 4]) for at in range(0, len(values), 4)]
    begin["json"] += [b"\0".join(text.encode() for text in values[at:at + 3]) for at in range(0, len(values), 3)]
    begin["json"] += [cell.encode() for cell in sorted(cells)]
    for number, cell in enumerate(sorted(cell for cell in cells if len(cell) < 400)):
        begin["values"] += [bytes([(number + more) % FORMS, number % 27]) + cell.encode() for more in range(0, FORMS, 7)]
        begin["policies"] += [bytes([number % 12, number % FORMS, number % 26]) + cell.encode()]
    for number in ["0", "-0.0", "1e5", "12345.6789", "-1.5E-300", "123456789012345678901234567890.5e10"]:
        begin["decimal_text"].append(number.encode())
        begin["values"] += [bytes([form, ty]) + number.encode() for form in range(0, 44, 5) for ty in range(27)]
        begin["policies"] += [bytes([rule, form, ty]) + number.encode() for rule in range(12) for form in (4, 6, 13, 20)
                              for ty in range(26)]
    for scale in [0, 4, -3, 70]:
        data = [b"\0", b"\xff", b"\x7f" * 8, b"\x80" + b"\0" * 16, bytes(range(40))]
        begin["decimal_bytes"] += [scale.to_bytes(4, "little", signed=True) + number for number in data]
    registry_seeds(begin, values)
    settings_seeds(begin)
    target_seeds(begin)
    begin["types"] = [name.encode() for name in TYPES]
    begin["native"] = [
        block("Int64", b"\1" * 16, 2), block("String", varint(2) + b"ab" + varint(0), 2), block("Nullable(Bool)", b"\1\0\0\1", 2),
        block("Array(UInt8)", (2).to_bytes(8, "little") + b"\1\2", 1), block("DateTime64(6, 'UTC')", b"\1" * 8, 1),
        block("Map(String, Int8)", (1).to_bytes(8, "little") + varint(1) + b"a\5", 1), block("Decimal(76, 3)", b"\1" * 32, 1),
        block("Tuple(String, UUID)", varint(1) + b"a" + b"\1" * 16, 1), block("Enum8('a' = 1)", b"\1", 1),
        block("FixedString(3)", b"abc", 1), block("IPv6", b"\1" * 16, 1), block("Float32", b"\0\0\0\1", 1),
    ]
    begin["names"] = [name.encode() for name in NAMES]
    begin["times"] = begin["sdk_times"] = [time.encode() for time in TIMES]
    line = lambda **members: json.dumps(members).encode() + b"\n"
    begin["lines"] = [
        line(topic="a", partition=3, offset=17, ts=5, key='{"id":1}', payload='{"x":"\\n"}') + line(topic="a", offset=17, payload=None),
        line(topic="b", value={"op": "c"}) + b"\r\n" + line(x=1), line(topic="a", payload="1") * 5, b'{"topic":"a","payload":"\\ud800"}',
    ]
    begin["config"] = [CONFIG.encode(), (ROOT / "examples/pipeline.yaml").read_bytes()]
    begin["seal"] = [b"v1;e=17;r=5b839a053273858f;a=0", b"v1;e=9223372036854775807;r=x;a=4294967295;z=1", b""]
    begin["http"] = [
        status.to_bytes(2, "little") + f"{code}\n{tag}\n{body}".encode() for status, code, tag, body in ANSWERS
    ]
    begin["oci"] = [text.encode() for text in texts("oci/reference.rs", "oci/challenge.rs")] + [
        f"oci://{place}@sha256:{'0123456789abcdef' * 4}".encode() for place in ("ghcr.io/a/b", "[::1]:5000/a:1.4", "127.1/a__b-c")]
    descriptor = lambda kind: {"mediaType": kind, "digest": "sha256:" + "a" * 64, "size": 5}
    begin["oci"].append(json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.wasm.config.v0+json"), "layers": [descriptor("application/wasm")]}).encode())
    return begin


def build():
    # Sees what the code of the workspace does; the dependencies are those of every other build.
    wrapper = {"RUSTC_WORKSPACE_WRAPPER": str(ROOT / "fuzz/rustc.sh"), "CARGO_PROFILE_DEV_OPT_LEVEL": "2"}
    command = ["cargo", "test", "--no-run", "--workspace", "--features", "fuzz/libfuzzer", "--test", "fuzz", "--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, env={**os.environ, **wrapper}, stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode:
        sys.exit("error: the fuzzer could not be built; it takes a C++ compiler")
    messages = map(json.loads, built.stdout.splitlines())
    return next(message["executable"] for message in messages if message.get("executable"))


def targets():
    listed = subprocess.run([PROGRAM], env={**os.environ, "FUZZ_TARGET": "list"}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                            check=True)
    return listed.stdout.split()


def fuzz(name, begin):
    """Runs one target; gives how often, and the end of what it said where it failed."""
    corpus, first, found = (FOLDER / part / name for part in ("corpus", "seeds", "found"))
    for folder in (corpus, first, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(begin):
        (first / f"{number:04}").write_bytes(seed)
    options = [f"-max_total_time={SECONDS}", f"-max_len={MAX_LENGTH.get(name, 2_048)}", "-timeout=10", "-rss_limit_mb=2048",
               "-print_final_stats=1", f"-artifact_prefix={found}/", corpus, first]
    env = {**os.environ, "FUZZ_TARGET": name, "RUST_BACKTRACE": "0"}
    ran = subprocess.run([PROGRAM, *options], env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, check=False)
    said = ran.stderr.decode(errors="replace")
    runs = re.search(r"number_of_executed_units: (\d+)", said)
    seen = re.findall(r"cov: (\d+)", said)
    return int(runs[1]) if runs else 0, int(seen[-1]) if seen else 0, failure(said) if ran.returncode else ""


def failure(said):
    """What it said without its progress."""
    return "\n".join([line for line in said.splitlines() if not re.match(r"#\d|stat::|INFO:|MS: ", line)][-25:])


def main():
    chosen = os.environ.get("FUZZ_TARGETS", "").split() or targets()
    begin, failed = seeds(), 0
    print(f"{'target':<16}{'runs':>12}{'branches':>10}   {SECONDS} s each, {JOBS} at once", flush=True)
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for name, (runs, seen, failure) in zip(chosen, pool.map(lambda name: fuzz(name, begin[name]), chosen)):
            print(f"{name:<16}{runs:>12,}{seen:>10,}   {'FAILED' if failure else 'no crash'}", flush=True)
            if failure:
                failed += 1
                print(failure, f"the bytes are in {FOLDER / 'found' / name}", sep="\n", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    PROGRAM = build()
    main()
