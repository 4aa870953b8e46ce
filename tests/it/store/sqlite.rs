//! The suite on SQLite, and what only a file with one writer can show.

use std::path::Path;

use futures_util::future::join_all;
use runhook::model::run::{Status, StoredRun};
use runhook::model::window::Progress;
use runhook::store::outbox::{Claimant, DeliveryQuery};
use runhook::store::rules::RuleChanges;
use runhook::store::runs::Batch;
use runhook::store::sqlite::{Options, SqliteStore, Writer};
use runhook::store::{KeyStore, ProjectStore, RunStore, Store, StoreError, WindowStore};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::sample::{
    PROJECT, TENANT, accept, at, begun, changes, endpoint, found, group, json, part, patch, post, project_id, rule,
    run_id, uuid, window,
};
use crate::support::outbox::claim;

super::store_suite!(crate::store::sqlite::Embedded::always);

/// A store in a directory of its own, with its writer running.
pub(crate) struct Embedded {
    store: SqliteStore,
    writer: JoinHandle<()>,
    directory: TempDir,
}

impl Embedded {
    pub(crate) async fn open() -> Self {
        Self::open_in(tempfile::tempdir().expect("a directory"), &Options::default()).await
    }

    pub(crate) async fn always() -> Option<Self> {
        Some(Self::open().await)
    }

    async fn open_in(directory: TempDir, options: &Options) -> Self {
        let (store, writer) =
            SqliteStore::open_with(&directory.path().join("runhook.db"), options).await.expect("opened");
        Self { store, writer: run(writer), directory }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &self.store
    }

    /// Does something behind the store's back.
    pub(crate) async fn sql(&self, statements: &str) {
        sql(self.directory.path(), statements).await;
    }

    pub(crate) async fn close(self) {
        self.store.close().await;
        self.writer.await.expect("the writer ended well");
    }

    /// Drops everything at once, as a killed process would, and starts again on what is on the disk.
    async fn kill_and_reopen(self) -> Self {
        self.writer.abort();
        let _cancelled = self.writer.await;
        drop(self.store);
        Self::open_in(self.directory, &Options::default()).await
    }
}

#[expect(clippy::disallowed_methods, reason = "a test is its own supervisor")]
fn run(writer: Writer) -> JoinHandle<()> {
    tokio::spawn(writer.run(CancellationToken::new()))
}

