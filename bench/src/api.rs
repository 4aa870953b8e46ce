//! Asking a server about itself.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::handshake;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long an answer may take. Applying many rules is slow.
const PATIENCE: Duration = Duration::from_mins(10);

/// Asks, and reads the answer as JSON. What is not JSON is null.
pub(crate) async fn call(server: SocketAddr, method: Method, path: &str, body: String) -> anyhow::Result<(u16, Value)> {
    let exchange = async {
        let stream = TcpStream::connect(server).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let request = Request::builder().method(method).uri(path).header(HOST, server.to_string());
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(Bytes::from(body)))?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    };
    timeout(PATIENCE, exchange).await.with_context(|| format!("{path} was not answered"))?
}

/// Asks for a page.
pub(crate) async fn get(server: SocketAddr, path: &str) -> anyhow::Result<Value> {
    match call(server, Method::GET, path, String::new()).await? {
        (200, answer) => Ok(answer),
        (status, answer) => bail!("{path} was answered {status}: {answer}"),
    }
}

/// Applies rule files, together.
pub(crate) async fn apply(server: SocketAddr, files: &[String]) -> anyhow::Result<()> {
    let named = |(number, text): (usize, &String)| json!({"name": format!("bench-{number}.yaml"), "text": text});
    let body = json!({"files": files.iter().enumerate().map(named).collect::<Vec<_>>()}).to_string();
    let (status, answer) = call(server, Method::POST, "/v1/rules/apply", body).await?;
    if status == 200 { Ok(()) } else { bail!("the rules were answered {status}: {answer}") }
}

/// Waits until nothing is left to match and nothing to send. How long that took.
pub(crate) async fn rest(server: SocketAddr, bound: Duration) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    loop {
        let behind = get(server, "/v1/status").await?.get("projects_behind").and_then(Value::as_u64);
        if behind == Some(0) && pending(server).await? == 0 {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > bound {
            bail!("not at rest after {bound:?}: {behind:?} projects behind, or deliveries pending");
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until nothing is left to match.
pub(crate) async fn matched(server: SocketAddr, bound: Duration) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    while get(server, "/v1/status").await?.get("projects_behind").and_then(Value::as_u64) != Some(0) {
        if begun.elapsed() > bound {
            bail!("projects are still behind after {bound:?}");
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(begun.elapsed())
}

/// Whether deliveries are pending: 0 or 1.
async fn pending(server: SocketAddr) -> anyhow::Result<usize> {
    let page = get(server, "/v1/deliveries?state=pending&limit=1").await?;
    Ok(page.get("deliveries").and_then(Value::as_array).map_or(0, Vec::len))
}
