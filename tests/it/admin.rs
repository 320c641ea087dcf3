//! The admin interface of a running host: over HTTP, and by the commands that use it.

use std::fs;

use serde_json::Value;

use crate::deploy;
use crate::support::clickhouse::{ClickHouse, delete, get, put};
use crate::support::minisign::SigningKey;
use crate::support::places::{component, variant};
use crate::support::{Database, Host, Running, Stack, Topic, events, places, wait_until};

/// A host with an admin interface, and its address.
struct Asked {
    host: Running,
    url: String,
}

impl Asked {
    fn start(host: Host) -> Asked {
        let host = host.args(["--admin-listen", "127.0.0.1:0"]).start();
        let line = host.wait_for_line("the admin interface listens");
        let address = line.split_once("address=").expect("an address").1;
        let url = address.split_whitespace().next().expect("an address").to_owned();
        Asked { host, url }
    }

    /// A command that asks it.
    fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Host {
        Host::new().args(arguments).args(["--admin", &self.url])
    }

    /// The same, which must succeed; its output.
    fn told<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> String {
        self.command(arguments).succeed().out
    }

    fn pipelines(&self) -> Value {
        serde_json::from_str(&self.told(["ls", "--json"])).expect("JSON")
    }

    fn metric(&self, series: &str) -> f64 {
        let text = get(&format!("{}/metrics", self.url)).expect("it answers");
        let line = text.lines().find_map(|line| line.strip_prefix(series)).unwrap_or("0");
        line.trim().parse().unwrap_or_else(|_| panic!("{series} in {text}"))
    }
}

fn update(id: u64) -> events::Record {
    events::update(id, &format!("name {id}"))
}

/// What `host ... --json` said.
fn json(said: &str) -> Value {
    serde_json::from_str(said).expect("JSON")
}

/// All tables of a database with their columns.
fn tables(database: &Database) -> Vec<String> {
    let of = format!("FROM system.columns WHERE database = '{}' ORDER BY 1, 2", database.name);
    database.lines(&format!("SELECT table, name, type {of}"))
}

#[test]
fn a_transform_that_is_handed_over_makes_the_rows_from_the_next_batch_on_until_it_is_gone_back_from() {
    let topic = Topic::new("admin_deploy.public.my_table", 1);
    let database = Database::new("admin_deploy");
    let asked = Asked::start(Host::pipeline(&topic, &database));
    topic.produce(1, &[events::create(1, "created"), update(0)]);
    database.wait_for_rows("my_table", 1);

    let all_changes = places::transform("all_changes");
    let deployed = json(&asked.told(["deploy", "admin_deploy", &all_changes, "--json"]));
    assert_eq!((&deployed["state"], &deployed["kept"]), (&"active".into(), &true.into()));
    topic.produce(1, &[events::create(2, "created"), update(1)]);
    database.wait_for_rows("my_table", 3);
    assert_eq!(
        database.lines("SELECT id, op FROM my_table ORDER BY _offset"),
        ["0\tu", "2\tc", "1\tu"],
        "the record before was the first transform's"
    );
    let made_by = database.query("SELECT DISTINCT _transform FROM my_table WHERE _offset > 1");
    assert_eq!(made_by, deployed["digest"].as_str().expect("a digest")[..16]);
    let again = asked.command(["deploy", "admin_deploy", &all_changes]).succeed();
    assert!(again.err.contains("it ran already"), "{again:?}");

    // The one that ran before filters what is no update.
    asked.told(["rollback", "admin_deploy"]);
    topic.produce(1, &[events::create(3, "created"), update(4)]);
    database.wait_for_rows("my_table", 4);
    assert_eq!(database.query("SELECT id FROM my_table ORDER BY _offset DESC LIMIT 1"), "4");
    let done = "rowgate_transform_swaps_total{tenant=\"\",pipeline=\"admin_deploy\",outcome=\"done\"}";
    assert_eq!(asked.metric(done), 2.0);
    assert_eq!(asked.host.drain().counters().consumed, 6);
}

