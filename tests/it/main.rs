//! The host's own binary against real servers: PostgreSQL, MariaDB, Debezium, Kafka, ClickHouse.
//!
//! What a person is promised stands here as the name of a test. The servers are brought up once, by the first
//! test that needs them, and taken down when the process ends, however it ends (`support/cleanup.rs`). Each
//! test has topics, a database, a pipeline and a consumer group of its own, so that all may run at once; tests
//! that stop or kill a server have a server of their own.

mod support;

mod admin;
mod audit;
mod bounds;
mod chaos;
mod codes;
mod compile;
mod corruption;
mod crashes;
mod dead_letters;
mod delivery;
mod deploy;
mod dlq;
mod epochs;
mod errors;
mod faults;
mod fixtures;
mod groups;
mod hostile;
mod keyed;
mod levels;
mod inputs;
mod main_path;
mod memory;
mod mariadb;
mod mock_kafka;
mod oci;
mod offsets;
mod old_server;
mod origin;
mod pace;
mod pins;
mod policies;
mod properties;
mod registry;
mod schema_changes;
mod signals;
mod swap;
mod tables;
mod tenants;
mod transforms;
mod types;
mod zoo;
