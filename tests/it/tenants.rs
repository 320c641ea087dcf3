//! Many pipelines of many tenants in one process.

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::clickhouse::ClickHouse;
use crate::support::events::{self, Record};
use crate::support::{Database, Host, Running, Stack, Topic, places, wait_until};

/// A configuration with tenants; each is given as its lines.
fn host(tenants: &[(String, Vec<String>)]) -> Host {
    host_into(Stack::shared().clickhouse_url(), tenants)
}

/// The same, into another ClickHouse.
fn host_into(clickhouse_url: &str, tenants: &[(String, Vec<String>)]) -> Host {
    let brokers = Stack::shared().brokers();
    let mut file =
        format!("brokers: {brokers}\nclickhouse_url: {clickhouse_url}\nlinger_ms: 100\ntenants:\n");
    for (name, lines) in tenants {
        _ = writeln!(file, "  {name}:");
        lines.iter().for_each(|line| _ = writeln!(file, "    {line}"));
    }
    Host::new().args(["--config", &places::file("tenants.yaml", file)])
}

fn tenant(name: &str, lines: &[&str]) -> (String, Vec<String>) {
    (name.to_owned(), lines.iter().map(|line| (*line).to_owned()).collect())
}

/// The lines of a tenant with these settings and pipelines.
fn lines(settings: &[String], pipelines: &[(String, String)]) -> Vec<String> {
    let mut lines = settings.to_vec();
    lines.push("pipelines:".to_owned());
    lines.extend(pipelines.iter().map(|(name, settings)| format!("  {name}: {{{settings}}}")));
    lines
}

#[test]
fn no_tenant_writes_into_the_tables_of_another_or_of_the_host_whatever_its_transform_names() {
    const TENANTS: usize = 4;
    const RECORDS: u64 = 5;
    let topic = Topic::new("tenants_matrix.public.my_table", 1);
    topic.produce(1, &events::updates(RECORDS));
    let database = Database::new("tenants_matrix");
    let mirror = places::transform("mirror");
    let targets: Vec<String> =
        (0..TENANTS).map(|to| format!("t{to}_orders")).chain(["_rowgate_dead_letters".to_owned()]).collect();
    let all: Vec<_> = (0..TENANTS)
        .map(|from| {
            let pipeline = |(at, target): (usize, &String)| {
                let settings = format!(
                    "topic: {}, transform: {mirror:?}, params: {{target: {target}}}, start: earliest",
                    topic.name
                );
                (format!("to_{at}"), settings)
            };
            let pipelines: Vec<_> = targets.iter().enumerate().map(pipeline).collect();
            let settings = [format!("database: {}", database.name), format!("tables: [\"t{from}_*\"]")];
            (format!("tenants_matrix_{from}"), lines(&settings, &pipelines))
        })
        .collect();
    let ended = host(&all).arg("--until-caught-up").succeed();
    for from in 0..TENANTS {
        assert_eq!(
            database.query(&format!("SELECT count() FROM t{from}_orders_current")),
            RECORDS.to_string()
        );
        for (to, target) in targets.iter().enumerate() {
            let name = format!("tenants_matrix_{from}.to_{to}");
            let letters = format!(
                "SELECT count(), uniqExact(offset), anyIf(reason, stage = 'encode') FROM _rowgate_dead_letters \
                 WHERE pipeline = '{name}'"
            );
            let found = database.query(&letters);
            let why = if to == TENANTS {
                "is that of the dead letters"
            } else {
                "is none of those that this pipeline may write to"
            };
            let expected = format!("{RECORDS}\t{RECORDS}\tthe table `{target}` {why}");
            match from == to {
                true => assert!(found.starts_with("0\t0"), "{name}: {found}"),
                false => assert!(found.starts_with(&expected), "{name}: {found}"),
            }
            assert!(ended.out.contains(&format!("pipeline      {name}\n")), "{}", ended.out);
        }
    }
    let mut tables: Vec<String> =
        (0..TENANTS).flat_map(|to| [format!("t{to}_orders"), format!("t{to}_orders_current")]).collect();
    tables.extend(["_rowgate_dead_letters".to_owned(), "_rowgate_topics".to_owned()]);
    tables.sort();
    assert_eq!(database.lines("SHOW TABLES"), tables);
}

