//! Another transform while the pipeline runs: at a batch's boundary, without a restart, and none but a good one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use serde_json::{Value, json};

use crate::support::places::{component, variant};
use crate::support::{Database, Host, Running, Stack, Topic, assert_same, events, places, wait_until};

/// Partitions of a topic under load, and records that are written at once.
const PARTITIONS: i32 = 3;
const BURST: u64 = 30;
/// Between two bursts.
const PAUSE: Duration = Duration::from_millis(20);

/// A transform's file that a host watches.
struct Watched {
    file: PathBuf,
}

impl Watched {
    /// With a transform; see [`places::transform`].
    fn new(name: &str) -> Self {
        let watched = Watched { file: places::new_folder().join("transform.wasm") };
        watched.becomes(&component(name));
        watched
    }

    /// Replaces the file as a deployment does: written beside, and renamed.
    fn becomes(&self, bytes: &[u8]) {
        let beside = self.file.with_extension("new");
        fs::write(&beside, bytes).expect("a file");
        fs::rename(&beside, &self.file).expect("it is renamed");
    }

    fn path(&self) -> &str {
        self.file.to_str().expect("UTF-8")
    }

    /// The same, which the host looks at now.
    fn becomes_at_once(&self, bytes: &[u8], host: &Running) {
        self.becomes(bytes);
        host.signal("HUP");
    }
}

/// A host that watches the file, and keeps what it runs in this folder.
fn watching(topic: &Topic, database: &Database, watched: &Watched, state: &Path) -> Host {
    let state = state.to_str().expect("UTF-8");
    Host::pipeline(topic, database).set("--transform", watched.path()).args(["--watch", "--state-dir", state])
}

/// What stands after `name=` in a line of the log.
fn told<'l>(line: &'l str, name: &str) -> &'l str {
    let at = line.find(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name} in {line}"));
    let rest = &line[at + name.len() + 2..];
    rest.split_whitespace().next().expect("a value").trim_matches('"')
}

/// A topic for [`swaps`].
pub fn topic_for_swaps(name: &str) -> Topic {
    Topic::new(&format!("{name}.public.my_table"), PARTITIONS)
}

/// Swaps under load, and what they come to. `hand_over` has a host that keeps updates take one more variant of that
/// transform.
pub fn swaps(
    topic: &Topic,
    database: &Database,
    host: Running,
    count: u64,
    hand_over: impl Fn(u64, &Running),
) {
    let (stop, made) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut lines = Vec::new();
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let from = made.load(Ordering::Relaxed);
                let burst = from..from + BURST;
                let records: Vec<_> = burst.map(|id| events::update(id, &format!("name {id}"))).collect();
                topic.produce(PARTITIONS, &records);
                made.fetch_add(BURST, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
        });
        // However this ends, the records do.
        let _end = Ends(&stop);
        database.wait_for_rows("my_table", 1);
        for number in 0..count {
            let from = host.err.len();
            hand_over(number, &host);
            lines.push(host.wait_for_line_from("transform swapped", from));
        }
    });
    let took = began.elapsed();
    let made = made.load(Ordering::Relaxed);
    database.wait_for_rows("my_table", made);
    host.drain();
    database.has_updates_once("my_table", made);

    // Each swap goes on where the one before came to, and no row is of a transform that was not there.
    let order: Vec<&str> =
        [told(&lines[0], "was")].into_iter().chain(lines.iter().map(|line| told(line, "now"))).collect();
    let mut pauses: Vec<u64> =
        lines.iter().map(|line| told(line, "pause_us").parse().expect("a number")).collect();
    let hands = check_hands(database, &order);
    pauses.sort_unstable();
    let at = |percent: usize| pauses[(pauses.len() * percent / 100).min(pauses.len() - 1)];
    println!(
        "{count} swaps in {:.1} s under {made} records: lost 0, doubled 0, {hands} times a partition changed hands; \
         a batch waited for a swap: p50 {} us, p99 {} us, at most {} us",
        took.as_secs_f64(),
        at(50),
        at(99),
        at(100)
    );
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Checks that in each partition the transforms follow each other in this order, without one that comes back, and
/// that the table of transforms says the same. Returns how often a partition changed hands.
fn check_hands(database: &Database, order: &[&str]) -> usize {
    let of_rows = database.rows(
        "SELECT _partition AS partition, _transform AS transform, min(_offset) AS first, max(_offset) AS last FROM my_table \
         GROUP BY 1, 2 ORDER BY 1, 3",
    );
    let text =
        |row: &Value, name: &str| row[name].as_str().map_or_else(|| row[name].to_string(), str::to_owned);
    let number = |row: &Value, name: &str| -> i64 { text(row, name).parse().expect("a number") };
    let mut expected = Vec::new();
    for pair in of_rows.windows(2).filter(|pair| pair[0]["partition"] == pair[1]["partition"]) {
        let [before, now] = [&pair[0], &pair[1]].map(|row| text(row, "transform"));
        assert!(
            number(&pair[0], "last") < number(&pair[1], "first"),
            "rows of two transforms are mixed: {pair:?}"
        );
        let place =
            |transform: &str| order.iter().position(|one| *one == transform).expect("it was deployed");
        assert!(place(&before) < place(&now), "{before} came after {now}: {pair:?}");
        expected.push(format!(
            "{}\t{}\t{now}\t{before}",
            text(&pair[0], "partition"),
            text(&pair[1], "first")
        ));
    }
    assert!(!expected.is_empty(), "no partition changed hands");
    let found = database.lines(
        "SELECT DISTINCT partition, from_offset, transform, before FROM _rowgate_transforms ORDER BY partition, from_offset",
    );
    assert_same("the table of transforms", &found, &expected);
    expected.len()
}

