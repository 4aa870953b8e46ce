//! One step of a history, in small numbers, so that it shrinks and prints well. What a number stands for is seen when
//! the step is taken.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub(super) const TENANTS: usize = 2;
pub(super) const RUNS: u32 = 7;
pub(super) const FEEDBACK: u32 = 4;
pub(super) const NAMES: usize = 4;
pub(super) const RULES: usize = 4;
pub(super) const ENDPOINTS: u32 = 4;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Accept { tenant: usize, items: Vec<Item> },
    DeleteFeedback { tenant: usize, feedback: u32 },
    Revise { tenant: usize, revision: Revision },
    Pause { tenant: usize, rule: usize },
    Resume { tenant: usize, rule: usize },
    Project { tenant: usize, step: ProjectStep },
    Commit { tenant: usize, window: WindowStep },
    Settle { tenant: usize, project: usize, ahead: i64, stale: bool },
    Claim { limit: u32, seconds: i64, crowded: Option<u32> },
    Finish { claim: usize, outcome: u8 },
    Replay { tenant: usize, delivery: usize },
    Keys(KeyStep),
    Wait(i64),
    Wipe,
    Look { tenant: usize, at: LookAt },
}

#[derive(Debug, Clone)]
pub(super) enum Item {
    Part { run: u32, says: Says, named: Named, patch: bool, variant: u8 },
    Feedback { feedback: u32, run: u32, session: Option<usize>, score: u8 },
}

/// What a part says. A run's start and its parent are always said together, and always the same.
#[derive(Debug, Clone)]
pub(super) enum Says {
    Begun,
    BegunWithPath,
    BegunWithoutName,
    Name,
    Path,
    Ended,
    Tagged,
}

