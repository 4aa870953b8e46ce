//! The plans of the statements that loops and requests run: a lost index is a test that fails, not a slow server.

use sqlx::{AssertSqlSafe, QueryBuilder, Row};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::filter::sql::Clause;
use crate::filter::{Filter, Mode};
use crate::model::id::{AuditId, DeliveryId, EndpointId, ProjectId, RuleId, RunId, TenantId, TraceId};
use crate::model::time::Timestamp;
use crate::store::KeyStore;
use crate::store::audit::AuditQuery;
use crate::store::failed::FailedQuery;
use crate::store::outbox::DeliveryQuery;
use crate::store::runs::{FeedbackQuery, RunQuery};
use crate::store::search::path::{Ordered, probes};
use crate::store::search::render::{self, Relation, Way};
use crate::store::search::{Search, Within};

/// The steps of a statement's plan.
async fn plan(store: &SqliteStore, statement: &str) -> String {
    let explained = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = sqlx::query(explained).fetch_all(&store.readers).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn hot_statements_are_served_by_their_indexes() {
    let directory = tempfile::tempdir().unwrap();
    let (store, writer) = SqliteStore::open(&directory.path().join("runhook.db")).await.unwrap();
    let (claim, finish, note) = (outbox::CLAIM.text(2), outbox::FINISH.text(2), health::NOTE.text(2));
    let (finish_some, put_back) = (outbox::FINISH_SOME.text(2), outbox::PUT_BACK.text(2));
    let cases = [
        (finish_some.as_str(), "SEARCH deliveries USING PRIMARY KEY (tenant_id=? AND delivery_id=?)"),
        (&put_back, "SEARCH deliveries USING PRIMARY KEY (tenant_id=? AND delivery_id=?)"),
        (windows::STIRRED, "SCAN projects USING INDEX projects_stirred"),
        (windows::CHANGES, "SEARCH changes USING PRIMARY KEY (tenant_id=? AND project_id=? AND seq>?)"),
        (windows::MATCHED, "SEARCH m USING COVERING INDEX matches_by_run (tenant_id=? AND run_id=? AND rule_id=?)"),
        (claim.as_str(), "SEARCH deliveries USING PRIMARY KEY (tenant_id=? AND delivery_id=?)"),
        (&claim, "SEARCH d USING INDEX deliveries_waiting (endpoint_id=? AND <expr>=? AND ready_at<?)"),
        (&claim, "INDEX deliveries_of_alerts (endpoint_id=? AND created_at<?)"),
        (&finish, "SEARCH deliveries USING PRIMARY KEY (tenant_id=? AND delivery_id=?)"),
        (&note, "SEARCH endpoints USING INDEX endpoints_by_id (endpoint_id=?"),
        (outbox::MESSAGES, "SEARCH m USING INDEX sqlite_autoindex_messages_1 (tenant_id=? AND message_id=?)"),
        (endpoints::BY_ID, "SEARCH endpoints USING INDEX endpoints_by_id (endpoint_id=?)"),
        (feedback::ON_RUNS, "SEARCH feedback USING INDEX feedback_by_run (tenant_id=? AND run_id=?)"),
        (accept::PLACES, "SEARCH b USING INDEX sqlite_autoindex_run_bodies_1 (tenant_id=? AND run_id=?)"),
        (accept::PLACES, "SEARCH r USING PRIMARY KEY (tenant_id=? AND project_id=? AND run_id=?)"),
        (runs::RUNS, "SEARCH b USING INDEX sqlite_autoindex_run_bodies_1 (tenant_id=? AND run_id=?)"),
        (runs::RUNS, "SEARCH r USING PRIMARY KEY (tenant_id=? AND project_id=? AND run_id=?)"),
        (runs::NEWEST, "SEARCH runs USING PRIMARY KEY (tenant_id=? AND project_id=? AND run_id=?)"),
        (runs::TRACES, "SEARCH r USING INDEX runs_by_trace (tenant_id=? AND project_id=? AND trace_id=?)"),
        (runs::KIN, "SEARCH runs USING INDEX runs_by_trace (tenant_id=? AND project_id=? AND trace_id=?)"),
        (runs::TRACES, "SEARCH b USING INDEX sqlite_autoindex_run_bodies_1 (tenant_id=? AND run_id=?)"),
    ];
    let windows = [
        windows::PLANNED.as_slice(),
        &standing::PLANNED,
        &collections::PLANNED,
        &feedback_tokens::PLANNED,
        &threads::PLANNED,
    ]
    .concat();
    let more = [
        outbox::PLANNED.as_slice(),
        &health::PLANNED,
        &names::PLANNED,
        &windows,
        &feedback::PLANNED,
        &removal::PLANNED,
        &audit::PLANNED,
    ]
    .concat();
    for (statement, step) in cases.into_iter().chain(accept::PLANNED).chain(retention::PLANNED).chain(more) {
        let plan = plan(&store, statement).await;
        assert!(plan.contains(step), "{statement}\nis planned as\n{plan}\nand should\n{step}");
        assert!(!plan.contains("SCAN deliveries") && !plan.contains("SCAN runs"), "{statement}\n{plan}");
    }
    for (statement, steps) in alerts::planned() {
        let plan = plan(&store, &statement).await;
        assert!(
            steps.iter().all(|step| plan.contains(step)),
            "{statement}\nis planned as\n{plan}\nand should\n{steps:?}"
        );
    }
    let due = plan(&store, &alerts::planned()[0].0).await;
    assert!(!due.contains("TEMP B-TREE"), "{due}");
    drop(writer);
}

#[tokio::test]
async fn pages_of_the_audit_log_are_read_in_the_order_of_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let (store, writer) = SqliteStore::open(&directory.path().join("runhook.db")).await.unwrap();
    let before = Some((Timestamp(0), AuditId(uuid::Uuid::nil())));
    let page = AuditQuery { actor: Some("ci".into()), before, ..AuditQuery::default() };
    let found = plan(&store, audit::page(TenantId::DEFAULT, &page).sql().as_str()).await;
    assert!(found.contains("SEARCH audit_log USING PRIMARY KEY (tenant_id=? AND (at,entry_id)<(?,?))"), "{found}");
    assert!(!found.contains("TEMP B-TREE"), "{found}");
    let of = |object: &str| AuditQuery { object: Some(object.to_owned()), before, ..AuditQuery::default() };
    let by_key = "audit_log_by_object (tenant_id=? AND object=? AND (at,entry_id)<(?,?))";
    let found = plan(&store, audit::page(TenantId::DEFAULT, &of("oncall")).sql().as_str()).await;
    assert!(found.contains(by_key) && !found.contains("TEMP B-TREE"), "{found}");
    let id = uuid::Uuid::nil().to_string();
    let found = plan(&store, audit::page(TenantId::DEFAULT, &of(&id)).sql().as_str()).await;
    let by_id = "audit_log_by_object_id (tenant_id=? AND object_id=? AND (at,entry_id)<(?,?))";
    assert!(found.contains(by_key) && found.contains(by_id), "{found}");
    drop(writer);
}

