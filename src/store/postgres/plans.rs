//! The plans of the statements that loops and requests run: a lost index is a test that fails, not a slow server.
//!
//! They are the plans PostgreSQL makes without looking at the values: a prepared statement may get one at any time.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, QueryBuilder, raw_sql};
use uuid::Uuid;

use super::*;
use crate::filter::{Filter, Mode};
use crate::model::id::{DeliveryId, EndpointId, ProjectId, RuleId, RunId, TraceId};
use crate::model::time::Timestamp;
use crate::store::KeyStore as _;
use crate::store::audit::AuditQuery;
use crate::store::failed::FailedQuery;
use crate::store::outbox::DeliveryQuery;
use crate::store::runs::{FeedbackQuery, RunQuery};
use crate::store::search::path::{Ordered, probes};
use crate::store::search::render::{self, Way};
use crate::store::search::{Search, Within};

#[path = "../../../tests/it/support/postgres.rs"]
mod database;

/// Tables that grow with what comes in: no hot statement reads one from end to end.
const LARGE: [&str; 18] = [
    "alerts",
    "projects",
    "run_bodies",
    "runs",
    "changes",
    "feedback",
    "feedback_tokens",
    "waiting_parts",
    "matches",
    "windows",
    "messages",
    "deliveries",
    "attempts",
    "events",
    "event_types",
    "subscriptions",
    "subscribed_types",
    "audit_log",
];

/// Ten thousand of everything, runs in twenty projects, and what the planner knows of it.
const FILL: &str = "
    CREATE FUNCTION id(kind TEXT, n BIGINT) RETURNS UUID LANGUAGE sql IMMUTABLE AS 'SELECT md5(kind || n)::uuid';
    CREATE TEMP TABLE n AS SELECT n, id('tenant', n % 2) AS t, id('project', n % 20) AS p, id('run', n) AS r,
        id('rule', n % 20) AS u FROM generate_series(1, 10000) AS n;
    INSERT INTO projects (tenant_id, project_id, name, start_at, last_seq, settled_seq)
        SELECT t, id('project', n), 'project ' || n, n, 10, CASE WHEN n % 100 = 0 THEN 9 ELSE 10 END
        FROM n;
    INSERT INTO run_bodies SELECT t, r, p, convert_to(repeat(r::text, 10), 'UTF8') FROM n;
    INSERT INTO runs SELECT t, p, r, id('trace', n / 4), id('run', n + 1), 'run', 'chain', 'success', n % 4 = 0,
        n % 1000 = 0, n, n, n, n FROM n;
    INSERT INTO changes SELECT t, p, n, r, id('trace', n / 4), n FROM n;
    INSERT INTO feedback SELECT t, id('feedback', n), r, p, 'key', 'api', n, '{}' FROM n;
    INSERT INTO examples SELECT t, id('example', n), id('dataset', n % 20), n, '', r FROM n;
    INSERT INTO queued_runs SELECT t, id('queue', n % 20), r, n, 0 FROM n;
    UPDATE runs SET thread_id = id('thread', start_at / 8) WHERE is_root;
    INSERT INTO feedback_tokens SELECT t, id('token', n), r, n, n, '{}' FROM n;
    INSERT INTO waiting_parts (tenant_id, run_id, digest, part) SELECT t, id('waiting', n), n, '' FROM n;
    INSERT INTO matches SELECT t, u, r, p FROM n;
    INSERT INTO windows SELECT t, id('window', n), p, '{}', n, n, n, n FROM n;
    INSERT INTO window_finds SELECT t, u, n, id('window', n), p, 1 FROM n;
    INSERT INTO messages SELECT t, id('message', n), u, id('window', n), 1, 1, 1, '[]', '', n FROM n;
    INSERT INTO endpoints SELECT t, id('endpoint', n), NULL, NULL, '', '', '', '' FROM n;
    INSERT INTO deliveries SELECT t, id('delivery', n), id('message', n), id('endpoint', n % 1000), u,
        CASE WHEN n % 20 = 0 THEN 0 WHEN n % 20 = 1 THEN 2 ELSE 1 END, NULL, 1, n, n, NULL, n, n FROM n;
    INSERT INTO audit_log SELECT id('tenant', n % 100), id('entry', n), n, 'server', NULL, NULL, NULL, 'rule.update', 'rule ' || n FROM n;
    INSERT INTO alerts SELECT t, id('alert', n), id('project', n), n, 1, n, 10, CASE WHEN n % 100 = 0 THEN 1 ELSE 0 END, '{}', '{}' FROM n;
    INSERT INTO attempts SELECT t, id('delivery', n), 1, n, 1, '{}' FROM n;
    UPDATE attempts SET endpoint_id = id('endpoint', started_at % 1000);
    INSERT INTO event_types SELECT t, 'type.' || n, false, '{}' FROM n;
    INSERT INTO applications SELECT t, id('application', n), 'uid-' || n, n, '{}' FROM n;
    INSERT INTO subscriptions SELECT t, id('endpoint', n), id('application', n % 100), 'uid-' || n, n, '{}' FROM n;
    INSERT INTO subscribed_types SELECT t, id('endpoint', n), 'type.' || n % 50, id('application', n % 100) FROM n;
    INSERT INTO events SELECT t, id('message', n), id('application', n % 20), 'type.' || n % 50, n, '{}' FROM n;
    INSERT INTO rules SELECT t, id('rule', n), 'rule ' || n, 'active', '{}' FROM n;
    INSERT INTO group_cursors SELECT t, id('project', n), 'a', 0, 1, 1 FROM n;
    INSERT INTO rule_starts SELECT t, id('project', n), u, 1 FROM n;
    INSERT INTO rule_spans SELECT t, id('project', n), u, 1, 2 FROM n WHERE n <= 3;
    ANALYZE";

