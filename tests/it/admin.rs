//! The admin interface of a running host: over HTTP, and by the commands that use it.

use std::fs;

use serde_json::Value;

use crate::support::clickhouse::{ClickHouse, get};
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
