//! The client, against a server that answers as it is told.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use tokio::runtime::Runtime;

use super::*;
use crate::config::{Credentials, Framing, Registry};
use crate::http::testing::request_head;

/// An answer: all that is sent.
fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// A server that gives one answer after the other, the last for ever; and the requests that it was sent.
/// An empty answer is none: the connection stays open until the server is gone.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answers: Vec<String>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/registry/", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                kept.lock().unwrap().push(request_head(&mut stream));
                let answer = answers.get(number).or(answers.last()).unwrap();
                // One who has seen enough closes the connection.
                _ = stream.write_all(answer.as_bytes());
                if answer.is_empty() {
                    open.push(stream);
                }
            }
        });
        Server { url, requests }
    }

    fn requests(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(|request| request.lines().next().unwrap_or_default().to_owned()).collect()
    }
}

fn client(url: &str, credentials: Credentials) -> (Client, Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let settings =
        Registry { url: Url::parse(url).unwrap(), framing: Framing::Confluent, credentials, ca: None };
    let client =
        Client::with_timeout(&settings, runtime.handle().clone(), Duration::from_millis(500)).unwrap();
    (client, runtime)
}

fn asked(answers: Vec<String>, id: SchemaId) -> Result<Registered, Trouble> {
    let server = Server::new(answers);
    let (client, _runtime) = client(&server.url, Credentials::None);
    client.schema(id)
}

const ID: SchemaId = SchemaId::Number(7);

