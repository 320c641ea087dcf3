//! The host as a process between real servers, next to what each of these does alone.
//!
//! All that is compared takes turns, round by round, with one topic: a consumer that counts bytes; the host without a
//! target; the host into ClickHouse; and the bodies that the host would send, made before and sent alone. Times run from
//! the first record to the last answer, so that starts and rebalances count for nobody. Beside its rate stands what the
//! whole machine computed for each event meanwhile, servers included: where all its processors are busy, no rate is to be
//! had that needs more of them.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use host::clickhouse::request::Compression;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::corpus::{Corpus, Form, TOPIC};
use crate::{Design as _, median, pipeline};

/// Whatever a server is asked for takes no longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// The table that the host fills.
const TABLE: &str = "bench_orders";
/// One made like it, for the bodies that are sent alone.
const COPY: &str = "bench_orders_copy";
/// Records in one body: what the host's default of 16 MiB in a batch holds of these.
const BODY_RECORDS: usize = 16_000;
/// What the host's rate is to be as a ratio to the bare consumer's, without a target; and to the lower of the
/// consumer's and the bare inserts', into ClickHouse.
const TARGETS: [f64; 2] = [0.80, 0.85];

/// Where the servers are, as `tests/stack/stack env` says.
#[derive(Clone)]
struct Servers {
    brokers: String,
    clickhouse: String,
    user: String,
    password: String,
}

impl Servers {
    fn from_environment() -> Result<Self> {
        let of = |name: &str| {
            std::env::var(name).with_context(|| format!("{name} is not set: `make bench-servers` does"))
        };
        Ok(Servers {
            brokers: of("BROKERS")?,
            clickhouse: of("CLICKHOUSE_URL")?,
            user: of("CLICKHOUSE_USER")?,
            password: of("CLICKHOUSE_PASSWORD")?,
        })
    }

    fn kafka(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    /// A statement for ClickHouse; its answer.
    async fn query(&self, client: &reqwest::Client, statement: &str) -> Result<String> {
        self.send(client, &[], statement.as_bytes().to_vec(), None).await
    }

    async fn send(
        &self,
        client: &reqwest::Client,
        parameters: &[(&str, &str)],
        body: Vec<u8>,
        encoding: Option<&str>,
    ) -> Result<String> {
        let mut request = client
            .post(reqwest::Url::parse_with_params(&self.clickhouse, parameters)?)
            .header("X-ClickHouse-User", &self.user)
            .header("X-ClickHouse-Key", &self.password)
            .timeout(PATIENCE)
            .body(body);
        if let Some(encoding) = encoding {
            request = request.header("Content-Encoding", encoding);
        }
        let answer = request.send().await.context("asking ClickHouse")?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "ClickHouse: {status}: {text}");
        Ok(text.trim().to_owned())
    }
}

/// Compares, prints a table, and says whether nothing was lost on the way. What is compared has so many `cores` at most; the
/// servers have all.
///
/// # Errors
/// A server that is away, and rows that are not all there.
pub fn run(events: usize, rounds: usize, partitions: i32, cores: usize) -> Result<()> {
    let processors = keep_to(cores)?;
    let servers = Servers::from_environment()?;
    let runtime = Runtime::new()?;
    let client = reqwest::Client::new();
    let corpus = Corpus::new(events, Form::Plain);
    let (bodies, updates) = bodies(&corpus)?;
    runtime.block_on(fill(&servers, &corpus, partitions))?;
    for statement in [TABLE, COPY].map(|table| format!("DROP TABLE IF EXISTS {table}")) {
        runtime.block_on(servers.query(&client, &statement))?;
    }
    let mut runs: [Vec<Run>; 4] = Default::default();
    for round in 0..rounds {
        runs[0].push(measured(events, || consume(&servers, events, round))?);
        let host = |name: &str, more: &[&str]| {
            measured(events, || host(&servers, &format!("bench-{name}-{round}"), more))
        };
        runs[1].push(host("null", &["--dry-run"])?);
        runtime.block_on(servers.query(&client, &format!("DROP TABLE IF EXISTS {TABLE}")))?;
        runs[2].push(host("table", &[])?);
        let rows = runtime.block_on(servers.query(&client, &format!("SELECT count() FROM {TABLE}")))?;
        ensure!(rows == updates.to_string(), "{rows} rows in ClickHouse, {updates} expected");
        let copy = format!("CREATE OR REPLACE TABLE {COPY} AS {TABLE}");
        runtime.block_on(servers.query(&client, &copy))?;
        let inserted = || {
            let took = runtime.block_on(insert(&servers, &client, &bodies, partitions))?;
            Ok(events as f64 / took.as_secs_f64())
        };
        runs[3].push(measured(events, inserted)?);
    }
    report(&corpus, rounds, partitions, processors, &runs);
    for table in [TABLE, COPY] {
        runtime.block_on(servers.query(&client, &format!("DROP TABLE {table}")))?;
    }
    Ok(())
}