#[derive(Debug, Clone)]
pub(super) enum Named {
    Nothing,
    Name(usize),
    Id(usize),
    UnknownId,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Revision {
    pub(super) rules: Vec<RuleStep>,
    pub(super) endpoints: Vec<EndpointStep>,
    pub(super) remove_rules: Vec<usize>,
    pub(super) remove_endpoints: Vec<u32>,
}

#[derive(Debug, Clone)]
pub(super) struct RuleStep {
    pub(super) rule: usize,
    /// Its key, when it takes another's.
    pub(super) key: Option<usize>,
    pub(super) watches: usize,
    pub(super) cadence: usize,
    pub(super) settles: bool,
    /// So many seconds ago.
    pub(super) backfill: Option<i64>,
    pub(super) paused: bool,
}

#[derive(Debug, Clone)]
pub(super) struct EndpointStep {
    pub(super) endpoint: u32,
    pub(super) key: Option<u32>,
    pub(super) rule: Option<usize>,
    pub(super) sealed: u8,
}

#[derive(Debug, Clone)]
pub(super) enum ProjectStep {
    Create { id: u8, name: usize },
    Rename { project: usize, name: usize },
    Describe { project: usize },
    Delete { project: usize },
}

#[derive(Debug, Clone)]
pub(super) struct WindowStep {
    pub(super) project: usize,
    /// Whose group it is.
    pub(super) rule: usize,
    /// Of the rule's span, if there is one.
    pub(super) span: bool,
    /// Where it begins, seen from where it should.
    pub(super) ahead: i64,
    pub(super) length: i64,
    pub(super) stale: bool,
    /// Whether the project settles with it, where it ends.
    pub(super) settles: bool,
    pub(super) matches: Vec<(usize, u32)>,
    pub(super) to: Vec<u32>,
}

#[derive(Debug, Clone)]
pub(super) enum KeyStep {
    Put { key: u8, hash: u8 },
    Revoke(u8),
    Marker { name: u8, value: u8 },
    Reseal { endpoint: u32, old: u8, new: u8 },
    CheckWritable,
}

/// What is read, apart from everything at the end.
#[derive(Debug, Clone)]
pub(super) enum LookAt {
    Run(u32),
    Runs { project: Option<usize>, trace: Option<u32>, roots: bool, before: Option<u32>, limit: u32 },
    Feedback { run: Option<u32>, key: bool, source: bool, project: Option<usize>, limit: u32, offset: u32 },
    Deliveries { state: usize, rule: Option<usize>, endpoint: Option<u32>, since: Option<i64>, before: Option<usize> },
    Projects { name: Option<usize>, part: Option<usize>, limit: u32, offset: u32 },
    Changes { project: usize, after: i64, until: i64, limit: u32 },
    Due { after: Option<u32> },
    SealedAfter(u32),
}

fn item() -> impl Strategy<Value = Item> {
    let says = prop_oneof![
        6 => Just(Says::Begun),
        1 => Just(Says::BegunWithPath),
        1 => Just(Says::BegunWithoutName),
        1 => Just(Says::Name),
        1 => Just(Says::Path),
        3 => Just(Says::Ended),
        1 => Just(Says::Tagged),
    ];
    let named = prop_oneof![
        2 => Just(Named::Nothing),
        4 => (0..NAMES).prop_map(Named::Name),
        1 => (0..NAMES).prop_map(Named::Id),
        1 => Just(Named::UnknownId),
    ];
    let part = (0..RUNS, says, named, any::<bool>(), 0..2_u8);
    let feedback = (0..FEEDBACK, 0..=RUNS, option::of(0..NAMES), 0..2_u8);
    prop_oneof![
        4 => part.prop_map(|(run, says, named, patch, variant)| Item::Part { run, says, named, patch, variant }),
        1 => feedback.prop_map(|(feedback, run, session, score)| Item::Feedback { feedback, run, session, score }),
    ]
}

prop_compose! {
    fn rule()(
        rule in 0..RULES, key in option::weighted(0.1, 0..RULES), watches in 0..4_usize, cadence in 0..3_usize,
        settles in any::<bool>(), backfill in option::of(0..60_i64), paused in proptest::bool::weighted(0.1),
    ) -> RuleStep {
        RuleStep { rule, key, watches, cadence, settles, backfill, paused }
    }
}

prop_compose! {
    fn endpoint()(
        endpoint in 0..ENDPOINTS, key in option::of(0..ENDPOINTS), rule in option::weighted(0.2, 0..RULES), sealed in 0..3_u8,
    ) -> EndpointStep {
        EndpointStep { endpoint, key, rule, sealed }
    }
}

prop_compose! {
    fn revision()(
        rules in vec(rule(), 0..3), endpoints in vec(endpoint(), 0..3),
        remove_rules in vec(0..RULES, 0..2), remove_endpoints in vec(0..ENDPOINTS, 0..2),
    ) -> Revision {
        Revision { rules, endpoints, remove_rules, remove_endpoints }
    }
}

prop_compose! {
    fn window()(
        project in 0..NAMES, rule in 0..RULES, span in any::<bool>(),
        ahead in prop_oneof![6 => Just(0_i64), 1 => Just(1), 1 => Just(-1)], length in 0..6_i64,
        stale in proptest::bool::weighted(0.1), settles in any::<bool>(), matches in vec((0..RULES, 0..RUNS), 0..3),
        to in vec(0..ENDPOINTS, 0..3),
    ) -> WindowStep {
        WindowStep { project, rule, span, ahead, length, stale, settles, matches, to }
    }
}

fn project() -> impl Strategy<Value = ProjectStep> {
    prop_oneof![
        (0..3_u8, 0..NAMES).prop_map(|(id, name)| ProjectStep::Create { id, name }),
        (0..NAMES, 0..NAMES).prop_map(|(project, name)| ProjectStep::Rename { project, name }),
        (0..NAMES).prop_map(|project| ProjectStep::Describe { project }),
        (0..NAMES).prop_map(|project| ProjectStep::Delete { project }),
    ]
}

fn key() -> impl Strategy<Value = KeyStep> {
    prop_oneof![
        (0..3_u8, 0..3_u8).prop_map(|(key, hash)| KeyStep::Put { key, hash }),
        (0..3_u8).prop_map(KeyStep::Revoke),
        (0..2_u8, 0..2_u8).prop_map(|(name, value)| KeyStep::Marker { name, value }),
        (0..ENDPOINTS, 0..3_u8, 0..3_u8).prop_map(|(endpoint, old, new)| KeyStep::Reseal { endpoint, old, new }),
        Just(KeyStep::CheckWritable),
    ]
}

fn look_at() -> impl Strategy<Value = LookAt> {
    let runs = (option::of(0..NAMES), option::of(0..RUNS), any::<bool>(), option::of(0..RUNS), 1..4_u32);
    let about = (option::of(0..RUNS), any::<bool>(), any::<bool>(), option::of(0..NAMES));
    let deliveries =
        (0..4_usize, option::of(0..RULES), option::of(0..ENDPOINTS), option::of(0..60_i64), option::of(0..4_usize));
    let projects = (option::of(0..NAMES), option::of(0..3_usize), 1..4_u32, 0..2_u32);
    prop_oneof![
        (0..RUNS).prop_map(LookAt::Run),
        runs.prop_map(|(project, trace, roots, before, limit)| LookAt::Runs { project, trace, roots, before, limit }),
        (about, 1..4_u32, 0..2_u32).prop_map(|((run, key, source, project), limit, offset)| {
            LookAt::Feedback { run, key, source, project, limit, offset }
        }),
        deliveries.prop_map(|(state, rule, endpoint, since, before)| {
            LookAt::Deliveries { state, rule, endpoint, since, before }
        }),
        projects.prop_map(|(name, part, limit, offset)| LookAt::Projects { name, part, limit, offset }),
        (0..NAMES, 0..6_i64, 0..60_i64, 1..4_u32).prop_map(|(project, after, until, limit)| LookAt::Changes {
            project,
            after,
            until,
            limit
        }),
        option::of(0..ENDPOINTS).prop_map(|after| LookAt::Due { after }),
        (0..ENDPOINTS).prop_map(LookAt::SealedAfter),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    // The first tenant has most of what happens, so that much happens to the same things.
    let tenant = || prop_oneof![5 => Just(0), 1 => 0..TENANTS];
    prop_oneof![
        30 => (tenant(), vec(item(), 1..6)).prop_map(|(tenant, items)| Step::Accept { tenant, items }),
        2 => (tenant(), 0..FEEDBACK).prop_map(|(tenant, feedback)| Step::DeleteFeedback { tenant, feedback }),
        12 => (tenant(), revision()).prop_map(|(tenant, revision)| Step::Revise { tenant, revision }),
        2 => (tenant(), 0..RULES).prop_map(|(tenant, rule)| Step::Pause { tenant, rule }),
        3 => (tenant(), 0..RULES).prop_map(|(tenant, rule)| Step::Resume { tenant, rule }),
        5 => (tenant(), project()).prop_map(|(tenant, step)| Step::Project { tenant, step }),
        20 => (tenant(), window()).prop_map(|(tenant, window)| Step::Commit { tenant, window }),
        5 => (tenant(), 0..NAMES, -1..2_i64, proptest::bool::weighted(0.1))
            .prop_map(|(tenant, project, ahead, stale)| Step::Settle { tenant, project, ahead, stale }),
        8 => (1..4_u32, 0..30_i64, option::weighted(0.2, 0..ENDPOINTS))
            .prop_map(|(limit, seconds, crowded)| Step::Claim { limit, seconds, crowded }),
        8 => (0..9_usize, 0..5_u8).prop_map(|(claim, outcome)| Step::Finish { claim, outcome }),
        3 => (tenant(), 0..9_usize).prop_map(|(tenant, delivery)| Step::Replay { tenant, delivery }),
        4 => key().prop_map(Step::Keys),
        8 => prop_oneof![4 => 0..20_i64, 1 => Just(300_i64), 1 => Just(-10_i64)].prop_map(Step::Wait),
        1 => Just(Step::Wipe),
        10 => (tenant(), look_at()).prop_map(|(tenant, at)| Step::Look { tenant, at }),
    ]
}

/// A history.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..60)
}
