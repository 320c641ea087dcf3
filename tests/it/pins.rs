//! A transform is replaced while a range is pending that it began.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{env, fs};

use serde_json::{Value, json};

use crate::support::{Database, Ended, Host, Stack, Topic, events, places, wait_until};

/// Records in a range, and in all three.
const RANGE: u64 = 100;
const RECORDS: u64 = 3 * RANGE;

/// Two ranges of a pipeline that one host has sealed, and of which it finished the first; a third comes after.
struct Begun {
    topic: Topic,
    database: Database,
    /// Where transforms are kept.
    state: PathBuf,
}

impl Begun {
    /// Kills a host that was `made` so in the second of its inserts, after `fault` has met that one.
    fn by(name: &str, fault: Value, made: impl Fn(Host) -> Host) -> Self {
        let stack = Stack::shared();
        let topic = Topic::new(&format!("{name}.public.my_table"), 1);
        let records = (0..RECORDS).map(|number| match number % 2 {
            0 => events::update(number, &format!("name {number}")),
            _ => events::create(number, "new"),
        });
        topic.produce(1, &records.collect::<Vec<_>>());
        let begun = Begun { topic, database: Database::new(name), state: places::new_folder() };
        let matching = format!("INSERT INTO .{name}.\\..(?!_rowgate_topics)");
        stack.arm(&matching, fault);
        let running = made(begun.host()).set("--clickhouse-url", stack.faults_url()).start();
        wait_until("the insert", || stack.armed(&matching) == 0);
        running.kill();
        let pending = begun.topic.committed(&format!("rowgate-{name}"));
        assert!(pending[0].1 == RANGE as i64 && pending[0].2.contains(";p="), "{pending:?}");
        begun
    }

    /// One that keeps transforms where the first one did.
    fn host(&self) -> Host {
        let name = &self.database.name;
        Host::pipeline(&self.topic, &self.database).args([
            "--batch-rows",
            "100",
            "--until-caught-up",
            "-X",
            &format!("group.instance.id={name}"),
            "--state-dir",
            self.state.to_str().expect("UTF-8"),
        ])
    }

    /// The files of kept transforms.
    fn kept(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.state.join("transforms")).expect("transforms are kept");
        files.map(|file| file.expect("a file").path()).collect()
    }

    /// For each range its number, what `what` says of its rows, and how many do; none stands there twice.
    fn rows(&self, table: &str, what: &str) -> Vec<String> {
        assert_eq!(self.database.doubled(table), [""; 0]);
        self.database.lines(&format!(
            "SELECT intDiv(_offset, {RANGE}), {what}, count() FROM {table} GROUP BY 1, 2 ORDER BY 1, 2"
        ))
    }

    /// Checks that the first two ranges were made by one component, and the third by another.
    fn changes_hands_after_the_second(&self) {
        let sql = format!(
            "SELECT uniqExactIf(_transform, _offset < {0}), uniqExactIf(_transform, _offset >= {0}), \
             uniqExact(_transform) FROM my_table",
            2 * RANGE
        );
        assert_eq!(self.database.query(&sql), "1\t1\t2");
    }

    fn is_done(&self) -> bool {
        self.topic.is_done(&format!("rowgate-{}", self.database.name))
    }
}

/// The insert is applied, and the host does not get to know.
fn applied() -> Value {
    json!({"kind": "delay_response", "seconds": 60, "skip": 1})
}

/// The insert never comes to the server.
fn lost() -> Value {
    json!({"kind": "hang", "seconds": 60, "skip": 1})
}

/// The line at the end that counts ranges which another transform finished.
fn by_another(ended: &Ended) -> Option<&str> {
    ended.out.lines().find_map(|line| line.strip_prefix("ranges begun by a transform that is gone "))
}

#[test]
fn a_range_is_finished_by_the_transform_that_began_it_and_the_next_one_makes_the_rest() {
    let begun = Begun::by("pins_more", applied(), |host| host.transform("update_only"));
    let ended = begun.host().transform("all_changes").args(["--pin", "strict"]).succeed();
    assert!(ended.err.contains("which finishes it") && by_another(&ended).is_none(), "{ended:?}");
    assert_eq!(begun.rows("my_table", "op"), ["0\tu\t50", "1\tu\t50", "2\tc\t50", "2\tu\t50"]);
    begun.changes_hands_after_the_second();
    assert!(begun.is_done());
}

