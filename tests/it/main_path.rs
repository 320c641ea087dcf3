//! From a row in PostgreSQL through Debezium and Kafka to a row in ClickHouse.

use std::process::Command;

use crate::support::{Database, Host, Stack, assert_same, places, wait_until};

/// Makes the example's table, and gives it the rows that the tests update.
fn prepare(stack: &Stack) {
    let updates = Command::new(places::root().join("examples/update_postgres.py"))
        .args(["--dsn", stack.postgres_url(), "--psql", stack.psql(), "--updates", "0", "--rows", "10"])
        .output()
        .expect("python runs");
    assert!(updates.status.success(), "{}", String::from_utf8_lossy(&updates.stderr));
}

/// Updates of `my_table`, each with what PostgreSQL held after it: `id|name|created_at`, with a null as `\N`.
fn update(stack: &Stack, set: &str, first_id: u32) -> Vec<String> {
    stack.sql(&format!(
        "update public.my_table set {set} where id between {first_id} and {} returning id || '|' || \
         coalesce(name, '\\N') || '|' || coalesce(to_char(created_at, 'YYYY-MM-DD HH24:MI:SS.US'), '\\N')",
        first_id + 2
    ))
}

/// What a person does to the rows, in the order in which PostgreSQL did it.
fn change_rows(stack: &Stack) -> Vec<String> {
    let mut expected = Vec::new();
    for (set, first_id) in [
        ("name = 'Alice 5555'", 1),
        ("name = $$O'Brien \"the\" \\ größte 🙂$$ || id", 2),
        ("name = null", 3),
        ("name = ''", 4),
        ("name = repeat('x', 20000)", 4),
        ("created_at = '2024-02-29 23:59:59.999999'", 5),
        ("created_at = '1999-12-31 23:59:59.000001'", 6),
        ("created_at = null", 7),
        ("name = name", 7),
    ] {
        expected.extend(update(stack, set, first_id));
    }
    // Not updates: these are not to arrive.
    stack.sql(
        "insert into public.my_table (name) values ('new'); delete from public.my_table where name = 'new'",
    );
    expected.extend(update(stack, "name = 'the last'", 8));
    expected
}

const ARRIVED: &str = "SELECT concat(toString(id), '|', ifNull(name, '\\\\N'), '|', ifNull(toString(created_at), '\\\\N')) \
     FROM my_table ORDER BY _offset, _seq FORMAT TSVRaw";

/// Both connectors watch the same table; each of them has a pipeline.
#[test]
fn updates_in_postgresql_arrive_in_clickhouse_as_postgresql_held_them_and_nothing_else_does() {
    let stack = Stack::with_debezium();
    prepare(stack);
    // By default the converter writes a column's default where the row has a null.
    let common = ["poll.interval.ms=10", "value.converter.replace.null.with.default=false"];
    stack.run(&["connector", "plain", common[0], common[1]]);
    stack.run(&["connector", "described", common[0], common[1], "value.converter.schemas.enable=true"]);
    let pipelines = ["plain", "described"].map(|connector| {
        let database = Database::new(&format!("main_path_{connector}"));
        let topic = format!("{connector}.public.my_table");
        let host = Host::between(stack.brokers(), stack.clickhouse_url(), &database);
        (database, host.args(["--topic", &topic]).start())
    });

    let expected = change_rows(stack);
    assert_eq!(expected.len(), 30);

    for (database, host) in pipelines {
        wait_until("the last update", || database.count("my_table") >= expected.len() as u64);
        assert_same(&database.name, &database.lines(ARRIVED), &expected);
        assert_eq!(database.query("SELECT DISTINCT op FROM my_table"), "u");
        assert_eq!(
            database.query(
                "SELECT type FROM system.columns WHERE database = currentDatabase() AND name = 'created_at'"
            ),
            "Nullable(DateTime64(6, \\'UTC\\'))"
        );
        let ended = host.drain();
        let counters = ended.counters();
        // The snapshot, two inserts' and deletes' records and the tombstone are filtered.
        assert_eq!((counters.kept, counters.rows, counters.rejected), (30, 30, 0), "{ended:?}");
        assert!(counters.filtered >= 10 + 3, "{ended:?}");
        assert!(!database.has_table("_rowgate_dead_letters"));
    }
}