/// A user of ClickHouse that has the password `of NAME`, and in the database of that name the rights that
/// docs/operating.md lists; and more rights.
fn user(name: &str, more: &[&str]) -> String {
    const OWN: &str = "SELECT, INSERT, CREATE TABLE, CREATE VIEW, DROP VIEW, ALTER ADD COLUMN, ALTER MODIFY COLUMN, ALTER DELETE";
    const SYSTEM: [&str; 6] =
        ["columns", "tables", "databases", "settings", "merge_tree_settings", "data_type_families"];
    let own = [format!("{OWN} ON {name}.*")].into_iter();
    let system = SYSTEM.map(|table| format!("SELECT ON system.{table}")).into_iter();
    let engines = ["MergeTree", "ReplacingMergeTree"].map(|engine| format!("TABLE ENGINE ON {engine}"));
    let kill = ["KILL QUERY ON *.*".to_owned()];
    let rights =
        own.chain(system).chain(engines).chain(kill).chain(more.iter().map(|right| (*right).to_owned()));
    let grants: String = rights.map(|right| format!("<query>GRANT {right}</query>")).collect();
    format!(
        "<{name}><password>of {name}</password><networks><ip>::/0</ip></networks><profile>default</profile>\
         <quota>default</quota><grants>{grants}</grants></{name}>"
    )
}

#[test]
fn clickhouse_itself_keeps_the_user_of_each_tenant_out_of_the_databases_of_others() {
    const RECORDS: u64 = 5;
    let topic = Topic::new("tenants_grants.public.my_table", 1);
    topic.produce(1, &events::updates(RECORDS));
    let names = ["grants_a", "grants_b", "grants_c"];
    // The last one even sees what the first one has.
    let users =
        [user(names[0], &[]), user(names[1], &[]), user(names[2], &["SELECT ON grants_a.*"])].concat();
    let stack = Stack::start_with(&["clickhouse"], &[("CLICKHOUSE_USERS", &users)]);
    let databases = names.map(|name| Database::on(&stack, name));
    let mirror = places::transform("mirror");
    // To the host all tables differ, so that it lets each tenant into the database of each other.
    let all = names.map(|from| {
        let pipelines = names.map(|to| {
            let settings = format!(
                "topic: {}, transform: {mirror:?}, params: {{target: of_{from}}}, database: {to}, start: earliest",
                topic.name
            );
            (format!("to_{to}"), settings)
        });
        let settings = ["user", "password", "tables"].into_iter().zip([
            from.to_owned(),
            format!("of {from}"),
            format!("[\"of_{from}*\"]"),
        ]);
        let settings: Vec<_> = settings.map(|(name, text)| format!("{name}: {text}")).collect();
        (from.to_owned(), lines(&settings, &pipelines))
    });
    let ended = host_into(stack.clickhouse_url(), &all).arg("--until-caught-up").run();
    ended.fails(3, &["6 of 9 pipelines failed"]);
    for (from, own) in names.iter().zip(&databases) {
        assert_eq!(own.query(&format!("SELECT count() FROM of_{from}_current")), RECORDS.to_string());
        let tables = [
            "_rowgate_topics".to_owned(),
            "_rowgate_transforms".to_owned(),
            format!("of_{from}"),
            format!("of_{from}_current"),
        ];
        let found = own.lines("SHOW TABLES");
        assert!(found.iter().all(|table| tables.contains(table)), "{found:?}");
        for to in names.iter().filter(|to| *to != from) {
            let why = match (*from, *to) {
                ("grants_c", "grants_a") => "ACCESS_DENIED".to_owned(),
                _ => format!("has no database \"{to}\" that the user `{from}` may see"),
            };
            let id = format!("pipeline{{id=\"{from}.to_{to}\"}}");
            let failed = |line: &&str| line.contains(&id) && line.contains("the pipeline failed");
            let said: Vec<&str> = ended.err.lines().filter(failed).collect();
            assert!(said.iter().any(|line| line.contains(&why)), "{id}: {said:?}");
            // Whatever a host would send.
            let url = stack.clickhouse_url().replace("http://", &format!("http://{from}:of%20{from}@"));
            let insert = ClickHouse::at(&url).try_query(&format!("INSERT INTO {to}.of_{to} (id) VALUES (1)"));
            assert!(insert.is_err_and(|error| error.contains("ACCESS_DENIED")), "{from} to {to}");
        }
    }
}

