//! What the host's HTTP clients do alike.

use std::sync::Mutex;

use anyhow::{Context as _, Result};
use native_tls::TlsConnector;
use reqwest::header::{HeaderValue, InvalidHeaderValue};
use reqwest::{Certificate, ClientBuilder};

use crate::error::Classify;
use crate::locked::locked;

/// What trusts the system's certificates, for clients that trust no others: all share one, since each has a copy of these
/// certificates, and reads them when it is made.
///
/// # Errors
/// They cannot be read.
pub(crate) fn system_tls() -> Result<TlsConnector> {
    static SHARED: Mutex<Option<TlsConnector>> = Mutex::new(None);
    let mut shared = locked(&SHARED);
    if let Some(tls) = &*shared {
        return Ok(tls.clone());
    }
    let tls = TlsConnector::new().context("reading the system's certificates")?;
    Ok(shared.insert(tls).clone())
}

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

#[cfg(test)]
pub(crate) mod testing {
    use std::io::Read as _;
    use std::net::TcpStream;

    /// The head of a request that a test's server gets, up to the empty line; less where the client leaves.
    pub fn request_head(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(1) => bytes.push(byte[0]),
                _ => break,
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