#[test]
fn a_schema_is_asked_for_by_its_id_and_comes_with_its_format_and_references() {
    let server = Server::new(vec![
        answer("200 OK", r#"{"schema":"\"int\""}"#),
        answer(
            "200 OK",
            r#"{"schemaType":"JSON","schema":"{}","references":[{"name":"n","subject":"a/b","version":3}]}"#,
        ),
        answer("200 OK", r#"{"schemaType":"PROTOBUF","schema":"syntax","version":3,"subject":"a/b"}"#),
    ]);
    let (client, _runtime) = client(&server.url, Credentials::None);
    let plain = client.schema(ID).unwrap();
    assert_eq!(plain, Registered { format: Format::Avro, text: "\"int\"".into(), references: vec![] });
    let found = client.schema(SchemaId::Guid([0xab; 16])).unwrap();
    assert_eq!((found.format, found.references[0].name.as_str()), (Format::Json, "n"));
    assert_eq!(client.referred(&found.references[0]).unwrap().format, Format::Protobuf);
    assert_eq!(
        server.requests(),
        [
            "GET /registry/schemas/ids/7 HTTP/1.1",
            "GET /registry/schemas/guids/abababab-abab-abab-abab-abababababab HTTP/1.1",
            "GET /registry/subjects/a%2Fb/versions/3 HTTP/1.1",
        ]
    );
}

#[test]
fn by_apicurios_own_ids_the_text_comes_as_it_is() {
    let reference = r#"[{"groupId":"g","artifactId":"a","version":"1","name":"n"}]"#;
    let server = Server::new(vec![
        answer("200 OK", r#"{"type":"record"}"#),
        answer("200 OK", reference),
        answer("200 OK", "syntax = \"proto3\";"),
        answer("404 Not Found", r#"{"error_code":404,"name":"ArtifactNotFoundException","message":"no"}"#),
    ]);
    let (client, _runtime) = client(&server.url, Credentials::None);
    let found = client.schema(SchemaId::Global(7)).unwrap();
    assert_eq!((found.format, found.text.as_str()), (Format::Avro, r#"{"type":"record"}"#));
    assert_eq!(client.referred(&found.references[0]).unwrap().format, Format::Protobuf);
    assert_eq!(
        server.requests(),
        [
            "GET /registry/ids/globalIds/7 HTTP/1.1",
            "GET /registry/ids/globalIds/7/references HTTP/1.1",
            "GET /registry/groups/g/artifacts/a/versions/1 HTTP/1.1",
            "GET /registry/groups/g/artifacts/a/versions/1/references HTTP/1.1",
        ]
    );
}

#[test]
fn a_text_without_a_format_is_what_it_looks_like() {
    for (text, format) in [
        (r#"{"type":"record","name":"R"}"#, Format::Avro),
        (r#""int""#, Format::Avro),
        (r#"["null","int"]"#, Format::Avro),
        (r#"{"type":"object"}"#, Format::Json),
        (r#"{"$schema":"x"}"#, Format::Json),
        (r#"{"type":"struct","fields":[]}"#, Format::Connect),
        ("message M {}", Format::Protobuf),
    ] {
        assert_eq!(guessed(text), format, "{text}");
    }
}

#[test]
fn each_failure_is_told_apart() {
    let error = |code: i32| format!(r#"{{"error_code":{code},"message":"said so\n"}}"#);
    let of = |status: &str, body: &str| asked(vec![answer(status, body)], ID).unwrap_err();
    for (status, body, expected) in [
        ("404 Not Found", error(40403), Trouble::Unknown("said so  (error 40403)".into())),
        (
            "404 Not Found",
            error(404),
            Trouble::Elsewhere("it answers with status 404 said so  (error 404)".into()),
        ),
        (
            "404 Not Found",
            error(0),
            Trouble::Elsewhere("it answers with status 404 said so  (error 0)".into()),
        ),
        ("404 Not Found", "<html>".into(), Trouble::Elsewhere("it answers with status 404".into())),
        ("503 Busy", "<html>".into(), Trouble::Wait("it answers with status 503".into())),
        ("500 Oh", error(50001), Trouble::Wait("it answers with status 500 said so  (error 50001)".into())),
        ("429 Slow", String::new(), Trouble::Wait("it answers with status 429".into())),
        (
            "422 No",
            error(42201),
            Trouble::Unfit("the registry answers with status 422: said so  (error 42201)".into()),
        ),
    ] {
        assert_eq!(of(status, &body), expected, "{status} {body}");
    }
    for (status, body) in [
        ("401 Unauthorized", error(401)),
        ("403 Forbidden", String::new()),
        ("302 Found", String::new()),
        ("200 OK", "<html>".into()),
        ("200 OK", "{}".into()),
        ("400 Bad", "<html>".into()),
    ] {
        assert!(matches!(of(status, &body), Trouble::Halt { .. }), "{status} {body}");
    }
}

#[test]
fn a_registry_that_is_down_slow_or_breaks_off_is_waited_for() {
    let place = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (client, _runtime) = client(&format!("http://{place}/"), Credentials::None);
    assert!(matches!(client.schema(ID), Err(Trouble::Wait(_))));
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n{\"schema\"".to_owned();
    for answers in [vec![String::new()], vec![cut]] {
        assert!(matches!(asked(answers, ID), Err(Trouble::Wait(_))));
    }
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let huge = answer("200 OK", &"x".repeat(MAX_ANSWER_BYTES + 1));
    let Err(Trouble::Unfit(what)) = asked(vec![huge], ID) else { panic!("it is unfit") };
    assert_eq!(what, "the registry's answer is larger than 4 MiB");
}

#[test]
fn ids_that_no_registry_gives_are_not_asked_for() {
    for id in [SchemaId::Number(u32::MAX), SchemaId::Global(u64::MAX), SchemaId::Content(1 << 63)] {
        let server = Server::new(vec![answer("200 OK", "{}")]);
        let (client, _runtime) = client(&server.url, Credentials::None);
        assert!(matches!(client.schema(id), Err(Trouble::Unknown(_))));
        assert_eq!(server.requests(), Vec::<String>::new());
    }
}

#[test]
fn what_a_record_or_a_schema_names_never_counts_as_a_wrong_address() {
    let nothing = || vec![answer("404 Not Found", r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#)];
    assert!(matches!(asked(nothing(), SchemaId::Guid([1; 16])), Err(Trouble::Unknown(_))));
    let server = Server::new(nothing());
    let (client, _runtime) = client(&server.url, Credentials::None);
    let reference = Reference { name: "n".into(), path: vec!["subjects".into(), String::new()] };
    assert!(matches!(client.referred(&reference), Err(Trouble::Unknown(_))));
}

#[test]
fn credentials_go_into_a_header_and_nowhere_else() {
    for (credentials, expected) in [
        (
            Credentials::Basic("me".into(), crate::config::secret::Secret::new("hunter2")),
            "Basic bWU6aHVudGVyMg==",
        ),
        (Credentials::Bearer(crate::config::secret::Secret::new("hunter2")), "Bearer hunter2"),
    ] {
        let server = Server::new(vec![answer("401 Unauthorized", "hunter2")]);
        let (client, _runtime) = client(&server.url, credentials);
        let trouble = client.schema(ID).unwrap_err();
        let request = server.requests.lock().unwrap()[0].to_lowercase();
        assert!(request.contains(&format!("authorization: {expected}").to_lowercase()), "{request}");
        let shown = format!("{client:?} {trouble:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("bWU6aHVudGVyMg"), "{shown}");
    }
}

#[test]
fn a_registry_that_comes_back_is_asked_again() {
    let busy = || answer("503 Busy", "");
    let server =
        Server::new(vec![busy(), String::new(), busy(), answer("200 OK", r#"{"schema":"\"int\""}"#)]);
    let (client, _runtime) = client(&server.url, Credentials::None);
    let found = patiently(&|| false, || client.schema(ID)).unwrap().unwrap();
    assert_eq!((found.format, server.requests().len()), (Format::Avro, 4));
}
