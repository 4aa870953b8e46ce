//! The way out: bodies are built and rendered, targets sealed and opened.

use std::collections::HashMap;
use std::time::Duration;

use runhook::crypto::{Keyring, open_target, seal_target};
use runhook::model::endpoint::Target;
use runhook::model::id::{EndpointId, ProjectId, TenantId, WindowId};
use runhook::model::message::Body;
use runhook::model::rule::{BatchLimits, Cadence, Rule};
use runhook::model::run::{BlobKey, StoredRun};
use runhook::model::signing::Signing;
use runhook::model::time::Timestamp;
use runhook::model::window::{GroupKey, Progress, Window};
use runhook::payload::{Request, build, render};
use url::Url;
use uuid::Uuid;

use crate::case::{Case, Turn};
use crate::rules;
use crate::runs::run;

const RUNS: u64 = 100;

pub(super) const CASES: [Case; 4] = [
    Case { name: "payload/build", objects: RUNS, unit: "runs", prepare: |_| building() },
    Case { name: "payload/render", objects: 1, unit: "bodies of 100 links", prepare: |_| rendering() },
    Case { name: "crypto/seal", objects: 1, unit: "targets", prepare: |_| sealing() },
    Case { name: "crypto/open", objects: 1, unit: "targets", prepare: |_| opening() },
];

fn window() -> Window {
    let (tenant_id, project_id) = (TenantId::DEFAULT, ProjectId(Uuid::from_u128(1)));
    let progress =
        Progress::Group(GroupKey { tenant_id, project_id, cadence: Cadence::DEFAULT, settle: Duration::ZERO });
    Window {
        id: WindowId::of(tenant_id, project_id, &progress, 0, 1),
        tenant_id,
        project_id,
        progress,
        after: 0,
        through: 100,
        start_time: Timestamp(0),
        end_time: Timestamp(60_000_000),
    }
}

fn bodies(rule: &Rule, runs: &[StoredRun]) -> Vec<Body> {
    let runs: Vec<&StoredRun> = runs.iter().collect();
    let request = Request {
        rule,
        window: &window(),
        runs: &runs,
        threads: &[],
        project: "support-bot",
        created_at: Timestamp(61_000_000),
    };
    build(request).unwrap().messages.into_iter().map(|message| message.body).collect()
}

fn runs() -> Vec<StoredRun> {
    (0..RUNS).map(run).collect()
}

fn building() -> Turn {
    let (rule, runs) = (rules::rule(1, "support-bot"), runs());
    Box::new(move || bodies(&rule, &runs).iter().map(|body| body.json.len()).sum())
}

fn rendering() -> Turn {
    let batch = BatchLimits { inline_bytes: 600, ..BatchLimits::default() };
    let body = bodies(&Rule { batch, ..rules::rule(1, "support-bot") }, &runs()).remove(0);
    assert!(body.links.len() >= 100, "{}", body.links.len());
    let link =
        |key: &BlobKey| Url::parse(&format!("https://blobs.example.com/{}?expires=1700000000&signature=abc", key.0));
    let links: HashMap<BlobKey, Url> =
        body.links.iter().map(|link_| (link_.key.clone(), link(&link_.key).unwrap())).collect();
    Box::new(move || render(&body, &links).len())
}

fn keyring() -> Keyring {
    Keyring::parse(&Keyring::line(1, &[7; 32])).unwrap()
}

fn target() -> Target {
    Target {
        url: "https://api.example.com/langsmith_webhook".into(),
        query: vec![("secret".to_owned(), "s3cr3t".into())],
        headers: vec![("X-Team-Token".to_owned(), "t0k3n-t0k3n-t0k3n".into())],
        secrets: Vec::new(),
        signing: Signing::default(),
    }
}

fn sealing() -> Turn {
    let (keyring, target, id) = (keyring(), target(), EndpointId(Uuid::from_u128(1)));
    Box::new(move || seal_target(&keyring, id, &target).unwrap().0.len())
}

fn opening() -> Turn {
    let (keyring, id) = (keyring(), EndpointId(Uuid::from_u128(1)));
    let sealed = seal_target(&keyring, id, &target()).unwrap();
    Box::new(move || open_target(&keyring, id, &sealed).unwrap().headers.len())
}
