//! `/v1/keys`: the keys that seal secrets.
//!
//! A rotation has three steps, each safe to repeat and to be killed in: *add* puts a new key first in the key file and
//! in memory, *reseal* seals every value anew that another key sealed, *drop* removes the keys that seal nothing any
//! more. A key leaves the file only after the values and the marker it sealed are durable under the new one. Where
//! replicas share a database the key files are the operator's: a key that one of them made would be unknown to the others.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::api::Api;
use crate::api::audit::{Act, By};
use crate::api::auth::Operator;
use crate::api::native::premises::{Home, Premises};
use crate::api::native::rules;
use crate::api::problem::Problem;
use crate::api::request::Whole;
use crate::crypto::{self, CryptoError, Keyring};
use crate::model::audit::{Action, Object};

/// The name of the marker that tells whether a key file is the right one.
pub const MARKER: &str = "keyring";

/// Targets sealed anew in one go.
const BATCH: u32 = 200;

/// One rotation at a time. Whoever reads the key file for news leaves it to a rotation that is under way: what was read
/// before the rotation's new key must not take its place.
pub static TURN: Mutex<()> = Mutex::const_new(());

/// The routes.
pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/v1/keys", get(list)).route("/v1/keys/rotate", post(rotate))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Step {
    /// Make a new first key, then reseal.
    Add,
    /// Read the file anew, then reseal.
    Reseal,
    /// Remove the keys that seal nothing.
    Drop,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    step: Step,
}

impl From<CryptoError> for Problem {
    fn from(error: CryptoError) -> Self {
        match error {
            CryptoError::Key(reason) => Self::new(StatusCode::CONFLICT, "wrong-keys", reason),
            CryptoError::Sealed(_) => Self::internal(&error),
        }
    }
}

async fn list(State(api): State<Api>, _operator: Operator) -> Result<impl IntoResponse, Problem> {
    Ok(Json(json!({"keys": shown(&api).await?})))
}

async fn rotate(
    State(api): State<Api>,
    _operator: Operator,
    by: By,
    Home(home): Home,
    Whole(body): Whole,
) -> Result<impl IntoResponse, Problem> {
    let request: Request = serde_json::from_slice(&body).map_err(|error| {
        Problem::malformed(format!("the body is not {{\"step\": \"add\" | \"reseal\" | \"drop\"}}: {error}"))
    })?;
    if home.data_dir().is_none() && request.step != Step::Reseal {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "shared-keys",
            "other replicas have key files of their own, which this one does not change",
        )
        .hint(
            "put the new key's line last in every replica's key file, then first in every one (each step is noticed \
             within seconds), and run `runhook keys rotate --reseal`; a line goes when `runhook keys list` shows that \
             it seals nothing",
        ));
    }
    let _turn = TURN.lock().await;
    let text = read(&api, home.as_ref()).await?;
    // Noted before: a key file and a database have no transaction in common.
    let action = match request.step {
        Step::Add => Action::AddKey,
        Step::Reseal => Action::Reseal,
        Step::Drop => Action::DropKeys,
    };
    api.store.note(by.entry(&api, Act::new(action, Object::new("sealing keys", None)))).await?;
    match request.step {
        Step::Add => add(&api, home.as_ref(), &text)?,
        Step::Reseal | Step::Drop => {}
    }
    let (resealed, dropped) = match request.step {
        Step::Drop => {
            // Whoever changes an endpoint stores what it read, which may be sealed with a key that is about to go.
            let _nobody_changes_endpoints = rules::TURN.lock().await;
            (reseal(&api).await?, drop_unused(&api, home.as_ref(), &text).await?)
        }
        Step::Add | Step::Reseal => (reseal(&api).await?, 0),
    };
    Ok(Json(json!({"resealed": resealed, "dropped": dropped, "keys": shown(&api).await?})))
}