/// Keeps this process, and those that it starts, to so many processors. Returns how many it has, and had.
fn keep_to(cores: usize) -> Result<(usize, usize)> {
    let all = sched_getaffinity(None).context("asking for this process's processors")?;
    let mut kept = CpuSet::new();
    (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).take(cores).for_each(|cpu| kept.set(cpu));
    sched_setaffinity(None, &kept).with_context(|| format!("keeping to {cores} processors"))?;
    Ok((kept.count() as usize, all.count() as usize))
}

/// What one run came to.
struct Run {
    events_per_s: f64,
    /// Of all processors of the machine, for each event.
    cpu_us: f64,
}

/// A run of so many events, which tells its events a second.
fn measured(events: usize, run: impl FnOnce() -> Result<f64>) -> Result<Run> {
    let before = busy_seconds()?;
    let events_per_s = run()?;
    Ok(Run { events_per_s, cpu_us: (busy_seconds()? - before) * 1e6 / events as f64 })
}

/// How long the processors of the machine have been busy, all together, since it was started.
fn busy_seconds() -> Result<f64> {
    /// What the kernel counts in, whatever its own clock: `USER_HZ`.
    const TICKS_PER_S: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let times = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // user, nice, system, idle, iowait, irq, softirq; then what is stolen or counted in these already.
    let busy = times.take(7).enumerate().filter(|(at, _)| !matches!(at, 3 | 4));
    let ticks: Result<Vec<f64>, _> = busy.map(|(_, time)| time.parse::<f64>()).collect();
    Ok(ticks.context("/proc/stat")?.iter().sum::<f64>() / TICKS_PER_S)
}

/// The bodies that the host makes of all events, compressed as it sends them, and the rows in them.
fn bodies(corpus: &Corpus) -> Result<(Vec<Vec<u8>>, usize)> {
    let mut host = pipeline::host();
    let blocks = corpus.batches(BODY_RECORDS).map(|(first, records)| host.block(first, &records));
    let bodies = blocks.map(|block| Ok(Compression::Lz4.compress(&block)?)).collect::<Result<_>>()?;
    Ok((bodies, corpus.updates()))
}

/// Makes the topic anew, with all events in it.
async fn fill(servers: &Servers, corpus: &Corpus, partitions: i32) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = servers.kafka().create()?;
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    admin.delete_topics(&[TOPIC], &options).await?;
    let topic = NewTopic::new(TOPIC, partitions, TopicReplication::Fixed(1));
    let begin = Instant::now();
    // The name is free only when the broker has removed what it was of.
    while let Err((_, error)) = &admin.create_topics([&topic], &options).await?[0] {
        ensure!(
            *error == RDKafkaErrorCode::TopicAlreadyExists && begin.elapsed() < PATIENCE,
            "making the topic: {error}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let producer: BaseProducer = servers.kafka().set("linger.ms", "20").create()?;
    for (event, (_, records)) in corpus.batches(1).enumerate() {
        let (key, value) = records[0];
        let mut record = BaseRecord::to(TOPIC).key(key).payload(value).partition(event as i32 % partitions);
        while let Err((error, again)) = producer.send(record) {
            ensure!(error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "writing: {error}");
            producer.poll(Duration::from_millis(10));
            record = again;
        }
    }
    producer.flush(PATIENCE).context("writing the events")
}

/// Events a second of a consumer that counts bytes, and does nothing else.
fn consume(servers: &Servers, events: usize, round: usize) -> Result<f64> {
    let consumer: BaseConsumer = servers
        .kafka()
        .set("group.id", format!("bench-bare-{round}"))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()?;
    consumer.subscribe(&[TOPIC])?;
    let (mut begin, mut bytes, mut seen, mut waited) = (None, 0, 0, Instant::now());
    while seen < events {
        // None comes of what the group does, too.
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            ensure!(waited.elapsed() < PATIENCE, "no record for {PATIENCE:?}");
            continue;
        };
        let message = message?;
        waited = Instant::now();
        begin.get_or_insert_with(Instant::now);
        bytes += message.payload().map_or(0, <[u8]>::len);
        seen += 1;
    }
    ensure!(bytes > 0, "the records are empty");
    Ok(events as f64 / begin.map_or(0.0, |begin: Instant| begin.elapsed().as_secs_f64()))
}

