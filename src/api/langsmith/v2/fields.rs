//! The keys of a run in the second version: each is selected by a name in capitals, and shown under one in small letters.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::langsmith::wire::{
    Key, Select, Shown, counts, feedback_stats, in_dataset, last_queued_at, or_nothing, preview, thread_id, time,
};
use crate::ingest::{Invalid, value};
use crate::model::json::RawJson;
use crate::model::run::Run;
use crate::model::usage::Amounts;
use crate::payload;

/// How long a preview of an error is, in characters.
const PREVIEW: usize = 250;

/// Every key, under the name it is selected by.
const TABLE: &[&[Key]] = &[FIELDS];

const FIELDS: &[Key] = &[
    ("ID", |view| Shown::Run(view.run().id)),
    ("NAME", |view| Shown::Text(&view.stored.run.name)),
    ("RUN_TYPE", |view| Shown::Written(view.run().run_type.to_uppercase())),
    ("STATUS", |view| Shown::Written(view.run().status.as_str().to_uppercase())),
    ("START_TIME", |view| time(Some(view.run().start_time))),
    ("END_TIME", |view| time(view.run().end_time)),
    ("LATENCY_SECONDS", |view| or_nothing(latency(view.run()), Shown::Real)),
    ("FIRST_TOKEN_TIME", |view| time(view.run().first_token_time)),
    ("ERROR", |view| or_nothing(view.stored.run.error.as_deref(), Shown::Text)),
    ("ERROR_PREVIEW", |view| or_nothing(view.stored.run.error.as_deref(), |error| Shown::Written(shortened(error)))),
    ("EXTRA", |view| or_nothing(view.stored.run.extra.as_ref(), Shown::Json)),
    ("METADATA", |view| or_nothing(view.stored.run.extra.as_ref().and_then(metadata), Shown::Part)),
    ("EVENTS", |view| or_nothing(view.stored.run.events.as_ref(), Shown::Json)),
    ("INPUTS", |view| or_nothing(view.bodies.inputs.json(), Shown::Json)),
    ("INPUTS_PREVIEW", |view| preview(view.bodies.inputs.json())),
    ("OUTPUTS", |view| or_nothing(view.bodies.outputs.json(), Shown::Json)),
    ("OUTPUTS_PREVIEW", |view| preview(view.bodies.outputs.json())),
    ("MANIFEST", |view| or_nothing(view.stored.run.serialized.as_ref(), Shown::Json)),
    ("PARENT_RUN_IDS", |view| Shown::Runs(payload::ancestors(view.run()))),
    ("PROJECT_ID", |view| Shown::Project(view.run().project_id)),
    ("TRACE_ID", |view| Shown::Trace(view.run().trace_id)),
    ("THREAD_ID", thread_id),
    ("DOTTED_ORDER", |view| Shown::Text(&view.stored.run.dotted_order)),
    ("IS_ROOT", |view| Shown::Flag(view.run().is_root())),
    ("REFERENCE_EXAMPLE_ID", |view| or_nothing(view.run().reference_example_id, Shown::Example)),
    ("REFERENCE_DATASET_ID", |_| Shown::NOTHING),
    ("TOTAL_TOKENS", |view| Shown::Count(view.usage().total_tokens)),
    ("PROMPT_TOKENS", |view| Shown::Count(view.usage().prompt_tokens)),
    ("COMPLETION_TOKENS", |view| Shown::Count(view.usage().completion_tokens)),
    ("TOTAL_COST", |view| cost(view.usage().total_cost)),
    ("PROMPT_COST", |view| cost(view.usage().prompt_cost)),
    ("COMPLETION_COST", |view| cost(view.usage().completion_cost)),
    ("PROMPT_TOKEN_DETAILS", |view| counts(&view.usage().prompt_token_details)),
    ("COMPLETION_TOKEN_DETAILS", |view| counts(&view.usage().completion_token_details)),
    ("PROMPT_COST_DETAILS", |view| costs(&view.usage().prompt_cost_details)),
    ("COMPLETION_COST_DETAILS", |view| costs(&view.usage().completion_cost_details)),
    ("PRICE_MODEL_ID", |_| Shown::NOTHING),
    ("TAGS", |view| Shown::Words(&view.stored.run.tags)),
    ("APP_PATH", |view| Shown::Written(payload::app_path(view.run()))),
    ("ATTACHMENTS", |view| {
        Shown::Urls(
            view.bodies.attachments.iter().map(|(name, link)| (name.as_str(), link.presigned_url.as_str())).collect(),
        )
    }),
    ("THREAD_EVALUATION_TIME", |_| Shown::NOTHING),
    ("IS_IN_DATASET", in_dataset),
    ("LAST_QUEUED_AT", last_queued_at),
    ("SHARE_URL", |_| Shown::NOTHING),
    ("FEEDBACK_STATS", feedback_stats),
    ("LS_USER_ID", |_| Shown::NOTHING),
];

/// The keys that are shown: the id alone, unless asked otherwise.
pub(super) fn selects(name: &str, raw: &RawValue) -> Result<Select, Invalid> {
    chosen(name, value::strings(name, raw)?)
}

/// The same of names that were read.
pub(super) fn chosen(name: &str, names: Vec<String>) -> Result<Select, Invalid> {
    let unknown = names.iter().find(|name| !FIELDS.iter().any(|(key, _)| key == name));
    match unknown {
        Some(unknown) => {
            let unknown: String = unknown.chars().take(64).collect();
            Err(Invalid::new(name, format!("has no key `{unknown}`; keys are in capitals, such as ID or START_TIME")))
        }
        None => Ok(Select::from(TABLE, names)),
    }
}

/// The id alone.
pub(super) fn id_alone() -> Select {
    Select::from(TABLE, vec!["ID".to_owned()])
}

fn cost<'v>(cost: Option<Decimal>) -> Shown<'v> {
    or_nothing(cost.and_then(|cost| cost.to_f64()), Shown::Real)
}

fn costs(costs: &Amounts) -> Shown<'_> {
    let reals = || costs.iter().filter_map(|(kind, cost)| Some((kind.as_str(), cost.to_f64()?))).collect();
    if costs.is_empty() { Shown::NOTHING } else { Shown::Reals(reals()) }
}

fn latency(run: &Run) -> Option<f64> {
    Some(run.end_time?.since(run.start_time).as_secs_f64())
}

fn shortened(text: &str) -> String {
    text.chars().take(PREVIEW).collect()
}

fn metadata(extra: &RawJson) -> Option<RawJson> {
    #[derive(Deserialize)]
    struct Extra {
        metadata: Option<RawJson>,
    }
    extra.read::<Extra>().ok()?.metadata
}
