//! The client, against a registry that answers as it is told, and may be hostile.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::super::manifest::samples;
use super::super::reference::Reference;
use super::*;
use crate::config::Credentials;
use crate::config::secret::Secret;
use crate::error::{exit_of, help_of};
use crate::http::testing::request_head;
use crate::locked::locked;

const COMPONENT: &[u8] = b"\0asm component";
const IN_TESTS: Times = Times {
    connect: Duration::from_secs(5),
    idle: Duration::from_secs(5),
    total: Duration::from_secs(30),
    wait: Duration::from_millis(1),
};

/// What a server does with a request for this path, the host's header `Authorization` in hand.
type Answers = Box<dyn Fn(&str, Option<&str>) -> Answer + Send>;

enum Answer {
    /// A status with headers and a body.
    Of(String, Vec<u8>),
    /// A head, and then the same bytes for ever.
    Endless(String),
    /// The same, one byte after the other, with a pause before each.
    Dripping(String),
    /// A head, and then nothing.
    Silence(String),
}

use Answer::{Dripping, Endless, Of, Silence};

fn head(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n")
}

fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
    let body = body.as_ref();
    Of(head(status, &format!("Content-Length: {}\r\n{headers}", body.len())), body.to_vec())
}

fn status(status: &str) -> Answer {
    answer(status, "", "")
}

fn to(target: &str) -> Answer {
    answer("307 Temporary Redirect", &format!("Location: {target}\r\n"), "")
}

fn asking(challenge: &str) -> Answer {
    answer("401 Unauthorized", &format!("WWW-Authenticate: {challenge}\r\n"), "")
}

fn manifest() -> String {
    samples::manifest(&digest(COMPONENT), COMPONENT.len()).to_string()
}

fn of_type(media_type: &str, body: &str) -> Answer {
    answer("200 OK", &format!("Content-Type: {media_type}\r\n"), body)
}

/// What a good registry answers.
fn good(path: &str) -> Answer {
    if path == format!("/v2/team/orders/manifests/sha256:{}", digest(manifest().as_bytes())) {
        of_type(MANIFEST, &manifest())
    } else if path == format!("/v2/team/orders/blobs/sha256:{}", digest(COMPONENT)) {
        answer("200 OK", "", COMPONENT)
    } else {
        status("404 Not Found")
    }
}

/// What a server was asked: the path, and the header `Authorization`.
type Asked = (String, Option<String>);

/// A server on this machine.
struct Server {
    host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    fn new(answers: impl Fn(&str, Option<&str>) -> Answer + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (kept, answers): (_, Answers) = (Arc::clone(&asked), Box::new(answers));
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (path, authorization) = request(&mut stream);
                let answer = answers(&path, authorization.as_deref());
                locked(&kept).push((path, authorization));
                // One who has seen enough closes the connection.
                match answer {
                    Of(head, body) => {
                        _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body))
                    }
                    Silence(head) => {
                        _ = stream.write_all(head.as_bytes());
                        open.push(stream);
                    }
                    Dripping(head) => {
                        _ = stream.write_all(head.as_bytes());
                        while stream.write_all(b" ").is_ok() {
                            std::thread::sleep(Duration::from_millis(10));
                        }
                    }
                    Endless(head) => {
                        _ = stream.write_all(head.as_bytes());
                        while stream.write_all(&[b' '; 4096]).is_ok() {}
                    }
                }
            }
        });
        Server { host, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }

    fn asked(&self) -> Vec<Asked> {
        locked(&self.asked).clone()
    }

    fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|(path, _)| path).collect()
    }

    /// What the host gets for a reference to `manifest`.
    fn fetch_of(&self, manifest: &str, credentials: Credentials, times: &Times) -> Result<Vec<u8>> {
        let text = format!("oci://{}/team/orders@sha256:{}", self.host, digest(manifest.as_bytes()));
        let reference = Reference::parse(&text).unwrap();
        let root = reference.root(true).unwrap();
        let remote = Remote { reference, root, credentials, ca: None };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let fetched = runtime.block_on(fetch(&remote, &SandboxLimits::default(), times));
        fetched.map(|fetched| fetched.component)
    }

    fn fetch(&self) -> Result<Vec<u8>> {
        self.fetch_of(&manifest(), Credentials::None, &IN_TESTS)
    }

    fn fetch_as(&self, credentials: Credentials) -> Result<Vec<u8>> {
        self.fetch_of(&manifest(), credentials, &IN_TESTS)
    }

    /// The error, which must be of this class and say this.
    fn fails(&self, exit: Exit, what: &str) -> anyhow::Error {
        let error = self.fetch().unwrap_err();
        assert!(format!("{error:#}").contains(what), "{error:#}");
        assert_eq!(exit_of(&error), exit, "{error:#}");
        error
    }
}

