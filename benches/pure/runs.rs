//! Runs as applications send them, about 2 KB each, from a source of numbers that is the same every time.

use std::fmt::Write as _;

use runhook::model::feedback::{Feedback, Score};
use runhook::model::id::{FeedbackId, ProjectId, RunId, TenantId, TraceId};
use runhook::model::json::RawJson;
use runhook::model::run::{Payload, Run, Status, StoredRun};
use runhook::model::time::Timestamp;
use runhook::model::usage::Usage;
use uuid::Uuid;

/// Numbers that look like chance.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below this one.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    /// Whether it is one of so many times.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// Tags, names and customers that runs have and rules ask for.
pub(crate) const NAMES: u64 = 50;
pub(crate) const TAGS: u64 = 40;
pub(crate) const CUSTOMERS: u64 = 1000;
pub(crate) const KEYS: [&str; 4] = ["user_score", "correctness", "helpfulness", "toxicity"];
pub(crate) const MODELS: [&str; 4] = ["gpt-4o", "gpt-4o-mini", "claude-sonnet", "llama-70b"];
pub(crate) const TYPES: [&str; 4] = ["llm", "chain", "tool", "retriever"];

pub(crate) fn pick<T: Copy, const N: usize>(numbers: &mut Numbers, of: [T; N]) -> T {
    of[usize::try_from(numbers.below(N as u64)).unwrap()]
}

fn text(numbers: &mut Numbers, words: u64) -> String {
    let mut text = String::new();
    for _ in 0..words {
        write!(text, "word{} ", numbers.below(5000)).unwrap();
    }
    text
}

/// `extra` of a run.
pub(crate) fn extra(numbers: &mut Numbers) -> String {
    format!(
        "{{\"metadata\":{{\"customer\":\"c-{}\",\"env\":\"{}\",\"ls_model_name\":\"{}\",\"ls_temperature\":0.{},\
         \"session_id\":\"s-{}\",\"revision_id\":\"5f3a{}\",\"attempt\":{}}},\"runtime\":{{\"sdk\":\"langsmith-py\",\
         \"sdk_version\":\"0.4.1\",\"platform\":\"Linux\",\"runtime\":\"python\",\"py_implementation\":\"CPython\"}}}}",
        numbers.below(CUSTOMERS),
        if numbers.once_in(4) { "staging" } else { "prod" },
        pick(numbers, MODELS),
        numbers.below(10),
        numbers.below(100_000),
        numbers.below(10_000),
        numbers.below(3),
    )
}

/// `inputs` and `outputs` of a run.
pub(crate) fn payloads(numbers: &mut Numbers) -> (String, String) {
    let inputs = format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}]}}", text(numbers, 90));
    let outputs = format!(
        "{{\"generations\":[{{\"text\":\"{}\"}}],\"llm_output\":{{\"token_usage\":{{\"prompt_tokens\":{},\
         \"completion_tokens\":{},\"total_tokens\":{}}}}}}}",
        text(numbers, 60),
        numbers.below(900),
        numbers.below(300),
        numbers.below(1200)
    );
    (inputs, outputs)
}

fn feedback(numbers: &mut Numbers) -> Feedback {
    let at = Timestamp(1_700_000_000_000_000);
    Feedback {
        id: FeedbackId(Uuid::from_u128(numbers.below(u64::MAX).into())),
        run_id: None,
        trace_id: None,
        session_id: None,
        key: pick(numbers, KEYS).to_owned(),
        score: Some(Score::Number(f64::from(u32::try_from(numbers.below(101)).unwrap()) / 100.0)),
        value: None,
        comment: None,
        correction: None,
        source: Some(RawJson::parse("{\"type\":\"api\"}".to_owned()).unwrap()),
        extra: None,
        error: None,
        created_at: at,
        modified_at: at,
    }
}

/// The run of this number.
pub(crate) fn run(number: u64) -> StoredRun {
    let mut numbers = Numbers::new(number + 1);
    let id = RunId(Uuid::from_u128(u128::from(number) + 1));
    let failed = numbers.once_in(10);
    // Half are below a second, few above twenty.
    let longest = 1 + numbers.below(30);
    let latency = numbers.below(1000) * (1 + numbers.below(longest)) * 1000;
    let start = Timestamp(1_700_000_000_000_000 + i64::try_from(number).unwrap() * 1000);
    let (inputs, outputs) = payloads(&mut numbers);
    let json = |text: String| RawJson::parse(text).unwrap();
    let run = Run {
        tenant_id: TenantId::DEFAULT,
        project_id: ProjectId(Uuid::from_u128(1)),
        id,
        trace_id: TraceId::from(id),
        parent_run_id: (!numbers.once_in(4)).then_some(RunId(Uuid::from_u128(7))),
        dotted_order: format!("20240405T012854085646Z{id}"),
        name: format!("step-{}", numbers.below(NAMES)),
        run_type: pick(&mut numbers, TYPES).to_owned(),
        start_time: start,
        end_time: Some(Timestamp(start.0 + i64::try_from(latency).unwrap())),
        status: if failed { Status::Error } else { Status::Success },
        error: failed.then(|| format!("RateLimitError: {}", text(&mut numbers, 12))),
        tags: (0..numbers.below(4)).map(|_| format!("tag-{}", numbers.below(TAGS))).collect(),
        reference_example_id: None,
        inputs: Some(Payload::Inline(json(inputs))),
        outputs: Some(Payload::Inline(json(outputs))),
        extra: Some(json(extra(&mut numbers))),
        events: None,
        serialized: None,
        attachments: Vec::new(),
        usage: Usage::default(),
        first_token_time: None,
        modified_at: start,
    };
    let given = (0..2).filter(|_| numbers.once_in(6)).count();
    let feedback = (0..given).map(|_| feedback(&mut numbers)).collect();
    StoredRun { run, feedback, changed_seq: i64::try_from(number).unwrap() }
}