#[test]
fn a_pipeline_that_fails_stops_alone_and_says_why_and_the_others_go_on() {
    let topic = Topic::new("tenants_alone.public.my_table", 1);
    topic.produce(1, &[events::text("no change event"), events::update(1, "a")]);
    let database = Database::new("tenants_alone");
    let common = format!("topic: {}, database: {}", topic.name, database.name);
    let running = host(&[tenant(
        "tenants_alone",
        &[
            "pipelines:",
            &format!("  strict: {{{common}, table: strict, dead_letters: stop}}"),
            &format!("  lenient: {{{common}, table: lenient}}"),
        ],
    )])
    .start();
    let line = running.wait_for_line("the pipeline failed");
    for part in ["pipeline{id=\"tenants_alone.strict\"}", "exit=4", "waits to be resumed", "not_debezium"] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    topic.produce(1, &[events::update(2, "b")]);
    let count = || database.try_query("SELECT count() FROM lenient").is_ok_and(|count| count.trim() == "2");
    wait_until("the other pipeline's rows", count);
    running.signal("TERM");
    let ended = running.wait();
    ended.fails(4, &["1 of 2 pipelines failed: tenants_alone.strict (exit 4)"]);
    assert!(ended.out.contains("pipeline      tenants_alone.lenient\nconsumed      3\n"), "{}", ended.out);
    assert_eq!(ended.err.matches("the pipeline failed").count(), 1, "{}", ended.err);
}

/// A tenant with a database of its own and one pipeline.
fn alone(name: &str, database: &Database, budget: &str, pipeline: String) -> (String, Vec<String>) {
    let settings = [format!("database: {}", database.name), format!("budget: {{{budget}}}")];
    (name.to_owned(), lines(&settings, &[("p".to_owned(), pipeline)]))
}

#[test]
fn a_tenant_beyond_its_budget_waits_and_loses_nothing() {
    const RECORDS: u64 = 100;
    let topic = Topic::new("tenants_budget.public.my_table", 1);
    topic.produce(1, &events::updates(RECORDS));
    let [slow, free] = ["tenants_budget_slow", "tenants_budget_free"].map(Database::new);
    let pipeline = || format!("topic: {}, start: earliest, batch_rows: 10", topic.name);
    let ended = host(&[
        alone("tenants_budget_slow", &slow, "rows_per_second: 20", pipeline()),
        alone("tenants_budget_free", &free, "", pipeline()),
    ])
    .arg("--until-caught-up")
    .succeed();
    for database in [&slow, &free] {
        assert_eq!(database.query("SELECT count(), uniqExact(id) FROM my_table"), "100\t100");
    }
    // A second's rows are there at once, and the last batch is not waited for.
    let least = 1_000 * u128::from(RECORDS - 20 - 10) / 20;
    assert!(ended.took_ms >= least, "{} ms", ended.took_ms);
    let said = "pipeline{id=\"tenants_budget_slow.p\"}";
    let waits = ended.err.lines().filter(|line| line.contains("`budget.rows_per_second` is used up"));
    let waits: Vec<&str> = waits.collect();
    assert!(waits.len() == 1 && waits[0].contains(said), "{waits:?}");
}

#[test]
fn a_tenant_that_computes_more_than_its_budget_is_throttled_and_not_ended() {
    let topic = Topic::new("tenants_fuel.public.my_table", 1);
    topic.produce(1, &events::updates(3));
    let database = Database::new("tenants_fuel");
    let hostile = places::transform("tests/hostile");
    let pipeline = format!(
        "topic: {}, start: earliest, batch_rows: 1, transform: {hostile:?}, params: {{mode: spin}}",
        topic.name
    );
    // One call uses some hundred million.
    let running = host(&[alone("tenants_fuel", &database, "fuel_per_second: 1000000", pipeline)]).start();
    let line = running.wait_for_line("`budget.fuel_per_second` is used up");
    assert!(line.contains("pipeline{id=\"tenants_fuel.p\"}"), "{line}");
    let ended = running.drain();
    assert!(!ended.err.contains("the pipeline failed"), "{}", ended.err);
}

