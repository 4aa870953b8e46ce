//! Trees whose parts arrive in any order, split and repeated: what is read of them in the end, and which rules they match,
//! is what a plain reckoning over the whole tree says.
//!
//! Some clients say paths and some only parents; some parents never come, and some runs are put under another parent later.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use runhook::blob::directory::Directory;
use runhook::config::{Document, Limits};
use runhook::crypto::{Keyring, random};
use runhook::model::id::{RuleId, RunId, TenantId};
use runhook::model::rule::Rule;
use runhook::scheduler::{Parts, Scheduler};
use runhook::store::rules::RuleChanges;
use runhook::task::{Activity as _, Next, Poke};
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::world::rule;
use crate::ingest::engine::{Engine, NOON};

const TENANT: TenantId = TenantId::DEFAULT;

/// The most runs of a tree.
const RUNS: usize = 9;

/// Parts of each run: its post, and two patches that agree.
const PARTS: usize = 3;

/// In millionths, for one token: in, out, and from a cache.
const PRICES: (i64, i64, i64) = (3, 5, 1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parent {
    Nobody,
    /// One that never comes.
    Lost,
    Run(usize),
}

#[derive(Debug, Clone, Copy)]
enum Cost {
    Unknown,
    Stated(i64),
    Priced,
}

#[derive(Debug, Clone)]
struct Node {
    parent: Parent,
    moved_to: Option<usize>,
    says_path: bool,
    tokens: (i64, i64, i64),
    cost: Cost,
    early: Early,
    run_type: &'static str,
    failed: bool,
}

/// What a post says already, and not the first patch only.
#[derive(Debug, Clone, Copy)]
struct Early {
    usage: bool,
    model: bool,
}

type Raw = ((Index, u8, bool), Option<Index>, (i64, i64), (u8, i64), (bool, bool, bool, bool));

fn raw() -> impl Strategy<Value = Raw> {
    (
        (any::<Index>(), 0..10_u8, any::<bool>()),
        proptest::option::weighted(0.25, any::<Index>()),
        (0..50_i64, 0..50_i64),
        (0..3_u8, 1..30_i64),
        (any::<bool>(), any::<bool>(), any::<bool>(), proptest::bool::weighted(0.15)),
    )
}

/// A tree: parents come before their children, and only those say a path who can know it.
fn tree(raws: Vec<Raw>) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for (at, ((index, choice, path), moved, (input, output), (cost, stated), flags)) in raws.into_iter().enumerate() {
        let parent = match choice {
            _ if at == 0 => Parent::Nobody,
            0 => Parent::Nobody,
            1 => Parent::Lost,
            _ => Parent::Run(index.index(at)),
        };
        let mut above = parent;
        let knows_path = loop {
            match above {
                Parent::Nobody => break true,
                Parent::Lost => break false,
                Parent::Run(run) if nodes[run].moved_to.is_some() => break false,
                Parent::Run(run) => above = nodes[run].parent,
            }
        };
        nodes.push(Node {
            parent,
            moved_to: moved.filter(|_| at > 0).map(|to| to.index(at)).filter(|to| parent != Parent::Run(*to)),
            says_path: path && knows_path,
            tokens: (input, output, input / 3),
            cost: [Cost::Unknown, Cost::Stated(stated), Cost::Priced][usize::from(cost)],
            early: Early { usage: flags.0, model: flags.1 },
            run_type: if flags.2 { "llm" } else { "chain" },
            failed: flags.3,
        });
    }
    nodes
}

/// One telling of a tree, in a project of its own and with ids of its own.
struct Telling<'a> {
    nodes: &'a [Node],
    nth: usize,
}

