//! Alerts: put with their endpoints, evaluated once, told once.

use runhook::model::alert::{
    Action, Against, Aggregation, Alert, Attribute, Bucket, Condition, Kept, Metric, Operator, Spelling, Standing,
    State, Target, beginning_of,
};
use runhook::model::audit::{self, Entry};
use runhook::model::delivery::{Delivery, DeliveryState, Outcome};
use runhook::model::endpoint::{Endpoint, Format, Laying};
use runhook::model::id::{AlertId, DeliveryId, EndpointId, MessageId, ProjectId, TenantId};
use runhook::model::message::{Body, Message, Source};
use runhook::model::time::Timestamp;
use runhook::store::alerts::{AlertCommit, AlertPut, Put};
use runhook::store::audit::AuditQuery;
use runhook::store::outbox::{Claim, DeliveryQuery};
use runhook::store::{Store, StoreError};

use super::audit::{entry, listed};
use super::outbox::{attempt, claim};
use super::sample::{PROJECT, TENANT, accept_at, at, endpoint, post, project_id, uuid};
use crate::support::outbox::finish;

const MINUTE: i64 = 60;

fn alert(number: u32) -> Alert {
    Alert {
        tenant_id: TENANT,
        id: AlertId(uuid(11, number)),
        project_id: project_id(PROJECT),
        name: format!("alert {number}"),
        description: "of a test".into(),
        metric: Metric {
            attribute: Attribute::TotalCost,
            aggregation: Aggregation::Sum,
            filter: Some("eq(name, \"a\")".into()),
            denominator_filter: None,
        },
        condition: Condition {
            operator: Operator::Gte,
            window_minutes: 5,
            against: Against::Change { multiplier: "1.50".parse().unwrap(), window_minutes: 60 },
        },
        actions: vec![Action {
            target: Target::Webhook,
            endpoint_id: to(number).id,
            spelling: Spelling { whole: true, inside: false },
            severity: None,
        }],
        created_at: at(i64::from(number)),
        updated_at: at(i64::from(number)),
    }
}

fn to(number: u32) -> Endpoint {
    let (alert_id, format) = (Some(AlertId(uuid(11, number))), Format::Alert(Laying::Merged));
    Endpoint { alert_id, format, key: None, ..endpoint(100 + number, None) }
}

fn new(alert: &Alert, most: u32) -> AlertPut {
    let number = alert.id.0.as_u64_pair().1 & 0xffff;
    AlertPut {
        alert: alert.clone(),
        before: None,
        standing: Some((Standing::default(), beginning_of(0))),
        put_endpoints: vec![to(u32::try_from(number).unwrap())],
        remove_endpoints: Vec::new(),
        most,
        now: at(9),
        told: None,
    }
}

async fn put(store: &dyn Store, number: u32) -> Kept {
    accept_at(store, vec![post(1)], at(1)).await;
    assert_eq!(store.put_alert(new(&alert(number), 9)).await.unwrap(), Put::Stored);
    kept(store, number).await
}

async fn kept(store: &dyn Store, number: u32) -> Kept {
    store.alert(TENANT, alert(number).id).await.unwrap().unwrap()
}