#[test]
fn whatever_is_handed_over_the_transform_that_runs_goes_on_and_the_reason_is_told() {
    let topic = Topic::new("admin_bad.public.my_table", 1);
    let database = Database::new("admin_bad");
    let (key, other_key) = (SigningKey::new([2; 8]), SigningKey::new([3; 8]));
    let signed = |component: &[u8], by: &SigningKey, of: &[u8], comment: &str| {
        let file = places::file("transform.wasm", component);
        fs::write(format!("{file}.minisig"), by.sign(of, comment)).expect("a file");
        file
    };
    let rightly = |component: &[u8]| signed(component, &key, component, "name:admin_bad version:3");
    let good = component("update_only");
    let first = signed(&good, &key, &good, "name:admin_bad version:2");
    let host = Host::pipeline(&topic, &database).set("--transform", &first);
    let asked = Asked::start(host.args(["--table", "my_table", "--transform-key", &key.public()]));
    let mut rows = 0;
    let mut goes_on = || {
        topic.produce(1, &[update(rows)]);
        rows += 1;
        database.wait_for_rows("my_table", rows);
    };
    goes_on();
    let all_changes = component("all_changes");
    let mut broken = good.clone();
    let middle = broken.len() / 3;
    broken[middle..middle + 64].fill(0xff);
    let refused = [
        (rightly(b"no component"), "not WebAssembly"),
        (rightly(&good[..good.len() / 2]), "broken WebAssembly"),
        (rightly(&broken), "broken WebAssembly"),
        (rightly(&component("tests/core_module")), "a core module, not a component"),
        (rightly(&component("tests/other_world")), "exports greet, not"),
        (rightly(&component("tests/other_import")), "imports"),
        (rightly(&component("tests/version_two")), "this host runs"),
        (rightly(&component("tests/changed_types")), "have other types"),
        // It ends in a trap, before it is asked anything.
        (rightly(&component("tests/spin_start")), "used up its fuel"),
        (rightly(&component("tests/hostile")), "parameter `mode` is missing"),
        // It makes rows with a key, and the table that it would have to use has none.
        (rightly(&component("mirror")), "my_table"),
        (places::file("unsigned.wasm", &all_changes), "it is not signed"),
        (
            signed(&all_changes, &other_key, &all_changes, "name:admin_bad version:3"),
            "none of `transform_key`",
        ),
        (signed(&all_changes, &key, &good, "name:admin_bad version:3"), "its signature by key"),
        (
            signed(&all_changes, &key, &all_changes, "name:other version:3"),
            "it is signed as transform `other`",
        ),
        (signed(&all_changes, &key, &all_changes, "name:admin_bad version:1"), "it is of version 1,"),
    ];
    for (file, reason) in &refused {
        asked.command(["deploy", "admin_bad", file]).run().fails(2, &[reason, "(refused)"]);
        goes_on();
    }
    let large = rightly(&vec![0; (4 << 20) + 1]);
    asked.command(["deploy", "admin_bad", &large]).run().fails(2, &["4194304 bytes", "(too_large)"]);
    goes_on();
    let swaps = |outcome| {
        format!("rowgate_transform_swaps_total{{tenant=\"\",pipeline=\"admin_bad\",outcome=\"{outcome}\"}}")
    };
    assert_eq!([asked.metric(&swaps("refused")), asked.metric(&swaps("done"))], [refused.len() as f64, 0.0]);
    assert_eq!(database.query("SELECT uniqExact(_transform) FROM my_table"), "1");

    asked.told(["deploy", "admin_bad", &rightly(&all_changes)]);
    goes_on();
    assert_eq!(database.query("SELECT uniqExact(_transform) FROM my_table"), "2");
    // What has the version that has run by now is none that ran before.
    asked.command(["deploy", "admin_bad", &first]).run().fails(2, &["version 2", "(refused)"]);
    asked.host.drain();
    database.has_updates_once("my_table", rows);
}

#[test]
fn where_a_digest_is_pinned_no_other_component_is_taken() {
    let topic = Topic::new("admin_pinned.public.my_table", 1);
    let database = Database::new("admin_pinned");
    let shown = Host::new().args(["inspect", &places::transform("update_only")]).succeed().out;
    let digest = shown.lines().find_map(|line| line.strip_prefix("sha256")).expect("a digest").trim();
    let host = Host::pipeline(&topic, &database);
    let asked = Asked::start(host.args(["--transform-digest", &format!("sha256:{digest}")]));
    let other = places::transform("all_changes");
    let url = format!("{}/v1/pipelines/~/admin_pinned", asked.url);
    for purpose in ["--check", "--try"] {
        topic.produce(1, &[update(0)]);
        database.wait_for_rows("my_table", 1);
        asked
            .command(["deploy", "admin_pinned", &other, purpose])
            .run()
            .fails(2, &["`transform_digest` says"]);
    }
    asked
        .command(["deploy", "admin_pinned", &other])
        .run()
        .fails(2, &["`transform_digest` says", "(refused)"]);
    for path in ["shadow", "transform?activate=false"] {
        let refused = put(&format!("{url}/{path}"), &component("all_changes")).expect_err("it is refused");
        assert!(refused.contains("`transform_digest` says"), "{refused}");
    }
    asked.host.drain();
}