impl Telling<'_> {
    fn id(&self, run: usize) -> String {
        self.run_id(run).to_string()
    }

    fn run_id(&self, run: usize) -> RunId {
        RunId(Uuid::from_u128(u128::try_from((self.nth + 1) * 10_000 + run).unwrap()))
    }

    fn parent_id(&self, parent: Parent, of: usize) -> Option<String> {
        match parent {
            Parent::Nobody => None,
            Parent::Lost => Some(self.id(1000 + of)),
            Parent::Run(run) => Some(self.id(run)),
        }
    }

    fn project(&self) -> String {
        format!("tree-{}", self.nth)
    }

    fn segment(&self, run: usize) -> String {
        format!("20261122T110000{run:06}Z{}", self.id(run))
    }

    /// Where the client thinks the run is.
    fn said_path(&self, run: usize) -> String {
        match self.nodes[run].parent {
            Parent::Run(parent) => format!("{}.{}", self.said_path(parent), self.segment(run)),
            Parent::Nobody | Parent::Lost => self.segment(run),
        }
    }

    fn said_trace(&self, run: usize) -> String {
        match self.nodes[run].parent {
            Parent::Run(parent) => self.said_trace(parent),
            Parent::Nobody | Parent::Lost => self.id(run),
        }
    }

    fn parts(&self, run: usize) -> [(&'static str, Value); PARTS] {
        let node = &self.nodes[run];
        let (input, output, cached) = node.tokens;
        let mut usage = json!({"input_tokens": input, "output_tokens": output,
                               "input_token_details": {"cache_read": cached}});
        if let Cost::Stated(millis) = node.cost {
            usage["total_cost"] = Decimal::new(millis, 3).to_string().into();
        }
        let used = json!({ "usage_metadata": usage });
        let model = matches!(node.cost, Cost::Priced).then_some("acme-1");
        let mut post = json!({
            "id": self.id(run), "name": "n", "run_type": node.run_type,
            "session_name": self.project(), "start_time": format!("2026-11-22T11:00:00.{run:06}Z"),
            "parent_run_id": self.parent_id(node.parent, run), "outputs": node.early.usage.then(|| used.clone()),
            "extra": {"metadata": {"early": 1, "ls_model_name": model.filter(|_| node.early.model)}},
        });
        if node.says_path {
            (post["dotted_order"], post["trace_id"]) = (self.said_path(run).into(), self.said_trace(run).into());
        }
        let more = json!({
            "id": self.id(run), "name": null, "outputs": (!node.early.usage).then_some(used),
            "extra": {"metadata": {"late": 1, "ls_model_name": model.filter(|_| !node.early.model)}},
        });
        let end = json!({
            "id": self.id(run), "end_time": "2026-11-22T11:00:09Z", "error": node.failed.then_some("boom"),
            "parent_run_id": node.moved_to.map(|to| self.id(to)),
        });
        [("post", post), ("patch", more), ("patch", end)]
    }

    async fn tell(&self, engine: &Engine, keys: &[u32]) {
        let parts: Vec<(&str, Value)> = (0..self.nodes.len()).flat_map(|run| self.parts(run)).collect();
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|at| keys[*at]);
        let repeats: Vec<usize> = order.iter().copied().filter(|at| keys[*at] % 5 == 1).collect();
        order.extend(repeats);
        let mut rest = order.as_slice();
        while let Some(first) = rest.first() {
            let (now, later) = rest.split_at(rest.len().min(1 + keys[*first] as usize / 7 % 4));
            let of = |kind: &str| -> Vec<Value> {
                now.iter().filter(|at| parts[**at].0 == kind).map(|at| parts[*at].1.clone()).collect()
            };
            engine.post("/runs/batch", &json!({"post": of("post"), "patch": of("patch")})).await.expect(202);
            rest = later;
        }
    }
}

/// What there is to know of a tree, reckoned from the whole of it.
struct Reckoning<'a> {
    told: &'a Telling<'a>,
    standings: Vec<Standing>,
}

struct Standing {
    parent: Parent,
    trace: String,
    path: String,
    tokens: (i64, i64, i64),
    cost: Option<Decimal>,
}

impl<'a> Reckoning<'a> {
    fn of(told: &'a Telling<'a>) -> Self {
        let mut paths: Vec<Option<String>> = Vec::new();
        let mut standings = Vec::new();
        for (run, node) in told.nodes.iter().enumerate() {
            let parent = node.moved_to.map_or(node.parent, Parent::Run);
            let path = match parent {
                Parent::Nobody => Some(told.segment(run)),
                Parent::Lost => None,
                Parent::Run(above) => paths[above].as_ref().map(|above| format!("{above}.{}", told.segment(run))),
            };
            let trace = match (&path, told.parent_id(parent, run)) {
                (Some(path), _) => path.split(['Z', '.']).nth(1).unwrap().to_owned(),
                (None, _) if node.says_path => told.said_trace(run),
                (None, above) => above.unwrap(),
            };
            let (input, output, cached) = node.tokens;
            let (of_input, of_output, of_cached) = PRICES;
            let cost = match node.cost {
                Cost::Stated(millis) => Some(Decimal::new(millis, 3)),
                Cost::Priced if input + output > 0 => {
                    Some(Decimal::new((input - cached) * of_input + cached * of_cached + output * of_output, 6))
                }
                Cost::Priced | Cost::Unknown => None,
            };
            let shown = path.clone().unwrap_or_else(|| told.segment(run));
            standings.push(Standing { parent, trace, path: shown, tokens: node.tokens, cost });
            paths.push(path);
        }
        Self { told, standings }
    }

    /// The ancestors of a run that are in its trace.
    fn above(&self, run: usize) -> Vec<usize> {
        let mut above = Vec::new();
        let mut next = self.standings[run].parent;
        while let Parent::Run(at) = next
            && self.standings[at].trace == self.standings[run].trace
        {
            above.push(at);
            next = self.standings[at].parent;
        }
        above
    }