#[tokio::test]
async fn pages_of_runs_are_read_in_the_order_of_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let (store, writer) = SqliteStore::open(&directory.path().join("runhook.db")).await.unwrap();
    let id = uuid::Uuid::nil();
    let before = Some((Timestamp(0), RunId(id)));
    let in_project = RunQuery { project_id: Some(ProjectId(id)), before, ..RunQuery::default() };
    let found = plan(&store, runs::page(TenantId::DEFAULT, &in_project).sql().as_str()).await;
    assert!(found.contains("USING INDEX runs_by_start (tenant_id=? AND project_id=? AND (start_at,run_id)<(?,?))"));
    assert!(!found.contains("TEMP B-TREE"), "{found}");
    let anywhere = RunQuery { before, ..RunQuery::default() };
    let found = plan(&store, runs::page(TenantId::DEFAULT, &anywhere).sql().as_str()).await;
    assert!(found.contains("USING INDEX runs_of_tenant (tenant_id=? AND (start_at,run_id)<(?,?))"), "{found}");
    assert!(!found.contains("TEMP B-TREE"), "{found}");
    let of_trace = RunQuery { trace_id: Some(TraceId(id)), ..RunQuery::default() };
    let found = plan(&store, runs::page(TenantId::DEFAULT, &of_trace).sql().as_str()).await;
    assert!(found.contains("USING INDEX runs_by_trace (tenant_id=? AND project_id=? AND trace_id=?)"), "{found}");
    drop(writer);
}

