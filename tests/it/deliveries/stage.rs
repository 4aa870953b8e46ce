//! A delivery loop with everything around it, whose clock a test moves.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use runhook::blob::{BlobError, BlobPages, BlobStore};
use runhook::config::Limits;
use runhook::crypto::{Keyring, seal_target, shown};
use runhook::delivery::lookup::Lookup;
use runhook::delivery::policy::Patience;
use runhook::delivery::{Client, Conduct, Guard, Parts, Sender, Vetting};
use runhook::model::delivery::{Delivery, DeliveryState};
use runhook::model::endpoint::{Endpoint, Format, Overrides, Policy, Target};
use runhook::model::health::Health;
use runhook::model::id::{DeliveryId, EndpointId, MessageId, RuleId, TenantId, WindowId};
use runhook::model::message::{Body, Link, Message, Source};
use runhook::model::pace::Pace;
use runhook::model::run::BlobKey;
use runhook::model::signing::Signing;
use runhook::model::time::{ManualClock, Timestamp};
use runhook::task::{Activity, Next, Poke};
use url::Url;
use uuid::Uuid;

use super::outbox::{Outbox, Row};

/// Long enough for any answer that comes, on any machine.
pub(super) const PATIENT: Patience = Patience { connect: Duration::from_secs(30), answer: Duration::from_secs(30) };

/// Short: for answers that never come.
pub(super) const HURRIED: Patience = Patience { connect: Duration::from_millis(50), answer: Duration::from_millis(50) };

/// A resolver that says what a test told it, one answer after the other; the last one stays.
#[derive(Debug, Default)]
pub(super) struct ScriptedLookup {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    asked: Mutex<Vec<String>>,
}

impl ScriptedLookup {
    pub(super) fn answer(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        self.answers.lock().unwrap().entry(name.to_owned()).or_default().push(addresses);
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

#[async_trait]
impl Lookup for ScriptedLookup {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(name.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let script = answers.get_mut(name).ok_or_else(|| io::Error::other("no such name"))?;
        Ok(if script.len() > 1 { script.remove(0) } else { script[0].clone() })
    }
}

/// What a blob storage does when it is asked for a link.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Links {
    #[default]
    Made,
    Unavailable,
    Refused,
    Panic,
}

#[derive(Debug, Default)]
pub(super) struct Blobs(Mutex<Links>);

#[async_trait]
impl BlobStore for Blobs {
    async fn put(&self, _key: &BlobKey, _bytes: Bytes, _mime_type: &str) -> Result<(), BlobError> {
        Ok(())
    }

    async fn get(&self, _key: &BlobKey) -> Result<Option<Bytes>, BlobError> {
        Ok(None)
    }

    async fn delete(&self, _key: &BlobKey) -> Result<(), BlobError> {
        Ok(())
    }

    async fn delete_older(&self, _key: &BlobKey, _than: Timestamp) -> Result<bool, BlobError> {
        Ok(false)
    }

    fn pages(&self) -> Box<dyn BlobPages> {
        panic!("nobody looks through these blobs")
    }

    async fn link(&self, key: &BlobKey, now: Timestamp, lasts: Duration) -> Result<Url, BlobError> {
        let links = *self.0.lock().unwrap();
        match links {
            Links::Made => {
                let expires = now.after(lasts).0 / 1_000_000;
                Ok(Url::parse(&format!("http://blobs.test/{}?expires={expires}", key.0)).unwrap())
            }
            Links::Unavailable => Err(BlobError::Unavailable("no answer".to_owned())),
            Links::Refused => Err(BlobError::Refused("it was deleted".to_owned())),
            Links::Panic => Ok(Url::parse("a planted panic").unwrap()),
        }
    }

