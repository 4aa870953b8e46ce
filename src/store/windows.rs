//! Windows: what the scheduler reads and how it commits.

use std::collections::HashMap;
use std::collections::HashSet;

use async_trait::async_trait;
use uuid::Uuid;

use crate::model::delivery::Delivery;
use crate::model::event::Event;
use crate::model::id::{MessageId, ProjectId, RuleId, RunId, TenantId};
use crate::model::message::Message;
use crate::model::time::Timestamp;
use crate::model::window::{Change, Cursor, GroupKey, Seq, Span, Window};
use crate::store::Result;
use crate::store::collections::ActionsTaken;
use crate::store::outbox::Claimant;

/// A project that has changes some group may not have seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stirred {
    /// The owner.
    pub tenant_id: TenantId,
    /// The project.
    pub project_id: ProjectId,
    /// Its name.
    pub name: String,
    /// Its newest change.
    pub last_seq: Seq,
}

impl Stirred {
    /// What the project is found by.
    #[must_use]
    pub fn key(&self) -> ProjectKey {
        (self.tenant_id, self.project_id)
    }
}

/// What a project is found by.
pub type ProjectKey = (TenantId, ProjectId);

/// How far the evaluation of one project has come.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Groups that have been evaluated, or placed by a rule's arrival.
    pub groups: HashMap<GroupKey, Cursor>,
    /// The last change at which a rule begins to look at the project; 0 when all look from the first.
    pub last_start: Seq,
    /// What single rules still have to see.
    pub spans: Vec<Span>,
}

/// All that an evaluation found, committed in one transaction.
#[derive(Debug, Clone)]
pub struct WindowCommit {
    /// The window.
    pub window: Window,
    /// The version of the rules it was evaluated with.
    pub rules_version: i64,
    /// Which rule matched which run: at most once, ever.
    pub matches: Vec<(RuleId, RunId)>,
    /// What is to be said.
    pub messages: Vec<Message>,
    /// To whom.
    pub deliveries: Vec<Delivery>,
    /// Up to where every group of the project has seen its changes with this window, if that is so:
    /// [`WindowStore::settle_project`] in the same transaction. The window counts whether the project settles or not.
    pub settles: Option<Seq>,
    /// What messages are events of, where somebody subscribes to that.
    pub events: Vec<(MessageId, Event)>,
    /// What becomes of the matches beside. What cannot be done (its dataset is gone) is noted with the match.
    pub actions: ActionsTaken,
    /// The present.
    pub applied_at: Timestamp,
}

/// What the scheduler reads and how it commits.
#[async_trait]
pub trait WindowStore: Send + Sync {
    /// Projects with changes since they were last settled, or with spans. One cheap read; idle projects cost nothing.
    async fn stirred_projects(&self) -> Result<Vec<Stirred>>;

    /// Takes up to `limit` of these projects for a while, in the order in which they are named: those that nobody else
    /// holds, or whose lease has run out. A holder that takes one again holds it longer. Which were taken; when they are
    /// fewer than `limit`, others hold the rest.
    ///
    /// This only spares schedulers each other's work. A lease may be lost, or held by two whose clocks differ: what
    /// counts is decided by [`Self::commit_window`].
    async fn lease_projects(&self, claimant: Claimant, projects: &[ProjectKey], limit: u32) -> Result<Vec<ProjectKey>>;

    /// Gives back those of these projects that are the holder's.
    async fn release_projects(&self, holder: Uuid, projects: &[ProjectKey]) -> Result<()>;

    /// How far a project's evaluation has come.
    async fn standing(&self, tenant: TenantId, project: ProjectId) -> Result<Standing>;

    /// From which change on rules look at a project, of those that begin behind this number: changes up to its start are
    /// not a rule's. A start changes only together with the version of the rules.
    async fn starts(&self, tenant: TenantId, project: ProjectId, beyond: Seq) -> Result<HashMap<RuleId, Seq>>;

    /// Changes after a number, in order: at most `limit`, accepted no later than `until`.
    async fn changes(
        &self,
        tenant: TenantId,
        project: ProjectId,
        after: Seq,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Change>>;

    /// Those of these pairs that have matched already.
    async fn matched(&self, tenant: TenantId, pairs: &[(RuleId, RunId)]) -> Result<HashSet<(RuleId, RunId)>>;

    /// Commits a window: matches, messages, deliveries and the cursor (or the span's new beginning; a span that is
    /// used up is removed). `Stale` if the cursor is not at the window's beginning, the rules have another version (a
    /// rule that has just joined the group would miss the window, one that has gone would still speak), or a match
    /// exists: then nothing was written, and the evaluation is repeated on what is there now.
    async fn commit_window(&self, commit: WindowCommit) -> Result<()>;

    /// Notes that every group of the project has seen its changes up to `seq`, unless more have come, or the rules have
    /// another version: a rule that has just arrived has not seen them.
    async fn settle_project(&self, tenant: TenantId, project: ProjectId, seq: Seq, rules_version: i64) -> Result<()>;

    /// A rule's newest windows that found something, newest first.
    async fn rule_windows(&self, tenant: TenantId, rule: RuleId, limit: u32) -> Result<Vec<(Window, u32)>>;
}