    fn below(&self, run: usize) -> Vec<usize> {
        (0..self.standings.len()).filter(|other| self.above(*other).contains(&run)).collect()
    }

    fn sum(&self, runs: impl Iterator<Item = usize>) -> (i64, i64, i64, Option<Decimal>) {
        runs.fold((0, 0, 0, None), |(input, output, cached, cost), run| {
            let Standing { tokens, cost: own, .. } = &self.standings[run];
            let cost = match (cost, *own) {
                (Some(one), Some(other)) => Some(one + other),
                (one, other) => one.or(other),
            };
            (input + tokens.0, output + tokens.1, cached + tokens.2, cost)
        })
    }

    fn ids(&self, mut runs: Vec<usize>) -> Value {
        runs.sort_by_key(|run| (&self.standings[*run].path, *run));
        runs.into_iter().map(|run| self.told.id(run)).collect()
    }

    /// What is read of a run.
    fn shown(&self, run: usize) -> Value {
        let standing = &self.standings[run];
        let below = self.below(run);
        let children =
            below.iter().copied().filter(|other| self.standings[*other].parent == Parent::Run(run)).collect();
        let (input, output, cached, cost) = self.sum(below.iter().copied().chain([run]));
        json!({
            "id": self.told.id(run), "parent_run_id": self.told.parent_id(standing.parent, run),
            "trace_id": standing.trace, "dotted_order": standing.path, "child_run_ids": self.ids(below.clone()),
            "direct_child_run_ids": self.ids(children), "total_tokens": input + output, "prompt_tokens": input,
            "completion_tokens": output, "total_cost": plain(cost), "prompt_token_details": {"cache_read": cached},
        })
    }

    fn failed(&self, run: usize) -> bool {
        self.told.nodes[run].failed
    }

    fn root_of(&self, run: usize) -> Option<usize> {
        let trace = &self.standings[run].trace;
        let members: Vec<usize> = (0..self.standings.len()).filter(|at| self.standings[*at].trace == *trace).collect();
        let root = members.iter().find(|at| self.told.id(**at) == *trace);
        root.or_else(|| members.iter().find(|at| self.standings[**at].parent == Parent::Nobody)).copied()
    }

    /// Which rules a run matches.
    fn matches(&self, run: usize) -> Vec<&'static str> {
        let tokens = |run: usize| self.sum(self.below(run).into_iter().chain([run]));
        let (input, output, ..) = tokens(run);
        let mut matches = Vec::new();
        if input + output > 60 {
            matches.push("tokens");
        }
        let standing = &self.standings[run];
        let in_trace = |at: &usize| self.standings[*at].trace == standing.trace;
        if standing.parent == Parent::Nobody
            && (0..self.standings.len()).filter(in_trace).any(|other| self.failed(other))
        {
            matches.push("tree");
        }
        let costs = |root: usize| tokens(root).3.is_some_and(|cost| cost > Decimal::new(2, 2));
        if self.told.nodes[run].run_type == "llm" && self.root_of(run).is_some_and(costs) {
            matches.push("trace");
        }
        matches
    }
}

fn plain(cost: Option<Decimal>) -> Value {
    cost.map_or(Value::Null, |cost| cost.normalize().to_string().into())
}

/// The same keys of what is read, money without zeros behind it.
fn picked(read: &Value, like: &Value) -> Value {
    let pick = |key: &String| {
        let value = match (key.as_str(), read[key].as_str()) {
            ("total_cost", Some(text)) => plain(Some(text.parse().unwrap())),
            _ => read[key].clone(),
        };
        (key.clone(), value)
    };
    Value::Object(like.as_object().unwrap().keys().map(pick).collect::<Map<String, Value>>())
}

fn rules() -> [Rule; 3] {
    let on = |key: &str, filter: &str| Rule {
        project: "tree-*".to_owned(),
        filter: Some(filter.to_owned()),
        settle: Duration::from_secs(10),
        endpoints: Vec::new(),
        ..rule(key)
    };
    [
        on("tokens", "gt(total_tokens, 60)"),
        Rule { tree_filter: Some("eq(status, \"error\")".to_owned()), ..on("tree", "eq(is_root, true)") },
        Rule { trace_filter: Some("gt(total_cost, 0.02)".to_owned()), ..on("trace", "eq(run_type, \"llm\")") },
    ]
}

