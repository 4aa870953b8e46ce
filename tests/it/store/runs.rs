//! Accepting runs and feedback, and reading them back.

use runhook::model::feedback::Feedback;
use runhook::model::id::{ProjectId, RunId, TenantId, TraceId};
use runhook::model::project::{DEFAULT_PROJECT, ProjectRef};
use runhook::model::run::{Fields, Part, PartKind, Payload, Run, Status};
use runhook::store::Store;
use runhook::store::runs::{Batch, FeedbackQuery, RunQuery};
use uuid::Uuid;

use super::sample::{
    PROJECT, TENANT, accept, accept_at, accept_feedback, at, begun, changes, feedback, feedback_id, json, part, patch,
    post, project_id, run_id,
};

async fn stored(store: &dyn Store, number: u32) -> Option<Run> {
    store.run(TENANT, run_id(number)).await.unwrap().map(|stored| stored.run)
}

pub(crate) async fn parts_in_any_order_and_repeated_give_one_run(store: &dyn Store) {
    let tagged = Fields { tags: Some(vec!["t".into()]), extra: Some(json(r#"{"b":1,"a":2}"#)), ..Fields::default() };
    let extra = Some(json(r#"{"metadata":{"k":1}}"#));
    let parts = [
        part(PartKind::Post, run_id(1), Some(PROJECT), Fields { extra, ..begun(1) }),
        patch(1),
        part(PartKind::Patch, run_id(1), None, tagged),
    ];
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let mut runs = Vec::new();
    for (number, order) in orders.iter().enumerate() {
        let tenant = TenantId(Uuid::from_u128(u128::try_from(number).unwrap() + 1));
        for index in order.iter().chain(&order[..2]) {
            let batch = Batch { parts: vec![parts[*index].clone()], feedback: vec![], ..Batch::default() };
            store.accept(tenant, batch, at(10)).await.unwrap();
        }
        let run = store.run(tenant, run_id(1)).await.unwrap().unwrap().run;
        runs.push(Run { tenant_id: TENANT, project_id: project_id(PROJECT), ..run });
    }
    assert!(runs.iter().all(|run| *run == runs[0]), "{runs:#?}");
    assert_eq!(runs[0].status, Status::Success);
}

pub(crate) async fn a_repeated_part_changes_nothing(store: &dyn Store) {
    assert!(accept(store, vec![post(1), patch(1)]).await.changed);
    assert!(!accept(store, vec![patch(1)]).await.changed);
    assert!(!accept(store, vec![post(1), patch(1), post(1)]).await.changed);
    assert_eq!(changes(store, PROJECT).await.len(), 1);
}

pub(crate) async fn a_patch_that_names_no_project_waits_for_the_part_that_does(store: &dyn Store) {
    assert!(!accept(store, vec![patch(1)]).await.changed);
    accept(store, vec![patch(1)]).await;
    assert!(stored(store, 1).await.is_none());
    accept(store, vec![post(1)]).await;
    let run = stored(store, 1).await.unwrap();
    assert_eq!((run.status, run.end_time), (Status::Success, Some(at(2))));
    assert!(!accept(store, vec![patch(1)]).await.changed, "what has waited is applied, and known");
}

pub(crate) async fn waiting_patches_are_found_inside_one_batch_too(store: &dyn Store) {
    accept(store, vec![patch(1), patch(2), post(1)]).await;
    assert_eq!(stored(store, 1).await.unwrap().status, Status::Success);
    accept(store, vec![post(2)]).await;
    assert_eq!(stored(store, 2).await.unwrap().status, Status::Success);
}

pub(crate) async fn a_run_without_name_type_or_start_is_not_there_yet(store: &dyn Store) {
    let nameless = Fields { name: None, ..begun(1) };
    accept(store, vec![part(PartKind::Post, run_id(1), Some(PROJECT), nameless)]).await;
    assert!(stored(store, 1).await.is_none());
    assert!(changes(store, PROJECT).await.is_empty());
    let name = Fields { name: Some("late".into()), ..Fields::default() };
    accept(store, vec![part(PartKind::Patch, run_id(1), None, name)]).await;
    assert_eq!(stored(store, 1).await.unwrap().name, "late");
    assert_eq!(changes(store, PROJECT).await.len(), 1);
}

pub(crate) async fn children_without_a_path_get_one_whichever_run_comes_first(store: &dyn Store) {
    let child = |number: u32, parent: u32| {
        let fields = Fields { parent_run_id: Some(run_id(parent)), ..begun(number) };
        part(PartKind::Post, run_id(number), Some(PROJECT), fields)
    };
    let parts = [post(1), child(2, 1), child(3, 2)];
    let mut seen = Vec::new();
    for (number, order) in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].iter().enumerate() {
        let tenant = TenantId(Uuid::from_u128(u128::try_from(number).unwrap() + 1));
        for index in order {
            let batch = Batch { parts: vec![parts[*index].clone()], feedback: vec![], ..Batch::default() };
            store.accept(tenant, batch, at(10)).await.unwrap();
        }
        let project = ProjectId::of_name(tenant, PROJECT);
        let mut trace = store.traces(tenant, project, &[run_id(1).into()]).await.unwrap();
        trace.sort_by_key(|stored| stored.run.id);
        seen.push(trace.into_iter().map(|stored| stored.run.dotted_order).collect::<Vec<_>>());
    }
    assert_eq!(seen[0].len(), 3);
    assert!(seen[0][2].starts_with(&format!("{}.", seen[0][1])) && seen[0][1].starts_with(&seen[0][0]), "{seen:?}");
    assert!(seen.iter().all(|paths| *paths == seen[0]), "{seen:#?}");
    let other = TenantId(Uuid::from_u128(50));
    store
        .accept(
            other,
            Batch { parts: parts.iter().rev().cloned().collect(), feedback: vec![], ..Batch::default() },
            at(1),
        )
        .await
        .unwrap();
    let project = ProjectId::of_name(other, PROJECT);
    assert_eq!(store.traces(other, project, &[run_id(1).into()]).await.unwrap().len(), 3);
}

pub(crate) async fn a_child_that_names_its_parent_by_another_id_finds_it_whichever_comes_first(store: &dyn Store) {
    let child = |number: u32, parent: u32, alias: Option<u32>| {
        let fields = Fields { parent_run_id: Some(run_id(parent)), alias: alias.map(run_id), ..begun(number) };
        part(PartKind::Post, run_id(number), Some(PROJECT), fields)
    };
    let signpost = |at: u32, to: u32| {
        part(PartKind::Patch, run_id(at), Some(PROJECT), Fields { alias: Some(run_id(to)), ..Fields::default() })
    };
    let root = part(PartKind::Post, run_id(1), Some(PROJECT), Fields { alias: Some(run_id(91)), ..begun(1) });
    let batches =
        [vec![root, signpost(91, 1)], vec![child(2, 91, Some(92)), signpost(92, 2)], vec![child(3, 92, None)]];
    let mut seen = Vec::new();
    for (number, order) in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].iter().enumerate() {
        let tenant = TenantId(Uuid::from_u128(u128::try_from(number).unwrap() + 1));
        for index in order.iter().chain(order) {
            let batch = Batch { parts: batches[*index].clone(), feedback: vec![], ..Batch::default() };
            store.accept(tenant, batch, at(10)).await.unwrap();
        }
        let project = ProjectId::of_name(tenant, PROJECT);
        let mut trace = store.traces(tenant, project, &[run_id(1).into()]).await.unwrap();
        trace.sort_by_key(|stored| stored.run.id);
        let places = trace.into_iter().map(|stored| (stored.run.id, stored.run.parent_run_id, stored.run.dotted_order));
        seen.push(places.collect::<Vec<_>>());
        assert!(store.run(tenant, run_id(91)).await.unwrap().is_none(), "a signpost is no run");
    }
    let parents: Vec<_> = seen[0].iter().map(|(run, parent, _)| (*run, *parent)).collect();
    let expected = [(run_id(1), None), (run_id(2), Some(run_id(1))), (run_id(3), Some(run_id(2)))];
    assert_eq!(parents, expected, "{seen:#?}");
    assert!(seen.iter().all(|places| *places == seen[0]), "{seen:#?}");
}

pub(crate) async fn a_run_that_is_not_there_yet_passes_no_path_on(store: &dyn Store) {
    let below = |parent: u32, fields: Fields| Fields { parent_run_id: Some(run_id(parent)), ..fields };
    let nameless = part(PartKind::Post, run_id(2), Some(PROJECT), below(1, Fields { name: None, ..begun(2) }));
    let parts = [post(1), nameless, part(PartKind::Post, run_id(3), Some(PROJECT), below(2, begun(3)))];
    let name = part(PartKind::Patch, run_id(2), None, Fields { name: Some("late".into()), ..Fields::default() });
    let mut seen = Vec::new();
    for (number, order) in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].iter().enumerate() {
        let tenant = TenantId(Uuid::from_u128(u128::try_from(number).unwrap() + 1));
        let accept = async |part: &Part| {
            let batch = Batch { parts: vec![part.clone()], feedback: vec![], ..Batch::default() };
            store.accept(tenant, batch, at(10)).await.unwrap();
        };
        let path = async || store.run(tenant, run_id(3)).await.unwrap().unwrap().run.dotted_order;
        for index in order {
            accept(&parts[*index]).await;
        }
        let before = path().await;
        accept(&name).await;
        seen.push((before, path().await));
    }
    assert_eq!((seen[0].0.split('.').count(), seen[0].1.split('.').count()), (1, 3), "{seen:?}");
    assert!(seen.iter().all(|paths| *paths == seen[0]), "{seen:#?}");
}

pub(crate) async fn the_first_project_named_for_a_run_wins(store: &dyn Store) {
    accept(store, vec![post(1)]).await;
    let mut elsewhere = patch(1);
    elsewhere.project = Some(ProjectRef::Name("elsewhere".into()));
    accept(store, vec![elsewhere]).await;
    assert_eq!(stored(store, 1).await.unwrap().project_id, project_id(PROJECT));
    assert!(store.project(TENANT, project_id("elsewhere")).await.unwrap().is_none());
}

pub(crate) async fn an_unknown_project_id_refuses_its_part_and_no_other(store: &dyn Store) {
    let unknown = ProjectId(Uuid::from_u128(7));
    let mut lost = post(1);
    lost.project = Some(ProjectRef::Id(unknown));
    let accepted = accept(store, vec![lost.clone(), post(2)]).await;
    assert_eq!(accepted.refused.iter().map(|refusal| refusal.run_id).collect::<Vec<_>>(), [run_id(1)]);
    assert!(accepted.refused[0].reason.contains(&unknown.to_string()), "{accepted:?}");
    assert!(stored(store, 1).await.is_none());
    lost.project = Some(ProjectRef::Id(project_id(PROJECT)));
    assert!(accept(store, vec![lost]).await.changed);
    assert!(stored(store, 1).await.is_some() && stored(store, 2).await.is_some());
}

pub(crate) async fn a_post_that_names_no_project_goes_to_the_default_one(store: &dyn Store) {
    accept(store, vec![part(PartKind::Post, run_id(1), None, begun(1))]).await;
    assert_eq!(stored(store, 1).await.unwrap().project_id, project_id(DEFAULT_PROJECT));
}

pub(crate) async fn feedback_that_came_first_is_found_with_its_run(store: &dyn Store) {
    assert!(accept_feedback(store, vec![feedback(1, run_id(1), 0.5)]).await.changed);
    accept(store, vec![post(1)]).await;
    let run = store.run(TENANT, run_id(1)).await.unwrap().unwrap();
    assert_eq!(run.feedback, [feedback(1, run_id(1), 0.5)]);
    assert_eq!((run.changed_seq, changes(store, PROJECT).await.len()), (1, 1));
}

pub(crate) async fn feedback_sent_again_changes_nothing(store: &dyn Store) {
    accept(store, vec![post(1)]).await;
    let first = feedback(1, run_id(1), 0.5);
    assert!(accept_feedback(store, vec![first.clone(), first.clone()]).await.changed);
    let mut again = first.clone();
    (again.created_at, again.modified_at) = (at(500), at(500));
    assert!(!accept_feedback(store, vec![again.clone()]).await.changed);
    assert_eq!(changes(store, PROJECT).await.len(), 2);
    again.comment = None;
    assert!(accept_feedback(store, vec![again.clone()]).await.changed);
    again.created_at = first.created_at;
    assert_eq!(store.feedback(TENANT, feedback_id(1)).await.unwrap(), Some(again));
}

pub(crate) async fn feedback_is_a_change_of_its_run(store: &dyn Store) {
    accept(store, vec![post(1), post(2)]).await;
    let both = vec![feedback(1, run_id(1), 0.5), feedback(2, run_id(1), 0.7), feedback(3, run_id(9), 1.0)];
    accept_feedback(store, both).await;
    let log = changes(store, PROJECT).await;
    assert_eq!(log.iter().map(|change| change.run_id).collect::<Vec<_>>(), [run_id(1), run_id(2), run_id(1)]);
    assert_eq!(store.run(TENANT, run_id(1)).await.unwrap().unwrap().changed_seq, 3);
    let one = Batch { parts: vec![patch(2)], feedback: vec![feedback(4, run_id(2), 0.1)], ..Batch::default() };
    store.accept(TENANT, one, at(101)).await.unwrap();
    assert_eq!(changes(store, PROJECT).await.len(), 4, "one transaction, one change of a run");
}

pub(crate) async fn deleted_feedback_is_a_change_of_its_run(store: &dyn Store) {
    accept(store, vec![post(1)]).await;
    accept_feedback(store, vec![feedback(1, run_id(1), 0.5)]).await;
    assert!(store.delete_feedback(TENANT, feedback_id(1), at(200), None).await.unwrap());
    assert!(!store.delete_feedback(TENANT, feedback_id(1), at(200), None).await.unwrap());
    let log = changes(store, PROJECT).await;
    assert_eq!((log.len(), log[2].at), (3, at(200)));
    let run = store.run(TENANT, run_id(1)).await.unwrap().unwrap();
    assert_eq!((run.feedback.len(), run.changed_seq), (0, 3));
}

pub(crate) async fn runs_are_listed_newest_start_first_in_pages(store: &dyn Store) {
    let child = Fields { parent_run_id: Some(run_id(1)), trace_id: Some(run_id(1).into()), ..begun(4) };
    let mut parts = vec![post(2), post(3), post(1)];
    parts.push(part(PartKind::Post, run_id(4), Some(PROJECT), child));
    parts.push(part(PartKind::Post, run_id(5), Some("other"), begun(5)));
    accept(store, parts).await;
    let list = async |query: RunQuery| {
        let runs = store.list_runs(TENANT, &query).await.unwrap();
        runs.into_iter().map(|stored| stored.run.id).collect::<Vec<RunId>>()
    };
    let in_project = RunQuery { project_id: Some(project_id(PROJECT)), limit: 3, ..RunQuery::default() };
    assert_eq!(list(in_project.clone()).await, [run_id(4), run_id(3), run_id(2)]);
    let next = RunQuery { before: Some((at(2), run_id(2))), ..in_project.clone() };
    assert_eq!(list(next).await, [run_id(1)]);
    assert_eq!(list(RunQuery { roots_only: true, ..in_project }).await, [run_id(3), run_id(2), run_id(1)]);
    let trace_id = Some(TraceId::from(run_id(1)));
    assert_eq!(list(RunQuery { trace_id, limit: 9, ..RunQuery::default() }).await, [run_id(4), run_id(1)]);
    assert_eq!(list(RunQuery { limit: 1, ..RunQuery::default() }).await, [run_id(5)]);
    let trace = store.traces(TENANT, project_id(PROJECT), &[run_id(1).into()]).await.unwrap();
    assert_eq!(trace.len(), 2);
    assert_eq!(store.runs(TENANT, &[run_id(1), run_id(5), run_id(9)]).await.unwrap().len(), 2);
}

pub(crate) async fn feedback_is_listed_newest_first_and_by_what_it_is_about(store: &dyn Store) {
    let mut other = feedback(3, run_id(2), 1.0);
    (other.key, other.source) = ("correct".into(), Some(json(r#"{"type": "model"}"#)));
    accept_feedback(store, vec![feedback(1, run_id(1), 0.5), feedback(2, run_id(1), 0.7), other]).await;
    accept(store, vec![post(1), part(PartKind::Post, run_id(2), Some("other"), begun(2))]).await;
    let list = async |query: FeedbackQuery| {
        let found = store.list_feedback(TENANT, &query).await.unwrap();
        found.into_iter().map(|feedback| feedback.id).collect::<Vec<_>>()
    };
    let all = FeedbackQuery { limit: 10, ..FeedbackQuery::default() };
    assert_eq!(list(all.clone()).await, [feedback_id(3), feedback_id(2), feedback_id(1)]);
    assert_eq!(list(FeedbackQuery { limit: 1, offset: 1, ..all.clone() }).await, [feedback_id(2)]);
    assert_eq!(list(FeedbackQuery { runs: vec![run_id(2)], ..all.clone() }).await, [feedback_id(3)]);
    assert_eq!(list(FeedbackQuery { keys: vec!["correct".into()], ..all.clone() }).await, [feedback_id(3)]);
    assert_eq!(list(FeedbackQuery { sources: vec!["model".into()], ..all.clone() }).await, [feedback_id(3)]);
    let projects = vec![project_id(PROJECT)];
    assert_eq!(list(FeedbackQuery { projects, ..all }).await, [feedback_id(2), feedback_id(1)]);
}

pub(crate) async fn feedback_is_listed_by_when_it_was_made_and_whether_on_runs(store: &dyn Store) {
    let mut whole = feedback(3, run_id(2), 1.0);
    (whole.run_id, whole.session_id, whole.created_at) = (None, Some(project_id(PROJECT)), at(30));
    let made = |number: u32, seconds: i64| Feedback { created_at: at(seconds), ..feedback(number, run_id(1), 0.5) };
    accept_feedback(store, vec![made(1, 10), made(2, 20), whole]).await;
    let list = async |query: FeedbackQuery| {
        let found = store.list_feedback(TENANT, &query).await.unwrap();
        found.into_iter().map(|feedback| feedback.id).collect::<Vec<_>>()
    };
    let all = FeedbackQuery { limit: 10, ..FeedbackQuery::default() };
    assert_eq!(list(FeedbackQuery { on_runs: Some(false), ..all.clone() }).await, [feedback_id(3)]);
    assert_eq!(list(FeedbackQuery { on_runs: Some(true), ..all.clone() }).await, [feedback_id(2), feedback_id(1)]);
    let between = FeedbackQuery { created_from: Some(at(20)), created_until: Some(at(20)), ..all.clone() };
    assert_eq!(list(between).await, [feedback_id(2)]);
    assert_eq!(list(FeedbackQuery { before: Some((at(20), feedback_id(2))), ..all }).await, [feedback_id(1)]);
}

pub(crate) async fn large_and_small_values_come_back_byte_for_byte(store: &dyn Store) {
    let odd = r#"{"b" :  1.0,"a":1e2, "a": "\u00e9\/", "n": 12345678901234567890.12345678901234567890 }"#;
    let large = format!(r#"{{"text": "{}"}}"#, "lorem ipsum ".repeat(10_000));
    let inputs = Some(Payload::Inline(json(odd)));
    let fields = Fields { inputs: inputs.clone(), outputs: Some(Payload::Inline(json(&large))), ..begun(1) };
    accept(store, vec![part(PartKind::Post, run_id(1), Some(PROJECT), fields.clone())]).await;
    let run = stored(store, 1).await.unwrap();
    assert_eq!((run.inputs, run.outputs), (inputs, fields.outputs));
}

pub(crate) async fn tenants_do_not_see_each_other(store: &dyn Store) {
    let other = TenantId(Uuid::from_u128(9));
    accept_at(store, vec![post(1)], at(1)).await;
    assert!(store.run(other, run_id(1)).await.unwrap().is_none());
    let batch = Batch { parts: vec![post(1)], feedback: vec![feedback(1, run_id(1), 0.0)], ..Batch::default() };
    store.accept(other, batch, at(2)).await.unwrap();
    assert_eq!(store.run(other, run_id(1)).await.unwrap().unwrap().feedback.len(), 1);
    assert!(store.run(TENANT, run_id(1)).await.unwrap().unwrap().feedback.is_empty());
    assert!(store.project(other, project_id(PROJECT)).await.unwrap().is_none());
}