/// Speaks to the file behind the store's back.
async fn sql(directory: &Path, statement: &str) {
    let file = format!("sqlite://{}", directory.join("runhook.db").display());
    let mut connection = SqliteConnection::connect(&file).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn what_many_callers_were_told_at_once_is_there_after_a_kill() {
    let backend = Embedded::open().await;
    let store = backend.store();
    join_all((0..500).map(|number| accept(store, vec![post(number), patch(number)]))).await;
    let backend = backend.kill_and_reopen().await;
    let ids: Vec<_> = (0..500).map(run_id).collect();
    let runs = backend.store().runs(TENANT, &ids).await.unwrap();
    assert_eq!(runs.len(), 500);
    assert!(runs.iter().all(|stored| stored.run.status == Status::Success));
    assert_eq!(changes(backend.store(), PROJECT).await.len(), 500);
    backend.close().await;
}

#[tokio::test]
async fn a_patch_that_waits_survives_a_kill() {
    let backend = Embedded::open().await;
    accept(backend.store(), vec![patch(1)]).await;
    let backend = backend.kill_and_reopen().await;
    accept(backend.store(), vec![post(1)]).await;
    assert_eq!(backend.store().run(TENANT, run_id(1)).await.unwrap().unwrap().run.status, Status::Success);
    backend.close().await;
}

#[tokio::test]
async fn runs_just_written_are_told_from_memory_once_as_the_file_tells_them() {
    let backend = Embedded::open().await;
    let store = backend.store();
    accept(store, vec![post(1), post(2), patch(2)]).await;
    accept(store, vec![post(3)]).await;
    accept(store, vec![patch(3)]).await;
    let ids = [1, 2, 3].map(run_id);
    let in_order = |mut runs: Vec<StoredRun>| {
        runs.sort_by_key(|stored| stored.run.id);
        format!("{runs:#?}")
    };
    let (first, again) = (store.runs(TENANT, &ids).await.unwrap(), store.runs(TENANT, &ids).await.unwrap());
    assert_eq!(first.len(), 3);
    assert_eq!(in_order(first), in_order(again));

    accept(store, vec![post(4), post(5)]).await;
    accept(store, vec![patch(5)]).await;
    backend.sql("UPDATE run_bodies SET body = x'00'").await;
    let told = |runs: Vec<StoredRun>| runs.iter().map(|stored| stored.run.id).collect::<Vec<_>>();
    let ids = [4, 5].map(run_id);
    assert_eq!(told(store.runs(TENANT, &ids).await.unwrap()), [run_id(4)], "what changed since is read");
    assert!(store.runs(TENANT, &ids).await.unwrap().is_empty(), "it is told once");
    backend.close().await;
}

#[tokio::test]
async fn a_run_just_written_is_not_told_from_memory_when_it_was_removed() {
    let backend = Embedded::open().await;
    let store = backend.store();
    accept(store, vec![post(1)]).await;
    assert!(store.delete_project(TENANT, project_id(PROJECT), None).await.unwrap());
    assert!(store.runs(TENANT, &[run_id(1)]).await.unwrap().is_empty());
    backend.close().await;
}

#[tokio::test]
async fn a_run_just_written_is_not_told_from_memory_when_it_comes_again_after_a_wipe() {
    let backend = Embedded::open().await;
    let store = backend.store();
    let ids = [1, 2].map(run_id);
    accept(store, vec![post(1), post(2)]).await;
    let before = store.run(TENANT, run_id(1)).await.unwrap().unwrap();
    store.wipe_tenant(TENANT, None).await.unwrap();
    assert!(store.runs(TENANT, &ids[1..]).await.unwrap().is_empty());
    accept(store, vec![patch(1)]).await;
    accept(store, vec![post(1)]).await;
    let again = store.runs(TENANT, &ids).await.unwrap();
    assert_eq!((again.len(), again[0].changed_seq), (1, before.changed_seq), "numbers began again");
    assert_eq!(again[0].run.status, Status::Success);
    backend.close().await;
}

#[tokio::test]
async fn connections_share_no_lock_of_sqlites() {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    let options: Vec<String> = sqlx::query_scalar("PRAGMA compile_options").fetch_all(&mut connection).await.unwrap();
    for locks in ["ENABLE_MEMORY_MANAGEMENT", "ENABLE_API_ARMOR"] {
        assert!(!options.iter().any(|option| option == locks), "{locks}: is .cargo/config.toml not read? {options:?}");
    }
}

#[tokio::test]
async fn one_bad_job_fails_alone() {
    let backend = Embedded::open().await;
    accept(backend.store(), vec![post(1)]).await;
    let refusal = "CREATE TRIGGER refusal BEFORE UPDATE ON run_bodies BEGIN SELECT RAISE(ABORT, 'no'); END";
    backend.sql(refusal).await;
    let batches = [vec![post(2)], vec![patch(1)], vec![post(3), patch(3)]];
    let answers = join_all(batches.map(|parts| {
        let batch = Batch { parts, feedback: vec![], ..Batch::default() };
        backend.store.accept(TENANT, batch, at(5))
    }))
    .await;
    assert!(matches!(answers[1], Err(StoreError::Internal(_))), "{answers:?}");
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    assert_eq!(backend.store.runs(TENANT, &[run_id(2), run_id(3)]).await.unwrap().len(), 2);
    let numbers: Vec<i64> = changes(backend.store(), PROJECT).await.iter().map(|change| change.seq).collect();
    assert_eq!(numbers, [1, 2, 3]);
    backend.close().await;
}

#[tokio::test]
async fn a_row_that_does_not_decode_hides_no_other() {
    let backend = Embedded::open().await;
    let store = backend.store();
    let changes = RuleChanges {
        put_rules: vec![rule("a", 60), rule("b", 60)],
        put_endpoints: vec![endpoint(1, None), endpoint(2, None)],
        ..RuleChanges::default()
    };
    store.apply_rules(TENANT, changes.clone(), at(0)).await.unwrap();
    accept(store, vec![post(1), post(2)]).await;
    for (number, to) in [(1, 1), (2, 2)] {
        let seq = i64::from(number);
        let window = window(Progress::Group(group(&rule("a", 60))), seq - 1, seq, at(seq - 1), at(seq));
        let matches = [(rule("a", 60).id, run_id(number))];
        store.commit_window(found(store, window, &matches, endpoint(to, None).id).await).await.unwrap();
    }
    let place = backend.directory.path();
    sql(place, "UPDATE rules SET rule = '{}' WHERE key = 'a'").await;
    sql(place, "UPDATE endpoints SET format = '\"unheard of\"' WHERE key = 'endpoint-1'").await;
    let active: Vec<_> = store.active_rules().await.unwrap().rules.into_iter().map(|rule| rule.key).collect();
    assert_eq!(active, ["b"]);
    let claimant = Claimant { holder: uuid(9, 1), now: at(100), until: at(200) };
    let claims = claim(store, claimant, 10).await.unwrap();
    assert_eq!(claims.iter().map(|claim| claim.endpoint.id).collect::<Vec<_>>(), [endpoint(2, None).id]);
    let failed = DeliveryQuery { state: Some("failed".to_owned()), limit: 10, ..DeliveryQuery::default() };
    assert_eq!(store.list_deliveries(TENANT, &failed).await.unwrap().len(), 1);
    store.apply_rules(TENANT, changes, at(101)).await.unwrap();
    assert_eq!(
        (store.list_rules(TENANT).await.unwrap().len(), store.list_endpoints(TENANT).await.unwrap().len()),
        (2, 2)
    );
    backend.close().await;
}

#[tokio::test]
async fn a_full_queue_answers_busy_at_once_and_goes_on_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { queued_items: 2, ..Options::default() };
    let (store, writer) = SqliteStore::open_with(&directory.path().join("runhook.db"), &options).await.unwrap();
    let batch = |number| Batch { parts: vec![post(number), patch(number)], feedback: vec![], ..Batch::default() };
    let waiting = store.accept(TENANT, batch(1), at(0));
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let refused = store.accept(TENANT, batch(2), at(0)).await;
    assert!(matches!(refused, Err(StoreError::Busy { retry_after }) if !retry_after.is_zero()));
    let writer = run(writer);
    waiting.await.unwrap();
    store.accept(TENANT, batch(2), at(0)).await.unwrap();
    let large = Batch { parts: (10..20).map(post).collect(), feedback: vec![], ..Batch::default() };
    store.accept(TENANT, large, at(0)).await.expect("a batch larger than the queue is taken when the queue is empty");
    store.close().await;
    writer.await.unwrap();
}