#[test]
fn a_tenant_that_waits_for_its_budget_is_drained_at_once_and_the_next_start_finishes() {
    const RECORDS: u64 = 100;
    /// Less than the 20 seconds after which the last batches are given up, and than the budget takes to come back.
    const AT_ONCE: Duration = Duration::from_secs(15);
    let topic = Topic::new("tenants_drain.public.my_table", 1);
    topic.produce(1, &events::updates(RECORDS));
    let database = Database::new("tenants_drain");
    let with = |budget: &str| {
        let pipeline = format!("topic: {}, start: earliest, batch_rows: 50", topic.name);
        host(&[alone("tenants_drain", &database, budget, pipeline)])
    };
    let running = with("rows_per_second: 1").start();
    running.wait_for_line("`budget.rows_per_second` is used up");
    let begin = Instant::now();
    let ended = running.drain();
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    assert!(ended.err.contains("would wait for the tenant's budget and are left"), "{ended:?}");
    let landed = database.count("my_table");
    assert!(landed > 0 && landed < RECORDS, "{landed}");
    with("").arg("--until-caught-up").succeed();
    database.has_updates_once("my_table", RECORDS);
}

#[test]
fn columns_beyond_a_tenants_budget_are_refused_with_the_reason_and_its_other_rows_land() {
    let topic = Topic::new("tenants_columns.public.my_table", 1);
    topic.produce(1, &[events::update(1, "a")]);
    let database = Database::new("tenants_columns");
    let transform = places::transform("all_changes");
    let pipeline = format!("topic: {}, start: earliest, transform: {transform:?}", topic.name);
    let running = host(&[alone("tenants_columns", &database, "columns_per_hour: 10", pipeline)]).start();
    database.wait_for_rows("my_table", 1);
    let mut wide = events::row(2, "b");
    (0..20).for_each(|at| wide[format!("more_{at}")] = json!(at));
    topic.produce(1, &[events::event("u", Value::Null, wide), events::update(3, "c")]);
    database.wait_for_rows("my_table", 2);
    let ended = running.drain();
    assert_eq!(database.lines("SELECT id FROM my_table ORDER BY id"), ["1", "3"]);
    let letter = database.query("SELECT offset, stage, reason FROM _rowgate_dead_letters");
    for part in ["1\tencode\tmore columns", "(20)", "of 10 an hour (`budget.columns_per_hour`)"] {
        assert!(letter.contains(part), "no {part:?} in {letter}");
    }
    assert!(ended.err.contains("rows that need them are dead letters"), "{ended:?}");
}

/// A number that the environment may set.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: not a number")))
}

/// So many idle pipelines, in tenants of ten, each tenant with a topic and a database; and a name for them.
fn idle(of: &str, pipelines: u64, topics: &[Topic], databases: &[Database]) -> Running {
    let all: Vec<_> = topics
        .iter()
        .zip(databases)
        .enumerate()
        .map(|(at, (topic, database))| {
            let count = (pipelines - 10 * at as u64).min(10);
            let named = |number| (format!("p{number}"), format!("topic: {}", topic.name));
            let pipelines: Vec<_> = (0..count).map(named).collect();
            (format!("{of}_{at}"), lines(&[format!("database: {}", database.name)], &pipelines))
        })
        .take(pipelines.div_ceil(10) as usize)
        .collect();
    let running = host(&all).start();
    for at in 0..pipelines {
        let pipeline = format!("pipeline{{id=\"{of}_{}.p{}\"}}", at / 10, at % 10);
        running.wait_for_line(&format!("{pipeline}: host::source::kafka: partition assigned"));
    }
    running
}