#[test]
fn rows_that_the_next_transform_would_not_make_are_finished_by_the_one_that_does() {
    let begun = Begun::by("pins_fewer", lost(), |host| host.transform("all_changes"));
    begun.host().transform("update_only").args(["--pin", "strict"]).succeed();
    assert_eq!(begun.rows("my_table", "op"), ["0\tc\t50", "0\tu\t50", "1\tc\t50", "1\tu\t50", "2\tu\t50"]);
    begun.changes_hands_after_the_second();
}

#[test]
fn a_range_is_finished_with_the_parameters_that_it_was_begun_with() {
    let begun = Begun::by("pins_params", lost(), |host| host.args(["-p", "unit=ns"]));
    begun.host().args(["-p", "unit=us", "--pin", "strict"]).succeed();
    let years = begun.rows("my_table", "toYear(created_at)");
    assert_eq!(years, ["0\t1970\t50", "1\t1970\t50", "2\t2024\t50"]);
}

#[test]
fn a_range_is_finished_with_the_settings_that_it_was_begun_with() {
    let begun = Begun::by("pins_settings", applied(), |host| {
        host.args(["--table", "before", "--column", "created_at=timestamp(nanos)"])
    });
    begun.host().args(["--table", "after", "--column", "created_at=timestamp(micros)"]).succeed();
    assert_eq!(begun.rows("before", "toYear(created_at)"), ["0\t1970\t50", "1\t1970\t50"]);
    assert_eq!(begun.rows("after", "toYear(created_at)"), ["2\t2024\t50"]);
}

#[test]
fn where_the_transform_is_gone_the_next_one_finishes_the_range_and_says_so() {
    let begun = Begun::by("pins_gone", applied(), |host| host.transform("update_only"));
    fs::remove_dir_all(&begun.state).expect("it is removed");
    let ended = begun.host().transform("all_changes").succeed();
    assert!(ended.err.contains("this range was sealed by transform"), "{ended:?}");
    assert!(ended.err.contains("it is not kept in"), "{ended:?}");
    assert_eq!(by_another(&ended), Some("1"));
    // What had landed stays, and the same token and check keep it from landing twice.
    assert_eq!(begun.rows("my_table", "op"), ["0\tu\t50", "1\tc\t50", "1\tu\t50", "2\tc\t50", "2\tu\t50"]);
}

#[test]
fn where_the_transform_is_gone_strict_stops_until_it_is_brought_back() {
    let begun = Begun::by("pins_strict", applied(), |host| host.transform("all_changes"));
    fs::remove_dir_all(&begun.state).expect("it is removed");
    let group = "rowgate-pins_strict";
    let pending = begun.topic.committed(group);
    let strict = |transform| begun.host().transform(transform).args(["--pin", "strict"]);
    for _ in 0..2 {
        let help = ["it is not kept in", "help: start with that transform again", "--pin prefer"];
        strict("update_only").run().fails(3, &help);
        assert_eq!(begun.topic.committed(group), pending);
        assert_eq!(begun.database.count("my_table"), 2 * RANGE);
    }
    // Started once, it is kept again, whichever runs after it.
    let once = strict("all_changes").set("--topic", "no.such.topic");
    once.args(["--group", "another", "--for", "1s"]).succeed();
    strict("update_only").succeed();
    assert_eq!(begun.rows("my_table", "op"), ["0\tc\t50", "0\tu\t50", "1\tc\t50", "1\tu\t50", "2\tu\t50"]);
    assert!(begun.is_done());
}

