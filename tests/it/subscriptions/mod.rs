//! Events and who subscribes to them, through the clients that people have: Svix's, Software Heritage's and Argilla's, all as
//! they are published.

mod catalogue;
mod clients;
mod endpoints;
mod kills;
mod listeners;
mod prompt;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::server::{Server, Settings};

/// The key that all of them present.
const TOKEN: &str = "the-key-of-those-who-subscribe";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where `make sdk` put a client.
fn installed(place: &str) -> PathBuf {
    let place = root().join(".venv").join(place);
    assert!(place.exists(), "{} is missing: `make sdk` installs the pinned clients", place.display());
    place
}

/// A server that sends to this machine and asks for a key.
fn serve() -> Server {
    Server::start(Settings::with(["--allow-targets", "127.0.0.0/8"]).env("RUNHOOK_API_KEY", TOKEN))
}

/// Calls the API, with the key.
async fn call(server: &Server, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http.request(method.parse().unwrap(), format!("{}{path}", server.url)).bearer_auth(TOKEN);
    let request = if body.is_null() { request } else { request.body(body.to_string()) };
    let response = request.header("content-type", "application/json").send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null))
}

/// The same, of which nothing but success is expected.
async fn done(server: &Server, method: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = call(server, method, path, body).await;
    assert!((200..300).contains(&status), "{method} {path}: {status} {answer:#}");
    answer
}

/// An application.
async fn application(server: &Server, uid: &str) {
    done(server, "POST", "/api/v1/app", &json!({"name": uid, "uid": uid})).await;
}
