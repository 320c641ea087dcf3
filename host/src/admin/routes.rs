//! The routes, each with the rule that says who may use it. There is no other way to a handler.

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{DefaultBodyLimit, RawPathParams, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use schemars::JsonSchema;

use super::access::{Caller, Rule};
use super::health::{Live, Ready};
use super::openapi::{Describe, of};
use super::pipelines::{Lines, Pipeline, Pipelines, Tenants, Which};
use super::problem::Problem;
use super::{Admin, health, openapi, pipelines};
use crate::supervisor::PipelineId;
use crate::telemetry::ring;

/// Bytes of a request's body. No route takes one.
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
    /// What a success gives: its content type, and the type.
    pub gives: (&'static str, Describe),
    /// Other statuses that come with the same.
    pub also: &'static [u16],
    handler: fn() -> MethodRouter<Admin>,
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
        Route { method, path, rule, about, query: None, gives, also: &[], handler }
    }

    const fn query(self, query: Describe) -> Self {
        Route { query: Some(query), ..self }
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
    let change = caller.clone().filter(|_| route.rule == Rule::Change).map(|caller| Change {
        caller,
        what: format!("{} {}", route.method, logged(request.uri().path())),
        id: tenant.map(|_| id.clone()),
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
    if let Some(change) = change {
        change.note(response.status().as_u16());
    }
    response
}

/// A change that somebody asked for.
struct Change {
    caller: Caller,
    what: String,
    /// The pipeline, where it is there.
    id: Option<PipelineId>,
}

impl Change {
    /// Notes it in the log, and among the lines of its pipeline.
    fn note(&self, status: u16) {
        let _of = self.id.as_ref().map(|id| tracing::error_span!(ring::SPAN, %id).entered());
        let (who, role, what) = (self.caller.name.as_str(), self.caller.role.name(), &self.what);
        match status {
            ..400 => tracing::info!(who, role, status, "admin: {what}"),
            _ => tracing::warn!(who, role, status, "admin: {what}"),
        }
    }
}

/// The beginning of a path, which is ASCII and has no spaces.
fn logged(path: &str) -> &str {
    path.get(..MAX_LOGGED_BYTES).unwrap_or(path)
}
