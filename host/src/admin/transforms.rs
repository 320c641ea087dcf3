//! The transform of a pipeline: which one runs and ran, and handing over another one.
//!
//! A component that is handed over is checked: size, form, imports, where it comes from; compiled, started, asked for a
//! plan of each table that the pipeline has met. Then it is `validated`, and waits to be activated, or is `active` from the
//! next batch on. Whatever it fails at, the one that runs goes on. Its digest is the host's own.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::pipelines::tenant_of;
use super::problem::Problem;
use super::routes::Meant;
use super::staged::Waits;
use super::upload::{self, Place};
use crate::error::{self, Exit};
use crate::origin::beginning_of;
use crate::pins::deployed::By;
use crate::pipeline::control::{Candidate, Control, Deployment, Status};
use crate::pipeline::shadow::Report;
use crate::pipeline::trial::Trial;
use crate::supervisor;
use crate::transform::digest;

/// A component that was handed over, or that was there.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Handed {
    /// SHA-256 of its bytes, in hexadecimal, as the host computed it.
    pub digest: String,
    /// `validated`: nothing is wrong with it; `staged`: that, and it waits to be activated; `active`: it makes the rows
    /// from the next batch on.
    pub state: String,
    /// When it is forgotten, where it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub until: Option<Timestamp>,
    /// Whether another one ran before, where it is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<bool>,
    /// Whether it runs after a restart, too, where it is active; if not, the log says why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<bool>,
}

impl Handed {
    fn validated(digest: String) -> Self {
        Handed { digest, state: "validated".to_owned(), until: None, changed: None, kept: None }
    }

    fn staged(waits: Waits) -> Self {
        let state = "staged".to_owned();
        Handed { state, until: Some(waits.until), ..Handed::validated(waits.digest) }
    }

    fn active(deployment: Deployment) -> Self {
        let (changed, kept) = (Some(deployment.changed), Some(deployment.kept));
        let state = "active".to_owned();
        Handed { state, changed, kept, ..Handed::validated(deployment.version.digest) }
    }
}

/// What runs, ran and waits in a pipeline.
#[derive(Serialize, JsonSchema)]
pub struct Shown {
    #[serde(flatten)]
    status: Status,
    /// Components that were handed over and wait to be activated, the oldest first.
    staged: Vec<Waits>,
}

/// What a component is handed over for.
#[derive(Deserialize, JsonSchema)]
pub struct Purpose {
    /// Whether it is to run (the default), or only to wait for that.
    activate: Option<bool>,
}

/// Which one is gone back to.
#[derive(Deserialize, JsonSchema)]
pub struct To {
    /// The beginning of its digest; without it the one that ran before.
    to: Option<String>,
}

/// What the shadow came to that ran until now.
#[derive(Serialize, JsonSchema)]
pub struct Before {
    /// None: there was no shadow.
    before: Option<Report>,
}

/// Which transform runs, which ones can be gone back to or wait, and what a shadow came to.
pub async fn show(
    State(admin): State<Admin>,
    Extension(meant): Extension<Meant>,
) -> Result<Json<Shown>, Problem> {
    let status = admin.control(&meant)?.status();
    Ok(Json(Shown { status, staged: admin.shared.staged.of(&meant.0) }))
}