/// What an evaluation of an alert says when it fires.
fn fired(kept: &Kept, minute: i64) -> AlertCommit {
    let alert = &kept.alert;
    let buckets = vec![Bucket { minute: minute - 1, seen: 2, of: 1, sum: "0.30".parse().unwrap() }];
    let standing = Standing {
        state: State::Firing,
        since: Some(beginning_of(minute)),
        value: Some("0.3".parse().unwrap()),
        threshold: None,
        buckets,
        counted: vec![(minute, u64::MAX)],
    };
    let message = Message {
        tenant_id: TENANT,
        id: MessageId::of_alert(alert.id, minute, State::Firing),
        source: Source::Alert(alert.id),
        window_id: None,
        part: 1,
        parts: 1,
        runs: 0,
        body: Body { json: "{}".into(), links: Vec::new() },
        created_at: at(minute * MINUTE),
        event_type: None,
    };
    let endpoint_id = alert.actions[0].endpoint_id;
    let delivery = Delivery {
        tenant_id: TENANT,
        id: DeliveryId::of(message.id, endpoint_id),
        message_id: message.id,
        endpoint_id,
        source: message.source,
        state: DeliveryState::Pending,
        attempts: 0,
        due_at: message.created_at,
        created_at: message.created_at,
        finished_at: None,
    };
    AlertCommit {
        tenant_id: TENANT,
        id: alert.id,
        version: kept.version,
        standing,
        evaluated_at: beginning_of(minute),
        seen: 1,
        restless: true,
        messages: vec![message],
        deliveries: vec![delivery],
    }
}

async fn deliveries(store: &dyn Store) -> Vec<Delivery> {
    store.list_deliveries(TENANT, &DeliveryQuery { limit: 9, ..DeliveryQuery::default() }).await.unwrap()
}

async fn endpoints(store: &dyn Store) -> Vec<EndpointId> {
    let mut ids: Vec<EndpointId> =
        store.list_endpoints(TENANT).await.unwrap().into_iter().map(|endpoint| endpoint.id).collect();
    ids.sort_unstable();
    ids
}

pub(crate) async fn an_alert_and_its_endpoints_are_put_changed_and_removed_together(store: &dyn Store) {
    let missing = store.put_alert(new(&alert(1), 9)).await;
    assert!(matches!(missing, Err(StoreError::NotFound(_))), "its project is not there: {missing:?}");
    let one = put(store, 1).await;
    assert_eq!((&one.alert, one.seen, one.project.as_str()), (&alert(1), None, PROJECT));
    assert_eq!(store.list_endpoints(TENANT).await.unwrap(), [to(1)]);
    let twice = store.put_alert(new(&alert(1), 9)).await;
    assert!(matches!(twice, Err(StoreError::Conflict(_))), "{twice:?}");
    let changed = Alert { name: "other".into(), ..alert(1) };
    let change = AlertPut {
        alert: changed.clone(),
        before: Some(one.version),
        standing: None,
        put_endpoints: vec![to(2)],
        remove_endpoints: vec![to(1).id],
        ..new(&alert(1), 0)
    };
    assert_eq!(store.put_alert(change.clone()).await.unwrap(), Put::Stored, "it is none more");
    assert_eq!((kept(store, 1).await.alert, endpoints(store).await), (changed, vec![to(2).id]));
    let stale = store.put_alert(change).await;
    assert!(matches!(stale, Err(StoreError::Stale(_))), "{stale:?}");
    let other = ProjectId(uuid(9, 9));
    assert!(!store.remove_alert(TENANT, other, alert(1).id, at(9), None).await.unwrap());
    assert!(!store.remove_alert(TenantId(uuid(7, 7)), project_id(PROJECT), alert(1).id, at(9), None).await.unwrap());
    assert_eq!(store.list_alerts(TENANT).await.unwrap().len(), 1);
    let back = AlertPut { before: Some(2), ..new(&Alert { actions: alert(1).actions, ..alert(1) }, 9) };
    store.put_alert(AlertPut { remove_endpoints: vec![to(2).id], ..back }).await.unwrap();
    assert!(store.remove_alert(TENANT, project_id(PROJECT), alert(1).id, at(9), None).await.unwrap());
    assert_eq!((store.list_alerts(TENANT).await.unwrap(), endpoints(store).await), (vec![], vec![]));
}