/// Topics of that many tenants, and a database for each.
fn places_of(of: &str, tenants: u64) -> (Vec<Topic>, Vec<Database>) {
    let topics = (0..tenants).map(|at| Topic::new(&format!("{of}_{at}.public.my_table"), 1)).collect();
    (topics, (0..tenants).map(|at| Database::new(&format!("{of}_{at}"))).collect())
}

/// `make tenants` runs it with 100 pipelines.
#[test]
fn an_idle_pipeline_costs_a_few_threads_and_little_memory() {
    /// What one more idle pipeline may take, with some room for a debug build.
    const MOST_KIB: u64 = 2048;
    const MOST_THREADS: u64 = 10;
    const FEW: u64 = 2;
    let many = setting("TENANT_PIPELINES", 12);
    let watched = Duration::from_secs(setting("TENANT_SECONDS", 3));
    let of = "tenants_idle";
    let (topics, databases) = places_of(of, many.div_ceil(10));
    let cost = |pipelines| {
        let running = idle(of, pipelines, &topics, &databases);
        // What the start has left behind: the first heartbeats, fetches, looks at topics.
        std::thread::sleep(watched);
        let (before, begin) = (running.usage(), Instant::now());
        std::thread::sleep(watched);
        let (after, took) = (running.usage(), begin.elapsed());
        let ended = running.drain();
        assert!(!ended.err.contains("the pipeline failed"), "{}", ended.err);
        (
            after.rss_kib,
            after.threads,
            (after.cpu_ms - before.cpu_ms) as f64 / took.as_millis() as f64 * 100.0,
        )
    };
    let ((few_kib, few_threads, few_cpu), (kib, threads, cpu)) = (cost(FEW), cost(many));
    let further = (many - FEW) as f64;
    println!("pipelines   memory MiB   threads   CPU % of one core");
    println!("{FEW:>9}   {:>10.1}   {few_threads:>7}   {few_cpu:>17.1}", few_kib as f64 / 1024.0);
    println!("{many:>9}   {:>10.1}   {threads:>7}   {cpu:>17.1}", kib as f64 / 1024.0);
    println!(
        "each more   {:>10.2}   {:>7.1}   {:>17.2}",
        kib.saturating_sub(few_kib) as f64 / 1024.0 / further,
        (threads - few_threads) as f64 / further,
        (cpu - few_cpu) / further
    );
    assert!(kib.saturating_sub(few_kib) / (many - FEW) < MOST_KIB, "{few_kib} KiB, {kib} KiB");
    assert!((threads - few_threads) / (many - FEW) < MOST_THREADS, "{few_threads} threads, {threads}");
}

/// An update that was made now.
fn update_now(id: u64) -> Record {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_micros();
    let micros = u64::try_from(micros).expect("not so late");
    events::event("u", Value::Null, json!({"id": id, "name": "calm", "created_at": micros}))
}

/// What the first of the tenants does to the others.
struct Attack {
    pipelines: usize,
    settings: String,
    records: Vec<Record>,
}

impl Attack {
    /// More records than it gets done.
    const RECORDS: u64 = 20_000;

    /// `spin`: a pipeline whose transform is `hostile` in that mode; `grow*10`: ten of them; `new_columns`: a column that
    /// there was not in each change.
    fn named(name: &str) -> Self {
        if name == "new_columns" {
            let with_column = |id: u64| {
                let mut row = events::row(id, "wide");
                row[format!("more_{id}")] = json!(id);
                events::event("u", Value::Null, row)
            };
            let settings = format!("transform: {:?}, batch_rows: 8", places::transform("all_changes"));
            return Attack { pipelines: 1, settings, records: (0..Self::RECORDS).map(with_column).collect() };
        }
        let (mode, pipelines) = name.split_once('*').unwrap_or((name, "1"));
        let hostile = places::transform("tests/hostile");
        Attack {
            pipelines: pipelines.parse().expect("a number"),
            settings: format!("transform: {hostile:?}, params: {{mode: {mode}}}, batch_rows: 8"),
            records: events::updates(Self::RECORDS),
        }
    }

