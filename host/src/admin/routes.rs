//! The routes, each with the rule that says who may use it. There is no other way to a handler.

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{DefaultBodyLimit, RawPathParams, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use schemars::JsonSchema;

use super::access::{Caller, Rule};
use super::health::{Live, Ready};
use super::openapi::{Describe, of};
use super::pipelines::{Lines, Pipeline, Pipelines, Tenants, Which};
use super::problem::Problem;
use super::transforms::{Before, Handed, Purpose, Shown, To};
use super::{Admin, health, openapi, pipelines, transforms};
use crate::pipeline::trial::Trial;
use crate::supervisor::{self, PipelineId};

/// Bytes of a request's body, where a route says nothing else.
const MAX_BODY_BYTES: usize = 64 << 10;
/// Bytes of a path that are logged.
const MAX_LOGGED_BYTES: usize = 300;

/// One thing that can be asked.
pub struct Route {
    /// How it is asked; `GET` takes `HEAD` in.
    pub method: &'static str,
    /// Where. `{tenant}` and `{name}` are those of a pipeline; a pipeline without a tenant has `~` there.
    pub path: &'static str,
    /// Who may.
    pub rule: Rule,
    /// What it is for.
    pub about: &'static str,
    /// What the query takes, all of it optional.
    pub query: Option<Describe>,
    /// What the body is.
    pub body: Body,
    /// What a success gives: its content type, and the type.
    pub gives: (&'static str, Describe),
    /// Other statuses that come with the same.
    pub also: &'static [u16],
    /// Statuses of refusals, besides those that follow from the rest.
    pub refuses: &'static [u16],
    handler: fn() -> MethodRouter<Admin>,
}

/// What a request's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    Empty,
    /// A component.
    Component,
}

impl Route {
    /// One that gives JSON.
    const fn json(
        method: &'static str,
        path: &'static str,
        rule: Rule,
        about: &'static str,
        gives: Describe,
        handler: fn() -> MethodRouter<Admin>,
    ) -> Self {
        let gives = ("application/json", gives);
        let (query, body, also, refuses) = (None, Body::Empty, &[], &[]);
        Route { method, path, rule, about, query, body, gives, also, refuses, handler }
    }

    const fn query(self, query: Describe) -> Self {
        Route { query: Some(query), ..self }
    }

    const fn component(self) -> Self {
        Route { body: Body::Component, ..self }
    }

    const fn refuses(self, refuses: &'static [u16]) -> Self {
        Route { refuses, ..self }
    }

    const fn also(self, also: &'static [u16]) -> Self {
        Route { also, ..self }
    }

    /// All statuses of refusals.
    pub fn refusals(&self) -> Vec<u16> {
        let mut all = vec![400, 401, 403];
        if matches!(self.rule, Rule::See | Rule::Change) {
            all.push(404);
        }
        if self.body == Body::Component {
            all.extend([408, 413, 422, 429, 503]);
        }
        all.extend(self.refuses);
        all
    }

    /// Its name in the description.
    pub fn id(&self) -> String {
        let path = self.path.replace(['{', '}'], "").replace(['/', '.'], "_");
        format!("{}{path}", self.method.to_lowercase())
    }
}

/// All routes.
pub const ROUTES: &[Route] = &[
    Route::json("GET", "/livez", Rule::Anyone, "Whether the process lives: it answers", of::<Live>, || {
        get(health::live)
    }),
    Route::json(
        "GET",
        "/readyz",
        Rule::Anyone,
        "Whether the configuration is loaded and each pipeline has been past its start, and the host does not drain",
        of::<Ready>,
        || get(health::ready),
    )
    .also(&[503]),
    Route::json("GET", "/healthz", Rule::Anyone, "The same as /livez", of::<Live>, || get(health::live)),
    Route::json("GET", "/openapi.json", Rule::Anyone, "This description", of::<serde_json::Value>, || {
        get(openapi::document)
    }),
    Route {
        gives: ("application/openmetrics-text", of::<String>),
        ..Route::json(
            "GET",
            "/metrics",
            Rule::SeeAll,
            "What pipelines did and where they stand, for Prometheus",
            of::<String>,
            || get(health::metrics),
        )
    },
    Route::json("GET", "/v1/tenants", Rule::Listing, "The tenants that the caller may see", of::<Tenants>, || {
        get(pipelines::tenants)
    }),
    Route::json(
        "GET",
        "/v1/pipelines",
        Rule::Listing,
        "The pipelines that the caller may see",
        of::<Pipelines>,
        || get(pipelines::list),
    ),
    Route::json(
        "GET",
        "/v1/pipelines/{tenant}/{name}",
        Rule::See,
        "What a pipeline is at",
        of::<Pipeline>,
        || get(pipelines::status),
    ),
    Route::json(
        "GET",
        "/v1/pipelines/{tenant}/{name}/logs",
        Rule::See,
        "The last lines that were logged of a pipeline, the host's and its transform's",
        of::<Lines>,
        || get(pipelines::logs),
    )
    .query(Which::json_schema),
    Route::json(
        "POST",
        "/v1/pipelines/{tenant}/{name}/pause",
        Rule::Change,
        "Lets a pipeline drain and leave its group, until it is resumed; says what it is at now",
        of::<Pipeline>,
        || post(pipelines::pause),
    ),
    Route::json(
        "POST",
        "/v1/pipelines/{tenant}/{name}/resume",
        Rule::Change,
        "Starts a pipeline again that is paused, or has failed or ended; says what it is at now",
        of::<Pipeline>,
        || post(pipelines::resume),
    ),
    Route::json(
        "GET",
        "/v1/pipelines/{tenant}/{name}/transform",
        Rule::See,
        "Which transform runs, which ones can be gone back to or wait, and what a shadow came to",
        of::<Shown>,
        || get(transforms::show),
    ),
    Route::json(
        "PUT",
        "/v1/pipelines/{tenant}/{name}/transform",
        Rule::Change,
        "Hands over a component: it makes the rows from the next batch on, or waits",
        of::<Handed>,
        || put(transforms::upload),
    )
    .component()
    .query(Purpose::json_schema),
    Route::json(
        "POST",
        "/v1/pipelines/{tenant}/{name}/validate",
        Rule::Change,
        "Checks a component as handing it over would, and forgets it",
        of::<Handed>,
        || post(transforms::validate),
    )
    .component(),
    Route::json(
        "POST",
        "/v1/pipelines/{tenant}/{name}/try",
        Rule::Change,
        "What a component would make of the last records that the pipeline has had; nothing is written",
        of::<Trial>,
        || post(transforms::attempt),
    )
    .component()
    .refuses(&[409]),
    Route::json(
        "POST",
        "/v1/pipelines/{tenant}/{name}/activate/{digest}",
        Rule::Change,
        "Has a component run that waits, or one that ran before",
        of::<Handed>,
        || post(transforms::activate),
    )
    .refuses(&[422, 429, 503]),
    Route::json(
        "POST",
        "/v1/pipelines/{tenant}/{name}/rollback",
        Rule::Change,
        "Goes back to a transform that ran before, with the parameters that it had",
        of::<Handed>,
        || post(transforms::rollback),
    )
    .query(To::json_schema)
    .refuses(&[422, 429, 503]),
    Route::json(
        "PUT",
        "/v1/pipelines/{tenant}/{name}/shadow",
        Rule::Change,
        "Has a component run beside the one that makes the rows: what it makes is compared, and not written",
        of::<Before>,
        || put(transforms::shadow),
    )
    .component(),
    Route::json(
        "DELETE",
        "/v1/pipelines/{tenant}/{name}/shadow",
        Rule::Change,
        "Ends the shadow, and says what it came to",
        of::<Before>,
        || delete(transforms::no_shadow),
    ),
];

/// The pipeline that a request's path names, which is there and the caller may see.
#[derive(Debug, Clone)]
pub struct Meant(pub PipelineId);

/// All routes, behind their rules.
pub fn router(admin: &Admin) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let guard = middleware::from_fn_with_state((admin.clone(), route), guard);
        router = router.route(route.path, (route.handler)().route_layer(guard));
    }
    router
        .fallback(async |uri: Uri| {
            let detail = format!("there is nothing at {}", logged(uri.path()));
            Problem::new(StatusCode::NOT_FOUND, "no_route", detail)
                .help("GET /openapi.json says what there is")
        })
        .method_not_allowed_fallback(async |method: Method| {
            let detail = format!("{method} is not what this takes");
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no_method", detail)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(admin.clone())
}

/// Lets a request pass that the route's rule allows, and notes each change: who, what, and what came of it.
async fn guard(
    State((admin, route)): State<(Admin, &'static Route)>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match admin.caller(request.headers()) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let params = match params {
        Ok(params) => params,
        Err(error) => return Problem::bad_request(error.body_text()).into_response(),
    };
    let param = |name: &str| params.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value);
    let id = pipelines::id(param("tenant"), param("name"));
    let tenant = admin.shared.supervisor.control(&id).map(pipelines::tenant_of);
    let mut change = caller.clone().filter(|_| route.rule == Rule::Change).map(|caller| Change {
        caller,
        what: format!("{} {}", route.method, logged(request.uri().path())),
        id: tenant.map(|_| id.clone()),
        status: None,
    });
    let response = match route.rule.check(caller.as_ref(), id.as_str(), tenant) {
        Err(problem) => problem.into_response(),
        Ok(()) => {
            request.extensions_mut().insert(Meant(id));
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
    };
    if let Some(change) = &mut change {
        change.status = Some(response.status().as_u16());
    }
    response
}

/// A change that somebody asked for. It is noted in the log, and among the lines of its pipeline, when it is dropped:
/// whoever leaves before the answer has asked for it all the same.
struct Change {
    caller: Caller,
    what: String,
    /// The pipeline, where it is there.
    id: Option<PipelineId>,
    /// What came of it, once that is known.
    status: Option<u16>,
}

impl Drop for Change {
    fn drop(&mut self) {
        let _of = self.id.as_ref().map(supervisor::span_of);
        let (who, role, what) = (self.caller.name.as_str(), self.caller.role.name(), &self.what);
        match self.status {
            Some(status @ ..400) => tracing::info!(who, role, status, "admin: {what}"),
            Some(status) => tracing::warn!(who, role, status, "admin: {what}"),
            None => tracing::warn!(who, role, "admin: {what}: the caller left before the answer"),
        }
    }
}

/// The beginning of a path, which is ASCII and has no spaces.
fn logged(path: &str) -> &str {
    path.get(..MAX_LOGGED_BYTES).unwrap_or(path)
}