pub(crate) async fn an_act_on_an_alert_is_told_when_it_happened_and_only_then(store: &dyn Store) {
    let told = |number| -> Option<Entry> { Some(entry(number, 1, audit::Action::UpdateAlert)) };
    let project = project_id(PROJECT);
    let put = async |number, put: AlertPut| store.put_alert(AlertPut { told: told(number), ..put }).await;
    assert!(put(1, new(&alert(1), 1)).await.is_err(), "its project is not there");
    accept_at(store, vec![post(1)], at(1)).await;
    assert_eq!(put(2, new(&alert(1), 1)).await.unwrap(), Put::Stored);
    assert_eq!(put(3, new(&alert(2), 1)).await.unwrap(), Put::Full);
    let change = AlertPut { before: Some(1), ..new(&alert(1), 1) };
    assert_eq!(put(4, change.clone()).await.unwrap(), Put::Stored);
    assert!(put(5, change).await.is_err(), "another version is there");
    for (number, there) in [(6, true), (7, false)] {
        assert_eq!(store.remove_alert(TENANT, project, alert(1).id, at(9), told(number)).await.unwrap(), there);
    }
    assert_eq!(listed(store, AuditQuery::default()).await, [6, 4, 2]);
}

pub(crate) async fn a_tenant_has_no_more_alerts_than_it_may(store: &dyn Store) {
    put(store, 1).await;
    let (two, three) = (new(&alert(2), 2), new(&alert(3), 2));
    let both = tokio::join!(store.put_alert(two), store.put_alert(three));
    let mut both = [both.0.unwrap(), both.1.unwrap()];
    both.sort_by_key(|put| *put == Put::Full);
    assert_eq!(both, [Put::Stored, Put::Full]);
    assert_eq!((store.list_alerts(TENANT).await.unwrap().len(), endpoints(store).await.len()), (2, 2));
}

pub(crate) async fn an_evaluation_is_committed_once_with_all_it_says(store: &dyn Store) {
    let one = put(store, 1).await;
    let commit = fired(&one, 10);
    let both = tokio::join!(store.commit_alert(commit.clone()), store.commit_alert(commit.clone()));
    let stale = [both.0, both.1].into_iter().filter(|done| matches!(done, Err(StoreError::Stale(_)))).count();
    assert_eq!(stale, 1);
    let now = kept(store, 1).await;
    assert_eq!((&now.standing, now.evaluated_at, now.seen), (&commit.standing, beginning_of(10), Some(1)));
    assert_eq!((now.version, deliveries(store).await), (one.version + 1, commit.deliveries.clone()));
    let message = store.message(TENANT, commit.messages[0].id).await.unwrap().unwrap();
    assert_eq!(message, commit.messages[0]);
    // What was evaluated before an edit is not what there is any more.
    let edit = AlertPut { before: Some(now.version), standing: None, put_endpoints: vec![], ..new(&alert(1), 9) };
    store.put_alert(edit).await.unwrap();
    let late = store.commit_alert(fired(&now, 11)).await;
    assert!(matches!(late, Err(StoreError::Stale(_))), "{late:?}");
    assert!(store.remove_alert(TENANT, project_id(PROJECT), alert(1).id, at(700), None).await.unwrap());
    let gone = store.commit_alert(fired(&now, 12)).await;
    assert!(matches!(gone, Err(StoreError::Stale(_))), "{gone:?}");
    let ended = deliveries(store).await;
    assert_eq!(ended[0].state, DeliveryState::Failed("alert removed".into()));
    assert_eq!((ended.len(), ended[0].finished_at), (1, Some(at(700))));
}