#[tokio::test]
async fn pages_of_deliveries_and_of_feedback_are_read_in_the_order_of_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let (store, writer) = SqliteStore::open(&directory.path().join("runhook.db")).await.unwrap();
    let id = uuid::Uuid::nil();
    let sent = |query: DeliveryQuery| outbox::page(TenantId::DEFAULT, &query).sql().as_str().to_owned();
    let given = |query: FeedbackQuery| feedback::page(TenantId::DEFAULT, &query).unwrap().sql().as_str().to_owned();
    let (rule_id, before) = (Some(RuleId(id)), Some((Timestamp(0), DeliveryId(id))));
    let failed = DeliveryQuery { state: Some("failed".into()), before, ..DeliveryQuery::default() };
    let in_project = FeedbackQuery { projects: vec![ProjectId(id)], ..FeedbackQuery::default() };
    let cases = [
        (sent(DeliveryQuery::default()), "deliveries_by_creation (tenant_id=?)"),
        (sent(failed), "deliveries_by_creation (tenant_id=? AND (created_at,delivery_id)<(?,?))"),
        (
            sent(DeliveryQuery { rule_id, before, ..DeliveryQuery::default() }),
            "deliveries_by_rule (tenant_id=? AND rule_id=? AND (created_at,delivery_id)<(?,?))",
        ),
        (given(FeedbackQuery::default()), "feedback_by_creation (tenant_id=?)"),
        (given(in_project), "feedback_by_creation (tenant_id=?)"),
    ];
    for (statement, index) in cases {
        let found = plan(&store, &statement).await;
        assert!(found.contains(&format!("USING INDEX {index}")), "{statement}\n{found}");
        assert!(!found.contains("TEMP B-TREE"), "{statement}\n{found}");
    }
    let on_runs = given(FeedbackQuery { runs: vec![RunId(id)], ..FeedbackQuery::default() });
    let found = plan(&store, &on_runs).await;
    assert!(found.contains("USING INDEX feedback_by_run (tenant_id=? AND run_id=?)"), "{found}");
    drop(writer);
}

fn clause(filter: &str) -> Clause {
    Filter::parse(filter, Mode::Lenient).unwrap().0.narrowing().clause
}

fn in_project(run: &str) -> Search {
    Search { run: clause(run), ..Search::of(Within::Project(ProjectId(uuid::Uuid::nil())), 100) }
}