/// Reads the key file anew and takes its keys, if they are right.
async fn read(api: &Api, home: &dyn Premises) -> Result<Zeroizing<String>, Problem> {
    let text = home.key_text()?;
    let ring = Keyring::parse(&text)?;
    if let Some(marker) = api.store.marker(MARKER).await? {
        ring.check_marker(&marker)?;
    }
    if let Some(missing) = holdings(api).await?.keys().find(|id| !ring.ids().contains(id)) {
        return Err(CryptoError::Key(format!("the key file lacks key {missing}, which still seals values")).into());
    }
    api.keyring.replace(&ring);
    Ok(text)
}

fn add(api: &Api, home: &dyn Premises, text: &str) -> Result<(), Problem> {
    let id = api.keyring.ids().into_iter().max().unwrap_or(0).checked_add(1);
    let id = id.ok_or_else(|| CryptoError::Key("no key id is left".to_owned()))?;
    let line = Keyring::line(id, &crypto::random());
    let text = Zeroizing::new(format!("{}\n{text}", line.as_str()));
    let ring = Keyring::parse(&text)?;
    home.replace_keys(&text).map_err(|error| {
        Problem::from(error).hint(format!(
            "where the server may not write its key file, put the line of `runhook keys generate --id {id}` first in it \
             yourself, then run `runhook keys rotate --reseal`"
        ))
    })?;
    api.keyring.replace(&ring);
    tracing::info!(key = id, "a new key seals from now on");
    Ok(())
}

/// Seals every value anew that is not sealed with the first key. A value that changed meanwhile was sealed anew by
/// whoever changed it, or is met in the next round.
async fn reseal(api: &Api) -> Result<u64, Problem> {
    let mut resealed: u64 = 0;
    let mut after = None;
    loop {
        let batch = api.store.sealed_targets(after, BATCH).await?;
        let Some((last, _)) = batch.last() else { break };
        after = Some(*last);
        for (id, old) in &batch {
            if api.keyring.is_current(old) {
                continue;
            }
            let place = id.target_place();
            let new = api.keyring.seal(&place, &api.keyring.open(&place, old)?)?;
            resealed = resealed.saturating_add(u64::from(api.store.reseal_target(*id, old, new).await?));
        }
    }
    api.store.set_marker(MARKER, &api.keyring.marker()?).await?;
    Ok(resealed)
}

async fn drop_unused(api: &Api, home: &dyn Premises, text: &str) -> Result<usize, Problem> {
    let held = holdings(api).await?;
    let seals = api.keyring.ids().first().copied();
    let stays = |line: &str| {
        let id = line.split_once(':').and_then(|(id, _)| id.trim().parse().ok());
        id.is_none_or(|id: u32| Some(id) == seals || held.contains_key(&id))
    };
    let mut kept = Zeroizing::new(String::with_capacity(text.len()));
    let mut dropped: usize = 0;
    for line in text.lines() {
        if stays(line) {
            kept.push_str(line);
            kept.push('\n');
        } else {
            dropped = dropped.saturating_add(1);
        }
    }
    if dropped > 0 {
        let ring = Keyring::parse(&kept)?;
        home.replace_keys(&kept)?;
        api.keyring.replace(&ring);
    }
    Ok(dropped)
}

/// How many values each key seals.
async fn holdings(api: &Api) -> Result<BTreeMap<u32, u64>, Problem> {
    let mut held = BTreeMap::new();
    let mut after = None;
    loop {
        let batch = api.store.sealed_targets(after, BATCH).await?;
        let Some((last, _)) = batch.last() else { return Ok(held) };
        after = Some(*last);
        for id in batch.iter().filter_map(|(_, sealed)| Keyring::key_id(sealed)) {
            let count: &mut u64 = held.entry(id).or_default();
            *count = count.saturating_add(1);
        }
    }
}

async fn shown(api: &Api) -> Result<Value, Problem> {
    let held = holdings(api).await?;
    let keys = api.keyring.fingerprints().into_iter().enumerate().map(|(index, (id, fingerprint))| {
        json!({"id": id, "fingerprint": fingerprint, "seals": index == 0, "values": held.get(&id).copied().unwrap_or(0)})
    });
    Ok(Value::Array(keys.collect()))
}