/// Twenty thousand runs in one project, 1 % of which failed and 0.1 % of which have a name of their own, and feedback on few.
const SEARCHED: &str = "
    CREATE TEMP TABLE s AS SELECT n FROM generate_series(1, 20000) AS n;
    INSERT INTO runs SELECT id('tenant', 0), id('searched', 0), id('searched', n), id('searched trace', n / 4), NULL,
        CASE WHEN n % 1000 = 1 THEN 'rare' ELSE 'step ' || n % 4 END, 'chain',
        CASE WHEN n % 100 = 0 THEN 'error' ELSE 'success' END, n % 4 = 0, false, n * 1000, n * 1000 + 500, n, n
        FROM s;
    INSERT INTO feedback SELECT id('tenant', 0), id('judged', n), id('searched', n), id('searched', 0), 'stars', 'api', n,
        '{}' FROM s WHERE n <= 20;
    INSERT INTO feedback SELECT id('tenant', 0), id('graded', n), id('searched', n), id('searched', 0), 'grade', 'api', n,
        '{\"score\":' || n % 100 || '.0}' FROM s;
    ANALYZE runs, feedback";

#[tokio::test]
async fn searches_are_served_by_the_indexes_that_lead_to_them() {
    let Some((database, mut connection)) = filled().await else { return };
    database.sql(SEARCHED).await;
    let id = async |connection: &mut PgConnection, kind: &str| {
        let query = sqlx::query_scalar::<_, Uuid>("SELECT id($1, 0)").bind(kind.to_owned());
        query.fetch_one(&mut *connection).await.unwrap()
    };
    let tenant = TenantId(id(&mut connection, "tenant").await);
    let project = ProjectId(id(&mut connection, "searched").await);
    let clause = |filter: &str| Filter::parse(filter, Mode::Lenient).unwrap().0.narrowing().clause;
    let of = |run: &str| Search { run: clause(run), ..Search::of(Within::Project(project), 100) };
    let after = Some((Timestamp(10_000_000), RunId(Uuid::nil())));
    let trace = Within::Trace(TraceId(id(&mut connection, "searched trace").await));
    let cases = [
        (of(""), "runs_by_start", true),
        (Search { after, ..of("eq(run_type, \"chain\")") }, "runs_by_start", true),
        (Search { after, newest_first: false, ..of("eq(is_root, true)") }, "runs_by_start", true),
        (Search { after, ..of("eq(status, \"error\")") }, "runs_failed", false),
        (Search { after, ..of("eq(name, \"rare\")") }, "runs_by_name", false),
        (Search::of(trace, 100), "runs_by_trace", false),
        (Search::of(Within::Runs(vec![RunId(Uuid::nil())]), 100), "run_bodies_pkey", false),
    ];
    let few: Vec<Uuid> = (1..=100).map(Uuid::from_u128).collect();
    let judged = of("eq(feedback_key, \"grade\")");
    let low = of("and(eq(feedback_key, \"grade\"), lt(feedback_score, 1))");
    let failed_in_trace = Search { tree: clause("eq(status, \"error\")"), ..of("eq(is_root, true)") };
    let counted =
        [(&judged, "feedback_by_key"), (&low, "feedback_by_score"), (&failed_in_trace, "runs_failed_by_trace")];
    let counted = counted.map(|(search, index)| {
        let mut sql = QueryBuilder::new("EXPLAIN ");
        render::probe(&mut sql, tenant, &probes(search)[0].0);
        (sql, index, false)
    });
    let mut related = QueryBuilder::new("EXPLAIN ");
    render::relatives(&mut related, tenant, project, &few);
    let found = |search: &Search, way: Way| {
        let mut sql = QueryBuilder::new("EXPLAIN ");
        render::search(&mut sql, tenant, search, &way);
        sql
    };
    let looked_up = [
        (found(&low, Way::Runs(few.clone(), low.run.clone())), "runs_pkey", false),
        (found(&failed_in_trace, Way::Traces(few.clone(), None)), "runs_roots", false),
        (found(&of(""), Way::Traces(few.clone(), None)), "runs_by_trace", false),
        (related, "runs_pkey", false),
    ];
    let cases = cases.map(|(search, index, in_order)| (found(&search, Way::Along(Ordered::Start)), index, in_order));
    let mut wrong = Wrong::default();
    for (mut explained, index, in_order) in cases.into_iter().chain(counted).chain(looked_up) {
        let query = explained.build_query_scalar::<String>().persistent(false);
        let plan = query.fetch_all(&mut connection).await.unwrap().join("\n");
        let uses = plan.contains(&format!("{index} on ")) || plan.contains(&format!("on {index} "));
        if !uses || (in_order && plan.contains("Sort")) || scanned_whole(&plan).is_some() {
            wrong.note(explained.sql().as_str(), &plan, &format!("go by {index}, in order: {in_order}"));
        }
    }
    assert!(wrong.0.is_empty(), "{}", wrong.0);
    connection.close().await.unwrap();
}