#[test]
fn any_transform_that_is_kept_comes_back_also_after_a_restart() {
    let topic = Topic::new("admin_back.public.my_table", 1);
    let (database, state) = (Database::new("admin_back"), places::new_folder());
    let started = || {
        let state = state.to_str().expect("UTF-8");
        Asked::start(Host::pipeline(&topic, &database).args(["--state-dir", state]))
    };
    let mut rows = 0;
    let mut makes_rows = |digest: &str| {
        topic.produce(1, &[update(rows)]);
        rows += 1;
        database.wait_for_rows("my_table", rows);
        let last = database.query("SELECT _transform FROM my_table ORDER BY _offset DESC LIMIT 1");
        assert_eq!(last, digest[..16]);
    };
    let asked = started();
    let mut digests = Vec::new();
    for number in 0..4 {
        let file = places::file("transform.wasm", variant(&component("update_only"), number));
        let deployed = json(&asked.told(["deploy", "admin_back", &file, "--json"]));
        digests.push(deployed["digest"].as_str().expect("a digest").to_owned());
        makes_rows(&digests[number as usize]);
    }
    for digest in [&digests[1], &digests[0], &digests[3], &digests[2]] {
        asked.told(["rollback", "admin_back", "--to", &digest[..12]]);
        makes_rows(digest);
    }
    let none = asked.command(["rollback", "admin_back", "--to", "0123456789"]).run();
    none.fails(2, &["is kept; the last ones were", &digests[0][..16], "(refused)"]);
    asked.host.drain();

    let asked = started();
    makes_rows(&digests[2]);
    asked.told(["rollback", "admin_back", "--to", &format!("sha256:{}", digests[0])]);
    makes_rows(&digests[0]);
    asked.told(["rollback", "admin_back"]);
    makes_rows(&digests[2]);
    asked.host.drain();
    database.has_updates_once("my_table", rows);
}

#[test]
fn transforms_that_are_handed_over_under_load_take_whole_batches_and_no_row_is_lost_or_doubled() {
    let (topic, database) = (deploy::topic_for_swaps("admin_swaps"), Database::new("admin_swaps"));
    let Asked { host, url } = Asked::start(Host::pipeline(&topic, &database));
    let (url, base) = (format!("{url}/v1/pipelines/~/admin_swaps/transform"), component("update_only"));
    deploy::swaps(&topic, &database, host, 10, |number, _| {
        put(&url, &variant(&base, number)).expect("it is taken");
    });
}

#[test]
fn a_component_is_tried_on_the_last_records_and_runs_beside_and_nothing_of_it_is_written() {
    let topic = Topic::new("admin_beside.public.my_table", 1);
    let database = Database::new("admin_beside");
    let asked = Asked::start(Host::pipeline(&topic, &database));
    let all_changes = places::transform("all_changes");
    let at = |rest: &str| format!("{}/v1/pipelines/~/admin_beside/{rest}", asked.url);
    let early = asked.command(["deploy", "admin_beside", &all_changes, "--try"]).run();
    early.fails(2, &["(no_records)"]);
    topic.produce(1, &[events::create(1, "created"), update(0)]);
    database.wait_for_rows("my_table", 1);
    let before = tables(&database);

    let tried = json(&asked.told(["deploy", "admin_beside", &all_changes, "--try"]));
    assert_eq!((&tried["kept"], tried["rows"].as_array().map(Vec::len)), (&2.into(), Some(2)), "{tried}");
    // It would make a table of its own.
    let audit = places::transform("audit");
    let checked = asked.told(["deploy", "admin_beside", &audit, "--check"]);
    assert!(checked.contains("validated"), "{checked}");
    asked.told(["deploy", "admin_beside", &audit, "--try"]);
    let report = || json(&get(&at("transform")).expect("it answers"))["shadow"].clone();
    put(&at("shadow"), &component("audit")).expect("it runs beside");
    topic.produce(1, &[update(1)]);
    wait_until("the shadow to make other rows", || report()["only_live"] == 1);

    put(&at("shadow"), &component("all_changes")).expect("it runs beside");
    topic.produce(1, &[events::create(2, "created")]);
    wait_until("the shadow to make a row", || report()["only_shadow"] == 1);
    topic.produce(1, &[update(2)]);
    wait_until("the shadow to make the same row", || report()["same"] == 1);
    let ended = json(&delete(&at("shadow")).expect("it ends"));
    assert_eq!(ended["before"]["differences"][0]["kind"], "only_shadow");
    assert_eq!(report(), Value::Null);
    database.wait_for_rows("my_table", 3);
    database.has_updates_once("my_table", 3);
    assert_eq!(tables(&database), before, "no table and no column was made");
    asked.host.drain();
}

