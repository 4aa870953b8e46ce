//! Plans from real files.

use secrecy::ExposeSecret;

use super::*;
use crate::model::endpoint::{Endpoint, MASK};
use crate::model::health::Health;
use crate::model::rule::RuleState;
use crate::model::sealed::Sealed;
use crate::rule_file::{Loaded, SourceFile, load};

const TENANT: TenantId = TenantId::DEFAULT;

const FILE: &str = "version: 1
rules:
  - key: a
    project: p
    webhooks:
      - url: https://h.example/one
        headers: { X-T: first }
      - endpoint: oncall
  - key: b
    project: p
    webhooks: [{ url: https://h.example/two }]
endpoints:
  - key: oncall
    url: https://o.example/x
";

fn loaded(text: &str) -> Loaded {
    let loaded = load(&[SourceFile { name: "f.yaml".into(), text: text.into() }], &|_| None);
    assert!(!loaded.has_errors(), "{:?}", loaded.reports);
    loaded
}

fn plan_of(current: &Current, text: &str, prune: Prune<'_>) -> Plan {
    plan_at(0, current, text, prune)
}

fn plan_at(at: i64, current: &Current, text: &str, prune: Prune<'_>) -> Plan {
    let loaded = loaded(text);
    let wanted = Wanted { rules: &loaded.rules, endpoints: &loaded.endpoints, origin: "" };
    plan(TENANT, Timestamp(at), &Index::of(current), wanted, prune)
}

/// What a store would hold after the plan.
fn applied(current: &Current, plan: Plan) -> Current {
    let Writes { put_rules, put_endpoints, remove_rules, remove_endpoints } = plan.writes;
    let mut next = current.clone();
    next.rules.retain(|rule| !remove_rules.contains(&rule.id) && !put_rules.iter().any(|put| put.id == rule.id));
    next.rules.extend(put_rules);
    let stays = |id: &EndpointId| !remove_endpoints.contains(id) && !put_endpoints.iter().any(|put| put.id == *id);
    next.endpoints.retain(|(endpoint, _)| stays(&endpoint.id));
    for put in put_endpoints {
        let target = put.draft.target;
        let endpoint = Endpoint {
            tenant_id: TENANT,
            id: put.id,
            key: put.key,
            rule_id: put.rule_id,
            alert_id: None,
            target: Sealed(Vec::new()),
            shown: difference::shown(&target.target),
            format: target.format,
            policy: target.policy,
            overrides: target.overrides,
            origin: Some(put.origin),
            disabled: None,
            health: Health::default(),
        };
        next.endpoints.push((endpoint, Some(target.target)));
    }
    next
}

fn said(plan: &Plan) -> Vec<String> {
    let said = |item: &Item| {
        let mut words = vec![format!("{:?} {:?} {}", item.action, item.subject, item.key)];
        words.extend(item.changes.iter().map(|change| change.field.clone()));
        words.join(" ")
    };
    plan.items.iter().map(said).collect()
}

#[test]
fn applying_twice_changes_nothing() {
    let plan = plan_of(&Current::default(), FILE, Prune::Files);
    assert_eq!(said(&plan), ["Create Rule a", "Create Rule b", "Create Endpoint oncall"]);
    let current = applied(&Current::default(), plan);
    let again = plan_of(&current, FILE, Prune::Files);
    assert_eq!(said(&again), ["Unchanged Rule a", "Unchanged Rule b", "Unchanged Endpoint oncall"]);
    assert!(again.writes.is_empty());
}

#[test]
fn an_edited_rule_keeps_its_id_its_state_and_what_is_sealed() {
    let mut current = applied(&Current::default(), plan_of(&Current::default(), FILE, Prune::Nothing));
    current.rules.iter_mut().for_each(|rule| rule.state = RuleState::Paused);
    let edited = FILE.replace("key: a\n    project: p", "key: a\n    project: q\n    every: 5m");
    let plan = plan_of(&current, &edited, Prune::Nothing);
    assert_eq!(said(&plan), ["Update Rule a project every", "Unchanged Rule b", "Unchanged Endpoint oncall"]);
    assert_eq!(plan.writes.put_rules[0].id, RuleId::of_key(TENANT, "a"));
    assert_eq!(plan.writes.put_rules[0].state, RuleState::Paused);
    assert!(plan.writes.put_endpoints.is_empty());
}

/// Signed by this secret, and what its endpoint was told to forget.
fn signed_with(secret: char) -> String {
    FILE.replace(
        "https://o.example/x\n",
        &format!("https://o.example/x\n    signing_secret: {}\n", secret.to_string().repeat(32)),
    )
}

fn signs(current: &Current, at: i64) -> Vec<char> {
    let (_, target) = current.endpoints.iter().find(|(endpoint, _)| endpoint.key.is_some()).unwrap();
    let first = |secret: &secrecy::SecretString| secret.expose_secret().chars().next().unwrap();
    target.as_ref().unwrap().signing.active(Timestamp(at)).map(first).collect()
}

#[test]
fn another_signing_secret_begins_a_rotation_and_none_leaves_it_alone() {
    let day: i64 = 86_400_000_000;
    let first = applied(&Current::default(), plan_of(&Current::default(), &signed_with('a'), Prune::Nothing));
    assert_eq!(signs(&first, 0), ['a']);
    let plan = plan_of(&first, &signed_with('b'), Prune::Nothing);
    assert_eq!(said(&plan)[0], "Update Endpoint oncall signing_secret");
    let second = applied(&first, plan);
    assert_eq!((signs(&second, day - 1), signs(&second, day)), (vec!['b', 'a'], vec!['b']));
    for text in [signed_with('b'), FILE.to_owned()] {
        let again = plan_at(5, &second, &text, Prune::Nothing);
        assert!(again.writes.is_empty(), "{:?}", said(&again));
    }
    let both = signed_with('b').replace("signing_secret:", "signature: both\n    signing_secret:");
    assert_eq!(said(&plan_of(&second, &both, Prune::Nothing))[0], "Update Endpoint oncall signature");
}

#[test]
fn a_changed_secret_shows_as_changed_and_never_as_itself() {
    let current = applied(&Current::default(), plan_of(&Current::default(), FILE, Prune::Nothing));
    let edited = FILE.replace("first", "second").replace("/two", "/three").replace("https://o.", "https://p.");
    let plan = plan_of(&current, &edited, Prune::Nothing);
    assert_eq!(
        said(&plan),
        ["Update Rule a webhooks[0].headers.X-T", "Update Rule b webhooks[0].url", "Update Endpoint oncall url"]
    );
    let shown = serde_json::to_string(&plan.items).unwrap();
    assert!(!["first", "second", "two", "three"].iter().any(|secret| shown.contains(secret)), "{shown}");
    assert!(shown.contains(MASK) && shown.contains("https://p.example/…"), "{shown}");
}

#[test]
fn a_renamed_key_is_another_rule_and_pruning_removes_the_old_one() {
    let current = applied(&Current::default(), plan_of(&Current::default(), FILE, Prune::Nothing));
    let renamed = FILE.replace("key: b", "key: c");
    let kept = plan_of(&current, &renamed, Prune::Nothing);
    assert_eq!(said(&kept), ["Create Rule c", "Unchanged Rule a", "Unchanged Endpoint oncall"]);
    let pruned = plan_of(&current, &renamed, Prune::Files);
    assert_eq!(said(&pruned), ["Create Rule c", "Remove Rule b", "Unchanged Rule a", "Unchanged Endpoint oncall"]);
    let next = applied(&current, pruned);
    assert_eq!(next.endpoints.len(), 3);
}

#[test]
fn pruning_leaves_rules_of_a_watched_folder_and_of_the_api_alone() {
    let mut current = applied(&Current::default(), plan_of(&Current::default(), FILE, Prune::Nothing));
    current.rules[0].origin = Some(format!("{FOLDER}/etc/rules/f.yaml"));
    current.rules[1].origin = None;
    for (endpoint, _) in &mut current.endpoints {
        endpoint.origin = endpoint.key.is_some().then(|| format!("{FOLDER}/etc/rules/f.yaml"));
    }
    let empty = plan_of(&current, "version: 1\nrules: []\n", Prune::Files);
    assert_eq!(said(&empty), Vec::<String>::new());
    let own = plan_of(&current, "version: 1\nrules: []\n", Prune::Origin("folder:/etc/rules/"));
    assert_eq!(said(&own), ["Remove Rule a", "Remove Endpoint oncall"]);
    current.endpoints.iter_mut().for_each(|(endpoint, _)| endpoint.origin = None);
    let own = plan_of(&current, "version: 1\nrules: []\n", Prune::Origin("folder:/etc/rules/"));
    assert_eq!(said(&own), ["Remove Rule a"], "an endpoint that was made through the API is its owner's");
}

#[test]
fn a_webhook_taken_out_of_a_rule_goes_with_its_endpoint() {
    let current = applied(&Current::default(), plan_of(&Current::default(), FILE, Prune::Nothing));
    let edited = FILE.replace("      - url: https://h.example/one\n        headers: { X-T: first }\n", "");
    let plan = plan_of(&current, &edited, Prune::Nothing);
    assert_eq!(said(&plan), ["Update Rule a webhooks", "Unchanged Rule b", "Unchanged Endpoint oncall"]);
    assert_eq!(plan.writes.remove_endpoints.len(), 1);
}

#[test]
fn a_rule_moved_to_another_file_is_unchanged_but_remembers_it() {
    let mut current = applied(&Current::default(), plan_of(&Current::default(), FILE, Prune::Nothing));
    current.rules[0].origin = Some("old.yaml".into());
    let plan = plan_of(&current, FILE, Prune::Nothing);
    assert!(plan.items.iter().all(|item| item.action == Action::Unchanged));
    assert_eq!(plan.writes.put_rules.len(), 1);
}

/// A rule with webhooks at these paths.
fn with_webhooks(paths: &[&str]) -> String {
    let webhook = |path: &&str| format!("      - {{ url: https://h.example/{path}, headers: {{ X-P: {path} }} }}\n");
    let webhooks: Vec<String> = paths.iter().map(webhook).collect();
    format!("version: 1\nrules:\n  - key: a\n    project: p\n    webhooks:\n{}", webhooks.concat())
}

/// The endpoints of the only rule, in order, by the path of their URL.
fn webhooks(current: &Current) -> Vec<(String, EndpointId)> {
    let url = |id: &EndpointId| {
        let (_, target) = current.endpoints.iter().find(|(endpoint, _)| endpoint.id == *id).unwrap();
        target.as_ref().unwrap().url.expose_secret().rsplit('/').next().unwrap().to_owned()
    };
    current.rules[0].endpoints.iter().map(|id| (url(id), *id)).collect()
}

#[test]
fn a_webhook_keeps_its_id_wherever_it_stands_and_no_other_ever_gets_it() {
    let mut current = Current::default();
    let mut ids: HashMap<String, EndpointId> = HashMap::new();
    let lists: [&[&str]; 8] = [
        &["one", "two", "three"],
        &["two", "three"],
        &["three", "four", "two"],
        &["three", "five", "two"],
        &["six", "five", "two", "three"],
        &["seven"],
        &["eight", "seven", "nine"],
        &["nine", "ten", "eight", "eleven"],
    ];
    for (at, paths) in (1..).zip(lists) {
        let plan = plan_at(at, &current, &with_webhooks(paths), Prune::Nothing);
        current = applied(&current, plan);
        let found = webhooks(&current);
        assert_eq!(found.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), paths);
        assert_eq!(current.endpoints.len(), paths.len());
        for (path, id) in found {
            assert_eq!(*ids.entry(path.clone()).or_insert(id), id, "{path}");
        }
        assert!(plan_at(at, &current, &with_webhooks(paths), Prune::Nothing).writes.is_empty());
    }
    let all: BTreeSet<EndpointId> = ids.values().copied().collect();
    assert_eq!(all.len(), ids.len());
}

#[test]
fn a_plan_tells_webhooks_that_moved_came_went_or_got_another_url() {
    let current =
        applied(&Current::default(), plan_of(&Current::default(), &with_webhooks(&["one", "two"]), Prune::Nothing));
    let changed = |paths: &[&str]| {
        let plan = plan_at(1, &current, &with_webhooks(paths), Prune::Nothing);
        let removed = plan.writes.remove_endpoints.len();
        let changes: Vec<String> = plan.items[0].changes.iter().map(|change| change.field.clone()).collect();
        (changes.join(" "), plan.writes.put_endpoints.len(), removed)
    };
    assert_eq!(changed(&["two", "one"]), ("webhooks".into(), 0, 0));
    assert_eq!(changed(&["two"]), ("webhooks".into(), 0, 1));
    assert_eq!(changed(&["one", "two", "three"]), ("webhooks[2].url webhooks".into(), 1, 0));
    assert_eq!(changed(&["one", "three"]), ("webhooks[1].url webhooks[1].headers.X-P".into(), 1, 1));
    let same_url = with_webhooks(&["one", "two"]).replace("X-P: one", "X-P: other");
    let plan = plan_at(1, &current, &same_url, Prune::Nothing);
    assert_eq!(said(&plan), ["Update Rule a webhooks[0].headers.X-P"]);
    assert_eq!((plan.writes.put_endpoints[0].id, plan.writes.remove_endpoints.len()), (webhooks(&current)[0].1, 0));
}

#[test]
fn webhooks_with_one_url_are_told_apart_by_the_rest() {
    let text = |first: &str, second: &str| {
        with_webhooks(&["one", "one"]).replacen("X-P: one", first, 1).replacen("X-P: one", second, 1)
    };
    let current = applied(&Current::default(), plan_of(&Current::default(), &text("X-P: a", "X-P: b"), Prune::Nothing));
    let swapped = plan_at(1, &current, &text("X-P: b", "X-P: a"), Prune::Nothing);
    assert!(swapped.writes.put_endpoints.is_empty() && swapped.writes.remove_endpoints.is_empty());
    let before = &current.rules[0].endpoints;
    assert_eq!(swapped.writes.put_rules[0].endpoints, [before[1], before[0]]);
}
