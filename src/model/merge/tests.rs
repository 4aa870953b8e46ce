use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::model::run::BlobKey;

const RUN: u128 = 0x0193_0000_0000_7000_8000_0000_0000_0001;
const PARENT: u128 = 0x0193_0000_0000_7000_8000_0000_0000_0002;
const ROOT: u128 = 0x0193_0000_0000_7000_8000_0000_0000_0003;

fn id(number: u128) -> RunId {
    RunId(Uuid::from_u128(number))
}

fn json(text: &str) -> RawJson {
    RawJson::parse(text.to_owned()).unwrap()
}

fn part(kind: PartKind, fields: Fields) -> Part {
    let digest = digest(&fields, kind, id(RUN));
    Part { run_id: id(RUN), kind, project: None, fields, digest }
}

fn begun() -> Fields {
    Fields {
        name: Some("agent".into()),
        run_type: Some("chain".into()),
        start_time: Some(Timestamp(1_767_225_600_000_000)),
        ..Fields::default()
    }
}

fn resolved<'a>(parts: impl IntoIterator<Item = &'a Part>) -> Option<Run> {
    let mut layers = Layers::default();
    for part in parts {
        layers.apply(part.clone());
    }
    layers.resolve(TenantId::DEFAULT, ProjectId(Uuid::nil()), id(RUN), Timestamp(7))
}

fn of_fields(fields: Fields) -> Run {
    resolved(&[part(PartKind::Post, fields)]).expect("complete")
}

#[test]
fn a_part_applied_twice_is_a_repeat() {
    let mut layers = Layers::default();
    assert_eq!(layers.apply(part(PartKind::Post, begun())), Applied::Changed);
    assert_eq!(layers.apply(part(PartKind::Post, begun())), Applied::Repeat);
    assert_eq!(layers.apply(part(PartKind::Patch, begun())), Applied::Changed);
}

#[test]
fn the_ledger_of_digests_is_bounded() {
    let mut layers = Layers::default();
    for number in 0..1000 {
        layers.apply(part(PartKind::Patch, Fields { end_time: Some(Timestamp(number)), ..Fields::default() }));
    }
    assert_eq!(layers.applied.len(), REMEMBERED);
}

#[test]
fn a_run_without_name_type_or_start_is_not_a_run_yet() {
    assert!(resolved(&[part(PartKind::Patch, Fields { name: None, ..begun() })]).is_none());
    assert!(resolved(&[part(PartKind::Patch, Fields { run_type: None, ..begun() })]).is_none());
    assert!(resolved(&[part(PartKind::Patch, Fields { start_time: None, ..begun() })]).is_none());
    assert!(resolved(&[part(PartKind::Patch, begun())]).is_some());
}

