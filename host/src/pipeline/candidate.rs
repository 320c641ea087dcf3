//! Trying a transform before it runs: all that could stop the pipeline at its next batch is to be found here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::targets::Targets;
use super::{Stop, start};
use crate::config::Settings;
use crate::debezium::shape::Shape;
use crate::error::Classify;
use crate::pins::Kept;
use crate::transform::Transform;
use crate::transform::run::ShapeRows;
use crate::transform::sandbox::Sandbox;

/// How long the plans of all tables may take. Each call has its own bound; a pipeline may have a thousand tables.
const PLANS: Duration = Duration::from_secs(30);

/// A transform that was tried, and that nothing keeps from running.
pub(super) struct Ready {
    pub transform: Transform,
    pub kept: Kept,
    /// The tables, as it needs them; none where there was no run to try it for.
    pub targets: Option<Targets>,
}

/// What a transform is tried for: the pipeline as it is now.
pub(super) struct Now {
    /// Where its transforms run.
    pub sandbox: Sandbox,
    /// The transform that runs.
    pub transform: Option<Transform>,
    /// The tables, as it knows them; none where there is no run.
    pub targets: Option<Arc<Targets>>,
    /// The source's tables.
    pub shapes: Vec<Arc<Shape>>,
}

/// Compiles and starts a transform, asks it for its plans of the source's tables, and sees to it that the target's take
/// what it makes: tables and columns that are missing are made, once nothing else is wrong.
///
/// # Errors
/// Why it cannot run; exit 2 where the transform is at fault, 3 where something around it is.
pub(super) fn ready(settings: &Settings, kept: &Kept, now: &Now) -> Result<Ready> {
    let transform = start(&kept.component, settings, &now.sandbox)?;
    let rows = plans(&transform, now)?;
    let targets = now.targets.as_ref().map(|now| tables(now, &rows)).transpose()?;
    Ok(Ready { transform, kept: kept.clone(), targets })
}

/// Whether [`ready`] would find nothing wrong before it makes tables and columns. Nothing is made.
///
/// # Errors
/// See [`ready`].
pub(super) fn fits(settings: &Settings, kept: &Kept, now: &Now) -> Result<()> {
    let rows = plans(&start(&kept.component, settings, &now.sandbox)?, now)?;
    now.targets.as_ref().map_or(Ok(()), |now| bind(&now.beside(true), &rows))
}

/// Compiles and starts a transform, and asks it for its plans of the source's tables. Nothing is made.
///
/// # Errors
/// Why it cannot run; exit 2 where the transform is at fault, 3 where something around it is.
pub(super) fn asked(settings: &Settings, kept: &Kept, now: &Now) -> Result<Transform> {
    let transform = start(&kept.component, settings, &now.sandbox)?;
    plans(&transform, now)?;
    Ok(transform)
}

/// The outputs of the transform's plans, each without a row. A table that it refuses is at fault where the transform
/// that runs takes it.
fn plans(transform: &Transform, now: &Now) -> Result<Vec<ShapeRows>> {
    let until = Instant::now() + PLANS;
    let mut instance = transform.open().map_err(|error| anyhow!("{error}")).usage()?;
    let mut all = Vec::new();
    for shape in &now.shapes {
        let many =
            || anyhow!("its plans of {} tables take more than {} s", now.shapes.len(), PLANS.as_secs());
        (Instant::now() < until).then_some(()).ok_or_else(many).usage()?;
        match instance.prepare(shape) {
            Ok(plan) => {
                let plan = Arc::new(plan);
                all.extend((0..plan.outputs.len()).map(|output| ShapeRows::none(shape, &plan, output)));
            }
            Err(_) if now.transform.as_ref().is_some_and(|now| refuses(now, shape)) => {
                instance = transform.open().map_err(|error| anyhow!("{error}")).usage()?;
            }
            Err(error) => {
                let place = format!("the table {} of the topic {}", shape.table, shape.topic);
                return Err(anyhow!("{error}")).context(place).usage();
            }
        }
    }
    Ok(all)
}

fn refuses(transform: &Transform, shape: &Shape) -> bool {
    transform.open().and_then(|mut instance| instance.prepare(shape)).is_err()
}

/// The tables of `rows` as another transform needs them: first as they would be, then as they are to be.
fn tables(now: &Targets, rows: &[ShapeRows]) -> Result<Targets> {
    bind(&now.beside(true), rows)?;
    let made = now.beside(false);
    bind(&made, rows)?;
    Ok(made)
}

fn bind(targets: &Targets, rows: &[ShapeRows]) -> Result<()> {
    for rows in rows {
        if let Some(why) = targets.refusal(rows) {
            return Err(anyhow!(why)).usage();
        }
    }
    let stop = Stop::soon();
    let silent = || anyhow!("ClickHouse did not answer in time");
    targets.ensure_all(rows, 0, &stop)?.ok_or_else(silent).environment()?;
    for rows in rows {
        targets.bound(rows, 0, &stop)?.ok_or_else(silent).environment()?;
    }
    Ok(())
}
