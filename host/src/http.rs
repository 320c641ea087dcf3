//! What the host's HTTP clients do alike.

use anyhow::{Context as _, Result};
use reqwest::header::{HeaderValue, InvalidHeaderValue};
use reqwest::{Certificate, ClientBuilder};

use crate::error::Classify;

/// Certificates count, too, that are signed by one of `bundle`, in PEM; `setting` has named its file.
///
/// # Errors
/// It holds no certificates (exit 2).
pub(crate) fn trusting(
    http: ClientBuilder,
    bundle: Option<&str>,
    setting: &'static str,
) -> Result<ClientBuilder> {
    let Some(bundle) = bundle else { return Ok(http) };
    let certificates = Certificate::from_pem_bundle(bundle.as_bytes()).context(setting).usage()?;
    Ok(certificates.into_iter().fold(http, ClientBuilder::add_root_certificate))
}

/// A header's value that nothing shows.
///
/// # Errors
/// It has characters that no header can carry. The error does not show it either.
pub(crate) fn secret_header(text: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}
