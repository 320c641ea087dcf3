//! The interface as callers meet it, without a network.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Frame;
use serde_json::Value;
use tower::ServiceExt;
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::prelude::*;

use super::access::{Entry, Role, Rule, new_token};
use super::routes::{ROUTES, router};
use super::*;
use crate::cli::summary::Summary;
use crate::config::secret::Secret;
use crate::config::{self, Settings};
use crate::pipeline::control::Control;
use crate::transform::compile::Compiling;
use crate::transform::sandbox::Sandbox;
use crate::transform::{BUILT_IN, digest};

const FILE: &str = "
tenants:
  a:
    database: a
    pipelines:
      one: {topic: a.one}
      broken: {topic: a.broken}
  b:
    database: b
    pipelines:
      one: {topic: b.one}
";

/// Two tenants, whose pipelines wait for their end; `a.broken` has failed.
struct World {
    router: Router,
    logs: Logs,
    supervisor: Supervisor,
    shutdown: Shutdown,
    supervising: Option<std::thread::JoinHandle<()>>,
    _folder: tempfile::TempDir,
    tokens: Vec<(Caller, Secret)>,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let mut tokens = Vec::new();
        let mut text = String::new();
        for (role, tenant) in [
            (Role::Operator, None),
            (Role::Viewer, None),
            (Role::Author, Some("a")),
            (Role::Viewer, Some("a")),
            (Role::Author, Some("b")),
            (Role::Viewer, Some("b")),
        ] {
            let name = format!("{}-{}", role.name(), tenant.unwrap_or("all"));
            let token = new_token().unwrap();
            text += &format!("{}\n", Entry::new(&name, role, tenant, &token).unwrap());
            tokens.push((Caller { name, role, tenant: tenant.map(str::to_owned) }, token));
        }
        let path = folder.path().join("tokens");
        std::fs::write(&path, text).unwrap();
        let kept = Some(Tokens::open(path).unwrap());
        let mut world = World::with(kept, folder);
        world.tokens = tokens;
        world
    }

    fn without_tokens() -> World {
        World::with(None, tempfile::tempdir().unwrap())
    }

    fn with(tokens: Option<Tokens>, folder: tempfile::TempDir) -> World {
        let (logs, metrics, shutdown) = (Logs::default(), Metrics::default(), Shutdown::new());
        let sandbox = Sandbox::alone(Compiling::default()).unwrap();
        let runtime = tokio::runtime::Handle::current();
        let control = |settings| Control::new(settings, sandbox.clone(), runtime.clone(), &metrics);
        let supervisor = Supervisor::with(
            settings(folder.path()).into_iter().map(control).collect(),
            false,
            Box::new(|control, shutdown, started| {
                started();
                anyhow::ensure!(control.settings().name != "a.broken", "the table is gone");
                wait(shutdown.requested());
                Ok(Summary::default())
            }),
        );
        let admin = Admin::new(supervisor.clone(), metrics.clone(), logs.clone(), tokens, shutdown.clone());
        let router = router(&admin);
        let (over, running) = (shutdown.clone(), supervisor.clone());
        let supervising = std::thread::spawn(move || {
            let _context = runtime.enter();
            _ = running.run(&over);
        });
        World {
            router,
            logs,
            supervisor,
            shutdown,
            supervising: Some(supervising),
            _folder: folder,
            tokens: vec![],
        }
    }

    fn token(&self, name: &str) -> &str {
        self.tokens.iter().find(|(caller, _)| caller.name == name).unwrap().1.expose()
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: head.status, headers: head.headers, text }
    }

    async fn ask(&self, method: &str, path: &str, token: Option<&str>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "127.0.0.1:8642");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn give(&self, method: &str, path: &str, token: &str, component: &[u8]) -> Answer {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "127.0.0.1:8642");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(Body::from(component.to_vec())).unwrap()).await
    }

    async fn until(&self, path: &str, token: &str, what: impl Fn(&Value) -> bool) -> Value {
        let begin = std::time::Instant::now();
        loop {
            let json = self.ask("GET", path, Some(token)).await.json();
            if what(&json) {
                return json;
            }
            assert!(begin.elapsed().as_secs() < 30, "{json}");
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.request();
        if let Some(thread) = self.supervising.take() {
            thread.join().unwrap();
        }
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The code of a problem, which has the form of one.
    fn code(&self) -> String {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json", "{}", self.text);
        let json = self.json();
        assert_eq!(json["status"], self.status.as_u16(), "{json}");
        assert!(json["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{json}");
        json["code"].as_str().unwrap().to_owned()
    }
}

fn settings(folder: &std::path::Path) -> Vec<Settings> {
    let path = folder.join("host.yaml");
    std::fs::write(&path, format!("state_dir: {}\n{FILE}", folder.join("state").display())).unwrap();
    let request = config::Request { config: Some(path), ..config::Request::default() };
    let loaded = config::load(&request, &config::Surroundings::default()).unwrap();
    loaded.pipelines().iter().map(|loaded| loaded.settings.clone()).collect()
}

/// The rule that each route is to have. A route that is not here has been thought about by nobody.
const RULES: &[(&str, &str, Rule)] = &[
    ("GET", "/livez", Rule::Anyone),
    ("GET", "/readyz", Rule::Anyone),
    ("GET", "/healthz", Rule::Anyone),
    ("GET", "/openapi.json", Rule::Anyone),
    ("GET", "/metrics", Rule::SeeAll),
    ("GET", "/v1/tenants", Rule::Listing),
    ("GET", "/v1/pipelines", Rule::Listing),
    ("GET", "/v1/pipelines/{tenant}/{name}", Rule::See),
    ("GET", "/v1/pipelines/{tenant}/{name}/logs", Rule::See),
    ("GET", "/v1/pipelines/{tenant}/{name}/transform", Rule::See),
    ("PUT", "/v1/pipelines/{tenant}/{name}/transform", Rule::Change),
    ("POST", "/v1/pipelines/{tenant}/{name}/validate", Rule::Change),
    ("POST", "/v1/pipelines/{tenant}/{name}/try", Rule::Change),
    ("POST", "/v1/pipelines/{tenant}/{name}/activate/{digest}", Rule::Change),
    ("POST", "/v1/pipelines/{tenant}/{name}/rollback", Rule::Change),
    ("PUT", "/v1/pipelines/{tenant}/{name}/shadow", Rule::Change),
    ("DELETE", "/v1/pipelines/{tenant}/{name}/shadow", Rule::Change),
    ("POST", "/v1/pipelines/{tenant}/{name}/pause", Rule::Change),
    ("POST", "/v1/pipelines/{tenant}/{name}/resume", Rule::Change),
];

/// What a caller meets: `None` is nobody, and `tenant` that of the pipeline that is asked about.
fn expected(rule: Rule, caller: Option<&Caller>, tenant: &str, is_there: bool) -> u16 {
    let Some(caller) = caller else { return if rule == Rule::Anyone { 200 } else { 401 } };
    let (role, of) = (caller.role.name(), caller.tenant.as_deref().unwrap_or("all"));
    match rule {
        Rule::Anyone | Rule::Listing => 200,
        Rule::SeeAll => {
            if of == "all" {
                200
            } else {
                403
            }
        }
        Rule::See | Rule::Change if !is_there || !(of == "all" || of == tenant) => 404,
        Rule::See => 200,
        Rule::Change => {
            if role == "viewer" {
                403
            } else {
                200
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_lets_in_whom_its_rule_names_whatever_the_role_and_the_tenant() {
    let world = World::new();
    let mut asked = 0;
    for route in ROUTES {
        let known = RULES.iter().find(|(method, path, _)| route.method == *method && route.path == *path);
        let (.., rule) =
            known.unwrap_or_else(|| panic!("no rule was thought of for {} {}", route.method, route.path));
        let nobody = [None, Some((None, "rgt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))];
        let callers = world.tokens.iter().map(|(caller, token)| Some((Some(caller), token.expose())));
        for caller in nobody.into_iter().chain(callers) {
            for (tenant, name, is_there) in [
                ("a", "one", true),
                ("b", "one", true),
                ("a", "none", false),
                ("c", "one", false),
                ("~", "one", false),
            ] {
                let path = route
                    .path
                    .replace("{tenant}", tenant)
                    .replace("{name}", name)
                    .replace("{digest}", "0123");
                let (who, token) = caller.unzip();
                let answer = world.ask(route.method, &path, token).await;
                let mut status = expected(*rule, who.flatten(), tenant, is_there);
                // A token that is none is told so, even where none is needed.
                if token.is_some() && who.flatten().is_none() {
                    status = 401;
                }
                let what = format!("{} {path} as {:?}: {}", route.method, who.flatten(), answer.text);
                match status {
                    // Who is let in may still be told that this makes no sense.
                    200 => assert!(![401, 403, 404].contains(&answer.status.as_u16()), "{what}"),
                    _ => assert_eq!(answer.status.as_u16(), status, "{what}"),
                }
                if status != 200 {
                    let code = answer.code();
                    assert_eq!(
                        code,
                        match status {
                            401 => "unauthorized",
                            403 => "forbidden",
                            _ => "no_pipeline",
                        },
                        "{what}"
                    );
                }
                asked += 1;
            }
        }
    }
    assert_eq!(asked, ROUTES.len() * 8 * 5);
    assert_eq!(ROUTES.len(), RULES.len(), "a rule is for a route that is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_has_just_the_routes_that_there_are() {
    let world = World::new();
    let document = world.ask("GET", "/openapi.json", None).await.json();
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let routes: BTreeSet<_> =
        ROUTES.iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
    assert_eq!(described, routes);
    // Each description that is referred to is there.
    let text = document.to_string();
    for (at, _) in text.match_indices("\"#/components/schemas/") {
        let name = text[at..].split(['/', '"']).nth(4).unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name} is not described");
    }
    assert!(document["components"]["schemas"]["Pipeline"]["properties"]["counts"].is_object());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_what_the_caller_may_see_and_nothing_else() {
    let world = World::new();
    for (caller, listed) in [
        ("operator-all", vec!["a/broken", "a/one", "b/one"]),
        ("viewer-all", vec!["a/broken", "a/one", "b/one"]),
        ("author-a", vec!["a/broken", "a/one"]),
        ("viewer-b", vec!["b/one"]),
    ] {
        let list = world.ask("GET", "/v1/pipelines", Some(world.token(caller))).await.json();
        let found: Vec<String> = list["pipelines"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pipeline| {
                format!("{}/{}", pipeline["tenant"].as_str().unwrap(), pipeline["name"].as_str().unwrap())
            })
            .collect();
        assert_eq!(found, listed, "{caller}");
        let tenants = world.ask("GET", "/v1/tenants", Some(world.token(caller))).await.json();
        let names: BTreeSet<_> = tenants["tenants"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tenant| tenant["name"].as_str().unwrap().to_owned())
            .collect();
        let wanted: BTreeSet<_> =
            listed.iter().map(|name| name.split('/').next().unwrap().to_owned()).collect();
        assert_eq!(names, wanted, "{caller}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_is_paused_and_resumed_and_the_others_go_on() {
    let world = World::new();
    let token = world.token("author-a");
    let is = |state: &'static str| move |json: &Value| json["state"] == state;
    world.until("/v1/pipelines/a/one", token, is("running")).await;
    let paused = world.ask("POST", "/v1/pipelines/a/one/pause", Some(token)).await;
    assert!(paused.status.is_success());
    world.until("/v1/pipelines/a/one", token, is("paused")).await;
    // Its thread may not have begun yet.
    let other = world.until("/v1/pipelines/b/one", world.token("viewer-b"), is("running")).await;
    assert_eq!(other["starts"], 1);
    world.ask("POST", "/v1/pipelines/a/one/resume", Some(token)).await;
    let again = world.until("/v1/pipelines/a/one", token, is("running")).await;
    assert_eq!(again["starts"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_failed_is_named_and_the_host_stays_ready_until_it_drains() {
    let world = World::new();
    let ready = world
        .until("/readyz", world.token("viewer-a"), |json| json["failed"] == 1 && json["status"] == "ready")
        .await;
    assert_eq!(ready["failing"][0]["id"], "a.broken");
    assert!(ready["failing"][0]["error"].as_str().unwrap().contains("the table is gone"));
    for blind in [None, Some(world.token("viewer-b"))] {
        let ready = world.ask("GET", "/readyz", blind).await;
        assert_eq!(
            (
                ready.status.as_u16(),
                &ready.json()["failed"],
                ready.json()["failing"].as_array().unwrap().len()
            ),
            (200, &1.into(), 0)
        );
    }
    let failed = world.ask("GET", "/v1/pipelines/a/broken", Some(world.token("viewer-a"))).await.json();
    assert_eq!((failed["state"].as_str(), failed["failed"]["exit"].as_u64()), (Some("failed"), Some(1)));
    for path in ["/livez", "/healthz", "/readyz"] {
        let head = world.ask("HEAD", path, None).await;
        assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""), "{path}");
    }
    world.shutdown.request();
    let ready = world.ask("GET", "/readyz", None).await;
    assert_eq!((ready.status.as_u16(), &ready.json()["status"]), (503, &"draining".into()));
    assert_eq!(world.ask("GET", "/livez", None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_say_what_pipelines_are_at_and_did() {
    let world = World::new();
    world.supervisor.control(&pipelines::id("a", "one")).unwrap().recorder().received(7, 70);
    let token = world.token("viewer-all");
    let begin = std::time::Instant::now();
    let text = loop {
        let answer = world.ask("GET", "/metrics", Some(token)).await;
        assert_eq!(answer.headers[header::CONTENT_TYPE], crate::metrics::text::CONTENT_TYPE);
        if answer.text.contains("rowgate_pipeline_state{tenant=\"a\",pipeline=\"broken\",state=\"failed\"} 1")
        {
            break answer.text;
        }
        assert!(begin.elapsed().as_secs() < 30, "{}", answer.text);
        tokio::task::yield_now().await;
    };
    assert!(text.contains("rowgate_records_received_total{tenant=\"a\",pipeline=\"one\"} 7\n"), "{text}");
    let status = world.ask("GET", "/v1/pipelines/a/one", Some(token)).await.json();
    assert_eq!(status["counts"]["received"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tokens_only_this_machine_is_answered_and_no_web_page_of_another() {
    let world = World::without_tokens();
    let send = async |host: &str, origin: Option<&str>| {
        let mut request =
            Request::builder().method("POST").uri("/v1/pipelines/a/one/pause").header(header::HOST, host);
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        world.send(request.body(Body::empty()).unwrap()).await.status.as_u16()
    };
    for host in ["127.0.0.1:8642", "localhost:8642", "[::1]:8642", "127.0.0.1"] {
        assert_eq!(send(host, None).await, 200, "{host}");
        assert_eq!(send(host, Some(&format!("http://{host}"))).await, 200, "{host}");
    }
    for (host, origin) in [
        ("evil.example", None),
        ("127.0.0.1.evil.example:8642", None),
        ("localhost.evil.example", None),
        ("", None),
        ("127.0.0.1:8642", Some("https://evil.example")),
        ("127.0.0.1:8642", Some("http://127.0.0.1:1")),
        ("127.0.0.1:8642", Some("null")),
        ("evil.example", Some("http://evil.example")),
    ] {
        assert_eq!(send(host, origin).await, 403, "{host} {origin:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_a_problem_with_a_code() {
    let world = World::new();
    let token = Some(world.token("operator-all"));
    for (method, path, status, code) in [
        ("GET", "/", 404, "no_route"),
        ("GET", "/v1/pipelines/a", 404, "no_route"),
        ("DELETE", "/v1/pipelines/a/one", 405, "no_method"),
        ("GET", "/v1/pipelines/a/one/pause", 405, "no_method"),
        ("GET", "/v1/pipelines/a/one/logs?since=yesterday", 400, "bad_request"),
        ("GET", "/v1/pipelines/a/one/logs?after=-1", 400, "bad_request"),
        ("GET", "/v1/pipelines/a/%00", 404, "no_pipeline"),
        ("GET", "/v1/pipelines/a/%FF", 400, "bad_request"),
    ] {
        let answer = world.ask(method, path, token).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.text);
        assert_eq!(answer.code(), code, "{method} {path}");
    }
    for header in ["Basic abc", "Bearer", "Bearer ", "rgt_x"] {
        let request = Request::builder().uri("/v1/pipelines").header(header::AUTHORIZATION, header);
        let answer = world.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "unauthorized"), "{header}");
        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer realm=\"rowgate\"");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_noted_with_who_and_what_came_of_it_and_never_with_the_token() {
    let world = World::new();
    // What a request does is done on this thread.
    let _logging = logging(&world.logs);
    for caller in ["author-a", "viewer-a", "author-b"] {
        world.ask("POST", "/v1/pipelines/a/one/pause", Some(world.token(caller))).await;
        world.ask("GET", "/v1/pipelines/a/one", Some(world.token(caller))).await;
    }
    let answer = world.ask("GET", "/v1/pipelines/a/one/logs", Some(world.token("viewer-a"))).await.json();
    let lines = answer["lines"].as_array().unwrap();
    let found: Vec<_> = lines
        .iter()
        .map(|line| (line["level"].as_str().unwrap(), line["message"].as_str().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            ("INFO", "admin: POST /v1/pipelines/a/one/pause who=\"author-a\" role=\"author\" status=200"),
            ("WARN", "admin: POST /v1/pipelines/a/one/pause who=\"viewer-a\" role=\"viewer\" status=403"),
            ("WARN", "admin: POST /v1/pipelines/a/one/pause who=\"author-b\" role=\"author\" status=404"),
        ]
    );
    for (_, token) in &world.tokens {
        assert!(!answer.to_string().contains(&token.expose()[4..]));
    }
}

/// A body of which nothing comes.
struct Never;

impl HttpBody for Never {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_slowly_keeps_nobody_from_going_back_and_who_leaves_is_noted() {
    let world = World::new();
    let _logging = logging(&world.logs);
    let (path, token) = ("/v1/pipelines/a/one/transform", world.token("author-a"));
    let slow = || {
        let request = Request::builder().method("PUT").uri(path).header(header::HOST, "127.0.0.1:8642");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        Box::pin(world.send(request.body(Body::new(Never)).unwrap()))
    };
    let mut under_way = [slow(), slow()];
    for upload in &mut under_way {
        assert!(tokio::time::timeout(Duration::ZERO, upload).await.is_err(), "it waits for the body");
    }
    let refusal = async |method, path, caller: &str| {
        let answer = world.give(method, path, world.token(caller), b"no transform").await;
        (answer.status.as_u16(), answer.code())
    };
    assert_eq!(refusal("PUT", path, "author-a").await, (429, "busy".to_owned()));
    let refused = (422, "refused".to_owned());
    assert_eq!(refusal("POST", "/v1/pipelines/a/one/rollback", "author-a").await, refused, "none ran before");
    assert_eq!(refusal("PUT", "/v1/pipelines/b/one/transform", "author-b").await, refused);
    drop(under_way);
    assert_eq!(refusal("PUT", path, "author-a").await, refused, "there is room again");
    let answer = world.ask("GET", "/v1/pipelines/a/one/logs", Some(token)).await.json();
    let lines = answer["lines"].as_array().unwrap().iter().filter_map(|line| line["message"].as_str());
    let left =
        format!("admin: PUT {path}: the caller left before the answer who=\"author-a\" role=\"author\"");
    assert_eq!(lines.filter(|line| *line == left).count(), 2, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_waits_until_it_is_activated_and_what_ran_before_comes_back() {
    let world = World::new();
    let token = world.token("author-a");
    let other = [BUILT_IN, &[0, 2, 1, b'a']].concat();
    let (own, digest) = (digest(BUILT_IN), digest(&other));
    let at = |rest: &str| format!("/v1/pipelines/a/one/{rest}");
    let current =
        async || world.ask("GET", &at("transform"), Some(token)).await.json()["current"]["digest"].clone();

    let waits = world.give("PUT", &at("transform?activate=false"), token, &other).await.json();
    assert_eq!((&waits["state"], &waits["digest"]), (&"staged".into(), &digest.as_str().into()));
    assert_eq!(current().await, own.as_str());
    let staged = async || world.ask("GET", &at("transform"), Some(token)).await.json()["staged"].clone();
    assert_eq!(staged().await[0]["digest"], digest.as_str());
    // What waits is its own pipeline's.
    let author = Some(world.token("author-b"));
    let elsewhere = world.ask("POST", &format!("/v1/pipelines/b/one/activate/{digest}"), author).await;
    assert_eq!((elsewhere.status.as_u16(), elsewhere.code().as_str()), (422, "refused"));

    let activate = at(&format!("activate/sha256:{}", &digest[..12]));
    let active = world.ask("POST", &activate, Some(token)).await.json();
    assert_eq!(
        (&active["state"], &active["changed"], &active["kept"]),
        (&"active".into(), &true.into(), &true.into())
    );
    assert_eq!(current().await, digest.as_str());
    let back = world.ask("POST", &at("rollback"), Some(token)).await.json();
    assert_eq!(back["digest"], own.as_str());
    // It waits no more, and is known as one that ran.
    assert_eq!(staged().await, serde_json::json!([]));
    assert_eq!(world.ask("POST", &activate, Some(token)).await.json()["changed"], true);
    assert_eq!(current().await, digest.as_str());
    let metrics = world.ask("GET", "/metrics", Some(world.token("viewer-all"))).await.text;
    let done = "rowgate_transform_swaps_total{tenant=\"a\",pipeline=\"one\",outcome=\"done\"} 3";
    assert!(metrics.lines().any(|line| line == done), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_transform_is_refused_by_each_route_that_takes_one_and_changes_nothing() {
    let world = World::new();
    let token = world.token("author-a");
    let before = world.ask("GET", "/v1/pipelines/a/one/transform", Some(token)).await.json();
    let taking = ROUTES.iter().filter(|route| route.body == routes::Body::Component);
    for route in taking {
        let path = route.path.replace("{tenant}", "a").replace("{name}", "one");
        for component in [&b"no transform"[..], &BUILT_IN[..BUILT_IN.len() / 2]] {
            let answer = world.give(route.method, &path, token, component).await;
            // There are no records to try it on, which is found first.
            let (status, code) = if path.ends_with("/try") { (409, "no_records") } else { (422, "refused") };
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{path}");
        }
        assert_eq!(world.give(route.method, &path, token, b"").await.code(), "bad_request", "{path}");
        let large = world.give(route.method, &path, token, &vec![0; (4 << 20) + 1]).await;
        assert_eq!((large.status.as_u16(), large.code().as_str()), (413, "too_large"), "{path}");
    }
    let after = world.ask("GET", "/v1/pipelines/a/one/transform", Some(token)).await.json();
    assert_eq!((&after["swaps"], &after["waiting"]), (&before["swaps"], &false.into()));
    assert_eq!(after["versions"].as_array().unwrap().len(), 1, "the configuration's own");
}

/// Has this thread log to `logs`, until what this returns is dropped.
fn logging(logs: &Logs) -> DefaultGuard {
    // While only one subscriber is known, what a thread without one is the first to log is taken to interest nobody.
    static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));
    LazyLock::force(&SECOND);
    tracing::subscriber::set_default(tracing_subscriber::registry().with(logs.clone()))
}

/// Waits on this thread, which is none of the runtime's.
fn wait(future: impl Future<Output = ()>) {
    tokio::runtime::Handle::current().block_on(future);
}