#[tokio::test]
async fn a_queue_is_full_when_it_holds_enough_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { queued_bytes: 4096, ..Options::default() };
    let (store, writer) = SqliteStore::open_with(&directory.path().join("runhook.db"), &options).await.unwrap();
    let batch = |number| {
        let mut large = post(number);
        large.fields.inputs = Some(runhook::model::run::Payload::Inline(json(&format!("\"{}\"", "x".repeat(3000)))));
        Batch { parts: vec![large], feedback: vec![], ..Batch::default() }
    };
    let waiting = store.accept(TENANT, batch(1), at(0));
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert!(matches!(store.accept(TENANT, batch(2), at(0)).await, Err(StoreError::Busy { .. })));
    let writer = run(writer);
    waiting.await.unwrap();
    store.accept(TENANT, batch(2), at(0)).await.expect("what was answered made room");
    store.close().await;
    writer.await.unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_the_batch_and_recovers_when_there_is_space() {
    let options = Options { max_pages: Some(160), ..Options::default() };
    let backend = Embedded::open_in(tempfile::tempdir().unwrap(), &options).await;
    let large = |number: u32| {
        // Text that does not shrink.
        let mut state = u64::from(number) + 1;
        let noise: String = (0..100_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(b'a' + u8::try_from(state >> 60).unwrap())
            })
            .collect();
        let inputs = Some(runhook::model::run::Payload::Inline(json(&format!("\"{noise}\""))));
        let fields = runhook::model::run::Fields { inputs, ..begun(number) };
        part(runhook::model::run::PartKind::Post, run_id(number), Some(PROJECT), fields)
    };
    let mut stored = 0;
    let refused = loop {
        let batch = Batch { parts: vec![large(stored)], feedback: vec![], ..Batch::default() };
        match backend.store.accept(TENANT, batch, at(1)).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Full), "{refused:?}");
    assert!(stored > 5);
    let ids: Vec<_> = (0..=stored).map(run_id).collect();
    assert_eq!(backend.store.runs(TENANT, &ids).await.unwrap().len(), usize::try_from(stored).unwrap());
    backend.store.delete_project(TENANT, project_id(PROJECT), None).await.unwrap();
    assert!(accept(backend.store(), vec![large(stored)]).await.changed);
    backend.close().await;
}