/// The plan of a statement for any values.
async fn plan(connection: &mut PgConnection, statement: &str) -> String {
    let values = (1..=20).take_while(|number| statement.contains(&format!("${number}"))).count();
    let nulls = if values == 0 { String::new() } else { format!("({})", vec!["NULL"; values].join(", ")) };
    raw_sql(AssertSqlSafe(format!("PREPARE hot AS {statement}"))).execute(&mut *connection).await.expect(statement);
    let explained = AssertSqlSafe(format!("EXPLAIN EXECUTE hot{nulls}"));
    let lines: Vec<String> = sqlx::query_scalar(explained).persistent(false).fetch_all(&mut *connection).await.unwrap();
    raw_sql("DEALLOCATE hot").execute(connection).await.unwrap();
    lines.join("\n")
}

async fn filled() -> Option<(database::Database, PgConnection)> {
    let database = database::Database::create().await?;
    PgStore::connect(database.url.as_str(), &Options::default()).await.unwrap().close().await;
    database.sql(FILL).await;
    let mut connection = database.connect().await;
    raw_sql("SET plan_cache_mode = force_generic_plan").execute(&mut connection).await.unwrap();
    Some((database, connection))
}

fn scanned_whole(plan: &str) -> Option<&'static str> {
    LARGE.into_iter().find(|table| {
        plan.lines()
            .any(|line| line.split("Seq Scan on ").nth(1).is_some_and(|rest| rest.split(' ').next() == Some(table)))
    })
}

