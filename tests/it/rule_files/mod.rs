//! Rule files: read, planned, applied, exported; from the API, from a folder, from the command line.

mod applying;
mod broken;
mod folder;
mod starter;
mod webhooks;

use std::sync::Arc;

use runhook::app::{Engine, Storage};
use runhook::model::time::{ManualClock, Timestamp};
use serde_json::{Value, json};

use crate::support::home::Home;

/// An engine in a home of its own.
pub(crate) struct House {
    engine: Engine,
    home: Home,
}

impl House {
    pub(crate) async fn open() -> Self {
        let home = Home::new();
        let config = home.config();
        let clock = Arc::new(ManualClock::at(Timestamp(1_763_800_000_000_000)));
        let place = Storage::take(&config).unwrap();
        let engine = Engine::open(&config, place, None, clock).await.unwrap();
        Self { engine, home }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map(|body| body.to_string().into());
        let (status, body) = self.engine.call(method, path, body).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Applies one file, with further members of the request.
    pub(crate) async fn apply(&self, text: &str, more: Value) -> (u16, Value) {
        let mut body = json!({
            "files": [{"name": "f.yaml", "text": text}],
            "variables": {"URL": "https://hooks.example.com/planted-path", "TOKEN": "planted-token"},
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.call("POST", "/v1/rules/apply", Some(body)).await
    }

    pub(crate) async fn rule(&self, key: &str) -> Value {
        let (status, rule) = self.call("GET", &format!("/v1/rules/{key}"), None).await;
        assert_eq!(status, 200, "{rule}");
        rule
    }
}

/// `create rule a, unchanged endpoint b`.
pub(crate) fn said(answer: &Value) -> String {
    let items = answer["items"].as_array();
    assert!(items.is_some(), "{answer:#}");
    let item = |item: &Value| {
        let word = |name: &str| item[name].as_str().unwrap().to_owned();
        format!("{} {} {}", word("action"), word("subject"), word("key"))
    };
    items.into_iter().flatten().map(item).collect::<Vec<_>>().join(", ")
}