#[tokio::test]
async fn when_the_writer_dies_everyone_is_told() {
    let backend = Embedded::open().await;
    let died = backend.store.writer_died();
    assert!(!died.is_cancelled());
    backend.writer.abort();
    died.cancelled().await;
    let refused =
        backend.store.accept(TENANT, Batch { parts: vec![post(1)], feedback: vec![], ..Batch::default() }, at(0)).await;
    assert!(matches!(refused, Err(StoreError::Internal(_))));
    assert!(matches!(backend.store.check_writable(at(0)).await, Err(StoreError::Internal(_))));
    assert!(backend.store.stirred_projects().await.is_ok(), "reading goes on");
}

#[tokio::test]
async fn closing_finishes_what_is_queued() {
    let directory = tempfile::tempdir().unwrap();
    let (store, writer) = SqliteStore::open(&directory.path().join("runhook.db")).await.unwrap();
    let queued = join_all((0..20).map(|number| accept(&store, vec![post(number)])));
    tokio::pin!(queued);
    assert!(futures_util::poll!(&mut queued).is_pending());
    let closing = store.close();
    tokio::pin!(closing);
    assert!(futures_util::poll!(&mut closing).is_pending());
    let writer = run(writer);
    assert!(queued.await.iter().all(|accepted| accepted.changed));
    closing.await;
    writer.await.unwrap();
}

async fn refusal(directory: &Path) -> String {
    match SqliteStore::open(&directory.join("runhook.db")).await {
        Err(StoreError::Unusable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_newer_schema_is_used_until_it_asks_for_a_newer_version_and_then_left_as_it_is() {
    let backend = Embedded::open().await;
    let Embedded { store, writer, directory: old } = backend;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'later', 1, x'00', 0)";
    sql(old.path(), newer).await;
    store.check_schema().await.expect("what was added is nothing to this version");
    store.close().await;
    writer.await.unwrap();
    let (store, writer) = SqliteStore::open(&old.path().join("runhook.db")).await.expect("neither at the start");
    let writer = run(writer);
    sql(old.path(), "UPDATE counters SET value = 9998 WHERE name = 'least_version'").await;
    let too_old = store.check_schema().await;
    assert!(matches!(&too_old, Err(StoreError::Unusable(why)) if why.contains("9998")), "{too_old:?}");
    store.close().await;
    writer.await.unwrap();
    let why = refusal(old.path()).await;
    assert!(why.contains("newer version of runhook") && why.contains("9999") && why.contains("9998"), "{why}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("runhook.db"), "not a database, but a letter to a friend\n".repeat(100))
        .unwrap();
    let why = refusal(directory.path()).await;
    assert!(why.contains("runhook.db is not a database"), "{why}");
}

#[tokio::test]
async fn the_database_of_another_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::File::create(directory.path().join("runhook.db")).unwrap();
    sql(directory.path(), "CREATE TABLE bookmarks (url TEXT)").await;
    let why = refusal(directory.path()).await;
    assert!(why.contains("another program"), "{why}");
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let why = refusal(&directory.path().join("missing")).await;
    assert!(why.contains("missing/runhook.db cannot be opened"), "{why}");
}

#[tokio::test]
async fn a_store_is_opened_again_with_what_it_held() {
    let backend = Embedded::open().await;
    accept(backend.store(), vec![post(1)]).await;
    let Embedded { store, writer, directory } = backend;
    store.close().await;
    writer.await.unwrap();
    let backend = Embedded::open_in(directory, &Options::default()).await;
    assert!(backend.store.project(TENANT, project_id(PROJECT)).await.unwrap().is_some());
    assert!(backend.store.run(TENANT, run_id(1)).await.unwrap().is_some());
    backend.close().await;
}

#[tokio::test]
async fn endpoints_that_were_stored_before_their_origins_were_are_those_of_files() {
    let backend = Embedded::open().await;
    let changes = RuleChanges { put_endpoints: vec![endpoint(1, None)], ..RuleChanges::default() };
    backend.store().apply_rules(TENANT, changes, at(0)).await.unwrap();
    assert!(backend.store().list_endpoints(TENANT).await.unwrap()[0].is_own());
    backend.sql("DELETE FROM _sqlx_migrations WHERE version = 14").await;
    let backend = backend.kill_and_reopen().await;
    assert!(!backend.store().list_endpoints(TENANT).await.unwrap()[0].is_own());
    backend.close().await;
}
