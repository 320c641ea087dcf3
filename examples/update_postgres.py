#!/usr/bin/env python3
"""Makes the table public.my_table, fills it, and updates its rows at a steady pace.

    update_postgres.py --for 30 --rate 50
    update_postgres.py --updates 1000 --rate 0
    update_postgres.py --psql 'docker compose exec -T postgres psql' --dsn postgresql://postgres@/app

Every update gives a row a name that no row had before ("Alice 1", "Alice 2", ...), so that whatever arrives downstream
can be told apart and counted. Needs Python's standard library and `psql`, which it keeps open for the whole run.
"""
import argparse
import itertools
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import threading
import time

TABLE = pathlib.Path(__file__).with_name("my_table.sql")
PROGRESS_SECONDS = 5


class Psql:
    """One psql process; each statement's last line of output is its answer."""

    def __init__(self, command, dsn):
        argv = [*shlex.split(command), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", dsn]
        environment = os.environ | {"PGOPTIONS": "-c client_min_messages=warning"}
        try:
            self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
                                            start_new_session=True)  # Ctrl-C is ours to answer
        except OSError as e:
            sys.exit(f"update_postgres: cannot run psql: {e}; install postgresql-client or give --psql")

    def run(self, statements):
        """Runs the statements and returns the lines that they print."""
        end = f"end {time.monotonic_ns()}"
        lines = []
        try:
            self.process.stdin.write(f"{statements}\n\\echo '{end}'\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.fail()
        for line in self.process.stdout:
            line = line.rstrip("\n")
            if line == end:
                return lines
            lines.append(line)
        self.fail()

    def fail(self):
        sys.exit(f"update_postgres: psql ended with status {self.process.wait()}; its message is above")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def arguments():
    cli = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0],
                                  formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    cli.add_argument("--dsn", default=os.environ.get("PG_URL", "postgresql://postgres:postgres@127.0.0.1:5432/app"),
                     help="where PostgreSQL is; taken from PG_URL if that is set")
    cli.add_argument("--psql", default=os.environ.get("PSQL", "psql"), help="the command that runs psql")
    cli.add_argument("--rows", type=int, default=10, help="rows that the table has at least, before the updates")
    cli.add_argument("--rate", type=float, default=20, help="updates per second; 0 is as fast as possible")
    cli.add_argument("--for", dest="seconds", type=float, help="stop after so many seconds (default: never)")
    cli.add_argument("--updates", type=int, help="stop after so many updates (default: never)")
    cli.add_argument("--name", default="Alice", help="what the names begin with")
    opt = cli.parse_args()
    if opt.rows < 1 or opt.rate < 0:
        cli.error("--rows must be at least 1, --rate at least 0")
    return opt


def quote(text):
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def prepare(psql, opt):
    """Makes and fills the table. Returns the ids to update, and the number that the names go on from."""
    psql.run(TABLE.read_text(encoding="utf-8"))
    psql.run(f"insert into public.my_table (name) select {quote(opt.name)} "
             f"from generate_series(1, {opt.rows} - (select count(*) from public.my_table));")
    ids = psql.run(f"select id from public.my_table order by id limit {opt.rows};")
    # Each row's name is its last update's: the highest number in the table is the last one given.
    last = psql.run(f"select coalesce(max(substr(name, {len(opt.name) + 2})::bigint), 0) from public.my_table "
                    f"where starts_with(name, {quote(opt.name + ' ')}) and substr(name, {len(opt.name) + 2}) ~ '^[0-9]{{1,18}}$';")
    return ids, int(last[-1])


def update(psql, opt, ids, first, stop):
    """Updates row after row until it is time to stop, or `stop` is set. Returns how many it updated."""
    began = told = time.monotonic()
    for done in itertools.count():
        now = time.monotonic()
        # By the clock and not by pauses between updates, so that the pace holds whatever an update takes.
        due = max(now, began + done / opt.rate) if opt.rate else now
        if done == opt.updates or (opt.seconds is not None and due - began >= opt.seconds):
            return done
        if now - told >= PROGRESS_SECONDS:
            told = now
            print(f"{done} updates in {now - began:.0f} s", flush=True)
        if stop.wait(due - now):
            return done
        name = quote(f"{opt.name} {first + done}")
        answer = psql.run(f"update public.my_table set name = {name} where id = {ids[done % len(ids)]};")
        if answer != ["UPDATE 1"]:
            sys.exit(f"update_postgres: row {ids[done % len(ids)]} is gone from public.my_table")


def main():
    opt = arguments()
    psql = Psql(opt.psql, opt.dsn)
    ids, last = prepare(psql, opt)
    print(f"public.my_table has {len(ids)} rows to update; the next is named '{opt.name} {last + 1}'", flush=True)

    # A signal ends the run between two updates: what is printed last is what was done.
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    done = update(psql, opt, ids, last + 1, stop)
    psql.close()
    print(f"updated {done} rows", flush=True)


if __name__ == "__main__":
    main()
