#!/usr/bin/env python3
"""Runs a ClickHouse server (HTTP, and the native protocol if asked) where no `clickhouse` is installed.

The npm package `@chdb/lib-linux-x64-gnu` has in its libchdb.so the whole program `clickhouse local`, behind the
public C call `chdb_query_cmdline(argc, argv)`. That program answers `SYSTEM START LISTEN HTTP` with ClickHouse's own
HTTP handler, so what listens is ClickHouse and no imitation. It serves until SIGTERM or SIGINT, then ends in order.
Needs only the standard library. ../README.md tells what differs from `clickhouse server`.
"""
import argparse
import ctypes
import hashlib
import os
import pathlib
import signal
import sys
import threading
import uuid
from xml.sax.saxutils import escape

CONFIG = """<clickhouse>
    <users_config>users.xml</users_config>
    <default_database></default_database>
    <database>default</database>
    <tmp_path>{path}/tmp/</tmp_path>
    {extra}
</clickhouse>
"""

# `clickhouse local` relaxes some settings; the profile puts the server's defaults back.
USERS = """<clickhouse>
    <profiles><default>
        <implicit_select>0</implicit_select>
        <allow_introspection_functions>0</allow_introspection_functions>
        <storage_file_read_method>pread</storage_file_read_method>
    </default></profiles>
    <quotas><default/></quotas>
    <users>{users}
    </users>
</clickhouse>
"""

USER = """
        <{name}>
            <password_sha256_hex>{sha256}</password_sha256_hex>
            <networks><ip>::/0</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            {rights}
        </{name}>"""

FULL = "<access_management>1</access_management>"
LAUNCH_ONLY = """<grants>
                <query>GRANT SYSTEM LISTEN, CREATE TEMPORARY TABLE ON *.*</query>
                <query>GRANT READ ON FILE</query>
            </grants>"""


def user_xml(name, password, rights):
    return USER.format(name=name, sha256=hashlib.sha256(password.encode()).hexdigest(), rights=rights)


def write_config(path, user, password, extra, more_users):
    conf = path / "conf"
    conf.mkdir(parents=True, exist_ok=True)
    # An ordinary database `default`, instead of the overlay with files that `clickhouse local` makes.
    default_db = path / "metadata" / "default.sql"
    if not default_db.exists():
        default_db.parent.mkdir(exist_ok=True)
        default_db.write_text(f"ATTACH DATABASE _ UUID '{uuid.uuid4()}'\nENGINE = Atomic\n")
    # The engine's own session is always `default` without a password. Where another user has
    # the password, `default` is left with what that session needs to start and wait.
    if password:
        users = user_xml("default", "", LAUNCH_ONLY) + user_xml(user, password, FULL)
    else:
        users = user_xml("default", "", FULL)
    users += more_users
    (conf / "config.xml").write_text(CONFIG.format(path=escape(str(path)), extra=extra))
    (conf / "users.xml").write_text(USERS.format(users=users))
    return conf / "config.xml"


def main():
    cli = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    cli.add_argument("--path", required=True, type=pathlib.Path, help="data directory, kept between runs")
    cli.add_argument("--host", default="127.0.0.1")
    cli.add_argument("--http-port", type=int, default=8123)
    cli.add_argument("--tcp-port", type=int, help="also serve the native protocol here")
    cli.add_argument("--user", default="default")
    cli.add_argument("--password", default=os.environ.get("CLICKHOUSE_PASSWORD", ""))
    cli.add_argument("--config", default="", help="XML to add inside <clickhouse> of the server configuration")
    cli.add_argument("--users", default="", help="XML to add inside <users>")
    cli.add_argument("--log", help="log file")
    cli.add_argument("--log-level", default="information")
    cli.add_argument("--engine", required=True, help="path of libchdb.so")
    opt = cli.parse_args()
    if (opt.user == "default") == bool(opt.password):
        cli.error("give --user and --password together, with a user other than `default`; or neither")

    os.environ.setdefault("TZ", "UTC")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # `clickhouse local` would read a pipe as a table
    lib = ctypes.CDLL(opt.engine)
    lib.chdb_query_cmdline.restype = ctypes.c_void_p
    lib.chdb_result_error.argtypes = [ctypes.c_void_p]
    lib.chdb_result_error.restype = ctypes.c_char_p
    path = opt.path.resolve()
    config = write_config(path, opt.user, opt.password, opt.config, opt.users)

    # Once it listens, the engine says so on one pipe and waits on another: closing that ends
    # its last query and so, in order, the server.
    ready, say_ready = os.pipe()
    hold, release = os.pipe()
    queries = ["SYSTEM START LISTEN HTTP"]
    if opt.tcp_port:
        queries.append("SYSTEM START LISTEN TCP")
    queries += [f"SELECT 'ready' INTO OUTFILE '/dev/fd/{say_ready}' APPEND FORMAT LineAsString",
                f"SELECT * FROM file('/dev/fd/{hold}', 'RawBLOB', 'b String') "
                "SETTINGS storage_file_read_method = 'read' FORMAT Null"]
    args = ["clickhouse-local", f"--config-file={config}", f"--path={path}", f"--listen_host={opt.host}",
            f"--http_port={opt.http_port}", f"--tcp_port={opt.tcp_port or 9000}", f"--query={'; '.join(queries)}"]
    if opt.log:
        args += [f"--logger.log={opt.log}", f"--logger.level={opt.log_level}", f"--log-level={opt.log_level}"]

    def serve():
        argv = (ctypes.c_char_p * (len(args) + 1))(*map(os.fsencode, args), None)
        error = lib.chdb_result_error(lib.chdb_query_cmdline(len(args), argv))
        if error:
            print(error.decode(errors="replace"), file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGUSR1)

    def announce():
        if os.read(ready, 100):
            print(f"ready http://{opt.host}:{opt.http_port}", flush=True)

    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    engine = threading.Thread(target=serve, name="clickhouse")
    engine.start()
    threading.Thread(target=announce, daemon=True).start()
    received = signal.sigwait(signals)
    os.close(release)
    engine.join()
    if received == signal.SIGUSR1:
        sys.exit("the engine ended by itself")


if __name__ == "__main__":
    main()
