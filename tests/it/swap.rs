//! Another transform in place of the first: no change of the host.

use crate::support::{Database, Host, Stack, Topic, assert_same, events};

#[test]
fn all_changes_in_place_of_update_only_keeps_every_change_and_says_what_it_was() {
    let topic = Topic::new("swap.public.my_table", 1);
    topic.produce(
        1,
        &[
            events::event("r", serde_json::Value::Null, events::row(1, "read")),
            events::create(2, "created"),
            events::update(2, "updated"),
            events::delete(2),
            events::tombstone(2),
        ],
    );
    let updates = Database::new("swap_update_only");
    Host::pipeline(&topic, &updates).arg("--until-caught-up").succeed();
    assert_eq!(updates.query("SELECT id, name, op FROM my_table"), "2\tupdated\tu");

    let all = Database::new("swap_all_changes");
    let ended = Host::pipeline(&topic, &all).transform("all_changes").arg("--until-caught-up").succeed();
    assert_eq!((ended.counters().kept, ended.counters().filtered), (4, 1));
    assert_eq!(
        all.lines("SELECT id, name, op FROM my_table ORDER BY _offset"),
        ["1\tread\tr", "2\tcreated\tc", "2\tupdated\tu", "2\t\\N\td"]
    );
}

#[test]
fn deletes_carry_the_row_as_postgresql_held_it_before() {
    let stack = Stack::with_debezium();
    stack.sql(
        "create table public.swapped (id int primary key, name text, price numeric(10, 2), created_at timestamp(6)); \
         alter table public.swapped replica identity full; \
         insert into public.swapped values (1, 'Ada', 12.50, '2024-02-29 23:59:59.123456'), (2, null, null, null)",
    );
    stack.run(&[
        "connector",
        "swapped",
        "table.include.list=public.swapped",
        "poll.interval.ms=10",
        "value.converter.schemas.enable=true",
    ]);
    let database = Database::new("swapped");
    let host = Host::between(stack.brokers(), stack.clickhouse_url(), &database)
        .args(["--topic", "swapped.public.swapped"])
        .transform("all_changes")
        .start();
    let expected = stack.sql(
        "update public.swapped set name = 'Ada L.' where id = 1; \
         delete from public.swapped returning id || '|' || coalesce(name, '\\N') || '|' || coalesce(price::text, '\\N') \
         || '|' || coalesce(to_char(created_at, 'YYYY-MM-DD HH24:MI:SS.US'), '\\N')",
    );
    assert_eq!(expected.len(), 2);
    // Two rows of the snapshot, an update, two deletes.
    database.wait_for_rows("swapped", 5);
    let deleted = database.lines(
        "SELECT concat(toString(id), '|', ifNull(name, '\\\\N'), '|', ifNull(toString(price), '\\\\N'), '|', \
         ifNull(toString(created_at), '\\\\N')) FROM swapped WHERE op = 'd' ORDER BY id FORMAT TSVRaw",
    );
    // ClickHouse leaves out a decimal's last zeros.
    let mut expected: Vec<String> = expected.iter().map(|row| row.replace("12.50", "12.5")).collect();
    expected.sort();
    assert_same("deleted rows", &deleted, &expected);
    host.drain();
}