    /// The lines of its tenant. It may use a second of fuel each second, and make 100 columns.
    fn lines(&self, topic: &Topic, database: &Database) -> Vec<String> {
        let settings = [
            format!("database: {}", database.name),
            "budget: {fuel_per_second: 1000000000, columns_per_hour: 100}".to_owned(),
        ];
        let pipeline = |number| {
            let name = if number == 0 { "p".to_owned() } else { format!("p{number}") };
            (name, format!("topic: {}, start: earliest, {}", topic.name, self.settings))
        };
        lines(&settings, &(0..self.pipelines).map(pipeline).collect::<Vec<_>>())
    }
}

/// The p99 of how long the records of calm tenants take until they stand in their tables, ms, of the tenant where
/// that is longest, while another one attacks, if it does.
fn calm_p99_ms(of: &str, attack: Option<&Attack>, tenants: u64, seconds: u64) -> f64 {
    const RECORDS_A_SECOND: u64 = 10;
    let (topics, databases) = places_of(of, tenants);
    let all: Vec<_> = (topics.iter().zip(&databases).enumerate())
        .map(|(at, (topic, database))| {
            let name = format!("{of}_{at}");
            match attack.filter(|_| at == 0) {
                Some(attack) => {
                    topic.produce(1, &attack.records);
                    (name, attack.lines(topic, database))
                }
                // Few inserts: on two cores, ClickHouse and an attack would be more than there is.
                None => alone(&name, database, "", format!("topic: {}, linger_ms: 500", topic.name)),
            }
        })
        .collect();
    let running = host(&all).start();
    for at in 0..tenants {
        let pipeline = format!("pipeline{{id=\"{of}_{at}.p\"}}");
        running.wait_for_line(&format!("{pipeline}: host::source::kafka: partition assigned"));
    }
    let count = seconds * RECORDS_A_SECOND;
    let writers: Vec<_> = topics[1..].iter().map(Topic::writer).collect();
    // Tables are made for the first record, which is not counted.
    writers.iter().for_each(|writer| writer.write(1, &[update_now(count)]));
    databases[1..].iter().for_each(|database| database.wait_for_rows("my_table", 1));
    for id in 0..count {
        let begin = Instant::now();
        writers.iter().for_each(|writer| writer.write(1, &[update_now(id)]));
        let pause = Duration::from_secs(1).div_f64(RECORDS_A_SECOND as f64);
        std::thread::sleep(pause.saturating_sub(begin.elapsed()));
    }
    let p99 = |database: &Database| {
        database.wait_for_rows("my_table", count + 1);
        let micros = "toUnixTimestamp64Milli(ts) - intDiv(toUnixTimestamp64Micro(created_at), 1000)";
        let p99 =
            database.query(&format!("SELECT quantileExact(0.99)({micros}) FROM my_table WHERE id < {count}"));
        p99.parse::<f64>().expect("a number")
    };
    let worst = databases[1..].iter().map(p99).fold(0.0, f64::max);
    // The one that attacks is not waited for: it is given up, and nothing of it is lost.
    running.kill();
    worst
}

/// `make tenants` runs it with ten tenants, and many attacks.
#[test]
fn no_tenants_lag_moves_while_another_one_computes_without_end() {
    /// For a machine that does other things meanwhile.
    const ROOM_MS: f64 = 250.0;
    let (tenants, seconds) = (setting("TENANTS", 3), setting("TENANT_SECONDS", 3));
    let attacks = std::env::var("TENANT_ATTACKS").unwrap_or_else(|_| "spin".to_owned());
    let calm = calm_p99_ms("tenants_calm", None, tenants, seconds);
    println!("attack           p99 of the others' lag, ms");
    println!("{:<16} {calm:>26.0}", "none");
    let mut held_up = Vec::new();
    for mode in attacks.split_whitespace() {
        let of = format!("tenants_{}", mode.replace('*', "_"));
        let p99 = calm_p99_ms(&of, Some(&Attack::named(mode)), tenants, seconds);
        println!("{mode:<16} {p99:>26.0}");
        if p99 > 2.0 * calm + ROOM_MS {
            held_up.push(mode);
        }
    }
    assert!(
        held_up.is_empty(),
        "more than twice as long as without an attack, and {ROOM_MS} ms: {held_up:?}"
    );
}