#[tokio::test]
async fn searches_are_read_in_the_order_of_the_index_that_serves_them_best() {
    let directory = tempfile::tempdir().unwrap();
    let (store, writer) = SqliteStore::open(&directory.path().join("runhook.db")).await.unwrap();
    let after = Some((Timestamp(0), RunId(uuid::Uuid::nil())));
    let failed = r#"and(eq(status, "error"), gt(latency, 3))"#;
    let slow_in_trace = Search { tree: clause("gt(latency, 3)"), ..in_project("eq(is_root, true)") };
    let cases = [
        (in_project(""), "r USING INDEX runs_by_start (tenant_id=? AND project_id=?)"),
        (
            Search { after, ..in_project("eq(run_type, \"llm\")") },
            "r USING INDEX runs_by_start (tenant_id=? AND project_id=? AND (start_at,run_id)<(?,?))",
        ),
        (
            Search { after, newest_first: false, ..in_project(failed) },
            "r USING INDEX runs_failed (tenant_id=? AND project_id=? AND (start_at,run_id)>(?,?))",
        ),
        (
            Search { after, ..in_project(r#"and(eq(name, "plan"), eq(status, "error"))"#) },
            "r USING INDEX runs_by_name (tenant_id=? AND project_id=? AND name=? AND (start_at,run_id)<(?,?))",
        ),
        (slow_in_trace.clone(), "r USING INDEX runs_by_start (tenant_id=? AND project_id=?)"),
        (slow_in_trace, "t EXISTS USING INDEX runs_by_trace (tenant_id=? AND project_id=? AND trace_id=?)"),
    ];
    for (search, step) in cases {
        let statement = search::statement(TenantId::DEFAULT, &search, &Way::Along(Ordered::of(&search.run)));
        let found = plan(&store, statement.sql().as_str()).await;
        assert!(found.contains(step), "{}\n{found}\nand should\n{step}", statement.sql().as_str());
        assert!(!found.contains("TEMP B-TREE"), "{found}");
    }
    drop(writer);
}

#[tokio::test]
async fn what_is_few_is_counted_and_looked_up_by_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let (store, writer) = SqliteStore::open(&directory.path().join("runhook.db")).await.unwrap();
    let id = uuid::Uuid::nil();
    let few = || vec![id, uuid::Uuid::from_u128(1)];
    let failed_in_trace = Search { tree: clause("eq(status, \"error\")"), ..in_project("eq(is_root, true)") };
    let judged = in_project("eq(feedback_key, \"stars\")");
    let low = in_project("and(eq(feedback_key, \"stars\"), lt(feedback_score, 0.5))");
    let of_trace = Search { within: Within::Trace(TraceId(id)), ..judged.clone() };
    let named = Search { within: Within::Runs(vec![RunId(id)]), ..judged.clone() };
    let statement = |search: &Search, way: Way| search::statement(TenantId::DEFAULT, search, &way);
    let counted = |search: &Search| search::count(TenantId::DEFAULT, &probes(search)[0].0);
    let of_few = |search: &Search| Way::Runs(few(), search.run.clone());
    let related = || {
        let mut sql = QueryBuilder::new("");
        render::relatives(&mut sql, TenantId::DEFAULT, ProjectId(id), &few());
        sql
    };
    let along = || Way::Along(Ordered::Start);
    let cases = [
        (counted(&judged), "f USING COVERING INDEX feedback_by_key (tenant_id=? AND key=?"),
        (counted(&failed_in_trace), "t USING COVERING INDEX runs_failed_by_trace (tenant_id=? AND project_id=?)"),
        (counted(&low), "f USING COVERING INDEX feedback_by_score (tenant_id=? AND key=? AND <expr><?"),
        (related(), "r USING PRIMARY KEY (tenant_id=? AND project_id=? AND run_id=?)"),
        (statement(&judged, of_few(&judged)), "r USING PRIMARY KEY (tenant_id=? AND project_id=? AND run_id=?)"),
        (
            statement(&Search { after: Some((Timestamp(0), RunId(id))), ..judged.clone() }, of_few(&judged)),
            "r USING PRIMARY KEY (tenant_id=? AND project_id=? AND run_id=?)",
        ),
        (
            statement(&failed_in_trace, Way::Traces(few(), Some(Relation::Any))),
            "INDEX runs_roots (tenant_id=? AND project_id=? AND trace_id=?)",
        ),
        (
            statement(&in_project(""), Way::Traces(few(), Some(Relation::Any))),
            "r USING INDEX runs_by_trace (tenant_id=? AND project_id=? AND trace_id=?)",
        ),
        (statement(&of_trace, along()), "r USING INDEX runs_by_trace (tenant_id=? AND project_id=? AND trace_id=?)"),
        (statement(&named, along()), "b USING INDEX sqlite_autoindex_run_bodies_1 (tenant_id=? AND run_id=?)"),
        (statement(&named, along()), "r USING PRIMARY KEY (tenant_id=? AND project_id=? AND run_id=?)"),
    ];
    for (statement, step) in cases {
        let found = plan(&store, statement.sql().as_str()).await;
        assert!(found.contains(step), "{}\n{found}\nand should\n{step}", statement.sql().as_str());
        assert!(!found.contains("SCAN r") && !found.contains("SCAN t") && !found.contains("SCAN f"), "{found}");
    }
    drop(writer);
}

#[tokio::test]
async fn what_failed_is_read_in_the_order_of_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let (store, writer) = SqliteStore::open(&directory.path().join("runhook.db")).await.unwrap();
    let id = uuid::Uuid::nil();
    let (since, before) = (Some(Timestamp(0)), Some((Timestamp(0), DeliveryId(id))));
    let of_endpoint = FailedQuery { endpoint_id: Some(EndpointId(id)), since, ..FailedQuery::default() };
    let of_rule = FailedQuery { rule_id: Some(RuleId(id)), before, ..FailedQuery::default() };
    let statuses = Some((500, 599));
    let cases = [
        (FailedQuery::default(), "deliveries_failed (tenant_id=?)"),
        (FailedQuery { since, ..FailedQuery::default() }, "deliveries_failed (tenant_id=? AND finished_at>?)"),
        (
            FailedQuery { statuses, since, ..FailedQuery::default() },
            "deliveries_failed (tenant_id=? AND finished_at>?)",
        ),
        (of_endpoint, "deliveries_failed_by_endpoint (tenant_id=? AND endpoint_id=? AND finished_at>?)"),
        (of_rule, "deliveries_failed_by_rule (tenant_id=? AND rule_id=? AND (finished_at,delivery_id)<(?,?))"),
    ];
    for (query, index) in cases {
        for statement in [failed::page(TenantId::DEFAULT, &query), failed::count(TenantId::DEFAULT, &query)] {
            let found = plan(&store, statement.sql().as_str()).await;
            assert!(found.contains(&format!("INDEX {index}")), "{query:?}\n{found}");
            assert!(!found.contains("SCAN deliveries") && !found.contains("SCAN a"), "{query:?}\n{found}");
        }
        let found = plan(&store, failed::page(TenantId::DEFAULT, &query).sql().as_str()).await;
        assert!(!found.contains("TEMP B-TREE"), "{query:?}\n{found}");
    }
    let to = DeliveryQuery { endpoint_id: Some(EndpointId(id)), before, ..DeliveryQuery::default() };
    let found = plan(&store, outbox::page(TenantId::DEFAULT, &to).sql().as_str()).await;
    let index = "deliveries_by_endpoint (tenant_id=? AND endpoint_id=? AND (created_at,delivery_id)<(?,?))";
    assert!(found.contains(index) && !found.contains("TEMP B-TREE"), "{found}");
    drop(writer);
}