#[test]
fn a_kept_transform_that_was_damaged_counts_as_gone_and_that_is_said() {
    let begun = Begun::by("pins_damaged", applied(), |host| host.transform("update_only"));
    let [file] = begun.kept().try_into().expect("one transform is kept");
    let mut bytes = fs::read(&file).expect("it can be read");
    bytes[1000] ^= 1;
    fs::write(&file, bytes).expect("it can be written");
    let strict = begun.host().transform("all_changes").args(["--pin", "strict"]).run();
    strict.fails(3, &["it is damaged", file.to_str().expect("UTF-8")]);
    let ended = begun.host().transform("all_changes").succeed();
    assert!(ended.err.contains("it is damaged"), "{ended:?}");
    assert_eq!(by_another(&ended), Some("1"));
}

#[test]
fn a_host_that_cannot_keep_its_transform_says_so_and_runs() {
    let topic = Topic::new("pins_nowhere.public.my_table", 1);
    topic.produce(1, &events::updates(10));
    let database = Database::new("pins_nowhere");
    let host = |name: &str| Host::pipeline(&topic, &database).set("--name", name).args(["--until-caught-up"]);
    let file = places::file("file", "");
    let unwritable = host("pins_file").args(["--state-dir", &file]).succeed();
    assert!(unwritable.err.contains("the transform is not kept: "), "{unwritable:?}");
    assert!(unwritable.err.contains(&format!("{file}/transforms")), "{unwritable:?}");
    let homeless = host("pins_homeless").set("--database", "pins_nowhere").env("XDG_STATE_HOME", "");
    let homeless = homeless.env("HOME", "").args(["--table", "second"]).succeed();
    assert!(homeless.err.contains("neither `state_dir` nor HOME says where"), "{homeless:?}");
    database.has_updates_once("my_table", 10);
    database.has_updates_once("second", 10);
    // Where nothing is sealed no transform is kept, and nothing is said of it; of its native code something is.
    let lines = Host::from_file(places::fixture("simple.ndjson")).args(["--state-dir", &file]).succeed();
    assert!(!lines.err.contains("the transform is not kept"), "{lines:?}");
    assert!(lines.err.contains("native code is not kept in "), "{lines:?}");
}

#[test]
fn a_transform_is_kept_for_this_user_only_and_not_in_the_working_folder() {
    let begun = Begun::by("pins_secret", lost(), |host| host.args(["-p", "unit=ns"]));
    let [file] = begun.kept().try_into().expect("one transform is kept");
    let mode = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    };
    assert_eq!((mode(&file), mode(file.parent().expect("a folder"))), (0o600, 0o700));
    let name = file.file_name().and_then(|name| name.to_str()).expect("UTF-8");
    assert!(name.starts_with("pins_secret@"), "{name}");
    assert!(env::var_os("HOME").is_none_or(|home| !file.starts_with(Path::new(&home).join(".local"))));
}

#[test]
fn a_transform_is_kept_as_long_as_a_range_needs_it_and_no_longer() {
    let begun = Begun::by("pins_prune", lost(), |host| host.transform("all_changes"));
    let [first] = begun.kept().try_into().expect("one transform is kept");
    // Used longest ago, and many others were used since; those of another pipeline do not count.
    let make_old = || {
        let file = fs::File::options().append(true).open(&first).expect("it is kept");
        file.set_modified(SystemTime::UNIX_EPOCH).expect("it has a time");
    };
    make_old();
    let folder = first.parent().expect("a folder");
    for number in 0..12 {
        fs::write(folder.join(format!("pins_prune@{number:016x}")), "").expect("a file");
        fs::write(folder.join(format!("other@{number:016x}")), "").expect("a file");
    }
    let next = || begun.host().transform("update_only").args(["--pin", "strict"]).succeed();
    next();
    assert_eq!(begun.rows("my_table", "op"), ["0\tc\t50", "0\tu\t50", "1\tc\t50", "1\tu\t50", "2\tu\t50"]);
    assert!(first.exists());
    let of = |pipeline: &str| {
        let names = begun.kept().into_iter().filter_map(|path| Some(path.file_name()?.to_owned()));
        names.filter(|name| name.to_str().is_some_and(|name| name.starts_with(pipeline))).count()
    };
    // The last eight, and the one that was needed.
    assert_eq!((of("pins_prune@"), of("other@")), (9, 12));
    make_old();
    next();
    assert!(!first.exists(), "no range needs it any more");
    assert_eq!((of("pins_prune@"), of("other@")), (8, 12));
}