/// The plans that are not as they should be.
#[derive(Default)]
struct Wrong(String);

impl Wrong {
    fn note(&mut self, statement: &str, plan: &str, should: &str) {
        for line in [statement, "is planned as", plan, "and should", should, "\n"] {
            self.0.push_str(line);
            self.0.push('\n');
        }
    }
}

#[tokio::test]
async fn hot_statements_are_served_by_their_indexes() {
    let Some((_database, mut connection)) = filled().await else { return };
    let mut wrong = Wrong::default();
    served(&mut connection, &mut wrong).await;
    of_events(&mut connection, &mut wrong).await;
    of_unheard_events(&mut connection, &mut wrong).await;
    in_order(&mut connection, &mut wrong).await;
    assert!(wrong.0.is_empty(), "{}", wrong.0);
    connection.close().await.unwrap();
}

/// No table is read from end to end, and these indexes are used.
async fn served(connection: &mut PgConnection, wrong: &mut Wrong) {
    let planned = [
        accept::PLANNED,
        collections::PLANNED,
        endpoints::PLANNED,
        feedback::PLANNED,
        feedback_tokens::PLANNED,
        health::PLANNED,
        names::PLANNED,
        outbox::PLANNED,
        removal::PLANNED,
        runs::PLANNED,
        standing::PLANNED,
        threads::PLANNED,
        windows::PLANNED,
    ];
    let of_trace = RunQuery { trace_id: Some(TraceId(Uuid::nil())), ..RunQuery::default() };
    let of_trace = runs::page(TenantId::DEFAULT, &of_trace).sql().as_str().to_owned();
    let on_runs = FeedbackQuery { runs: vec![RunId(Uuid::nil())], ..FeedbackQuery::default() };
    let on_runs = feedback::page(TenantId::DEFAULT, &on_runs).sql().as_str().to_owned();
    let since = FailedQuery { since: Some(Timestamp(0)), limit: 100, ..FailedQuery::default() };
    let counted = failed::count(TenantId::DEFAULT, &since).sql().as_str().to_owned();
    let counts: &[&str] = &["deliveries_failed", "deliveries_failed_by_rule"];
    let pages: [(&str, &[&str]); 3] =
        [(&counted, counts), (&of_trace, &["runs_by_trace"]), (&on_runs, &["feedback_by_run"])];
    let alerts = alerts::planned();
    let alerts = alerts.iter().map(|(statement, indexes)| (statement.as_str(), *indexes));
    for (statement, indexes) in planned.concat().into_iter().chain(pages).chain(alerts) {
        let plan = plan(connection, statement).await;
        // An index is named before `on`, or after it where its rows are looked up in one go.
        let uses = |index: &&str| plan.contains(&format!("{index} on ")) || plan.contains(&format!("on {index} "));
        if !indexes.iter().all(uses) || scanned_whole(&plan).is_some() {
            wrong.note(statement, &plan, &format!("use {indexes:?}"));
        }
    }
}

/// The catalogue and events are read by their indexes, and lists in their order.
async fn of_events(connection: &mut PgConnection, wrong: &mut Wrong) {
    let planned =
        [either::catalog::PLANNED, either::subscriptions::PLANNED, either::events::PLANNED, either::notices::PLANNED]
            .concat();
    let ordered = [either::catalog::ORDERED, either::subscriptions::ORDERED, either::events::ORDERED].concat();
    let cases = planned.into_iter().map(|case| (case, false)).chain(ordered.into_iter().map(|case| (case, true)));
    for ((statement, index), in_order) in cases {
        let plan = plan(connection, statement).await;
        let index = if index.contains("_by_") { index.to_owned() } else { format!("{index}_pkey") };
        if !plan.contains(&index) || (in_order && plan.contains("Sort")) || scanned_whole(&plan).is_some() {
            wrong.note(statement, &plan, &format!("use {index}, in order: {in_order}"));
        }
    }
}

