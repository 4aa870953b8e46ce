//! Retention as a loop, on both databases: what must stay stays, whoever dies in the middle and however many are at it.

mod blobs;
mod pressure;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join};
use runhook::blob::directory::Directory;
use runhook::blob::{BlobStore, key_of};
use runhook::config::{Limits, Retention};
use runhook::crypto::Keyring;
use runhook::model::id::{RuleId, RunId};
use runhook::model::rule::{Cadence, Rule};
use runhook::model::run::{BlobKey, BlobRef, Fields, Part, PartKind, Payload};
use runhook::model::time::{Clock, ManualClock, SystemClock, Timestamp};
use runhook::retention::{Keeper, Parts};
use runhook::scheduler::{self, Scheduler};
use runhook::store::Store;
use runhook::store::outbox::{Claimant, DeliveryQuery};
use runhook::store::postgres::{Options, PgStore};
use runhook::store::rules::RuleChanges;
use runhook::store::runs::{Batch, RunQuery};
use runhook::store::sqlite::SqliteStore;
use runhook::task::{Activity as _, Next, Poke, Supervisor};

use crate::store::sample::{PROJECT, TENANT, begun, endpoint, json, part, patch, project_id, rule, run_id, uuid};
use crate::support::outbox;
use crate::support::postgres::Database;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Everything goes after ten days, blobs after one.
const TEN_DAYS: Retention = Retention {
    runs: Some(Duration::from_hours(240)),
    matches: Some(Duration::from_hours(240)),
    deliveries: Some(Duration::from_hours(240)),
    windows: Some(Duration::from_hours(240)),
    incomplete_runs: Some(Duration::from_hours(240)),
    unnamed_blobs: Some(DAY),
    audit: Some(Duration::from_hours(240)),
};

/// A store, blobs and a clock that is moved by hand, from the present on.
struct House {
    stores: Vec<Arc<dyn Store>>,
    blobs: Arc<dyn BlobStore>,
    clock: Arc<ManualClock>,
    _database: Option<Database>,
    supervisor: Supervisor,
    folder: tempfile::TempDir,
}