    async fn check(&self) -> Result<(), BlobError> {
        Ok(())
    }
}

/// A client that may connect to this machine, and nowhere else that is not public.
pub(super) fn client(lookup: Arc<dyn Lookup>) -> Client {
    let guard = Arc::new(Guard::new(vec!["127.0.0.0/8".parse().unwrap()]));
    let vetting = Vetting { lookup, budget: Duration::from_secs(30), ..Vetting::new(guard, Vec::new()) };
    Client::new(vetting, 16 * 1024).unwrap()
}

pub(super) fn target(url: &str) -> Target {
    Target {
        url: url.into(),
        query: vec![("secret".to_owned(), "p+ q&r".into())],
        headers: vec![("X-Team-Token".to_owned(), "t0k3n".into())],
        secrets: Vec::new(),
        signing: Signing::default(),
    }
}

pub(super) struct Stage {
    pub(super) outbox: Arc<Outbox>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) poke: Poke,
    pub(super) sender: Sender,
    /// That of endpoints that are made from now on.
    pub(super) pace: Pace,
    blobs: Arc<Blobs>,
    keyring: Arc<Keyring>,
    made: u128,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self::with(|_| PATIENT, 8)
    }

    pub(super) fn with(patience: fn(Policy) -> Patience, slots: u32) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-11-22T08:30:00Z").unwrap()));
        Self::on(Arc::default(), clock, patience, slots)
    }

    fn on(outbox: Arc<Outbox>, clock: Arc<ManualClock>, patience: fn(Policy) -> Patience, slots: u32) -> Self {
        let blobs = Arc::new(Blobs::default());
        let keyring = Arc::new(Keyring::parse(&Keyring::line(1, &[7; 32])).unwrap());
        let poke = Poke::default();
        let sender = Sender::new(Parts {
            store: Arc::<Outbox>::clone(&outbox),
            blobs: Arc::<Blobs>::clone(&blobs),
            keyring: Arc::clone(&keyring),
            clock: Arc::<ManualClock>::clone(&clock),
            limits: Arc::new(Limits { concurrent_deliveries: slots, ..Limits::default() }),
            client: client(Arc::new(ScriptedLookup::default())),
            patience,
            conduct: Conduct::default(),
            poke: poke.clone(),
            instance: Uuid::from_u128(1),
        });
        Self { outbox, clock, poke, sender, pace: Pace::default(), blobs, keyring, made: 0 }
    }

    /// Drops the loop with all it has under way; another one starts on what was durable.
    pub(super) fn crash(self) -> Self {
        Self::on(self.outbox, self.clock, |_| PATIENT, 8)
    }

    pub(super) fn links(&self, links: Links) {
        *self.blobs.0.lock().unwrap() = links;
    }

    /// A delivery that is due, of a message with one link, to an endpoint of its own.
    pub(super) fn deliver_to(&mut self, url: &str) -> DeliveryId {
        let endpoint = EndpointId(Uuid::from_u128(self.made + 1));
        self.deliver(url, endpoint)
    }

    /// So many deliveries that are due, to one endpoint.
    pub(super) fn deliver_many_to(&mut self, url: &str, count: usize) -> Vec<DeliveryId> {
        let endpoint = EndpointId(Uuid::from_u128(self.made + 1));
        (0..count).map(|_| self.deliver(url, endpoint)).collect()
    }

    fn deliver(&mut self, url: &str, endpoint_id: EndpointId) -> DeliveryId {
        self.made += 1;
        let (tenant_id, rule_id) = (TenantId::DEFAULT, RuleId(Uuid::from_u128(2)));
        let message_id = MessageId(Uuid::from_u128(self.made));
        let target = target(url);
        let endpoint = Endpoint {
            tenant_id,
            id: endpoint_id,
            key: None,
            rule_id: Some(rule_id),
            alert_id: None,
            target: seal_target(&self.keyring, endpoint_id, &target).unwrap(),
            shown: shown(&target),
            format: Format::Langsmith,
            policy: Policy::Langsmith,
            overrides: Overrides { pace: self.pace, ..Overrides::default() },
            origin: None,
            disabled: None,
            health: Health::default(),
        };
        let created_at = Timestamp::parse("2026-11-22T08:29:59Z").unwrap();
        let json = r#"{"runs":[],"link":""}"#.to_owned();
        let link = Link { at: json.len() - 2, key: BlobKey("tenant/run/inputs-1".to_owned()) };
        let message = Message {
            tenant_id,
            id: message_id,
            source: Source::Rule(rule_id),
            window_id: Some(WindowId(Uuid::from_u128(3))),
            part: 1,
            parts: 1,
            runs: 0,
            body: Body { json, links: vec![link] },
            created_at,
            event_type: None,
        };
        let delivery = Delivery {
            tenant_id,
            id: DeliveryId::of(message_id, endpoint_id),
            message_id,
            endpoint_id,
            source: Source::Rule(rule_id),
            state: DeliveryState::Pending,
            attempts: 0,
            due_at: created_at,
            created_at,
            finished_at: None,
        };
        let id = delivery.id;
        self.outbox.put(delivery, endpoint, Some(message));
        id
    }

    /// One pass; then waits for the attempts under way.
    pub(super) async fn round(&mut self) -> Next {
        let next = self.sender.pass().await.unwrap();
        self.sender.finish().await;
        next
    }

    pub(super) fn row(&self, id: DeliveryId) -> Row {
        self.outbox.row(id)
    }
}
