//! The pipelines: which there are, what they are at, what they say, and stopping them for a while.

use std::time::{Duration, Instant};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::{Extension, Json};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::access::Caller;
use super::problem::Problem;
use super::routes::Meant;
use crate::metrics::Counts;
use crate::pipeline::control::Control;
use crate::supervisor::{PipelineId, State as Now, Status};
use crate::telemetry::ring::Line;

/// What stands for the tenant of a pipeline that has none.
pub const NO_TENANT: &str = "~";

/// The pipeline that a path names.
pub fn id(tenant: &str, name: &str) -> PipelineId {
    match tenant {
        NO_TENANT | "" => PipelineId::from(name),
        tenant => PipelineId::from(format!("{tenant}.{name}").as_str()),
    }
}

/// The tenant of a pipeline; `""` for none.
pub fn tenant_of(control: &Control) -> &str {
    control.settings().tenant.as_deref().unwrap_or_default()
}

/// All pipelines that the caller may see.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Pipelines {
    /// By their names.
    pub pipelines: Vec<Pipeline>,
}

/// A pipeline, as it is now.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Pipeline {
    /// Its tenant; `~` where there are none.
    pub tenant: String,
    /// Its name within the tenant.
    pub name: String,
    /// `starting`, `running`, `draining`, `paused`, `failed`, or `ended`.
    pub state: String,
    /// Since when.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// How often it was started, the first time included.
    pub starts: u64,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
    /// What it counted since the process started.
    pub counts: Counts,
    /// Records that are not committed, over all partitions; none where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
}

/// Why a pipeline failed.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Failed {
    /// The error with its causes.
    pub error: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What the process would end with if it ran this pipeline alone.
    pub exit: u8,
    /// When it is started again by itself; none: it waits to be resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub restarts_at: Option<Timestamp>,
}

/// All tenants that the caller may see.
#[derive(Serialize, JsonSchema)]
pub struct Tenants {
    tenants: Vec<Tenant>,
}

/// A tenant.
#[derive(Serialize, JsonSchema)]
struct Tenant {
    /// Its name; `~` for pipelines without a tenant.
    name: String,
    /// How many pipelines it has.
    pipelines: usize,
    /// How many of them run.
    running: usize,
    /// How many of them have failed.
    failed: usize,
}

/// The last lines of a pipeline's log.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Lines {
    /// Oldest first.
    pub lines: Vec<Line>,
}

/// Which lines.
#[derive(Deserialize, JsonSchema)]
pub struct Which {
    /// Those from this time on, in RFC 3339.
    since: Option<String>,
    /// Those after the one of this number.
    after: Option<u64>,
}

/// The pipelines that the caller may see.
pub async fn list(State(admin): State<Admin>, Extension(caller): Extension<Caller>) -> Json<Pipelines> {
    Json(Pipelines { pipelines: admin.seen_by(&caller) })
}

/// The tenants that the caller may see.
pub async fn tenants(State(admin): State<Admin>, Extension(caller): Extension<Caller>) -> Json<Tenants> {
    let mut tenants: Vec<Tenant> = Vec::new();
    for pipeline in admin.seen_by(&caller) {
        if tenants.last().is_none_or(|last| last.name != pipeline.tenant) {
            tenants.push(Tenant { name: pipeline.tenant, pipelines: 0, running: 0, failed: 0 });
        }
        let Some(tenant) = tenants.last_mut() else { continue };
        tenant.pipelines += 1;
        tenant.running += usize::from(pipeline.state == Now::Running.word());
        tenant.failed += usize::from(pipeline.failed.is_some());
    }
    Json(Tenants { tenants })
}

/// What a pipeline is at.
pub async fn status(
    State(admin): State<Admin>,
    Extension(meant): Extension<Meant>,
) -> Result<Json<Pipeline>, Problem> {
    admin.answer(&meant, admin.shared.supervisor.status(&meant.0))
}

/// Lets a pipeline drain and leave its group, until it is resumed. The answer says what it is at now.
pub async fn pause(
    State(admin): State<Admin>,
    Extension(meant): Extension<Meant>,
) -> Result<Json<Pipeline>, Problem> {
    admin.answer(&meant, admin.shared.supervisor.pause(&meant.0))
}

/// Starts a pipeline again that is paused, or has failed or ended. The answer says what it is at now.
pub async fn resume(
    State(admin): State<Admin>,
    Extension(meant): Extension<Meant>,
) -> Result<Json<Pipeline>, Problem> {
    admin.answer(&meant, admin.shared.supervisor.resume(&meant.0))
}

/// The last lines that were logged of a pipeline, the host's and its transform's. So many are kept that a person
/// sees what happened; the whole log is on the host's standard error.
pub async fn logs(
    State(admin): State<Admin>,
    Extension(meant): Extension<Meant>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Lines>, Problem> {
    let Query(which) = which.map_err(|error| Problem::bad_request(error.body_text()))?;
    let since = match &which.since {
        None => None,
        Some(text) => Some(text.parse::<Timestamp>().map_err(|error| {
            Problem::bad_request(format!("since: {error}")).help("write it as 2026-01-31T12:00:00Z")
        })?),
    };
    Ok(Json(Lines { lines: admin.shared.logs.lines(meant.0.as_str(), which.after.unwrap_or(0), since) }))
}

impl Admin {
    fn seen_by(&self, caller: &Caller) -> Vec<Pipeline> {
        let all = self.shared.supervisor.pipelines();
        let views = all.iter().map(|status| self.view(status));
        let sees = |view: &Pipeline| caller.sees(if view.tenant == NO_TENANT { "" } else { &view.tenant });
        views.filter(sees).collect()
    }

    fn answer(&self, meant: &Meant, status: Option<Status>) -> Result<Json<Pipeline>, Problem> {
        let status = status.ok_or_else(|| Problem::no_pipeline(meant.0.as_str()))?;
        Ok(Json(self.view(&status)))
    }

    fn view(&self, status: &Status) -> Pipeline {
        let control = self.shared.supervisor.control(&status.id);
        let named = |control| (tenant_of(control), control.settings().name_in_tenant());
        let (tenant, name) = control.map_or(("", status.id.as_str()), named);
        let failed = match &status.state {
            Now::Failed(failed) => Some(Failed {
                error: failed.error.clone(),
                help: failed.help.clone(),
                exit: failed.exit as u8,
                restarts_at: failed.restarts_at.map(as_time),
            }),
            _ => None,
        };
        let recorder = control.map(Control::recorder);
        Pipeline {
            tenant: if tenant.is_empty() { NO_TENANT.to_owned() } else { tenant.to_owned() },
            name: name.to_owned(),
            state: status.state.word().to_owned(),
            since: as_time(status.since),
            starts: status.starts,
            failed,
            counts: recorder.map(|recorder| recorder.counts()).unwrap_or_default(),
            lag: recorder.and_then(|recorder| recorder.lag()),
        }
    }
}

/// A moment of the monotonic clock as a time of day, by the clock of now; to the second, since that is how long it stays.
pub(super) fn as_time(at: Instant) -> Timestamp {
    let now = Timestamp::now();
    let signed = |span: Duration| jiff::SignedDuration::try_from(span).unwrap_or(jiff::SignedDuration::ZERO);
    let time = match at.checked_duration_since(Instant::now()) {
        Some(ahead) => now.checked_add(signed(ahead)),
        None => now.checked_sub(signed(at.elapsed())),
    };
    let time = time.unwrap_or(now);
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