#[test]
fn what_a_pipeline_did_is_told_by_the_list_the_metrics_and_the_log() {
    let topic = Topic::new("admin_metrics.public.my_table", 2);
    let database = Database::new("admin_metrics");
    let asked = Asked::start(Host::pipeline(&topic, &database));
    let mut records: Vec<_> = (0..20).map(update).collect();
    records.extend([events::create(30, "filtered"), events::text("not json")]);
    topic.produce(2, &records);
    database.wait_for_rows("my_table", 20);
    let labels = "{tenant=\"\",pipeline=\"admin_metrics\"";
    wait_until("the position to be committed", || {
        asked.metric(&format!("rowgate_records_rejected_total{labels},stage=\"decode\"}}")) == 1.0
            && [0, 1].iter().all(|partition| {
                let of = format!("{labels},topic=\"{}\",partition=\"{partition}\"}}", topic.name);
                asked.metric(&format!("rowgate_kafka_committed_offset{of}")) == 11.0
            })
    });
    for (series, value) in [
        ("records_received_total", 22.0),
        ("records_kept_total", 20.0),
        ("records_filtered_total", 1.0),
        ("end_to_end_lag_seconds_count", 2.0),
    ] {
        let found = asked.metric(&format!("rowgate_{series}{labels}}}"));
        assert!(found >= value && found < 2.0 * value + 20.0, "{series}: {found}");
    }
    assert_eq!(asked.metric(&format!("rowgate_sink_rows_written_total{labels},table=\"my_table\"}}")), 20.0);
    assert_eq!(asked.metric(&format!("rowgate_pipeline_state{labels},state=\"running\"}}")), 1.0);

    let pipeline = &asked.pipelines()["pipelines"][0];
    assert_eq!((&pipeline["name"], &pipeline["state"]), (&"admin_metrics".into(), &"running".into()));
    assert_eq!((&pipeline["counts"]["kept"], &pipeline["counts"]["rejected"]), (&20.into(), &1.into()));
    let table = asked.told(["ls"]);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!((lines[0][0], lines[1][0], lines[1][1]), ("pipeline", "admin_metrics", "running"));
    let log = asked.told(["logs", "admin_metrics"]);
    assert!(log.contains("transform loaded") && log.contains("dead letters go to this table"), "{log}");
    assert_eq!(asked.told(["ready"]), "ready: 1 pipelines, 0 of them failed\n");
    asked.host.drain();
}

#[test]
fn a_paused_pipeline_takes_nothing_until_it_is_resumed() {
    let topic = Topic::new("admin_pause.public.my_table", 1);
    let database = Database::new("admin_pause");
    let asked = Asked::start(Host::pipeline(&topic, &database));
    topic.produce(1, &[update(0)]);
    database.wait_for_rows("my_table", 1);
    asked.told(["pause", "admin_pause"]);
    wait_until("the pipeline to be paused", || asked.pipelines()["pipelines"][0]["state"] == "paused");
    topic.produce(1, &[update(1)]);
    asked.told(["ready"]);
    asked.told(["resume", "admin_pause"]);
    database.wait_for_rows("my_table", 2);
    database.has_updates_once("my_table", 2);
    asked.host.drain();
}

