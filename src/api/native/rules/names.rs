//! What the names of targets say when they are saved: an author learns at once of a name that leads where nothing is sent.
//! It is asked again at every attempt, and only then does the answer bind: a name may change what it says, and one that
//! says nothing yet, or not in time, is saved.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use secrecy::ExposeSecret;
use url::Url;

use crate::api::Api;
use crate::delivery::Forbidden;
use crate::rule_file::EndpointDraft;

/// How long all names of a request are waited for.
const BUDGET: Duration = Duration::from_secs(3);

/// How many are asked for at a time.
const AT_A_TIME: usize = 16;

/// Names that lead where nothing is sent, with their ports.
#[derive(Default)]
pub(super) struct Names(HashMap<(String, u16), Forbidden>);

impl Names {
    /// Asks for the names of these endpoints.
    pub(super) async fn ask<'d>(api: &Api, drafts: impl IntoIterator<Item = &'d EndpointDraft>) -> Self {
        let found = Mutex::new(HashMap::new());
        let urls = drafts.into_iter().filter_map(|draft| Url::parse(draft.target.target.url.expose_secret()).ok());
        let places: BTreeSet<(String, String, u16)> = urls.filter_map(|url| place_of(&url)).collect();
        let ask = |(scheme, name, port): (String, String, u16)| {
            let found = &found;
            async move {
                let Ok(url) = Url::parse(&format!("{scheme}://{name}:{port}/")) else { return };
                if let Err(forbidden) = api.vetting.check_name(&url).await {
                    found.lock().unwrap_or_else(PoisonError::into_inner).insert((name, port), forbidden);
                }
            }
        };
        let asking = stream::iter(places).for_each_concurrent(AT_A_TIME, ask);
        if tokio::time::timeout(BUDGET, asking).await.is_err() {
            tracing::warn!("not all names of targets were resolved in time; they are checked when something is sent");
        }
        Self(found.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why this target is not allowed, if its name says so.
    pub(super) fn refusal(&self, url: &Url) -> Option<&Forbidden> {
        let (_, name, port) = place_of(url)?;
        self.0.get(&(name, port))
    }
}

fn place_of(url: &Url) -> Option<(String, String, u16)> {
    Some((url.scheme().to_owned(), url.domain()?.to_owned(), url.port_or_known_default()?))
}