#[test]
fn swaps_under_load_lose_no_row_and_double_none_and_each_batch_is_of_one_transform() {
    let count = env::var("SWAPS").ok().and_then(|count| count.parse().ok());
    let (topic, database) = (topic_for_swaps("deploy_swaps"), Database::new("deploy_swaps"));
    let (watched, base) = (Watched::new("update_only"), component("update_only"));
    let host = watching(&topic, &database, &watched, &places::new_folder()).start();
    let becomes = |number, host: &Running| watched.becomes_at_once(&variant(&base, number), host);
    swaps(&topic, &database, host, count.unwrap_or(25), becomes);
}

#[test]
fn whatever_the_file_becomes_the_transform_that_runs_goes_on_and_the_reason_is_told() {
    let topic = Topic::new("deploy_bad.public.my_table", 1);
    let database = Database::new("deploy_bad");
    let (watched, good) = (Watched::new("update_only"), component("update_only"));
    let host = watching(&topic, &database, &watched, &places::new_folder());
    let host = host.args(["--table", "my_table"]).start();
    let mut rows = 0;
    let mut goes_on = || {
        topic.produce(1, &[events::update(rows, &format!("name {rows}"))]);
        rows += 1;
        database.wait_for_rows("my_table", rows);
    };
    goes_on();
    let mut broken = good.clone();
    let middle = broken.len() / 3;
    broken[middle..middle + 64].fill(0xff);
    for (bytes, reason) in [
        (good[..good.len() / 2].to_vec(), "broken WebAssembly"),
        (vec![], "it is empty"),
        (component("tests/core_module"), "a core module, not a component"),
        (component("tests/other_world"), "exports greet, not"),
        (component("tests/version_two"), "this host runs"),
        (component("tests/changed_types"), "have other types"),
        (broken, "broken WebAssembly"),
        (component("tests/spin_start"), "used up its fuel"),
        (component("tests/hostile"), "parameter `mode` is missing"),
        // It makes rows with a key, and the table that it would have to use has none.
        (variant(&component("mirror"), 0), "my_table"),
    ] {
        let from = host.err.len();
        watched.becomes_at_once(&bytes, &host);
        let line = host.wait_for_line_from("is not taken, and the one that runs goes on", from);
        assert!(line.contains(reason), "{reason}: {line}");
        goes_on();
    }
    let from = host.err.len();
    fs::remove_file(&watched.file).expect("it is there");
    host.wait_for_line_from("it cannot be read", from);
    goes_on();
    let from = host.err.len();
    watched.becomes(&variant(&good, 1));
    host.wait_for_line_from("transform deployed", from);
    goes_on();
    host.drain();
    assert_eq!(database.query("SELECT uniqExact(_transform) FROM my_table"), "2");
    database.has_updates_once("my_table", rows);
}