#[test]
fn null_and_hollow_values_never_replace_full_ones() {
    let full = Payload::Inline(json(r#"{"a":1}"#));
    let post = Fields {
        outputs: Some(full.clone()),
        tags: Some(vec!["t".into()]),
        error: Some("boom".into()),
        events: Some(json(r#"[{"name":"start"}]"#)),
        extra: Some(json(r#"{"metadata":{"k":1},"runtime":{"sdk":"py"}}"#)),
        ..begun()
    };
    let patch = Fields {
        outputs: Some(Payload::Inline(json("{}"))),
        tags: Some(vec![]),
        error: Some(String::new()),
        events: Some(json("[]")),
        serialized: Some(json("null")),
        extra: Some(json(r#"{"metadata":{"k":null},"runtime":{}}"#)),
        ..Fields::default()
    };
    let alone = of_fields(post.clone());
    let both = resolved(&[part(PartKind::Patch, patch), part(PartKind::Post, post)]).unwrap();
    assert_eq!(both.outputs, Some(full));
    assert_eq!(both, Run { modified_at: alone.modified_at, ..alone });
}

#[test]
fn extra_is_united_key_by_key_with_sorted_keys() {
    let post = Fields { extra: Some(json(r#"{"z":[1,  2],"metadata":{"b":1,"a":{"y":1,"x":2}}}"#)), ..begun() };
    let patch = Fields { extra: Some(json(r#"{"metadata":{"b":2,"c":3},"runtime":{ }}"#)), ..Fields::default() };
    let run = resolved(&[part(PartKind::Post, post.clone()), part(PartKind::Patch, patch)]).unwrap();
    assert_eq!(run.extra.unwrap().text(), r#"{"metadata":{"a":{"y":1,"x":2},"b":2,"c":3},"runtime":{ },"z":[1,  2]}"#);
    assert_eq!(of_fields(post.clone()).extra, post.extra);
}

#[test]
fn attachments_are_united_by_name() {
    let file = |name: &str, key: &str| Attachment {
        name: name.into(),
        mime_type: "a/b".into(),
        key: BlobKey(key.into()),
        bytes: 1,
    };
    let post = Fields { attachments: vec![file("b", "1"), file("a", "2")], ..begun() };
    let patch = Fields { attachments: vec![file("b", "3")], ..Fields::default() };
    let run = resolved(&[part(PartKind::Patch, patch), part(PartKind::Post, post)]).unwrap();
    assert_eq!(run.attachments, [file("a", "2"), file("b", "3")]);
}

#[test]
fn status_follows_from_error_and_end_unless_the_client_says_more() {
    let status = |word: Option<&str>, error: Option<&str>, end: Option<i64>| {
        of_fields(Fields {
            status: word.map(Into::into),
            error: error.map(Into::into),
            end_time: end.map(Timestamp),
            ..begun()
        })
        .status
    };
    assert_eq!(status(None, None, None), Status::Pending);
    assert_eq!(status(None, Some(""), Some(1)), Status::Success);
    assert_eq!(status(None, Some("boom"), None), Status::Error);
    assert_eq!(status(Some("pending"), None, Some(1)), Status::Success);
    assert_eq!(status(Some("pending"), None, None), Status::Pending);
    assert_eq!(status(Some("interrupted"), Some("x"), Some(1)), Status::Other("interrupted".into()));
}

fn path(ids: &[u128]) -> String {
    ids.iter().map(|run| format!("20260101T000000000000Z{}", id(*run))).collect::<Vec<_>>().join(".")
}

#[test]
fn lineage_comes_from_the_path_when_it_is_not_said() {
    let run = of_fields(Fields { dotted_order: Some(path(&[ROOT, PARENT, RUN])), ..begun() });
    assert_eq!((run.trace_id, run.parent_run_id), (TraceId::from(id(ROOT)), Some(id(PARENT))));
    assert_eq!(run.dotted_order, path(&[ROOT, PARENT, RUN]));
}

#[test]
fn a_root_without_a_path_is_its_own_trace() {
    let run = of_fields(begun());
    assert_eq!((run.trace_id, run.parent_run_id, run.is_root()), (TraceId::from(id(RUN)), None, true));
    assert_eq!(run.dotted_order, path(&[RUN]));
}

#[test]
fn a_child_without_a_path_keeps_its_parent_and_trace() {
    let said = Fields { parent_run_id: Some(id(PARENT)), trace_id: Some(id(ROOT).into()), ..begun() };
    let run = of_fields(said);
    assert_eq!((run.trace_id, run.parent_run_id), (TraceId::from(id(ROOT)), Some(id(PARENT))));
}

#[test]
fn a_path_that_contradicts_itself_is_mended() {
    let parents = Fields { dotted_order: Some(path(&[ROOT, PARENT])), parent_run_id: Some(id(PARENT)), ..begun() };
    assert_eq!(of_fields(parents).dotted_order, path(&[ROOT, PARENT, RUN]));
    let strangers = Fields { dotted_order: Some(path(&[ROOT, PARENT])), ..begun() };
    assert_eq!(of_fields(strangers).dotted_order, path(&[RUN]));
    let undashed = path(&[RUN]).replace('-', "");
    assert_eq!(of_fields(Fields { dotted_order: Some(undashed), ..begun() }).dotted_order, path(&[RUN]));
    let wrong_trace = Fields { dotted_order: Some(path(&[ROOT, RUN])), trace_id: Some(id(PARENT).into()), ..begun() };
    assert_eq!(of_fields(wrong_trace).trace_id, TraceId::from(id(ROOT)));
}

#[test]
fn an_inferred_path_replaces_one_of_no_use_and_gives_way_to_a_later_one() {
    let mut layers = Layers::default();
    layers.apply(part(PartKind::Post, Fields { parent_run_id: Some(id(PARENT)), ..begun() }));
    layers.apply(part(PartKind::Patch, Fields { dotted_order: Some("nonsense".into()), ..Fields::default() }));
    let start_time = begun().start_time.unwrap();
    let under = |parent, path| Standpoint::Under { parent: id(parent), start_time, path };
    assert_eq!(layers.standpoint(id(RUN)), Some(under(PARENT, None)));
    let inferred = DottedOrder::parse(&path(&[PARENT, RUN])).unwrap();
    layers.infer_path(Some(&inferred));
    assert_eq!(layers.standpoint(id(RUN)), Some(under(PARENT, Some(inferred))));
    layers.apply(part(PartKind::Patch, Fields { dotted_order: Some(path(&[ROOT, RUN])), ..Fields::default() }));
    let said = DottedOrder::parse(&path(&[ROOT, RUN])).unwrap();
    assert_eq!(layers.standpoint(id(RUN)), Some(Standpoint::Rooted(said)));
}

#[test]
fn a_path_that_was_inferred_goes_with_the_parent_and_the_start_it_was_inferred_from() {
    let mut layers = Layers::default();
    layers.apply(part(PartKind::Post, Fields { parent_run_id: Some(id(PARENT)), ..begun() }));
    layers.infer_path(DottedOrder::parse(&path(&[ROOT, PARENT, RUN])).ok().as_ref());
    let run = |layers: &Layers| {
        layers.clone().resolve(TenantId::DEFAULT, ProjectId(Uuid::nil()), id(RUN), Timestamp(7)).unwrap()
    };
    assert_eq!((run(&layers).trace_id, run(&layers).dotted_order), (id(ROOT).into(), path(&[ROOT, PARENT, RUN])));
    let mut moved = layers.clone();
    moved.apply(part(PartKind::Patch, Fields { parent_run_id: Some(id(ROOT)), ..Fields::default() }));
    assert_eq!((run(&moved).parent_run_id, run(&moved).dotted_order), (Some(id(ROOT)), path(&[RUN])));
    let start_time = begun().start_time.map(|start| Timestamp(start.0 + 1));
    layers.apply(part(PartKind::Patch, Fields { start_time, ..Fields::default() }));
    assert!(!run(&layers).dotted_order.contains('.'));
}

#[test]
fn a_later_word_that_names_another_parent_makes_the_earlier_path_void() {
    let moved = |patch: Fields| {
        let post = Fields { dotted_order: Some(path(&[ROOT, PARENT, RUN])), ..begun() };
        let parts = [part(PartKind::Post, post), part(PartKind::Patch, patch)];
        let there = resolved(&parts).unwrap();
        assert_eq!(resolved(parts.iter().rev()), Some(there.clone()));
        (there.parent_run_id.unwrap(), there.dotted_order)
    };
    let under = |parent| Fields { parent_run_id: Some(id(parent)), ..Fields::default() };
    assert_eq!(moved(under(ROOT)), (id(ROOT), path(&[RUN])));
    assert_eq!(moved(under(PARENT)), (id(PARENT), path(&[ROOT, PARENT, RUN])));
    let both = Fields { dotted_order: Some(path(&[ROOT, RUN])), ..under(ROOT) };
    assert_eq!(moved(both), (id(ROOT), path(&[ROOT, RUN])));
}

#[test]
fn costs_by_prices_depend_on_all_that_was_said_and_not_on_its_order() {
    use crate::model::price::{Pattern, Price, Prices, Rates};
    let rates = |micros| Rates { each: rust_decimal::Decimal::new(micros, 6), ..Rates::default() };
    let model = Pattern::parse("^acme$").unwrap();
    let price = Price { model, provider: None, from: Some(Timestamp(1)), prompt: rates(2), completion: rates(3) };
    let prices = Prices::new(vec![price]);
    let outputs = Payload::Inline(json(r#"{"usage_metadata":{"input_tokens":5,"output_tokens":1}}"#));
    let extra = json(r#"{"metadata":{"ls_model_name":"acme"}}"#);
    let post = part(PartKind::Post, Fields { extra: Some(extra), ..begun() });
    let patch = part(PartKind::Patch, Fields { outputs: Some(outputs), ..Fields::default() });
    let cost = |parts: &[&Part]| {
        let mut layers = Layers::default();
        for part in parts {
            layers.apply((*part).clone());
            layers.price(&prices);
        }
        let run = layers.resolve(TenantId::DEFAULT, ProjectId(Uuid::nil()), id(RUN), Timestamp(7));
        run.and_then(|run| run.usage.total_cost).map(|cost| cost.to_string())
    };
    assert_eq!(cost(&[&post, &patch]).as_deref(), Some("0.000013"));
    assert_eq!(cost(&[&patch, &post, &patch]), cost(&[&post, &patch]));
    let stated = Payload::Inline(json(r#"{"usage_metadata":{"input_tokens":5,"total_cost":"0.5"}}"#));
    let stated = part(PartKind::Patch, Fields { outputs: Some(stated), ..Fields::default() });
    assert_eq!(cost(&[&post, &patch, &stated]).as_deref(), Some("0.5"));
    assert_eq!(cost(&[&post]), None);
}

fn raw() -> impl Strategy<Value = RawJson> {
    prop_oneof![Just("{}"), Just("null"), Just("[]"), Just("1"), Just("{\"b\": 1,\"a\":2}"), Just("[ 3 ]")]
        .prop_map(json)
}

fn extra() -> impl Strategy<Value = RawJson> {
    let key = prop_oneof![Just("metadata"), Just("runtime"), Just("z"), Just("a")];
    let inner = proptest::collection::btree_map(prop_oneof![Just("k"), Just("l"), Just("m")], raw(), 0..3);
    let value = prop_oneof![raw(), inner.prop_map(|map| RawJson::of(&map).unwrap())];
    proptest::collection::hash_map(key, value, 0..4).prop_map(|map| RawJson::of(&map).unwrap())
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-c]{1,2}"]
}

prop_compose! {
    fn fields()(
        name in proptest::option::of(word()), run_type in proptest::option::of(word()),
        start in proptest::option::of(0_i64..5), end in proptest::option::of(0_i64..5),
        status in proptest::option::of(word()), error in proptest::option::of(word()),
        tags in proptest::option::of(proptest::collection::vec(word(), 0..2)),
        inputs in proptest::option::of(raw()), outputs in proptest::option::of(raw()),
        extra in proptest::option::of(extra()),
    ) -> Fields {
        Fields {
            name, run_type, status, error, tags, extra,
            start_time: start.map(Timestamp), end_time: end.map(Timestamp),
            inputs: inputs.map(Payload::Inline), outputs: outputs.map(Payload::Inline),
            ..Fields::default()
        }
    }
}

/// Two parts of a layer that agree: each field goes to one of them, or to both.
fn split(whole: &Fields, choice: u32) -> (Fields, Fields) {
    let (mut one, mut other) = (whole.clone(), whole.clone());
    match choice % 4 {
        0 => one.name = None,
        1 => other.inputs = None,
        2 => one.extra = None,
        _ => other.extra = None,
    }
    match choice / 4 % 4 {
        0 => one.end_time = None,
        1 => other.status = None,
        2 => one.tags = None,
        _ => other.error = None,
    }
    (one, other)
}

proptest! {
    #[test]
    fn any_order_and_any_repeats_of_post_and_patch_give_one_run(
        post in fields(), patch in fields(), order in proptest::collection::vec(any::<bool>(), 0..6),
    ) {
        let (post, patch) = (part(PartKind::Post, post), part(PartKind::Patch, patch));
        let expected = resolved([&post, &patch]);
        let shuffled = order.into_iter().map(|first| if first { &post } else { &patch });
        prop_assert_eq!(resolved(shuffled.chain([&patch, &post])), expected);
    }

    #[test]
    fn any_order_of_post_and_two_agreeing_patches_gives_one_run(
        post in fields(), patch in fields(), choice in any::<u32>(), repeat in 0_usize..3,
        order in Just([0, 1, 2]).prop_shuffle(),
    ) {
        let (one, other) = split(&patch, choice);
        let parts = [part(PartKind::Post, post), part(PartKind::Patch, one), part(PartKind::Patch, other)];
        let expected = resolved(&parts);
        prop_assert_eq!(resolved(order.iter().map(|index| &parts[*index]).chain([&parts[repeat]])), expected);
    }

    #[test]
    fn an_outline_says_what_the_run_says(
        post in fields(), patch in fields(), parent in any::<bool>(), rooted in any::<bool>(),
    ) {
        let dotted_order = rooted.then(|| path(&[PARENT, RUN]));
        let post = Fields { parent_run_id: parent.then_some(id(PARENT)), dotted_order, ..post };
        let post = part(PartKind::Post, post);
        let of = |layers: Layers| {
            let run = layers.clone().resolve(TenantId::DEFAULT, ProjectId(Uuid::nil()), id(RUN), Timestamp(0));
            (layers.outline(id(RUN)), layers.standpoint(id(RUN)), run)
        };
        let mut layers = Layers::default();
        layers.apply(post.clone());
        prop_assert_eq!(layers.outline(id(RUN)), outline_alone(&post));
        layers.apply(part(PartKind::Patch, patch));
        let (Some(outline), standpoint, Some(run)) = of(layers.clone()) else {
            prop_assert!(of(layers.clone()).0.is_none() && of(layers).2.is_none());
            return Ok(());
        };
        prop_assert_eq!(Some(&outline.standpoint), standpoint.as_ref());
        prop_assert_eq!(outline.is_root(), run.is_root());
        prop_assert_eq!(outline.is_stray(), !run.is_root() && !run.dotted_order.contains('.'));
        prop_assert_eq!(
            (outline.trace_id, outline.parent_run_id, outline.start_time, outline.end_time),
            (run.trace_id, run.parent_run_id, run.start_time, run.end_time)
        );
        prop_assert_eq!((outline.name, outline.run_type, outline.status), (run.name, run.run_type, run.status));
    }

    #[test]
    fn resolving_never_fails_on_any_path(text in ".{0,80}", trace in any::<bool>(), parent in any::<bool>()) {
        let run = of_fields(Fields {
            dotted_order: Some(text),
            trace_id: trace.then_some(id(ROOT).into()),
            parent_run_id: parent.then_some(id(PARENT)),
            ..begun()
        });
        prop_assert!(DottedOrder::parse(&run.dotted_order).unwrap().last().unwrap().run_id == id(RUN));
    }
}