pub(crate) async fn what_an_alert_says_is_claimed_in_its_turn(store: &dyn Store) {
    let (one, two) = (put(store, 1).await, put(store, 2).await);
    for minute in [10, 20] {
        store.commit_alert(fired(&kept(store, 1).await, minute)).await.unwrap();
    }
    store.commit_alert(fired(&two, 30)).await.unwrap();
    let said = |kept: &Kept, minute| fired(kept, minute).deliveries[0].id;
    let claimed = |claims: &[Claim]| claims.iter().map(|claim| claim.delivery.id).collect::<Vec<_>>();
    let mut claims = claim(store, 1, 2_000, 3_000, 9).await;
    claims.sort_by_key(|claim| claim.delivery.created_at);
    assert_eq!(claimed(&claims), [said(&one, 10), said(&two, 30)], "each alert says one thing at a time");
    let waits = async || {
        let waiting = store.waiting(None, 9).await.unwrap();
        let found = waiting.iter().find(|waiting| waiting.endpoint_id == to(1).id);
        (store.next_due().await.unwrap(), found.map(|waiting| (waiting.first_at, waiting.retry_at)))
    };
    assert_eq!(waits().await, (Some(at(3_000)), Some((Some(at(3_000)), None))), "nothing is due before the lease ends");
    finish(store, &claims[0].lease, attempt(&claims[0], at(2_000), 503), Outcome::Retry(at(2_500))).await.unwrap();
    assert_eq!(waits().await, (Some(at(2_500)), Some((None, Some(at(2_500))))));
    assert_eq!(claimed(&claim(store, 2, 2_400, 3_000, 9).await), []);
    let retried = claim(store, 3, 2_500, 3_000, 9).await;
    assert_eq!(claimed(&retried), [said(&one, 10)]);
    let failed = Outcome::Failed("it never answers".into());
    finish(store, &retried[0].lease, attempt(&retried[0], at(2_500), 503), failed).await.unwrap();
    assert_eq!(waits().await, (Some(at(1_200)), Some((Some(at(1_200)), None))), "what failed holds up nothing");
    assert_eq!(claimed(&claim(store, 4, 2_600, 3_000, 9).await), [said(&one, 20)]);
}

pub(crate) async fn alerts_are_due_when_their_project_has_changed_or_they_are_restless(store: &dyn Store) {
    let due = async |minute: i64| {
        let found = store.due_alerts(beginning_of(minute), None, 9).await.unwrap();
        found.into_iter().map(|kept| kept.alert.id).collect::<Vec<_>>()
    };
    let (one, two) = (put(store, 1).await, put(store, 2).await);
    assert_eq!(due(0).await, [], "it is judged up to that minute");
    assert_eq!(due(1).await, [one.alert.id, two.alert.id]);
    let after = Some((TENANT, one.alert.id));
    let page = store.due_alerts(beginning_of(1), after, 9).await.unwrap();
    assert_eq!(page.iter().map(|kept| kept.alert.id).collect::<Vec<_>>(), [two.alert.id]);
    let rest = |kept: &Kept| AlertCommit { restless: false, messages: vec![], deliveries: vec![], ..fired(kept, 10) };
    store.commit_alert(rest(&one)).await.unwrap();
    store.commit_alert(AlertCommit { restless: true, ..rest(&two) }).await.unwrap();
    assert_eq!((due(10).await, due(11).await), (vec![], vec![two.alert.id]));
    accept_at(store, vec![post(2)], at(601)).await;
    assert_eq!(due(11).await, [one.alert.id, two.alert.id]);
    assert_eq!(store.last_change_before(TENANT, project_id(PROJECT), at(601)).await.unwrap(), 1);
    assert_eq!(store.last_change_before(TENANT, project_id(PROJECT), Timestamp(at(601).0 + 1)).await.unwrap(), 2);
    assert_eq!(store.last_change_before(TENANT, project_id("nothing"), at(601)).await.unwrap(), 0);
}

pub(crate) async fn an_alert_goes_with_its_project(store: &dyn Store) {
    let one = put(store, 1).await;
    store.commit_alert(fired(&one, 10)).await.unwrap();
    store.delete_project(TENANT, project_id(PROJECT), None).await.unwrap();
    assert_eq!((store.list_alerts(TENANT).await.unwrap(), endpoints(store).await), (vec![], vec![]));
    assert_eq!(store.due_alerts(beginning_of(99), None, 9).await.unwrap(), []);
    let late = store.commit_alert(fired(&one, 11)).await;
    assert!(matches!(late, Err(StoreError::Stale(_))), "{late:?}");
}