/// Has the scheduler look at all there is, once it has rested.
async fn evaluate(engine: &Engine) {
    engine.clock.advance(Duration::from_mins(1));
    let keyring = Arc::new(Keyring::parse(&Keyring::line(1, &random::<32>())).unwrap());
    let blobs = Directory::new(engine.home.path().join("b"), "http://runhook.test".parse().unwrap(), keyring);
    let mut scheduler = Scheduler::new(Parts {
        store: Arc::clone(&engine.store),
        blobs: Arc::new(blobs),
        clock: Arc::<runhook::model::time::ManualClock>::clone(&engine.clock),
        limits: Limits::default(),
        delivery: Poke::default(),
        poke: Poke::default(),
        instance: Uuid::from_u128(1),
    });
    for _ in 0..100 {
        engine.clock.advance(Duration::from_millis(1));
        if scheduler.pass().await.unwrap() != Next::Now {
            return;
        }
    }
    panic!("the scheduler found no rest");
}

async fn check(nodes: &[Node], keys: &[Vec<u32>]) {
    let (input, output, cached) = PRICES;
    let yaml = format!(
        "prices: [{{ model: acme, prompt: {input}, completion: {output}, prompt_details: {{ cache_read: {cached} }} }}]"
    );
    let prices = Document::parse("c", &yaml, std::collections::HashMap::new()).unwrap().prices.into();
    let engine = Engine::with_prices(prices).await;
    let changes = RuleChanges { put_rules: rules().to_vec(), ..RuleChanges::default() };
    engine.store.apply_rules(TENANT, changes, NOON).await.unwrap();
    let tellings: Vec<Telling<'_>> = (0..keys.len()).map(|nth| Telling { nodes, nth }).collect();
    for (telling, keys) in tellings.iter().zip(keys) {
        telling.tell(&engine, keys).await;
    }
    evaluate(&engine).await;
    for told in &tellings {
        let reckoned = Reckoning::of(told);
        let session = engine.get(&format!("/sessions?name={}", told.project())).await.json()[0]["id"].clone();
        let asked = json!({"session": [session], "limit": 100});
        let read = engine.post("/runs/query", &asked).await.expect(200).json()["runs"].as_array().unwrap().clone();
        assert_eq!(read.len(), nodes.len());
        for run in 0..nodes.len() {
            let expected = reckoned.shown(run);
            let found = read.iter().find(|read| read["id"] == expected["id"]).unwrap();
            assert_eq!(picked(found, &expected), expected, "run {run} of telling {}", told.nth);
        }
        assert_statistics(&engine, &reckoned, &session).await;
        let matched = matched(&engine, told).await;
        for run in 0..nodes.len() {
            let expected: BTreeSet<&str> = reckoned.matches(run).into_iter().collect();
            let found = rules().map(|rule| (rule.key, rule.id)).into_iter();
            let found: Vec<String> =
                found.filter(|(_, id)| matched.contains(&(*id, told.run_id(run)))).map(|(key, _)| key).collect();
            assert_eq!(
                found.iter().map(String::as_str).collect::<BTreeSet<_>>(),
                expected,
                "run {run} of {}",
                told.nth
            );
        }
    }
}

async fn assert_statistics(engine: &Engine, reckoned: &Reckoning<'_>, session: &Value) {
    let all = 0..reckoned.standings.len();
    let is_llm = |run: usize| reckoned.told.nodes[run].run_type == "llm";
    let below_llm = |run: &usize| is_llm(*run) || reckoned.above(*run).into_iter().any(is_llm);
    for (asked, sum) in [
        (json!({ "session": [session] }), reckoned.sum(all.clone())),
        (json!({"session": [session], "run_type": "llm"}), reckoned.sum(all.filter(below_llm))),
    ] {
        let shown = engine.post("/runs/stats", &asked).await.expect(200).json();
        let (input, output, _, cost) = sum;
        let expected = json!({"total_tokens": input + output, "prompt_tokens": input, "total_cost": plain(cost)});
        assert_eq!(picked(&shown, &expected), expected, "{asked}");
    }
}

async fn matched(engine: &Engine, told: &Telling<'_>) -> HashSet<(RuleId, RunId)> {
    let runs = 0..told.nodes.len();
    let pairs: Vec<(RuleId, RunId)> = runs.flat_map(|run| rules().map(|rule| (rule.id, told.run_id(run)))).collect();
    engine.store.matched(TENANT, &pairs).await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_becomes_of_a_tree_does_not_depend_on_the_order_in_which_it_arrives(
        raws in proptest::collection::vec(raw(), 1..=RUNS),
        shuffled in proptest::collection::vec(proptest::collection::vec(any::<u32>(), RUNS * PARTS), 2),
    ) {
        let in_order: Vec<u32> = (0..u32::try_from(RUNS * PARTS).unwrap()).map(|at| at * 5).collect();
        let keys: Vec<Vec<u32>> = [in_order].into_iter().chain(shuffled).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(&tree(raws), &keys));
    }
}