impl House {
    async fn on_a_file() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let supervisor = Supervisor::default();
        let (store, writer) = SqliteStore::open(&folder.path().join("runhook.db")).await.unwrap();
        supervisor.spawn("writer", writer.run(supervisor.soft()));
        let store: Arc<dyn Store> = Arc::new(store);
        Some(Self::of(vec![Arc::clone(&store), store], folder, supervisor, None))
    }

    async fn on_a_server() -> Option<Self> {
        let database = Database::create().await?;
        let options = Options { connections: 8, ..Options::default() };
        let mut stores: Vec<Arc<dyn Store>> = Vec::new();
        for _ in 0..2 {
            stores.push(Arc::new(PgStore::connect(database.url.as_str(), &options).await.unwrap()));
        }
        Some(Self::of(stores, tempfile::tempdir().unwrap(), Supervisor::default(), Some(database)))
    }

    fn of(
        stores: Vec<Arc<dyn Store>>,
        folder: tempfile::TempDir,
        supervisor: Supervisor,
        database: Option<Database>,
    ) -> Self {
        let keyring = Arc::new(Keyring::parse(&Keyring::line(1, &[5; 32])).unwrap());
        let blobs = Directory::new(folder.path().join("blobs"), "http://h".parse().unwrap(), keyring);
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        Self { stores, blobs: Arc::new(blobs), clock, _database: database, supervisor, folder }
    }

    async fn close(self) {
        for store in &self.stores {
            store.close().await;
        }
        self.supervisor.stop();
    }

    fn store(&self) -> &dyn Store {
        self.stores[0].as_ref()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn wait(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn keeper(&self) -> Keeper {
        self.keeper_of(0, TEN_DAYS)
    }

    fn keeper_of(&self, replica: usize, retention: Retention) -> Keeper {
        Keeper::new(Parts {
            store: Arc::clone(&self.stores[replica]),
            blobs: Arc::clone(&self.blobs),
            clock: Arc::<ManualClock>::clone(&self.clock),
            retention,
        })
    }

    /// Whole rounds of a keeper.
    async fn keep(&self) {
        for _ in 0..2 {
            round(self, &mut self.keeper()).await;
        }
    }

    fn scheduler(&self) -> Scheduler {
        Scheduler::new(scheduler::Parts {
            store: Arc::clone(&self.stores[0]),
            blobs: Arc::clone(&self.blobs),
            clock: Arc::<ManualClock>::clone(&self.clock),
            limits: Limits::default(),
            delivery: Poke::default(),
            poke: Poke::default(),
            instance: uuid(9, 9),
        })
    }

    /// Has every rule look at what it is due to look at.
    async fn evaluate(&self) {
        let mut scheduler = self.scheduler();
        while scheduler.pass().await.unwrap() == Next::Now {}
    }

    async fn apply(&self, rules: Vec<Rule>) {
        let changes =
            RuleChanges { put_rules: rules, put_endpoints: vec![endpoint(1, None)], ..RuleChanges::default() };
        self.store().apply_rules(TENANT, changes, self.now()).await.unwrap();
    }

    async fn accept(&self, parts: Vec<Part>) {
        let batch = Batch { parts, feedback: vec![], ..Batch::default() };
        self.store().accept(TENANT, batch, self.now()).await.unwrap();
    }

    /// The runs of a message that is told for a rule, each message once.
    async fn told(&self) -> usize {
        let query = DeliveryQuery { limit: 1000, ..DeliveryQuery::default() };
        self.store().list_deliveries(TENANT, &query).await.unwrap().len()
    }

    /// The numbers of the runs that are there.
    async fn there(&self) -> Vec<u32> {
        let query = RunQuery { limit: 10_000, ..RunQuery::default() };
        let runs = self.store().list_runs(TENANT, &query).await.unwrap();
        let ids: Vec<RunId> = runs.into_iter().map(|stored| stored.run.id).collect();
        (0..2_000).filter(|number| ids.contains(&run_id(*number))).collect()
    }

    /// Sends all that is due, each message with the same outcome.
    async fn deliver(&self) {
        use runhook::model::delivery::{Attempt, AttemptResult, Outcome};
        let claimant = Claimant { holder: uuid(9, 1), now: self.now(), until: self.now().after(HOUR) };
        for claim in outbox::claim(self.store(), claimant, 1_000).await.unwrap() {
            let result = AttemptResult::answered(200);
            let attempt =
                Attempt { number: claim.lease.attempt, started_at: self.now(), duration_ms: 1, request: None, result };
            outbox::finish(self.store(), &claim.lease, attempt, Outcome::Delivered).await.unwrap();
        }
    }

    async fn has(&self, key: &BlobKey) -> bool {
        self.blobs.get(key).await.unwrap().is_some()
    }
}

/// Passes until the round is over.
async fn round(house: &House, keeper: &mut Keeper) {
    for _ in 0..10_000 {
        match keeper.pass().await.unwrap() {
            Next::At(at) if at >= house.now().after(Duration::from_mins(5)) => return,
            _ => {}
        }
    }
    panic!("the round has no end");
}

fn told_at_once(key: &str) -> Rule {
    Rule {
        filter: None,
        sampling_rate: 1.0,
        cadence: Cadence::Immediate,
        endpoints: vec![endpoint(1, None).id],
        ..rule(key, 60)
    }
}

fn finished(number: u32) -> Vec<Part> {
    vec![part(PartKind::Post, run_id(number), Some(PROJECT), begun(number)), patch(number)]
}

macro_rules! both {
    ($($case:ident),+ $(,)?) => {
        both!(on_a_file: $($case),+);
        both!(on_a_server: $($case),+);
    };
    ($place:ident: $($case:ident),+) => {
        mod $place {
            $(#[tokio::test]
            async fn $case() {
                let Some(house) = super::House::$place().await else { return };
                super::cases::$case(&house).await;
                house.close().await;
            })+
        }
    };
}

both!(
    nothing_leaves_before_its_time_and_everything_after_it,
    a_run_that_some_rule_has_not_seen_is_kept_until_it_has,
    a_dropped_run_that_comes_again_is_stored_and_not_told_again_while_that_is_remembered,
    a_message_that_waits_keeps_its_blobs_when_its_run_has_gone,
    a_keeper_that_dies_at_any_moment_loses_nothing_that_must_stay,
    two_keepers_at_once_leave_what_one_would,
    without_a_word_runs_are_kept_for_ever,
);

mod cases {
    use super::*;

    pub(super) async fn nothing_leaves_before_its_time_and_everything_after_it(house: &House) {
        house.apply(vec![told_at_once("all")]).await;
        house.accept(finished(1)).await;
        house.accept(vec![patch(900)]).await;
        house.evaluate().await;
        house.deliver().await;
        house.wait(9 * DAY + 23 * HOUR);
        house.accept(finished(2)).await;
        house.evaluate().await;
        house.deliver().await;
        house.keep().await;
        assert_eq!((house.there().await, house.told().await), (vec![1, 2], 2));
        house.wait(2 * HOUR);
        house.keep().await;
        assert_eq!((house.there().await, house.told().await), (vec![2], 1));
        let rule = RuleId::of_key(TENANT, "all");
        assert_eq!(house.store().rule_windows(TENANT, rule, 9).await.unwrap().len(), 1);
        house.accept(vec![part(PartKind::Post, run_id(900), Some(PROJECT), begun(900))]).await;
        let late = house.store().run(TENANT, run_id(900)).await.unwrap().unwrap().run;
        assert_eq!(late.end_time, None, "the patch that waited too long is gone");
    }

    pub(super) async fn a_run_that_some_rule_has_not_seen_is_kept_until_it_has(house: &House) {
        house.accept(finished(1)).await;
        house.apply(vec![told_at_once("all")]).await;
        house.accept(finished(2)).await;
        house.wait(20 * DAY);
        house.keep().await;
        assert_eq!(house.there().await, [2], "the rule began behind the first run, and has not seen the second");
        house.evaluate().await;
        assert_eq!(house.told().await, 1);
        house.keep().await;
        assert!(house.there().await.is_empty());
        assert_eq!(house.told().await, 1, "what waits to be sent stays");
    }

    pub(super) async fn a_dropped_run_that_comes_again_is_stored_and_not_told_again_while_that_is_remembered(
        house: &House,
    ) {
        house.apply(vec![told_at_once("all")]).await;
        house.accept(finished(1)).await;
        house.evaluate().await;
        house.wait(11 * DAY);
        house.keep().await;
        assert!(house.there().await.is_empty());
        house.accept(finished(1)).await;
        house.evaluate().await;
        assert_eq!((house.there().await, house.told().await), (vec![1], 1), "it is there, and was told before");
        house.wait(11 * DAY);
        house.keep().await;
        house.wait(11 * DAY);
        house.keep().await;
        house.accept(finished(1)).await;
        house.evaluate().await;
        assert_eq!(house.told().await, 2, "eleven days after it was dropped again nobody knows it any more");
    }

    pub(super) async fn a_message_that_waits_keeps_its_blobs_when_its_run_has_gone(house: &House) {
        house.apply(vec![told_at_once("all")]).await;
        let (kept, gone) = (blob(1, "inputs"), blob(2, "inputs"));
        for key in [&kept, &gone] {
            house.blobs.put(key, Bytes::from_static(b"{}"), "application/json").await.unwrap();
        }
        let run = |number: u32, key: &BlobKey| {
            let extract = json("{}");
            let inputs = Some(Payload::Blob(BlobRef { key: key.clone(), bytes: 2, extract }));
            let fields = Fields { inputs, ..begun(number) };
            vec![part(PartKind::Post, run_id(number), Some(PROJECT), fields), patch(number)]
        };
        house.accept(run(1, &kept)).await;
        house.evaluate().await;
        let paused = runhook::model::rule::RuleState::Paused;
        let rule = RuleId::of_key(TENANT, "all");
        house.store().set_rule_state(TENANT, rule, paused, house.now(), None).await.unwrap();
        house.accept(run(2, &gone)).await;
        house.wait(20 * DAY);
        house.keep().await;
        assert!(house.there().await.is_empty());
        assert_eq!((house.has(&kept).await, house.has(&gone).await), (true, false));
        house.deliver().await;
        house.wait(20 * DAY);
        house.keep().await;
        assert_eq!((house.told().await, house.has(&kept).await), (0, false));
    }

    /// Fifty old runs that were told, one of them not delivered, and ten young ones.
    async fn furnish(house: &House) {
        house.apply(vec![told_at_once("all")]).await;
        for number in 0..49 {
            house.accept(finished(number)).await;
            house.accept(vec![patch(900 + number)]).await;
            house.evaluate().await;
        }
        house.deliver().await;
        house.accept(finished(49)).await;
        house.evaluate().await;
        house.wait(20 * DAY);
        house.accept((50..60).flat_map(finished).collect()).await;
        house.accept(vec![patch(990)]).await;
        house.evaluate().await;
    }

    async fn only_what_must_stay_is_there(house: &House) {
        assert_eq!(house.there().await, (50..60).collect::<Vec<_>>());
        assert_eq!(house.told().await, 2, "the message that waits, and that of the young runs");
        let rule = RuleId::of_key(TENANT, "all");
        let pairs: Vec<_> = (0..60).map(|number| (rule, run_id(number))).collect();
        assert_eq!(house.store().matched(TENANT, &pairs).await.unwrap().len(), 60);
        let project = project_id(PROJECT);
        let changes = house.store().changes(TENANT, project, 0, Timestamp(i64::MAX), 1_000).await.unwrap();
        assert_eq!(changes.len(), 10);
        house.accept(vec![part(PartKind::Post, run_id(990), Some(PROJECT), begun(990))]).await;
        assert!(house.store().run(TENANT, run_id(990)).await.unwrap().unwrap().run.end_time.is_some());
    }

    pub(super) async fn a_keeper_that_dies_at_any_moment_loses_nothing_that_must_stay(house: &House) {
        furnish(house).await;
        for patience in 1..40 {
            let mut keeper = house.keeper();
            let passes: BoxFuture<'_, ()> = Box::pin(round(house, &mut keeper));
            die_after(passes, patience).await;
            let young = house.there().await;
            assert!((50..60).all(|number| young.contains(&number)), "after {patience}: {young:?}");
        }
        house.wait(HOUR);
        house.keep().await;
        only_what_must_stay_is_there(house).await;
    }

    /// Polls a future so many times, whenever something has happened to it, and drops it.
    async fn die_after(mut future: BoxFuture<'_, ()>, polls: usize) {
        let mut polled = 0;
        poll_fn(|context| {
            polled += 1;
            if polled > polls { Poll::Ready(()) } else { future.as_mut().poll(context) }
        })
        .await;
    }

    pub(super) async fn two_keepers_at_once_leave_what_one_would(house: &House) {
        furnish(house).await;
        for _ in 0..3 {
            let (mut one, mut other) = (house.keeper_of(0, TEN_DAYS), house.keeper_of(1, TEN_DAYS));
            join(round(house, &mut one), round(house, &mut other)).await;
        }
        only_what_must_stay_is_there(house).await;
    }

    pub(super) async fn without_a_word_runs_are_kept_for_ever(house: &House) {
        house.accept(finished(1)).await;
        house.wait(10_000 * DAY);
        let mut keeper = house.keeper_of(0, Retention::default());
        round(house, &mut keeper).await;
        assert_eq!(house.there().await, [1]);
    }
}

fn blob(run: u32, name: &str) -> BlobKey {
    key_of(TENANT, run_id(run), name, name.as_bytes())
}
