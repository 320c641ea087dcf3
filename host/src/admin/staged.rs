//! Components that were checked, and wait to be activated.
//!
//! They are the process's: a restart forgets them. There is one bound for what all of them hold, and none is refused for
//! the sake of others: where there is no room, the oldest goes of the tenant that has most.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pipelines::as_time;
use super::problem::Problem;
use crate::locked::locked;
use crate::pipeline::control::Candidate;
use crate::supervisor::{self, PipelineId};
use crate::transform::digest;

/// Components of one pipeline that wait; a further one takes the oldest's place.
const MAX_OF_PIPELINE: usize = 3;
/// The bytes of all that wait: four of the largest, 900 of those that are shipped.
const MAX_BYTES: usize = 96 << 20;
/// How long one waits.
const WAIT: Duration = Duration::from_secs(3600);

/// Those that wait, the oldest first.
#[derive(Default)]
pub struct Staged(Mutex<Vec<Waiting>>);

struct Waiting {
    pipeline: PipelineId,
    tenant: String,
    digest: String,
    candidate: Candidate,
    until: Instant,
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.candidate.component.len()
    }
}

/// Which one goes so that there is room for `more` bytes; none: there is.
fn one_too_many(all: &[Waiting], more: usize) -> Option<usize> {
    let mut of_tenants: HashMap<&str, usize> = HashMap::new();
    for waiting in all {
        *of_tenants.entry(&waiting.tenant).or_default() += waiting.bytes();
    }
    if of_tenants.values().sum::<usize>() + more <= MAX_BYTES {
        return None;
    }
    let most = of_tenants.values().max()?;
    all.iter().position(|waiting| of_tenants.get(waiting.tenant.as_str()) == Some(most))
}

/// A component that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waits {
    /// SHA-256 of its bytes, in hexadecimal.
    pub digest: String,
    /// When it is forgotten.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub until: Timestamp,
}

impl Staged {
    /// Has one wait, for the pipeline of this tenant. One that waits already begins anew.
    pub fn put(&self, pipeline: &PipelineId, tenant: &str, candidate: Candidate) -> Waits {
        let digest = digest(&candidate.component);
        let mut all = self.current();
        all.retain(|waiting| waiting.pipeline != *pipeline || waiting.digest != digest);
        let of_pipeline = |waiting: &Waiting| waiting.pipeline == *pipeline;
        if all.iter().filter(|waiting| of_pipeline(waiting)).count() >= MAX_OF_PIPELINE
            && let Some(oldest) = all.iter().position(of_pipeline)
        {
            all.remove(oldest);
        }
        while let Some(at) = one_too_many(&all, candidate.component.len()) {
            let gone = all.remove(at);
            // Whose component came instead is none of its tenant's business, nor the other way round.
            let _of = supervisor::span_of(&gone.pipeline);
            tracing::warn!(digest = gone.digest, "a component that waited is forgotten: too many do");
        }
        let until = Instant::now() + WAIT;
        let waits = Waits { digest: digest.clone(), until: as_time(until) };
        let (pipeline, tenant) = (pipeline.clone(), tenant.to_owned());
        all.push(Waiting { pipeline, tenant, digest, candidate, until });
        waits
    }

    /// Those of a pipeline that wait, the oldest first.
    pub fn of(&self, pipeline: &PipelineId) -> Vec<Waits> {
        let all = self.current();
        let own = all.iter().filter(|waiting| waiting.pipeline == *pipeline);
        own.map(|waiting| Waits { digest: waiting.digest.clone(), until: as_time(waiting.until) }).collect()
    }

    /// The one whose digest begins so; none where there is no such one.
    ///
    /// # Errors
    /// There are several.
    pub fn find(&self, pipeline: &PipelineId, beginning: &str) -> Result<Option<Candidate>, Problem> {
        let all = self.current();
        let is_meant = |waiting: &&Waiting| {
            waiting.pipeline == *pipeline && !beginning.is_empty() && waiting.digest.starts_with(beginning)
        };
        let mut meant = all.iter().filter(is_meant);
        match (meant.next(), meant.next()) {
            (_, Some(_)) => {
                let detail = format!("several that wait begin with `{beginning}`: give more of its digits");
                Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", detail))
            }
            (one, None) => Ok(one.map(|waiting| waiting.candidate.clone())),
        }
    }

