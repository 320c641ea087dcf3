//! Whether the process lives, whether it is ready, and what it measured.
//!
//! It is ready once its configuration is loaded and each pipeline has been past its start, and until it drains. That
//! a pipeline failed does not make it unready: the others go on, and a restart would stop them, too. The answer's
//! body names it.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::access::Caller;
use super::pipelines::tenant_of;
use super::problem::Problem;
use crate::metrics::MAX_SERIES;
use crate::metrics::text::{self, Gauge};
use crate::supervisor::{State as Now, Status};

/// Whether the process lives.
#[derive(Serialize, JsonSchema)]
pub struct Live {
    /// `live`.
    status: &'static str,
}

/// Whether the process is ready.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Ready {
    /// `ready`, `starting`, or `draining`.
    pub status: String,
    /// How many pipelines there are.
    pub pipelines: usize,
    /// How many of them have failed.
    pub failed: usize,
    /// Which, as far as the caller may see them.
    pub failing: Vec<Failing>,
}

/// A pipeline that has failed.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Failing {
    /// Its full name.
    pub id: String,
    /// Why.
    pub error: String,
}

/// The process lives: it answers.
pub async fn live() -> Json<Live> {
    Json(Live { status: "live" })
}

/// Whether the process is ready: its configuration is loaded, each pipeline has been past its start, and it does not drain.
pub async fn ready(State(admin): State<Admin>, caller: Option<Extension<Caller>>) -> Response {
    let all = admin.shared.supervisor.pipelines();
    let started = &admin.shared.started;
    if all.iter().all(|pipeline| pipeline.state != Now::Starting) {
        started.store(true, Ordering::Relaxed);
    }
    let status = match (admin.shared.shutdown.is_requested(), started.load(Ordering::Relaxed)) {
        (true, _) => "draining",
        (false, false) => "starting",
        (false, true) => "ready",
    };
    let sees = |status: &Status| {
        let tenant = admin.shared.supervisor.control(&status.id).map(tenant_of);
        caller.as_ref().is_some_and(|caller| tenant.is_some_and(|tenant| caller.sees(tenant)))
    };
    let mut ready = Ready { status: status.to_owned(), pipelines: all.len(), failed: 0, failing: Vec::new() };
    for pipeline in &all {
        let Now::Failed(failed) = &pipeline.state else { continue };
        ready.failed += 1;
        if sees(pipeline) {
            ready.failing.push(Failing { id: pipeline.id.to_string(), error: failed.error.clone() });
        }
    }
    let code = if status == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(ready)).into_response()
}

/// What pipelines did and where they stand, for Prometheus.
pub async fn metrics(State(admin): State<Admin>) -> Result<Response, Problem> {
    let supervisor = &admin.shared.supervisor;
    let all = supervisor.pipelines();
    let labels = |status: &Status| {
        let control = supervisor.control(&status.id)?;
        let (name, state) = (control.settings().name_in_tenant(), status.state.word());
        let labels = [("tenant", tenant_of(control)), ("pipeline", name), ("state", state)];
        Some((labels.map(|(label, value)| (label, value.to_owned())).to_vec(), 1))
    };
    let values = all.iter().filter_map(labels).take(MAX_SERIES);
    let values = values.collect();
    let gauge = Gauge { name: "pipeline_state", about: "What each pipeline is at: 1 for its state", values };
    let body = text::render(&admin.shared.metrics, vec![gauge]).map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", format!("no metrics: {error}"))
    })?;
    Ok(([(header::CONTENT_TYPE, text::CONTENT_TYPE)], body).into_response())
}
