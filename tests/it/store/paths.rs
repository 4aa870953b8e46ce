//! Where runs stand whose clients send no path, and what those cost whose clients send no cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use runhook::model::id::{RunId, TenantId, TraceId};
use runhook::model::price::{Pattern, Price, Prices, Rates};
use runhook::model::run::{Fields, Part, PartKind, Payload};
use runhook::model::time::Timestamp;
use runhook::store::Store;
use runhook::store::runs::Batch;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::sample::{PROJECT, TENANT, accept, at, begun, json, part, run_id};

/// Each run's parent, trace and path.
type Standing = BTreeMap<RunId, (Option<RunId>, TraceId, String)>;

fn below(parent: u32, fields: Fields) -> Fields {
    Fields { parent_run_id: Some(run_id(parent)), ..fields }
}

fn posted(number: u32, fields: Fields) -> Part {
    part(PartKind::Post, run_id(number), Some(PROJECT), fields)
}

fn patched(number: u32, fields: Fields) -> Part {
    part(PartKind::Patch, run_id(number), None, fields)
}

async fn standing(store: &dyn Store, tenant: TenantId, runs: u32) -> Standing {
    let ids: Vec<RunId> = (1..=runs).map(run_id).collect();
    let runs = store.runs(tenant, &ids).await.unwrap().into_iter().map(|stored| stored.run);
    runs.map(|run| (run.id, (run.parent_run_id, run.trace_id, run.dotted_order))).collect()
}

/// The ids along a path.
fn along(standing: &Standing, number: u32) -> Vec<RunId> {
    let path = &standing[&run_id(number)].2;
    path.split('.').map(|segment| segment.split_once('Z').unwrap().1.parse().unwrap()).collect()
}

fn orders(of: usize) -> Vec<Vec<usize>> {
    if of == 0 {
        return vec![Vec::new()];
    }
    let insert = |order: &Vec<usize>, at: usize| {
        let mut order = order.clone();
        order.insert(at, of - 1);
        order
    };
    orders(of - 1).iter().flat_map(|order| (0..of).map(move |at| insert(order, at))).collect()
}

async fn in_every_order(store: &dyn Store, parts: &[Part], runs: u32) -> Standing {
    let mut first = None;
    for (number, order) in orders(parts.len()).iter().enumerate() {
        let tenant = TenantId(Uuid::from_u128(u128::try_from(number).unwrap() + 1));
        for index in order {
            let batch = Batch { parts: vec![parts[*index].clone()], ..Batch::default() };
            store.accept(tenant, batch, at(10)).await.unwrap();
        }
        let seen = standing(store, tenant, runs).await;
        let expected = first.get_or_insert_with(|| seen.clone());
        assert_eq!(&seen, expected, "{order:?}");
    }
    first.unwrap()
}

pub(crate) async fn a_child_whose_parent_changes_goes_there_with_all_below_whatever_came_first(store: &dyn Store) {
    let parts = [
        posted(1, begun(1)),
        posted(2, below(1, begun(2))),
        posted(3, below(1, begun(3))),
        posted(4, below(3, begun(4))),
        patched(3, below(2, Fields::default())),
    ];
    let seen = in_every_order(store, &parts, 4).await;
    assert_eq!(along(&seen, 4), [1, 2, 3, 4].map(run_id));
    assert_eq!(seen[&run_id(3)].0, Some(run_id(2)));
    assert!(seen.values().all(|(_, trace, _)| *trace == run_id(1).into()));
}

pub(crate) async fn runs_below_themselves_have_no_path_and_find_one_again(store: &dyn Store) {
    let parts = [posted(1, begun(1)), posted(2, below(1, begun(2))), posted(3, below(2, begun(3)))];
    accept(store, parts.to_vec()).await;
    assert_eq!(along(&standing(store, TENANT, 3).await, 3), [1, 2, 3].map(run_id));
    accept(store, vec![patched(2, below(3, Fields::default()))]).await;
    let circle = standing(store, TENANT, 3).await;
    assert_eq!((along(&circle, 2), along(&circle, 3)), (vec![run_id(2)], vec![run_id(3)]));
    accept(store, vec![patched(3, below(1, Fields::default()))]).await;
    let seen = standing(store, TENANT, 3).await;
    assert_eq!((along(&seen, 3), along(&seen, 2)), ([1, 3].map(run_id).to_vec(), [1, 3, 2].map(run_id).to_vec()));
}

pub(crate) async fn a_child_follows_the_start_of_those_above_it(store: &dyn Store) {
    let started = |at: Timestamp| Fields { start_time: Some(at), ..Fields::default() };
    let parts = [
        posted(1, begun(1)),
        posted(2, below(1, begun(2))),
        posted(3, below(2, begun(3))),
        patched(1, started(at(500))),
        patched(2, started(at(600))),
    ];
    let seen = in_every_order(store, &parts, 3).await;
    let (root, child, grandchild) = (&seen[&run_id(1)].2, &seen[&run_id(2)].2, &seen[&run_id(3)].2);
    assert!(child.starts_with(&format!("{root}.")) && grandchild.starts_with(&format!("{child}.")), "{seen:#?}");
}

/// A price of so many millionths for every token of every model.
fn prices(millionths: i64) -> Arc<Prices> {
    let rates = || Rates { each: Decimal::new(millionths, 6), ..Rates::default() };
    let model = Pattern::parse("").unwrap();
    Arc::new(Prices::new(vec![Price { model, provider: None, from: None, prompt: rates(), completion: rates() }]))
}

pub(crate) async fn a_run_costs_what_it_cost_when_it_was_last_written(store: &dyn Store) {
    let send = async |parts: Vec<Part>, prices: Arc<Prices>| {
        store.accept(TENANT, Batch { parts, prices, ..Batch::default() }, at(10)).await.unwrap();
    };
    let cost = async || store.run(TENANT, run_id(2)).await.unwrap().unwrap().run.usage.total_cost;
    let outputs = json(r#"{"usage_metadata":{"input_tokens":2,"output_tokens":1}}"#);
    let used = Fields { outputs: Some(Payload::Inline(outputs)), ..Fields::default() };
    let extra = Some(json(r#"{"metadata":{"ls_model_name":"m"}}"#));
    let asked = posted(2, below(1, Fields { extra, ..begun(2) }));
    send(vec![patched(2, used.clone()), asked.clone()], prices(1)).await;
    assert_eq!(cost().await, Some(Decimal::new(3, 6)));
    // The parent comes, and the same again, when prices are others: neither is a new word about what it used.
    send(vec![posted(1, begun(1)), asked, patched(2, used)], prices(5)).await;
    assert_eq!(along(&standing(store, TENANT, 2).await, 2), [1, 2].map(run_id));
    assert_eq!(cost().await, Some(Decimal::new(3, 6)));
    send(vec![patched(2, Fields { end_time: Some(at(9)), ..Fields::default() })], prices(5)).await;
    assert_eq!(cost().await, Some(Decimal::new(15, 6)));
}