#[tokio::test]
async fn the_catalogue_and_events_are_read_by_their_indexes() {
    let directory = tempfile::tempdir().unwrap();
    let (store, writer) = SqliteStore::open(&directory.path().join("runhook.db")).await.unwrap();
    let planned =
        [either::catalog::PLANNED, either::subscriptions::PLANNED, either::events::PLANNED, either::notices::PLANNED]
            .concat();
    let ordered = [either::catalog::ORDERED, either::subscriptions::ORDERED, either::events::ORDERED].concat();
    let uses = |found: &str, index: &str| {
        found.contains(&format!("INDEX {index} ")) || (!index.contains("_by_") && found.contains("USING PRIMARY KEY"))
    };
    for (statement, index) in planned.into_iter().chain(ordered.clone()) {
        let found = plan(&store, statement).await;
        assert!(uses(&found, index) && !found.contains("SCAN e"), "{statement}\n{found}\nand should use {index}");
    }
    for (statement, index) in ordered {
        let found = plan(&store, statement).await;
        assert!(!found.contains("TEMP B-TREE"), "{statement}\n{found}\nand should be read in the order of {index}");
    }
    drop(writer);
}

#[tokio::test]
async fn the_file_is_laid_out_as_it_was_measured() {
    let directory = tempfile::tempdir().unwrap();
    let (store, writer) = SqliteStore::open(&directory.path().join("runhook.db")).await.unwrap();
    for (pragma, expected) in [("page_size", "16384"), ("auto_vacuum", "2"), ("journal_mode", "wal")] {
        let query = AssertSqlSafe(format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}"));
        let found: String = sqlx::query_scalar(query).fetch_one(&store.readers).await.unwrap();
        assert_eq!(found, expected, "{pragma}");
    }
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    writer.run(cancelled).await;
    store.close().await;
}
