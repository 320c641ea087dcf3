//! Answers of Kafka that a real broker gives only by chance: librdkafka's mock cluster in its place, with a real
//! host and a real ClickHouse.

use std::time::Duration;

use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::support::{Database, Host, Running, Topic, events, wait_until};

type Mock = MockCluster<'static, DefaultProducerContext>;

const UPDATES: u64 = 200;

/// A cluster of so many brokers, and a topic with updates in it.
fn mock(name: &str, brokers: i32, partitions: i32) -> (Mock, Topic, Database) {
    let mock = MockCluster::new(brokers).expect("a mock cluster");
    let topic = Topic::of_mock(&mock.bootstrap_servers(), &format!("{name}.public.my_table"));
    mock.create_topic(&topic.name, partitions, 1).expect("a topic");
    topic.produce(partitions, &events::updates(UPDATES));
    (mock, topic, Database::new(name))
}

fn host(topic: &Topic, database: &Database) -> Host {
    Host::between(&topic.brokers, database.server.url(), database)
        .args(["--topic", &topic.name, "--batch-rows", "20"])
        .args(["-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=500"])
}

/// Waits until all updates are there and committed, and checks that each is there once.
fn lands_once(host: Running, topic: &Topic, database: &Database) -> String {
    database.wait_for_rows("my_table", UPDATES);
    wait_until("the last commit", || topic.is_done(&format!("rowgate-{}", database.name)));
    let ended = host.drain();
    database.has_updates_once("my_table", UPDATES);
    ended.err
}

/// Errors in answers to one kind of request, while everything is read and written.
fn with_errors(name: &str, request: RDKafkaApiKey, errors: &[RDKafkaRespErr]) -> String {
    let (mock, topic, database) = mock(name, 1, 2);
    mock.request_errors(request, errors);
    lands_once(host(&topic, &database).start(), &topic, &database)
}

#[test]
fn commits_that_the_coordinator_refuses_are_repeated_and_nothing_is_lost_or_doubled() {
    use RDKafkaRespErr::*;
    let said = with_errors(
        "mock_commits",
        RDKafkaApiKey::OffsetCommit,
        &[
            RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
            RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
            RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
            RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
            RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        ],
    );
    // A seal, or the plain commit of where the group begins, whichever came first.
    assert!(said.contains("committing offset 0 of mock_commits"), "{said}");
}

#[test]
fn a_member_that_the_coordinator_no_longer_knows_joins_again_and_repeats_what_it_could_not_commit() {
    use RDKafkaRespErr::*;
    let (mock, topic, database) = mock("mock_unknown", 1, 2);
    mock.request_errors(RDKafkaApiKey::OffsetCommit, &[RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID]);
    mock.request_errors(
        RDKafkaApiKey::Heartbeat,
        &[RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID],
    );
    let host = host(&topic, &database).start();
    host.wait_for_line("partition revoked");
    lands_once(host, &topic, &database);
}

#[test]
fn fetches_that_fail_are_repeated() {
    use RDKafkaRespErr::*;
    with_errors(
        "mock_fetches",
        RDKafkaApiKey::Fetch,
        &[
            RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
            RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
            RD_KAFKA_RESP_ERR__TRANSPORT,
            RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE,
        ],
    );
}

#[test]
fn a_position_that_cannot_be_told_is_asked_for_until_it_can_and_never_guessed() {
    use RDKafkaRespErr::*;
    let (mock, topic, database) = mock("mock_positions", 1, 1);
    topic.commit("rowgate-mock_positions", 0, 150, "");
    // More failures than a host waited for that gave up.
    mock.request_errors(RDKafkaApiKey::OffsetFetch, &[RD_KAFKA_RESP_ERR_UNKNOWN; 10]);
    let running = host(&topic, &database).start();
    running.wait_for_line("asking again for the group's committed positions");
    database.wait_for_rows("my_table", UPDATES - 150);
    running.drain();
    assert_eq!(database.query("SELECT count(), min(_offset) FROM my_table"), "50\t150");
}

#[test]
fn a_host_that_waits_for_its_positions_can_be_told_to_leave() {
    use RDKafkaRespErr::*;
    let (mock, topic, database) = mock("mock_leave", 1, 1);
    mock.request_errors(RDKafkaApiKey::OffsetFetch, &[RD_KAFKA_RESP_ERR_UNKNOWN; 1000]);
    let running = host(&topic, &database).start();
    running.wait_for_line("asking again for the group's committed positions");
    let ended = running.drain();
    assert!(ended.took_ms < 15_000, "{ended:?}");
    assert!(!database.has_table("my_table"));
}

#[test]
fn a_member_that_waits_for_its_positions_longer_than_its_group_allows_loses_and_doubles_nothing() {
    use RDKafkaRespErr::*;
    const MAX_POLL: Duration = Duration::from_secs(6);
    let (mock, topic, database) = mock("mock_max_poll", 1, 2);
    mock.request_errors(RDKafkaApiKey::OffsetFetch, &[RD_KAFKA_RESP_ERR_UNKNOWN; 1000]);
    let max_poll = format!("max.poll.interval.ms={}", MAX_POLL.as_millis());
    let running = host(&topic, &database).args(["-X", &max_poll]).start();
    running.wait_for_line("asking again for the group's committed positions");
    std::thread::sleep(MAX_POLL + Duration::from_secs(2));
    mock.clear_request_errors(RDKafkaApiKey::OffsetFetch);
    lands_once(running, &topic, &database);
}

#[test]
fn brokers_that_go_and_a_coordinator_that_moves_are_waited_for() {
    let (mock, topic, database) = mock("mock_brokers", 3, 3);
    let group = || MockCoordinator::Group("rowgate-mock_brokers".to_owned());
    mock.coordinator(group(), 1).expect("a coordinator");
    let host = host(&topic, &database).start();
    database.wait_for_rows("my_table", 20);
    mock.coordinator(group(), 2).expect("a coordinator");
    mock.broker_down(1).expect("a broker");
    std::thread::sleep(Duration::from_millis(500));
    mock.broker_up(1).expect("a broker");
    lands_once(host, &topic, &database);
}

#[test]
fn a_member_whose_place_another_took_ends_with_the_reason_and_commits_nothing_more() {
    use RDKafkaRespErr::*;
    let (mock, topic, database) = mock("mock_fenced", 1, 1);
    mock.request_errors(
        RDKafkaApiKey::Heartbeat,
        &[RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID],
    );
    let ended = host(&topic, &database).args(["-X", "group.instance.id=one"]).run();
    ended
        .fails(3, &["another member joined the group with this host's group.instance.id", "nothing is lost"]);
    assert_eq!(database.doubled("my_table"), [""; 0]);
}