/// Whether anybody heard an event is looked up event by event, however many deliveries there are.
async fn of_unheard_events(connection: &mut PgConnection, wrong: &mut Wrong) {
    let plan = plan(connection, either::events::UNHEARD).await;
    let steps = ["events_by_age", "deliveries_by_message", "SubPlan"];
    if steps.iter().any(|step| !plan.contains(step)) || plan.contains("Hash") || plan.contains("Sort") {
        wrong.note(either::events::UNHEARD, &plan, &format!("have {steps:?}, and no more"));
    }
}

/// What is read in order comes in the order of an index, and nothing is sorted.
async fn in_order(connection: &mut PgConnection, wrong: &mut Wrong) {
    let id = Uuid::nil();
    let page = |query: RunQuery| runs::page(TenantId::DEFAULT, &query).sql().as_str().to_owned();
    let sent = |query: DeliveryQuery| outbox::page(TenantId::DEFAULT, &query).sql().as_str().to_owned();
    let given = |query: FeedbackQuery| feedback::page(TenantId::DEFAULT, &query).sql().as_str().to_owned();
    let before = Some((Timestamp(0), RunId(id)));
    let in_project = RunQuery { project_id: Some(ProjectId(id)), ..RunQuery::default() };
    let (rule_id, sent_before) = (Some(RuleId(id)), Some((Timestamp(0), DeliveryId(id))));
    let failed = DeliveryQuery { state: Some("failed".into()), before: sent_before, ..DeliveryQuery::default() };
    let ended = |query: FailedQuery| failed::page(TenantId::DEFAULT, &query).sql().as_str().to_owned();
    let (endpoint_id, since) = (Some(EndpointId(id)), Some(Timestamp(0)));
    let cases = [
        (ended(FailedQuery { since, ..FailedQuery::default() }), "deliveries_failed"),
        (ended(FailedQuery { before: sent_before, ..FailedQuery::default() }), "deliveries_failed"),
        (ended(FailedQuery { endpoint_id, since, ..FailedQuery::default() }), "deliveries_failed_by_endpoint"),
        (ended(FailedQuery { rule_id, since, ..FailedQuery::default() }), "deliveries_failed_by_rule"),
        (
            sent(DeliveryQuery { endpoint_id, before: sent_before, ..DeliveryQuery::default() }),
            "deliveries_by_endpoint",
        ),
        (page(RunQuery::default()), "runs_of_tenant"),
        (page(RunQuery { before, ..RunQuery::default() }), "runs_of_tenant"),
        (page(in_project.clone()), "runs_by_start"),
        (page(RunQuery { before, ..in_project.clone() }), "runs_by_start"),
        (page(RunQuery { roots_only: true, before, ..in_project }), "runs_by_start"),
        (given(FeedbackQuery::default()), "feedback_by_creation"),
        (given(FeedbackQuery { projects: vec![ProjectId(id)], ..FeedbackQuery::default() }), "feedback_by_creation"),
        (sent(DeliveryQuery::default()), "deliveries_by_creation"),
        (sent(failed), "deliveries_by_creation"),
        (sent(DeliveryQuery { rule_id, before: sent_before, ..DeliveryQuery::default() }), "deliveries_by_rule"),
    ];
    let told = |query: AuditQuery| audit::page(TenantId::DEFAULT, &query).sql().as_str().to_owned();
    let object = Some("rule 7".to_owned());
    let log = [
        (told(AuditQuery::default()), "audit_log_pkey"),
        (told(AuditQuery { object, ..AuditQuery::default() }), "audit_log_by_object"),
        (alerts::due(), "alerts_pkey"),
    ];
    let ordered =
        windows::ORDERED.iter().chain(outbox::ORDERED).map(|(statement, index)| ((*statement).to_owned(), *index));
    for (statement, index) in cases.into_iter().chain(log).chain(ordered) {
        let plan = plan(connection, &statement).await;
        if !plan.contains(index) || plan.contains("Sort") || scanned_whole(&plan).is_some() {
            wrong.note(&statement, &plan, &format!("be read in the order of {index}"));
        }
    }
}