/// Records a second of the host as a process, by its own summary: from the first record to the end of the last batch.
fn host(servers: &Servers, group: &str, more: &[&str]) -> Result<f64> {
    let state = tempfile::tempdir()?;
    let output = Command::new(env!("CARGO_BIN_EXE_host"))
        .args(["--brokers", &servers.brokers, "--topic", TOPIC, "--group", group, "--name", group])
        .args(["--clickhouse-url", &servers.clickhouse, "--user", &servers.user, "--table", TABLE])
        .args(["--until-caught-up", "--show-last", "0", "--inserts-per-second", "1000"])
        .arg("--state-dir")
        .arg(state.path())
        .args(more)
        .env("ROWGATE_PASSWORD", &servers.password)
        .output()
        .context("starting the host")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "the host: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let rate =
        said.lines().find_map(|line| line.strip_prefix("records/s")?.split_whitespace().next()?.parse().ok());
    rate.with_context(|| format!("no `records/s` in what the host says: {said}"))
}

/// How long it takes to send all bodies, as many at once as there are partitions.
async fn insert(
    servers: &Servers,
    client: &reqwest::Client,
    bodies: &[Vec<u8>],
    at_once: i32,
) -> Result<Duration> {
    let statement = format!("INSERT INTO {COPY} FORMAT Native");
    let begin = Instant::now();
    let mut under_way = JoinSet::new();
    for (number, body) in bodies.iter().enumerate() {
        while under_way.len() >= at_once as usize {
            under_way.join_next().await.context("nothing is under way")???;
        }
        let (client, body, statement) = (client.clone(), body.clone(), statement.clone());
        let servers = servers.clone();
        under_way.spawn(async move {
            let token = format!("bench-{number}");
            let parameters = [("query", statement.as_str()), ("insert_deduplication_token", &token)];
            servers.send(&client, &parameters, body, Compression::Lz4.content_encoding()).await
        });
    }
    while let Some(sent) = under_way.join_next().await {
        sent??;
    }
    Ok(begin.elapsed())
}

fn report(
    corpus: &Corpus,
    rounds: usize,
    partitions: i32,
    (processors, all): (usize, usize),
    runs: &[Vec<Run>; 4],
) {
    let bytes = corpus.value_bytes() as f64 / corpus.len() as f64;
    println!(
        "\n{} events of {bytes:.0} bytes, {partitions} partitions, {rounds} rounds; what is compared has {processors} of \
         {all} processors",
        corpus.len()
    );
    println!("{:<36}{:>12}{:>8}{:>14}   ratio", "", "events/s", "MB/s", "CPU us/event");
    let names = [
        "rdkafka alone, counting bytes",
        "host, without a target",
        "host into ClickHouse",
        "the same bodies, sent alone",
    ];
    let rate = |design: usize, round: usize| runs[design][round].events_per_s;
    for (at, (name, of)) in names.iter().zip(runs).enumerate() {
        let [of_all, cpu_us] = [|run: &Run| run.events_per_s, |run: &Run| run.cpu_us]
            .map(|figure| median(of.iter().map(figure)));
        print!("{name:<36}{of_all:>12.0}{:>8.0}{cpu_us:>14.2}", of_all * bytes / 1e6);
        if let 1 | 2 = at {
            // Each round's own, for the machine is not the same from one to the next.
            let bound = |round| if at == 1 { rate(0, round) } else { rate(0, round).min(rate(3, round)) };
            let ratios: Vec<f64> = (0..rounds).map(|round| rate(at, round) / bound(round)).collect();
            let (least, most) = ratios.iter().fold((f64::MAX, 0_f64), |(a, b), r| (a.min(*r), b.max(*r)));
            let (ratio, target) = (median(ratios.iter().copied()), TARGETS[at - 1]);
            let word = if ratio >= target { "met" } else { "missed" };
            print!("   {ratio:.2} [{least:.2} .. {most:.2}]  target {target:.2}: {word}");
        }
        println!();
    }
}
