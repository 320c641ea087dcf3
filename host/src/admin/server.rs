//! The listener: connections, each within bounds that no caller can stretch.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{self, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use crate::error::Classify;
use crate::signal::Shutdown;

/// Connections at once; a further one waits, and is not accepted. Probes, a scraper and some people take ten.
const MAX_CONNECTIONS: usize = 64;
/// How long the head of a request may take, and how long a connection may idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a connection may live: longer than the longest upload and trial; a scraper that keeps one opens another then.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);
/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// The pause after a connection that could not be accepted: most likely there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What is still read of a request that was answered before all of it had come, and how long: a connection that is closed
/// over it is reset, and the caller never reads why. A component has fewer bytes.
const MAX_LINGER_BYTES: u64 = 32 << 20;
const LINGER: Duration = Duration::from_secs(5);
/// How long answers that are under way may take at the end.
const GRACE: Duration = Duration::from_secs(2);

/// Listens on `address`.
///
/// # Errors
/// The address is taken, or is not this machine's.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
        .environment()
        .help("choose another address with --admin-listen, or end what listens there")
}

/// Answers by `router` until `over` is requested, and then for as long as what is under way takes.
pub async fn serve(listener: TcpListener, router: Router, over: Shutdown) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = over.requested() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, place)) = accepted else { continue };
        tokio::spawn(connection(stream, router.clone(), place, over.clone()));
    }
    drop(listener);
    // All places are free when no connection is left.
    let all = places.acquire_many(MAX_CONNECTIONS as u32);
    _ = tokio::time::timeout(GRACE, all).await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            tracing::debug!("a connection was not accepted: {error}");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, router: Router, _place: OwnedSemaphorePermit, over: Shutdown) {
    _ = stream.set_nodelay(true);
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        Box::pin(async move {
            Ok::<_, Infallible>(router.oneshot(request.map(Body::new)).await.unwrap_or_else(|no| match no {}))
        })
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS);
    let mut connection = http.serve_connection(TokioIo::new(stream), answer);
    let lived = tokio::time::timeout(CONNECTION_TIMEOUT, async {
        let ended = tokio::select! {
            ended = poll_fn(|context| connection.poll_without_shutdown(context)) => Some(ended),
            () = over.requested() => None,
        };
        if let Some(ended) = ended {
            return ended;
        }
        Pin::new(&mut connection).graceful_shutdown();
        poll_fn(|context| connection.poll_without_shutdown(context)).await
    });
    match lived.await {
        Ok(Ok(())) => linger(connection.into_parts().io.into_inner()).await,
        Ok(Err(error)) => tracing::debug!("a connection ended: {error}"),
        Err(_) => tracing::debug!("a connection was ended after {} s", CONNECTION_TIMEOUT.as_secs()),
    }
}

/// Ends a connection after its last answer, of whose request something may still come.
async fn linger(mut stream: TcpStream) {
    // Whoever is gone by now reads no answer.
    _ = stream.shutdown().await;
    let mut rest = stream.take(MAX_LINGER_BYTES);
    _ = tokio::time::timeout(LINGER, io::copy(&mut rest, &mut io::sink())).await;
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    async fn answer(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        // A refused request may end with a reset, for not all of it was read.
        _ = stream.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_head_beyond_its_bounds_is_refused_and_an_end_leaves_no_connection_behind() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let over = Shutdown::new();
        let router = Router::new().route("/", get(async || "yes"));
        let serving = tokio::spawn(serve(listener, router, over.clone()));
        let ask = |header: String| format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n");
        assert!(answer(address, &ask(String::new())).await.starts_with("HTTP/1.1 200"));
        for header in [format!("a: {}\r\n", "x".repeat(MAX_HEAD_BYTES)), "a: b\r\n".repeat(MAX_HEADERS)] {
            let refused = answer(address, &ask(header)).await;
            assert!(!refused.contains("200") && !refused.contains("yes"), "{refused}");
        }
        // One that idles is ended with the rest.
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut some = [0; 1];
        idle.read_exact(&mut some).await.unwrap();
        over.request();
        serving.await.unwrap();
        let mut rest = Vec::new();
        idle.read_to_end(&mut rest).await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_is_answered_before_all_was_sent_reads_the_answer() {
        const BYTES: usize = 24 << 20;
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let over = Shutdown::new();
        let serving = tokio::spawn(serve(listener, Router::new(), over.clone()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: {BYTES}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![0; BYTES]).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 404"), "{text}");
        over.request();
        serving.await.unwrap();
    }
}
