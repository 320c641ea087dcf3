//! Taking in components: bounded in size, time and number, so that no tenant keeps the others from theirs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::problem::Problem;
use crate::locked::locked;
use crate::pipeline::control::Candidate;
use crate::transform::limits::SandboxLimits;

/// The header with a component's detached signature: the text of its file, in Base64.
pub const SIGNATURE: &str = "rowgate-signature";

/// How long a component may take to come: the largest, of 24 MiB, comes at 0.4 MiB/s.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Changes of transforms that are under way at once: each may hold a component, and only one is compiled at a time.
const MAX_PLACES: usize = 4;
/// And how many of them may be of one tenant.
const MAX_PLACES_OF_TENANT: usize = 2;

/// The places that are taken, each by its tenant. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Places(Arc<Mutex<Vec<String>>>);

/// A place that is taken until this is dropped, which is when all that it was taken for is done, whether the caller is
/// still there or not.
#[derive(Debug)]
pub struct Place {
    places: Places,
    tenant: String,
}

impl Places {
    /// Takes a place for a change of a transform of `tenant`.
    ///
    /// # Errors
    /// All are taken.
    pub fn take(&self, tenant: &str) -> Result<Place, Problem> {
        let mut taken = locked(&self.0);
        let of_tenant = taken.iter().filter(|taker| *taker == tenant).count();
        if taken.len() >= MAX_PLACES || of_tenant >= MAX_PLACES_OF_TENANT {
            let detail = "as many transforms are being changed as can be at once";
            let busy = Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail);
            return Err(busy.help("try again when they are done"));
        }
        taken.push(tenant.to_owned());
        Ok(Place { places: self.clone(), tenant: tenant.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = locked(&self.places.0);
        if let Some(at) = taken.iter().position(|taker| *taker == self.tenant) {
            taken.swap_remove(at);
        }
    }
}

/// Reads a component and its signature.
///
/// # Errors
/// There is none; it is larger than `limits` let one be, comes too slowly, or breaks off; the signature is no text in
/// Base64.
pub async fn read(headers: &HeaderMap, body: Body, limits: &SandboxLimits) -> Result<Candidate, Problem> {
    let signature = headers.get(SIGNATURE).map(|value| signature(value.as_bytes())).transpose()?;
    let said =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|bytes| bytes > limits.component_bytes) {
        return Err(too_large(limits));
    }
    let component = within(UPLOAD_TIMEOUT, bytes(body, limits)).await?;
    if component.is_empty() {
        return Err(Problem::bad_request("there is no body: it is the component"));
    }
    Ok(Candidate { component, signature, params: None })
}

async fn within<T>(
    timeout: Duration,
    coming: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let late = || {
        let detail = format!("the component had not come after {} s", timeout.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail)
    };
    tokio::time::timeout(timeout, coming).await.unwrap_or_else(|_| Err(late()))
}

async fn bytes(body: Body, limits: &SandboxLimits) -> Result<Vec<u8>, Problem> {
    let mut body = Limited::new(body, usize::try_from(limits.component_bytes).unwrap_or(usize::MAX));
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Err(error) if error.is::<LengthLimitError>() => return Err(too_large(limits)),
            Err(_) => return Err(Problem::bad_request("the body broke off")),
        }
    }
    Ok(bytes)
}

fn signature(base64: &[u8]) -> Result<String, Problem> {
    let text = BASE64_STANDARD.decode(base64).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| Problem::bad_request(format!("{SIGNATURE} is no text in Base64")))
}

fn too_large(limits: &SandboxLimits) -> Problem {
    let (most, profile) = (limits.component_bytes, limits.profile.name());
    let detail = format!("it has more than the {most} bytes that `limits.profile` `{profile}` allows");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_some_of_the_places_and_gets_them_back() {
        let places = Places::default();
        let own: Vec<_> = (0..MAX_PLACES_OF_TENANT).map(|_| places.take("a").unwrap()).collect();
        assert_eq!(places.take("a").unwrap_err().code, "busy");
        let others: Vec<_> =
            (own.len()..MAX_PLACES).map(|n| places.take(&format!("b{n}")).unwrap()).collect();
        assert_eq!(places.take("c").unwrap_err().status, 429);
        drop(own);
        places.take("c").unwrap();
        places.take("a").unwrap();
        drop(others);
        assert!(locked(&places.0).is_empty());
    }

    #[tokio::test]
    async fn a_body_that_is_none_or_larger_than_the_pipelines_components_may_be_is_refused() {
        let limits = SandboxLimits { component_bytes: 1000, ..SandboxLimits::default() };
        let (plain, mut long, mut signed) = (HeaderMap::new(), HeaderMap::new(), HeaderMap::new());
        let code = async |headers: &HeaderMap, body| read(headers, body, &limits).await.err().unwrap().code;
        assert_eq!(code(&plain, Body::empty()).await, "bad_request");
        long.insert(header::CONTENT_LENGTH, 1001.into());
        assert_eq!(code(&long, Body::from("x")).await, "too_large", "it says so, and is not read");
        assert_eq!(code(&plain, Body::from(vec![0; 1001])).await, "too_large");
        assert_eq!(
            read(&plain, Body::from(vec![0; 1000]), &limits).await.ok().unwrap().component.len(),
            1000
        );
        signed.insert(SIGNATURE, "untrusted comment".parse().unwrap());
        assert_eq!(code(&signed, Body::from("x")).await, "bad_request");
        signed.insert(SIGNATURE, BASE64_STANDARD.encode("untrusted comment: x\n").parse().unwrap());
        let candidate = read(&signed, Body::from("x"), &limits).await.ok().unwrap();
        assert_eq!(
            (candidate.component, candidate.signature.as_deref()),
            (b"x".to_vec(), Some("untrusted comment: x\n"))
        );
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let given_up = within(Duration::ZERO, std::future::pending::<Result<(), Problem>>()).await;
        let problem = given_up.unwrap_err();
        assert_eq!((problem.status, problem.code.as_str()), (408, "too_slow"));
    }
}
