//! How many inserts a table gets.

use std::time::{Duration, Instant};

use crate::support::{Database, Host, Topic, events};

const PARTITIONS: i32 = 20;

/// The inserts that the table got by now: each takes a number for its part, and merges keep the numbers.
fn inserts(database: &Database) -> u64 {
    let sql = format!(
        "SELECT max(max_block_number) FROM system.parts WHERE database = '{}' AND table = 'my_table' AND active",
        database.name
    );
    database.query(&sql).parse().expect("a number")
}

#[test]
fn many_partitions_at_a_low_rate_make_few_inserts_into_their_table_and_a_drain_does_not_wait() {
    const ROUNDS: usize = 15;
    let topic = Topic::new("pace.public.my_table", PARTITIONS);
    let updates = events::updates((ROUNDS as u64 + 2) * PARTITIONS as u64);
    let mut rounds = updates.chunks(PARTITIONS as usize);
    let mut produce = || topic.produce(PARTITIONS, rounds.next().expect("a round"));
    let database = Database::new("pace");
    produce();
    // 20 partitions and 2 inserts a second: a batch waits for 10 s, in place of 100 ms.
    let host = Host::pipeline(&topic, &database).args(["--inserts-per-second", "2"]).start();
    database.wait_for_rows("my_table", PARTITIONS as u64);
    host.wait_for_line("many partitions feed the table");
    let (begin, before) = (Instant::now(), inserts(&database));
    for _ in 0..ROUNDS {
        produce();
        // Longer than the linger that is set: each round would be a batch of each partition.
        std::thread::sleep(Duration::from_millis(200));
    }
    database.wait_for_rows("my_table", (ROUNDS as u64 + 1) * PARTITIONS as u64);
    let (made, most) = (inserts(&database) - before, 2 * begin.elapsed().as_secs() + PARTITIONS as u64);
    assert!(made <= most, "{made} inserts, and {most} at most were expected");

    produce();
    let ended = host.drain();
    assert!(ended.took_ms < 9_000, "{ended:?}");
    Host::pipeline(&topic, &database).arg("--until-caught-up").succeed();
    database.has_updates_once("my_table", updates.len() as u64);
}