    /// It waits no more.
    pub fn forget(&self, pipeline: &PipelineId, digest: &str) {
        self.current().retain(|waiting| waiting.pipeline != *pipeline || waiting.digest != digest);
    }

    /// Without those whose time is over.
    fn current(&self) -> MutexGuard<'_, Vec<Waiting>> {
        let mut all = locked(&self.0);
        let now = Instant::now();
        all.retain(|waiting| waiting.until > now);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(component: Vec<u8>) -> Candidate {
        Candidate { component, signature: None, params: None }
    }

    fn digests(staged: &Staged, pipeline: &str) -> Vec<String> {
        staged.of(&pipeline.into()).into_iter().map(|waits| waits.digest).collect()
    }

    #[test]
    fn a_pipeline_has_its_last_components_and_no_others() {
        let staged = Staged::default();
        let (one, other) = (PipelineId::from("a.one"), PipelineId::from("b.one"));
        for byte in 0..=MAX_OF_PIPELINE as u8 {
            staged.put(&one, "a", candidate(vec![byte]));
        }
        // One that comes again is the newest, and counts once.
        staged.put(&one, "a", candidate(vec![1]));
        assert_eq!(digests(&staged, "a.one"), [2, 3, 1].map(|byte| digest(&[byte])), "the oldest has gone");
        let find = |id, beginning: &str| staged.find(id, beginning).unwrap().map(|found| found.component);
        let of_one = digest(&[1]);
        assert_eq!(find(&one, &of_one[..16]), Some(vec![1]));
        assert!(find(&other, &of_one).is_none() && find(&one, &digest(&[0])).is_none());
        staged.forget(&other, &of_one);
        staged.forget(&one, &digest(&[2]));
        assert_eq!(digests(&staged, "a.one").len(), 2);
    }

    #[test]
    fn none_is_taken_for_another_and_nothing_means_none() {
        let staged = Staged::default();
        let one = PipelineId::from("a.one");
        staged.put(&one, "a", candidate(vec![1]));
        assert!(staged.find(&one, "").unwrap().is_none());
        staged.put(&one, "a", candidate(vec![2]));
        staged.0.lock().unwrap().iter_mut().for_each(|waiting| waiting.digest.insert_str(0, "ab"));
        assert_eq!(staged.find(&one, "ab").err().unwrap().code, "refused");
    }

    #[test]
    fn one_whose_time_is_over_is_forgotten() {
        let staged = Staged::default();
        let one = PipelineId::from("a.one");
        staged.put(&one, "a", candidate(vec![1]));
        staged.0.lock().unwrap().iter_mut().for_each(|waiting| waiting.until = Instant::now());
        assert!(staged.find(&one, &digest(&[1])).unwrap().is_none());
        assert!(staged.0.lock().unwrap().is_empty(), "its bytes, too");
    }

    #[test]
    fn where_there_is_no_room_the_oldest_goes_of_the_tenant_that_has_most() {
        let staged = Staged::default();
        let put = |id: &str, tenant, byte, parts| {
            staged.put(&id.into(), tenant, candidate(vec![byte; MAX_BYTES / 8 * parts]));
        };
        put("b.one", "b", 0, 1);
        put("a.one", "a", 1, 2);
        put("a.two", "a", 2, 2);
        put("c.one", "c", 3, 2);
        let left = || ["a.one", "a.two", "b.one", "c.one", "d.one"].map(|id| digests(&staged, id).len());
        assert_eq!(left(), [1, 1, 1, 1, 0]);
        put("d.one", "d", 4, 3);
        assert_eq!(left(), [0, 1, 1, 1, 1]);
        // What is there is never more than the bound, whoever has it.
        let bytes = staged.0.lock().unwrap().iter().map(Waiting::bytes).sum::<usize>();
        assert!(bytes <= MAX_BYTES);
    }
}