/// Hands over a component: it makes the rows from the next batch on, or waits (`activate=false`).
pub async fn upload(
    State(admin): State<Admin>,
    Extension(meant): Extension<Meant>,
    purpose: Result<Query<Purpose>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Handed>, Problem> {
    let Query(purpose) = purpose.map_err(|error| Problem::bad_request(error.body_text()))?;
    let (place, candidate) = admin.taken_in(&meant, &headers, body).await?;
    let runs = purpose.activate.unwrap_or(true);
    let (shared, id) = (admin.shared.clone(), meant.0.clone());
    let handed = move |control: &Control| {
        if runs {
            return control.deploy(candidate, By::Deploy).map(Handed::active);
        }
        control.check(candidate.clone())?;
        let waits = shared.staged.put(&id, tenant_of(control), candidate);
        tracing::info!(digest = waits.digest, "a component waits to be activated");
        Ok(Handed::staged(waits))
    };
    admin.with(&meant, place, handed).await
}

/// Checks a component as handing it over would, and forgets it.
pub async fn validate(
    State(admin): State<Admin>,
    Extension(meant): Extension<Meant>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Handed>, Problem> {
    let (place, candidate) = admin.taken_in(&meant, &headers, body).await?;
    let checked = move |control: &Control| {
        let digest = digest(&candidate.component);
        control.check(candidate)?;
        Ok(Handed::validated(digest))
    };
    admin.with(&meant, place, checked).await
}

/// What a component would make of the last records that the pipeline has had. Nothing is written.
pub async fn attempt(
    State(admin): State<Admin>,
    Extension(meant): Extension<Meant>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Trial>, Problem> {
    let (place, candidate) = admin.taken_in(&meant, &headers, body).await?;
    let Json(trial) = admin.with(&meant, place, |control| control.trial(candidate)).await?;
    let none = || {
        let detail = "the pipeline has had no records yet since the process started";
        Problem::new(StatusCode::CONFLICT, "no_records", detail).help("try again when it has")
    };
    trial.map(Json).ok_or_else(none)
}

/// Has a component run that waits, or one that ran before.
pub async fn activate(
    State(admin): State<Admin>,
    Extension(meant): Extension<Meant>,
    Path((_, _, digest)): Path<(String, String, String)>,
) -> Result<Json<Handed>, Problem> {
    let place = admin.shared.swaps.take(tenant_of(admin.control(&meant)?))?;
    let waits = admin.shared.staged.find(&meant.0, &beginning_of(&digest))?;
    let (shared, id) = (admin.shared.clone(), meant.0.clone());
    let activated = move |control: &Control| {
        let deployed = match waits {
            Some(candidate) => control.deploy(candidate, By::Deploy)?,
            None => control.rollback(Some(&digest))?,
        };
        shared.staged.forget(&id, &deployed.version.digest);
        Ok(Handed::active(deployed))
    };
    admin.with(&meant, place, activated).await
}

/// Goes back to a transform that ran before, with the parameters that it had.
pub async fn rollback(
    State(admin): State<Admin>,
    Extension(meant): Extension<Meant>,
    to: Result<Query<To>, QueryRejection>,
) -> Result<Json<Handed>, Problem> {
    let Query(To { to }) = to.map_err(|error| Problem::bad_request(error.body_text()))?;
    let place = admin.shared.swaps.take(tenant_of(admin.control(&meant)?))?;
    admin.with(&meant, place, move |control| control.rollback(to.as_deref()).map(Handed::active)).await
}

/// Has a component run beside the one that makes the rows, in place of the one that does so by now. Its rows are
/// compared and not written; `GET transform` says what it came to.
pub async fn shadow(
    State(admin): State<Admin>,
    Extension(meant): Extension<Meant>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Before>, Problem> {
    let (place, candidate) = admin.taken_in(&meant, &headers, body).await?;
    let shadowed = |control: &Control| Ok(Before { before: control.shadow(Some(candidate))? });
    admin.with(&meant, place, shadowed).await
}

/// Ends the shadow, which takes no time.
pub async fn no_shadow(
    State(admin): State<Admin>,
    Extension(meant): Extension<Meant>,
) -> Result<Json<Before>, Problem> {
    let before = admin.control(&meant)?.shadow(None).map_err(|error| refused(&error))?;
    Ok(Json(Before { before }))
}

impl Admin {
    fn control(&self, meant: &Meant) -> Result<&Control, Problem> {
        self.shared.supervisor.control(&meant.0).ok_or_else(|| Problem::no_pipeline(meant.0.as_str()))
    }

    /// A component that is handed over, with a place for what is to be done with it.
    async fn taken_in(
        &self,
        meant: &Meant,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Place, Candidate), Problem> {
        let control = self.control(meant)?;
        let place = self.shared.uploads.take(tenant_of(control))?;
        Ok((place, upload::read(headers, body, &control.settings().limits).await?))
    }

    /// Does what may take long, such as compiling, on a thread that is none of those that answer. It is done to its
    /// end and keeps its place until then, even if the caller leaves.
    async fn with<T: Send + 'static>(
        &self,
        meant: &Meant,
        place: Place,
        what: impl FnOnce(&Control) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<Json<T>, Problem> {
        let control = self.control(meant)?.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            // What is logged of it is the pipeline's.
            let _span = supervisor::span(control.settings());
            what(&control)
        });
        match done.await {
            Ok(Ok(value)) => Ok(Json(value)),
            Ok(Err(error)) => Err(refused(&error)),
            Err(_) => {
                let detail = "the host panicked: this is a fault of the host";
                Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail))
            }
        }
    }
}

/// Why a transform is not taken, as an answer.
fn refused(error: &anyhow::Error) -> Problem {
    let (status, code) = match error::exit_of(error) {
        Exit::Usage | Exit::TransformFailed => (StatusCode::UNPROCESSABLE_ENTITY, "refused"),
        Exit::Environment => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        Exit::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    };
    let problem = Problem::new(status, code, format!("{error:#}"));
    match error::help_of(error) {
        Some(help) => problem.help(help),
        None => problem,
    }
}