#[test]
fn what_was_deployed_runs_after_a_restart_until_the_configuration_names_another() {
    let topic = Topic::new("deploy_restart.public.my_table", 1);
    let (database, state) = (Database::new("deploy_restart"), places::new_folder());
    let watched = Watched::new("update_only");
    let both = |id: u64| [events::create(2 * id, "new"), events::update(2 * id + 1, "old")];
    topic.produce(1, &both(0));
    let host = watching(&topic, &database, &watched, &state).start();
    database.wait_for_rows("my_table", 1);
    let from = host.err.len();
    watched.becomes_at_once(&component("all_changes"), &host);
    host.wait_for_line_from("transform deployed", from);
    topic.produce(1, &both(1));
    database.wait_for_rows("my_table", 3);
    host.kill();
    // Killed, and started with the same configuration: the file is what was deployed.
    topic.produce(1, &both(2));
    let again = || {
        watching(&topic, &database, &watched, &state)
            .args(["--until-caught-up", "-X"])
            .arg(&format!("group.instance.id={}", database.name))
    };
    again().succeed();
    assert_eq!(database.lines("SELECT op, count() FROM my_table GROUP BY op ORDER BY op"), ["c\t2", "u\t3"]);
    // Another file, while nothing ran.
    watched.becomes(&component("update_only"));
    topic.produce(1, &both(3));
    let ended = again().succeed();
    assert!(ended.err.contains("names another transform than before"), "{ended:?}");
    assert_eq!(database.lines("SELECT op, count() FROM my_table GROUP BY op ORDER BY op"), ["c\t2", "u\t4"]);
    assert_eq!(database.doubled("my_table"), [""; 0]);
}

#[test]
fn a_range_that_was_sealed_before_a_swap_is_finished_by_the_transform_that_sealed_it() {
    let stack = Stack::shared();
    let topic = Topic::new("deploy_sealed.public.my_table", 1);
    let (database, state) = (Database::new("deploy_sealed"), places::new_folder());
    let watched = Watched::new("update_only");
    let records = |from: u64| -> Vec<_> {
        (from..from + 20)
            .map(|id| if id % 2 == 0 { events::update(id, "old") } else { events::create(id, "new") })
            .collect()
    };
    topic.produce(1, &records(0));
    let started = |host: Host| host.args(["-X"]).arg(&format!("group.instance.id={}", database.name));
    let host = started(watching(&topic, &database, &watched, &state));
    let host = host.set("--clickhouse-url", stack.faults_url()).start();
    database.wait_for_rows("my_table", 10);
    let from = host.err.len();
    watched.becomes_at_once(&component("all_changes"), &host);
    host.wait_for_line_from("transform deployed", from);
    // It dies when its first range after the swap is sealed, and nothing of that is inserted.
    let matching = "INSERT INTO .deploy_sealed...my_table";
    stack.arm(matching, json!({"kind": "hang", "seconds": 60}));
    topic.produce(1, &records(20));
    wait_until("the insert", || stack.armed(matching) == 0);
    host.kill();
    // What the next one runs makes fewer rows of the same records.
    watched.becomes(&component("update_only"));
    topic.produce(1, &records(40));
    let ended = started(watching(&topic, &database, &watched, &state))
        .args(["--pin", "strict", "--until-caught-up"])
        .succeed();
    assert!(ended.err.contains("which finishes it"), "{ended:?}");
    let ranges = "SELECT intDiv(_offset, 20), op, count() FROM my_table GROUP BY 1, 2 ORDER BY 1, 2";
    assert_eq!(database.lines(ranges), ["0\tu\t10", "1\tc\t10", "1\tu\t10", "2\tu\t10"]);
    assert_eq!(database.doubled("my_table"), [""; 0]);
    let hands =
        "SELECT DISTINCT from_offset, transform = before FROM _rowgate_transforms ORDER BY from_offset";
    assert_eq!(database.lines(hands), ["20\t0", "40\t0"]);
}

#[test]
fn a_file_that_is_replaced_is_taken_by_itself_and_one_that_is_half_there_is_not() {
    let topic = Topic::new("deploy_poll.public.my_table", 1);
    let database = Database::new("deploy_poll");
    let (watched, good) = (Watched::new("update_only"), component("all_changes"));
    let host = watching(&topic, &database, &watched, &places::new_folder()).start();
    topic.produce(1, &[events::update(0, "old")]);
    database.wait_for_rows("my_table", 1);
    let from = host.err.len();
    watched.becomes(&good);
    let line = host.wait_for_line_from("transform deployed", from);
    assert_eq!(told(&line, "by"), "watch");
    topic.produce(1, &[events::create(1, "new")]);
    wait_until("the row of an insert", || database.count("my_table") == 2);
    // Written in place, in pieces: nobody sees the half.
    let from = host.err.len();
    let whole = variant(&good, 1);
    for end in [whole.len() / 2, whole.len()] {
        fs::write(&watched.file, &whole[..end]).expect("a file");
    }
    host.wait_for_line_from("transform deployed", from);
    let ended = host.drain();
    assert!(!ended.err.contains("is not taken"), "{ended:?}");
}
