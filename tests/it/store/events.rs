//! The catalogue, subscriptions, and events that are sent by them.

use std::collections::BTreeMap;

use runhook::model::delivery::{Attempt, AttemptResult, DeliveryState, Outcome};
use runhook::model::endpoint::{Disabled, Endpoint, Format};
use runhook::model::event::{Application, Errand, Event, EventType, Subscription};
use runhook::model::id::{ApplicationId, DeliveryId, EndpointId, ErrandId, MessageId, TenantId};
use runhook::model::message::{Body, Message, Source};
use runhook::store::catalog::{Handle, Page, Presence, Subscriber};
use runhook::store::events::{AttemptQuery, AttemptsOf, EventQuery, Reach, Sending, Tries};
use runhook::store::outbox::Claimant;
use runhook::store::{Store, StoreError};
use uuid::Uuid;

use super::sample::{TENANT, at, endpoint, json, uuid};
use crate::support::outbox::{claim, finish};

const FIRST: Page<i64> = Page { after: None, descending: false, limit: 100 };

fn event_type(name: &str) -> EventType {
    EventType {
        name: name.to_owned(),
        description: "what happens".to_owned(),
        schemas: BTreeMap::from([("1".to_owned(), json(r#"{ "type":"object" }"#))]),
        archived: false,
        deprecated: false,
        group_name: None,
        feature_flags: vec![],
        created_at: at(1),
        updated_at: at(2),
    }
}

fn application(number: u32, uid: Option<&str>) -> Application {
    Application {
        id: ApplicationId(uuid(20, number)),
        uid: uid.map(str::to_owned),
        number: 0,
        name: format!("application {number}"),
        metadata: BTreeMap::from([("a".to_owned(), "ü".to_owned())]),
        rate_limit: None,
        created_at: at(1),
        updated_at: at(1),
    }
}

/// A subscriber of an application, to these types and channels; all, where none is named.
fn subscriber(number: u32, application: u32, types: &[&str], channels: &[&str]) -> Subscriber {
    let some = |all: &[&str]| (!all.is_empty()).then(|| all.iter().map(|one| (*one).to_owned()).collect());
    let endpoint = Endpoint { key: None, format: Format::Event, ..endpoint(number, None) };
    let application_id = if application == 0 { ApplicationId::TENANT } else { ApplicationId(uuid(20, application)) };
    let subscription = Subscription {
        endpoint_id: endpoint.id,
        application_id,
        uid: Some(format!("uid-{number}")),
        number: 0,
        event_types: some(types),
        channels: some(channels),
        description: String::new(),
        metadata: BTreeMap::new(),
        version: 1,
        rate_limit: None,
        created_at: at(1),
        updated_at: at(1),
    };
    Subscriber { endpoint, subscription }
}

pub(super) async fn subscribe(
    store: &dyn Store,
    number: u32,
    application: u32,
    types: &[&str],
    channels: &[&str],
) -> EndpointId {
    let put = subscriber(number, application, types, channels);
    store.subscribe(TENANT, put, Presence::New, None).await.unwrap().endpoint_id
}

fn event(application: u32, event_type: &str, channels: &[&str]) -> Event {
    Event {
        application_id: ApplicationId(uuid(20, application)),
        event_type: event_type.to_owned(),
        channels: channels.iter().map(|one| (*one).to_owned()).collect(),
        event_id: None,
        tags: vec![],
        deliver_at: None,
    }
}

fn message(number: u32, event: &Event) -> Message {
    Message {
        tenant_id: TENANT,
        id: MessageId(uuid(21, number)),
        source: Source::Application(event.application_id),
        window_id: None,
        part: 1,
        parts: 1,
        runs: 0,
        body: Body { json: format!(r#"{{"z": {number},  "a":1.0}}"#), links: vec![] },
        created_at: at(i64::from(number)),
        event_type: Some(event.event_type.clone()),
    }
}

async fn send(store: &dyn Store, number: u32, event: Event) -> Sending {
    store.send_event(message(number, &event), event, Reach::Application).await.unwrap()
}

/// Sends an event, and says to whom.
async fn heard(store: &dyn Store, number: u32, event: Event, among: &[EndpointId]) -> Vec<EndpointId> {
    let Sending::Sent(count) = send(store, number, event).await else { panic!("it was there before") };
    let mut heard = Vec::new();
    for endpoint in among {
        let id = DeliveryId::of(MessageId(uuid(21, number)), *endpoint);
        heard.extend(store.delivery(TENANT, id).await.unwrap().map(|_| *endpoint));
    }
    assert_eq!(heard.len(), count);
    heard
}

pub(crate) async fn event_types_are_listed_by_name_and_come_back_when_they_are_made_again(store: &dyn Store) {
    for name in ["b.x", "a_x", "B.x", "a.x"] {
        store.put_event_type(TENANT, event_type(name), Presence::New, None).await.unwrap();
    }
    let names = async |archived, after: Option<&str>, descending| {
        let page = Page { after: after.map(str::to_owned), descending, limit: 3 };
        let found = store.event_types(TENANT, archived, page).await.unwrap();
        found.into_iter().map(|found| found.name).collect::<Vec<_>>()
    };
    assert_eq!(names(false, None, false).await, ["B.x", "a.x", "a_x"], "by their bytes, on either database");
    assert_eq!(names(false, Some("a_x"), false).await, ["b.x"]);
    assert_eq!(names(false, None, true).await, ["b.x", "a_x", "a.x"]);
    let again = store.put_event_type(TENANT, event_type("a.x"), Presence::New, None).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))));
    let nowhere = store.put_event_type(TENANT, event_type("c.x"), Presence::There, None).await;
    assert!(matches!(nowhere, Err(StoreError::NotFound(_))));
    let archived = EventType { archived: true, ..event_type("a.x") };
    store.put_event_type(TENANT, archived.clone(), Presence::There, None).await.unwrap();
    assert_eq!(store.event_type(TENANT, "a.x").await.unwrap(), Some(archived));
    assert_eq!(names(false, None, false).await, ["B.x", "a_x", "b.x"]);
    assert_eq!(names(true, None, false).await, ["B.x", "a.x", "a_x"]);
    store.put_event_type(TENANT, event_type("a.x"), Presence::New, None).await.unwrap();
    assert_eq!(store.event_type(TENANT, "a.x").await.unwrap(), Some(event_type("a.x")), "byte for byte");
    let other = TenantId(Uuid::from_u128(9));
    assert_eq!(store.event_type(other, "a.x").await.unwrap(), None);
    assert!(
        store.remove_event_type(TENANT, "a.x", None).await.unwrap()
            && !store.remove_event_type(TENANT, "a.x", None).await.unwrap()
    );
}

pub(crate) async fn applications_and_subscribers_keep_the_order_in_which_they_were_made(store: &dyn Store) {
    for number in [3, 1, 2] {
        let uid = format!("u{number}");
        store.put_application(TENANT, application(number, Some(&uid)), Presence::New, None).await.unwrap();
    }
    let taken = store.put_application(TENANT, application(4, Some("u1")), Presence::New, None).await;
    assert!(matches!(taken, Err(StoreError::Conflict(_))));
    let found = store.applications(TENANT, FIRST).await.unwrap();
    assert_eq!(found.iter().map(|found| found.uid.as_deref().unwrap()).collect::<Vec<_>>(), ["u3", "u1", "u2"]);
    let behind = Page { after: Some(found[1].number), descending: true, limit: 9 };
    assert_eq!(store.applications(TENANT, behind).await.unwrap(), found[..1]);
    let by_uid = store.application(TENANT, &Handle::Uid("u1".into())).await.unwrap();
    assert_eq!(by_uid, store.application(TENANT, &Handle::Id(found[1].id)).await.unwrap());
    let renamed = Application { name: "other".into(), uid: None, ..found[1].clone() };
    let put = store.put_application(TENANT, renamed.clone(), Presence::There, None).await.unwrap();
    assert_eq!((&put, put.number), (&renamed, found[1].number));

    for number in (1..=9).rev() {
        subscribe(store, number, 1, &[], &[]).await;
    }
    let one = ApplicationId(uuid(20, 1));
    let ids = async |page| {
        let found = store.subscribers(TENANT, one, page).await.unwrap();
        found.into_iter().map(|found| found.endpoint.id).collect::<Vec<_>>()
    };
    let made: Vec<EndpointId> = (1..=9).rev().map(|number| EndpointId(uuid(3, number))).collect();
    assert_eq!(ids(FIRST).await, made);
    let newest = ids(Page { after: None, descending: true, limit: 2 }).await;
    assert_eq!(newest, [made[8], made[7]]);
    let again = store
        .subscribe(
            TENANT,
            Subscriber {
                endpoint: Endpoint { id: EndpointId(uuid(3, 50)), ..subscriber(9, 1, &[], &[]).endpoint },
                ..subscriber(9, 1, &[], &[])
            },
            Presence::New,
            None,
        )
        .await;
    assert!(matches!(again, Err(StoreError::Conflict(_))), "its uid is another's");
    let found = store.subscriber(TENANT, one, &Handle::Uid("uid-4".into())).await.unwrap().unwrap();
    assert_eq!(found.endpoint, subscriber(4, 1, &[], &[]).endpoint);
    assert_eq!(
        store.subscriber(TENANT, ApplicationId(uuid(20, 2)), &Handle::Id(found.endpoint.id)).await.unwrap(),
        None
    );
    assert_eq!(store.subscriptions(TENANT, &[found.endpoint.id, EndpointId(uuid(3, 77))]).await.unwrap().len(), 1);
    assert!(store.remove_application(TENANT, one, at(9), None).await.unwrap());
    assert!(ids(FIRST).await.is_empty() && store.list_endpoints(TENANT).await.unwrap().is_empty());
}

pub(crate) async fn an_event_goes_to_whoever_hears_of_it_and_once(store: &dyn Store) {
    let all = subscribe(store, 1, 1, &[], &[]).await;
    let typed = subscribe(store, 2, 1, &["a.x", "b.x"], &[]).await;
    let channelled = subscribe(store, 3, 1, &["a.x"], &["c1", "c2"]).await;
    let elsewhere = subscribe(store, 4, 2, &["a.x"], &[]).await;
    let of_tenant = subscribe(store, 5, 0, &["a.x"], &[]).await;
    let disabled = subscribe(store, 6, 1, &[], &[]).await;
    let reason = Some(Disabled { at: at(1), reason: "no".into() });
    assert!(store.set_endpoint_state(TENANT, disabled, reason, at(1), None).await.unwrap());
    let among = [all, typed, channelled, elsewhere, of_tenant, disabled];
    let heard = async |number, event| heard(store, number, event, &among).await;
    assert_eq!(heard(1, event(1, "a.x", &[])).await, [all, typed, of_tenant]);
    assert_eq!(heard(2, event(1, "a.x", &["c2"])).await, [all, typed, channelled, of_tenant]);
    assert_eq!(heard(3, event(1, "b.x", &["c1"])).await, [all, typed]);
    assert_eq!(heard(4, event(2, "a.x", &[])).await, [elsewhere, of_tenant]);
    assert_eq!(heard(5, event(2, "nobody.hears", &[])).await, []);
    let everyone = store.hearers(TENANT, &event(0, "a.x", &[]), Reach::Tenant).await.unwrap();
    assert_eq!(everyone, [typed, elsewhere, of_tenant], "those that ask for this very type");
    let again = send(store, 1, Event { tags: vec!["t".into()], ..event(1, "b.x", &[]) }).await;
    let Sending::There(told) = again else { panic!("it was sent twice") };
    assert_eq!((&told.event, &told.message), (&event(1, "a.x", &[]), &message(1, &event(1, "a.x", &[]))));

    assert_eq!(store.event(TENANT, MessageId(uuid(21, 2))).await.unwrap().unwrap().event, event(1, "a.x", &["c2"]));
    let later = Event { deliver_at: Some(at(500)), ..event(2, "a.x", &[]) };
    send(store, 6, later).await;
    let (delivery, _) =
        store.delivery(TENANT, DeliveryId::of(MessageId(uuid(21, 6)), elsewhere)).await.unwrap().unwrap();
    assert_eq!((delivery.due_at, delivery.state), (at(500), DeliveryState::Pending));
    let changed = subscriber(2, 1, &["c.x"], &[]);
    store.subscribe(TENANT, changed, Presence::There, None).await.unwrap();
    assert_eq!(heard(7, event(1, "a.x", &[])).await, [all, of_tenant], "types are replaced");
    assert!(
        store.unsubscribe(TENANT, all, at(9), None).await.unwrap()
            && !store.unsubscribe(TENANT, all, at(9), None).await.unwrap()
    );
    let (delivery, _) = store.delivery(TENANT, DeliveryId::of(MessageId(uuid(21, 7)), all)).await.unwrap().unwrap();
    assert_eq!(delivery.state, DeliveryState::Failed("endpoint removed".into()));
}

pub(crate) async fn events_are_listed_newest_first_by_application_type_and_instant(store: &dyn Store) {
    for number in 1..=6 {
        send(store, number, event(1 + number / 6, if number % 2 == 0 { "a.x" } else { "b.x" }, &[])).await;
    }
    let numbers = async |query: EventQuery| {
        let query = EventQuery { application_id: Some(ApplicationId(uuid(20, 1))), limit: 9, ..query };
        let found = store.events(TENANT, &query).await.unwrap();
        found.into_iter().map(|told| told.message.created_at).collect::<Vec<_>>()
    };
    let none = EventQuery::default();
    assert_eq!(numbers(none.clone()).await, [5, 4, 3, 2, 1].map(at));
    assert_eq!(numbers(EventQuery { event_type: Some("a.x".into()), ..none.clone() }).await, [4, 2].map(at));
    assert_eq!(numbers(EventQuery { after: Some(at(2)), before: Some(at(5)), ..none.clone() }).await, [4, 3].map(at));
    let behind = Some((at(3), MessageId(uuid(21, 3))));
    assert_eq!(numbers(EventQuery { behind, ..none.clone() }).await, [2, 1].map(at));
    assert_eq!(numbers(EventQuery { behind, newer: true, ..none.clone() }).await, [4, 5].map(at), "the other way");
    let of_type = EventQuery { event_type: Some("b.x".into()), behind, newer: true, ..none };
    assert_eq!(numbers(of_type).await, [5].map(at));
}

pub(crate) async fn attempts_are_listed_newest_first_by_endpoint_and_by_message(store: &dyn Store) {
    let (one, other) = (subscribe(store, 1, 1, &[], &[]).await, subscribe(store, 2, 1, &["a.x"], &[]).await);
    send(store, 1, event(1, "a.x", &[])).await;
    send(store, 2, event(1, "b.x", &[])).await;
    for round in 0..2 {
        let now = at(100 + 10 * round);
        let claimant = Claimant { holder: uuid(9, u32::try_from(round).unwrap()), now, until: at(1000) };
        for (place, claim) in claim(store, claimant, 10).await.unwrap().into_iter().enumerate() {
            let started_at = at(100 + 10 * round + i64::try_from(place).unwrap());
            let result = AttemptResult::answered(if round == 0 { 500 } else { 200 });
            let attempt = Attempt { number: claim.lease.attempt, started_at, duration_ms: 5, request: None, result };
            let outcome = if round == 0 { Outcome::Retry(at(110)) } else { Outcome::Delivered };
            finish(store, &claim.lease, attempt, outcome).await.unwrap();
        }
    }
    let all =
        AttemptQuery { of: AttemptsOf::Endpoint(one), after: None, before: None, behind: None, newer: false, limit: 9 };
    let found = store.attempts(TENANT, &all).await.unwrap();
    assert_eq!(found.len(), 4);
    assert!(found.is_sorted_by(|newer, older| newer.mark() > older.mark()));
    assert!(found.iter().all(|made| made.endpoint_id == one && made.state == DeliveryState::Delivered));
    let behind = AttemptQuery { behind: Some(found[1].mark()), limit: 1, ..all.clone() };
    assert_eq!(store.attempts(TENANT, &behind).await.unwrap(), found[2..3]);
    let newer = AttemptQuery { behind: Some(found[2].mark()), newer: true, ..all.clone() };
    assert_eq!(store.attempts(TENANT, &newer).await.unwrap(), [found[1].clone(), found[0].clone()]);
    let late = AttemptQuery { after: Some(at(109)), ..all.clone() };
    assert_eq!(store.attempts(TENANT, &late).await.unwrap(), found[..2]);
    let of_message = AttemptQuery { of: AttemptsOf::Message(MessageId(uuid(21, 1))), ..all.clone() };
    let found = store.attempts(TENANT, &of_message).await.unwrap();
    assert_eq!(found.len(), 4);
    assert!(found.iter().any(|made| made.endpoint_id == other));
    let tally = store.tally(TENANT, one, at(0), at(100)).await.unwrap();
    assert_eq!((tally.delivered, tally.pending, tally.failed), (2, 0, 0));
    assert_eq!(store.tally(TENANT, one, at(2), at(100)).await.unwrap().delivered, 1);
}

pub(crate) async fn an_event_goes_when_it_is_old_whether_anybody_heard_it_or_not(store: &dyn Store) {
    let one = subscribe(store, 1, 1, &["a.x"], &[]).await;
    send(store, 1, event(1, "a.x", &[])).await;
    for number in 2..=4 {
        send(store, number, event(1, "b.x", &[])).await;
    }
    let dropped = store.drop_unheard_events(at(4), 1).await.unwrap();
    assert_eq!((dropped.rows, dropped.more), (1, true));
    let dropped = store.drop_unheard_events(at(4), 9).await.unwrap();
    assert_eq!((dropped.rows, dropped.more), (1, false), "the one somebody hears stays, and so does the young one");
    let left = async || {
        let query = EventQuery { application_id: Some(ApplicationId(uuid(20, 1))), limit: 9, ..EventQuery::default() };
        store.events(TENANT, &query).await.unwrap().len()
    };
    assert_eq!(left().await, 2);
    let claims = claim(store, Claimant { holder: uuid(9, 1), now: at(50), until: at(90) }, 9).await.unwrap();
    let result = AttemptResult::answered(200);
    let attempt = Attempt { number: 1, started_at: at(50), duration_ms: 5, request: None, result };
    finish(store, &claims[0].lease, attempt, Outcome::Delivered).await.unwrap();
    assert_eq!(store.drop_messages(at(60), None, 9).await.unwrap().messages, 1);
    assert_eq!(left().await, 1);
    let query =
        AttemptQuery { of: AttemptsOf::Endpoint(one), after: None, before: None, behind: None, newer: false, limit: 9 };
    assert!(store.attempts(TENANT, &query).await.unwrap().is_empty());
}

pub(crate) async fn a_failure_is_told_to_those_who_ask_for_it_and_no_further(store: &dyn Store) {
    let failing = subscribe(store, 1, 1, &["a.x"], &[]).await;
    let watching = subscribe(store, 2, 2, &["delivery.failed", "endpoint.disabled"], &[]).await;
    send(store, 1, event(1, "a.x", &[])).await;
    let fail = async |holder: u32, outcome: Outcome| {
        let now = at(1000 + i64::from(holder));
        let claimant = Claimant { holder: uuid(9, holder), now, until: at(2000) };
        let claims = claim(store, claimant, 9).await.unwrap();
        for claim in &claims {
            let result = AttemptResult::answered(410);
            let attempt = Attempt { number: 1, started_at: now, duration_ms: 5, request: None, result };
            finish(store, &claim.lease, attempt, outcome.clone()).await.unwrap();
        }
        claims
            .into_iter()
            .map(|claim| (claim.endpoint.id, claim.message.unwrap().event_type.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(fail(1, Outcome::Gone("gone".into())).await, [(failing, Some("a.x".to_owned()))]);
    let mut told = fail(2, Outcome::Failed("no".into())).await;
    told.sort();
    let expected = ["delivery.failed", "endpoint.disabled"].map(|name| (watching, Some(name.to_owned())));
    assert_eq!(told, expected);
    assert!(fail(3, Outcome::Delivered).await.is_empty(), "a failure to tell of failures is not told of");
}

pub(crate) async fn one_tenant_is_wiped_and_others_stay(store: &dyn Store) {
    let other = TenantId(Uuid::from_u128(9));
    store.put_event_type(other, event_type("a.x"), Presence::New, None).await.unwrap();
    store.put_event_type(TENANT, event_type("a.x"), Presence::New, None).await.unwrap();
    subscribe(store, 1, 1, &[], &[]).await;
    send(store, 1, event(1, "a.x", &[])).await;
    store.wipe_tenant(TENANT, None).await.unwrap();
    assert_eq!(store.event_type(TENANT, "a.x").await.unwrap(), None);
    assert_eq!(store.event_type(other, "a.x").await.unwrap(), Some(event_type("a.x")));
    assert!(store.list_endpoints(TENANT).await.unwrap().is_empty());
    assert_eq!(store.event(TENANT, MessageId(uuid(21, 1))).await.unwrap(), None);
    assert_eq!(store.waiting(None, 9).await.unwrap(), []);
    assert!(matches!(send(store, 1, event(1, "a.x", &[])).await, Sending::Sent(0)));
}

pub(crate) async fn what_an_endpoint_was_never_sent_is_sent_once(store: &dyn Store) {
    let early = subscribe(store, 1, 1, &["a.x"], &[]).await;
    for number in 1..=3 {
        send(store, number, event(1, "a.x", &[])).await;
    }
    let late = subscribe(store, 2, 1, &["a.x"], &[]).await;
    let events = [1, 2, 9].map(|number| MessageId(uuid(21, number)));
    let missing = async |endpoint| store.send_missing(TENANT, endpoint, &events, at(50), None).await.unwrap();
    assert_eq!(missing(late).await, 2, "of an event that is gone nothing is sent");
    assert_eq!((missing(late).await, missing(early).await), (0, 0));
    let (delivery, _) = store.delivery(TENANT, DeliveryId::of(events[0], late)).await.unwrap().unwrap();
    assert_eq!((delivery.due_at, delivery.state), (at(50), DeliveryState::Pending));
    let one = event(1, "b.x", &[]);
    let sending = store.send_event(message(4, &one), one, Reach::One(late)).await.unwrap();
    assert_eq!(sending, Sending::Sent(1), "an example goes to one, whatever it asks for");
}

pub(crate) async fn attempts_are_counted_by_how_they_ended(store: &dyn Store) {
    let heard = subscribe(store, 1, 1, &["a.x"], &[]).await;
    for (number, result) in [
        (1, AttemptResult::answered(200)),
        (2, AttemptResult::answered(299)),
        (3, AttemptResult::answered(302)),
        (4, AttemptResult::answered(500)),
        (5, AttemptResult::TimedOut),
        (6, AttemptResult::Broken { reason: r#"{"kind":"answered","status":200}"#.to_owned() }),
    ] {
        send(store, number, event(1, "a.x", &[])).await;
        let second = i64::from(number) * 100;
        let claimant = Claimant { holder: uuid(9, number), now: at(second), until: at(second + 10) };
        let claims = claim(store, claimant, 9).await.unwrap();
        let (started_at, lease) = (at(second), &claims[0].lease);
        let attempt = Attempt { number: lease.attempt, started_at, duration_ms: 5, request: None, result };
        finish(store, lease, attempt, Outcome::Delivered).await.unwrap();
    }
    let tries = async |since, until| store.tries(TENANT, heard, at(since), at(until)).await.unwrap();
    assert_eq!(tries(0, 1000).await, Tries { taken: 2, failed: 4 });
    assert_eq!(tries(200, 300).await, Tries { taken: 1, failed: 0 });
    assert_eq!(tries(1000, 2000).await, Tries::default());
}

pub(crate) async fn errands_are_listed_in_the_order_of_their_ends_and_forgotten_when_they_are_old(store: &dyn Store) {
    let errand = |number: u32, kind: &str, second| {
        let (id, kind) = (ErrandId(uuid(22, number)), kind.to_owned());
        Errand { id, number: 0, kind, deliveries: u64::from(number), ended_at: at(second) }
    };
    let all = [errand(1, "a", 10), errand(2, "b", 20), errand(3, "a", 30)];
    for one in &all {
        store.note_errand(TENANT, one.clone(), at(0)).await.unwrap();
    }
    let one = store.errand(TENANT, all[1].id).await.unwrap().unwrap();
    assert_eq!(Errand { number: 0, ..one.clone() }, all[1]);
    assert_eq!(store.errand(TenantId(uuid(8, 1)), all[1].id).await.unwrap(), None);
    let ids = async |kind, page| {
        let found = store.errands(TENANT, kind, page).await.unwrap();
        found.into_iter().map(|one| one.deliveries).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, FIRST).await, [1, 2, 3]);
    assert_eq!(ids(Some("a"), Page { descending: true, ..FIRST }).await, [3, 1]);
    assert_eq!(ids(None, Page { after: Some(one.number), ..FIRST }).await, [3]);
    store.note_errand(TENANT, errand(4, "b", 40), at(20)).await.unwrap();
    assert_eq!(ids(None, FIRST).await, [2, 3, 4], "the one that ended before is forgotten");
}