#[test]
fn commands_say_why_they_fail_and_their_codes_tell_whether_it_is_worth_another_try() {
    let nobody = Host::new().args(["ls", "--admin", "http://127.0.0.1:1"]).run();
    nobody.fails(3, &["cannot reach the host's admin interface at http://127.0.0.1:1", "--admin-listen"]);
    let web = Host::new().args(["ls", "--admin", "ftp://127.0.0.1"]).run();
    assert_eq!(web.code(), Some(2), "{web:?}");
    let public =
        Host::from_file(places::fixture("simple.ndjson")).args(["--admin-listen", "0.0.0.0:0"]).run();
    public.fails(2, &["0.0.0.0:0 is reached from beyond this machine", "admin.tokens_file"]);

    let topic = Topic::new("admin_commands.public.my_table", 1);
    let database = Database::new("admin_commands");
    let asked = Asked::start(Host::pipeline(&topic, &database));
    asked.command(["pause", "nothing"]).run().fails(2, &["there is no pipeline `nothing`", "admin_commands"]);
    let port = asked.url.rsplit(':').next().expect("a port").to_owned();
    let taken = Host::from_file(places::fixture("simple.ndjson"))
        .args(["--admin-listen", &format!("127.0.0.1:{port}")])
        .run();
    taken.fails(3, &["cannot listen on 127.0.0.1:"]);
    asked.host.drain();
}

#[test]
fn no_token_and_no_password_is_in_a_log_a_metric_or_an_answer() {
    const PASSWORD: &str = "CANARY-PASSWORD-1f3";
    let topic = Topic::new("admin_secrets.public.my_table", 1);
    let user = [("CLICKHOUSE_USER", "rowgate"), ("CLICKHOUSE_PASSWORD", PASSWORD)];
    let stack = Stack::start_with(&["clickhouse"], &user);
    let url = stack.clickhouse_url().replace("http://", &format!("http://rowgate:{PASSWORD}@"));
    let database = Database { server: ClickHouse::at(&url), name: "admin_secrets".to_owned() };
    database.server.query("CREATE DATABASE admin_secrets");
    let mut tokens = Vec::new();
    let mut lines = String::new();
    for (name, role) in [("ops", "operator"), ("eyes", "viewer")] {
        let made = Host::new().args(["token", "new", "--name", name, "--role", role]).succeed().out;
        let (token, line) = made.trim_end().split_once('\n').expect("two lines");
        tokens.push(token.to_owned());
        lines += &format!("{line}\n");
    }
    let file = places::file("tokens", &lines);
    let host = Host::between(Stack::shared().brokers(), stack.clickhouse_url(), &database)
        .args(["--topic", &topic.name, "--user", "rowgate", "-v"])
        .env("ROWGATE_PASSWORD", PASSWORD)
        .env("ROWGATE_ADMIN_TOKENS_FILE", &file);
    let asked = Asked::start(host);
    topic.produce(1, &[update(0), events::text("not json")]);
    database.wait_for_rows("my_table", 1);

    let ask = |arguments: &[&str], token: Option<&str>, code: i32| {
        let command = asked.command(arguments.iter().copied());
        let command = match token {
            Some(token) => command.env("ROWGATE_ADMIN_TOKEN", token),
            None => command,
        };
        let ended = command.run();
        assert_eq!(ended.code(), Some(code), "{arguments:?} {ended:?}");
        ended.out + &ended.err
    };
    let wrong = "rgt_CANARY-TOKEN-2b7-AAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let mut said = vec![
        ask(&["ls"], None, 2),
        ask(&["ls"], Some(wrong), 2),
        ask(&["pause", "admin_secrets"], Some(&tokens[1]), 2),
        ask(&["logs", "admin_secrets"], Some(&tokens[1]), 0),
        ask(&["ls", "--json"], Some(&tokens[1]), 0),
        ask(&["pause", "admin_secrets"], Some(&tokens[0]), 0),
        ask(&["ready"], None, 0),
    ];
    said.push(get(&format!("{}/openapi.json", asked.url)).expect("it answers"));
    assert!(get(&format!("{}/metrics", asked.url)).is_err(), "metrics are of those with a token");

    // A token that is taken out is refused from the next request on.
    fs::write(&file, lines.lines().next().expect("a line")).expect("it is written");
    said.push(ask(&["ls"], Some(&tokens[1]), 2));
    said.push(ask(&["resume", "admin_secrets"], Some(&tokens[0]), 0));
    let ended = asked.host.drain();
    said.push(ended.out.clone() + &ended.err);
    assert!(ended.err.contains("who=\"eyes\"") && ended.err.contains("who=\"ops\""), "{}", ended.err);
    for secret in [PASSWORD, "CANARY-TOKEN-2b7", &tokens[0][4..], &tokens[1][4..]] {
        for text in &said {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
}