fn request(stream: &mut TcpStream) -> Asked {
    let text = request_head(stream);
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    let authorization = text.lines().find_map(|line| line.strip_prefix("authorization: "));
    (path, authorization.map(str::to_owned))
}

fn me() -> Credentials {
    Credentials::Basic("me".to_owned(), Secret::new("hunter2"))
}

/// The header of [`me`].
const ME: &str = "Basic bWU6aHVudGVyMg==";

fn is_blob(path: &str) -> bool {
    path.contains("/blobs/")
}

#[test]
fn a_component_comes_by_its_manifest_and_nobody_is_told_who_asks() {
    let server = Server::new(|path, _| good(path));
    assert_eq!(server.fetch_as(me()).unwrap(), COMPONENT);
    assert!(server.asked().iter().all(|(_, authorization)| authorization.is_none()));
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn what_has_another_digest_is_never_taken() {
    for manifest_too in [true, false] {
        let server = Server::new(move |path, _| match (is_blob(path), manifest_too) {
            (true, _) => answer("200 OK", "", b"\0asm c0mponent"),
            (false, true) => of_type(MANIFEST, &format!("{} ", manifest())),
            (false, false) => good(path),
        });
        server.fails(Exit::Environment, "it was asked for sha256:");
        assert_eq!(server.asked().len(), if manifest_too { 1 } else { 2 }, "it is not asked for again");
    }
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let server = Server::new(|_, _| Endless(head("200 OK", &format!("Content-Type: {MANIFEST}\r\n"))));
    server.fails(Exit::Environment, "it sends more than 4194304 bytes");
    let server = Server::new(|path, _| if is_blob(path) { Endless(head("200 OK", "")) } else { good(path) });
    server.fails(Exit::Environment, &format!("it sends more than {} bytes", COMPONENT.len()));
}

#[test]
fn a_component_that_is_too_large_by_its_manifest_is_not_asked_for() {
    let manifest = samples::manifest(&digest(COMPONENT), 5 << 20).to_string();
    let of_it = manifest.clone();
    let server = Server::new(move |_, _| of_type(MANIFEST, &of_it));
    let error = server.fetch_of(&manifest, Credentials::None, &IN_TESTS).unwrap_err();
    assert!(format!("{error:#}").contains("has 5242880 bytes"), "{error:#}");
    assert_eq!((exit_of(&error), server.asked().len()), (Exit::Usage, 1));
}

#[test]
fn an_answer_that_does_not_come_in_time_is_given_up() {
    let silent: [fn(&str) -> Answer; 2] = [
        |_| Silence(String::new()),
        |path| match is_blob(path) {
            true => Silence(head("200 OK", "Content-Length: 15\r\n") + "\0asm"),
            false => good(path),
        },
    ];
    for answers in silent {
        let times = Times { idle: Duration::from_millis(50), ..IN_TESTS };
        let server = Server::new(move |path, _| answers(path));
        let error = server.fetch_of(&manifest(), Credentials::None, &times).unwrap_err();
        assert_eq!(exit_of(&error), Exit::Environment, "{error:#}");
        assert!(server.asked().len() >= MAX_ATTEMPTS as usize);
    }
    // One that is never silent for long is given up, too.
    let times = Times { total: Duration::from_millis(300), ..IN_TESTS };
    let server = Server::new(|_, _| Dripping(head("200 OK", &format!("Content-Type: {MANIFEST}\r\n"))));
    let error = server.fetch_of(&manifest(), Credentials::None, &times).unwrap_err();
    assert!(format!("{error:#}").contains("has not sent it within"), "{error:#}");
    assert_eq!(exit_of(&error), Exit::Environment);
}

#[test]
fn what_is_no_registry_or_has_no_such_thing_is_told_apart() {
    let of_html: fn() -> Answer = || of_type("text/html", "<html>");
    for (answers, exit, what) in [
        (of_html, Exit::Environment, "it answers with \"text/html\", and not as a registry does"),
        (|| status("404 Not Found"), Exit::Usage, "in `team/orders`"),
        (|| status("403 Forbidden"), Exit::Environment, "it refuses the host with status 403"),
        (|| status("401 Unauthorized"), Exit::Environment, "it refuses the host with status 401"),
        (|| status("418 I'm a teapot"), Exit::Environment, "status 418, and not as a registry does"),
    ] {
        let server = Server::new(move |_, _| answers());
        server.fails(exit, what);
        assert_eq!(server.asked().len(), 1, "{what}");
    }
}

#[test]
fn a_list_of_manifests_and_a_manifest_of_more_than_a_component_are_refused() {
    let list = r#"{"schemaVersion":2,"manifests":[]}"#;
    let mut two = samples::manifest(&digest(COMPONENT), COMPONENT.len());
    let layer = two["layers"][0].clone();
    two["layers"].as_array_mut().unwrap().push(layer);
    for (media_type, manifest, what) in
        [(INDEX, list.to_owned(), "is a list of manifests"), (MANIFEST, two.to_string(), "has 2 layers")]
    {
        let body = manifest.clone();
        let server = Server::new(move |_, _| of_type(media_type, &body));
        let error = server.fetch_of(&manifest, Credentials::None, &IN_TESTS).unwrap_err();
        assert!(format!("{error:#}").contains(what), "{error:#}");
        assert_eq!(exit_of(&error), Exit::Usage);
        assert!(help_of(&error).unwrap().contains("wkg oci push"));
    }
}

#[test]
fn a_registry_that_is_busy_or_breaks_off_is_asked_again_and_not_for_ever() {
    let times = Arc::new(Mutex::new(0));
    let count = Arc::clone(&times);
    let server = Server::new(move |path, _| {
        let mut count = locked(&count);
        *count += 1;
        match *count {
            1 => status("503 Service Unavailable"),
            2 => status("429 Too Many Requests"),
            3 => Of(String::new(), vec![]),
            _ => good(path),
        }
    });
    assert_eq!(server.fetch().unwrap(), COMPONENT);
    let server = Server::new(|_, _| status("500 Internal Server Error"));
    server.fails(Exit::Environment, "it answers with status 500");
    assert_eq!(server.asked().len(), MAX_ATTEMPTS as usize);
}

#[test]
fn a_registry_that_is_not_there_is_told_with_its_address() {
    let place = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server { host: place.to_string(), asked: Arc::default() };
    let error = server.fails(Exit::Environment, &format!("the registry at http://{place}/"));
    assert_eq!(help_of(&error), Some("is it up, and is the reference right?"));
}

#[test]
fn a_user_is_told_where_the_registry_asks_for_one() {
    let server = Server::new(|path, authorization| match authorization {
        Some(ME) => good(path),
        _ => asking(r#"Basic realm="x""#),
    });
    assert_eq!(server.fetch_as(me()).unwrap(), COMPONENT);
    server.fails(Exit::Environment, "it refuses the host with status 401");
    let other = Credentials::Basic("me".to_owned(), Secret::new("hunter3"));
    let error = server.fetch_as(other).unwrap_err();
    assert!(help_of(&error).unwrap().contains("oci.password_file"), "{error:#}");
    assert!(!format!("{error:?}").contains("hunter3"), "{error:?}");
}

/// A token server, and a registry that sends for its tokens.
fn with_tokens() -> (Server, Server) {
    let tokens = Server::new(|_, _| answer("200 OK", "", r#"{"access_token":"t0ken","expires_in":60}"#));
    let challenge = format!(
        r#"Bearer realm="{}",service="shop",scope="repository:team/orders:pull,push,delete""#,
        tokens.url("/token")
    );
    let registry = Server::new(move |path, authorization| match authorization {
        Some("Bearer t0ken") => good(path),
        _ => asking(&challenge),
    });
    (tokens, registry)
}

#[test]
fn only_the_token_server_sees_the_user_and_gives_a_token_to_read_one_repository() {
    for (credentials, header) in [(me(), Some(ME.to_owned())), (Credentials::None, None)] {
        let (tokens, registry) = with_tokens();
        assert_eq!(registry.fetch_as(credentials).unwrap(), COMPONENT);
        let expected = "/token?service=shop&scope=repository%3Ateam%2Forders%3Apull".to_owned();
        assert_eq!(tokens.asked(), [(expected, header)]);
        let told: Vec<_> = registry.asked().into_iter().map(|(_, authorization)| authorization).collect();
        let token = || Some("Bearer t0ken".to_owned());
        assert_eq!(told, [None, token(), token()]);
    }
}

#[test]
fn a_token_server_that_refuses_or_gives_no_token_is_told_apart() {
    let without: fn() -> Answer = || answer("200 OK", "", "{}");
    for (answers, what) in [
        (without, "gives no token"),
        (|| answer("200 OK", "", "{\"token\":\"a\\r\\nX: y\"}"), "gives no token"),
        (|| Endless(head("200 OK", "")), "sends more than 65536 bytes"),
        (|| status("403 Forbidden"), "it refuses the host with status 403"),
        (|| to("/elsewhere"), "answers with status 307, and not as a registry does"),
        (|| status("503 Service Unavailable"), "answers with status 503"),
    ] {
        let tokens = Server::new(move |_, _| answers());
        let challenge = format!(r#"Bearer realm="{}""#, tokens.url("/"));
        Server::new(move |_, _| asking(&challenge)).fails(Exit::Environment, what);
    }
}

#[test]
fn a_token_server_without_encryption_on_another_machine_is_not_asked() {
    for (realm, what) in [
        (
            "http://auth.example/token",
            "http://auth.example, which is not asked: the way there is not encrypted",
        ),
        ("http://169.254.169.254/latest/meta-data", "which is not asked: the way there is not encrypted"),
        ("file:///etc/passwd", "which is not asked"),
        ("https://me:you@auth.example/", "its address carries credentials"),
        ("token", "its token server has no address"),
    ] {
        let server = Server::new(move |_, _| asking(&format!(r#"Bearer realm="{realm}""#)));
        let error = server.fetch_as(me()).unwrap_err();
        assert!(format!("{error:#}").contains(what), "{error:#}");
        assert_eq!((exit_of(&error), server.asked().len()), (Exit::Environment, 1));
    }
}

#[test]
fn a_storage_is_asked_for_what_the_registry_sends_the_host_to_and_learns_no_credentials() {
    let storage = Server::new(|path, _| match path {
        "/near" => to("/blob?signature=x"),
        _ => answer("200 OK", "", COMPONENT),
    });
    let target = storage.url("/near");
    let registry = Server::new(move |path, authorization| match (authorization, is_blob(path)) {
        (Some(ME), true) => to(&target),
        (Some(ME), false) => good(path),
        _ => asking("Basic"),
    });
    assert_eq!(registry.fetch_as(me()).unwrap(), COMPONENT);
    assert_eq!(storage.asked(), [("/near".to_owned(), None), ("/blob?signature=x".to_owned(), None)]);
}

#[test]
fn another_host_that_asks_for_credentials_gets_none() {
    let storage = Server::new(|_, _| asking("Basic"));
    let target = storage.url("/");
    let registry = Server::new(move |path, _| if is_blob(path) { to(&target) } else { good(path) });
    let error = registry.fetch_as(me()).unwrap_err();
    assert!(format!("{error:#}").contains("it refuses the host with status 401"), "{error:#}");
    assert_eq!(storage.asked(), [("/".to_owned(), None)]);
}

#[test]
fn a_registry_cannot_send_the_host_anywhere() {
    for (target, what) in [
        (
            "http://storage.example/x",
            "http://storage.example, which is not asked: the way there is not encrypted",
        ),
        ("http://10.0.0.1/x", "which is not asked"),
        ("http://169.254.169.254/", "which is not asked"),
        ("file:///etc/passwd", "which is not asked"),
        ("https://a:b@storage.example/", "its address carries credentials"),
        ("http://[", "and does not say where"),
    ] {
        let server = Server::new(move |_, _| to(target));
        server.fails(Exit::Environment, what);
        assert_eq!(server.asked().len(), 1, "{target}");
    }
    let server = Server::new(|_, _| to("/again"));
    server.fails(Exit::Environment, "it sends the host elsewhere more than 3 times");
    assert_eq!(server.paths()[1..], ["/again", "/again", "/again"]);
    Server::new(|_, _| status("302 Found")).fails(Exit::Environment, "and does not say where");
}

#[test]
fn from_a_registry_that_is_encrypted_there_is_no_way_that_is_not() {
    let allowed = |root: &str, target: &str| {
        let root = Url::parse(root).unwrap();
        let text = format!("oci://h/a@sha256:{}", "0".repeat(64));
        let (reference, credentials) = (Reference::parse(&text).unwrap(), Credentials::None);
        let remote = Remote { reference, root, credentials, ca: None };
        Client::new(&remote, &IN_TESTS).unwrap().allow(&Url::parse(target).unwrap()).is_ok()
    };
    for (root, target, is_allowed) in [
        ("https://r.example/", "https://storage.example/x", true),
        ("https://r.example/", "http://r.example/x", false),
        ("https://r.example/", "http://127.0.0.1:5000/x", false),
        ("https://127.0.0.1/", "http://127.0.0.1/x", false),
        ("http://r.example/", "http://r.example:9000/x", true),
        ("http://r.example/", "http://127.0.0.1/x", false),
        ("http://r.example/", "http://storage.example/x", false),
        ("http://127.0.0.1:5000/", "http://localhost:9000/x", true),
        ("http://127.0.0.1:5000/", "http://r.example/x", false),
        ("http://127.0.0.1:5000/", "https://storage.example/x", true),
    ] {
        assert_eq!(allowed(root, target), is_allowed, "{root} to {target}");
    }
}
