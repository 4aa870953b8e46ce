//! What runs are asked for by, whatever each parameter is called: read, gathered, and made into a question.

use std::str::FromStr;

use axum::http::StatusCode;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::api::Api;
use crate::api::problem::Problem;
use crate::filter::sql::Order;
use crate::filter::{Filter, Mode};
use crate::ingest::{Invalid, value};
use crate::model::id::{InvalidId, ProjectId, RunId, TenantId, TraceId};
use crate::model::run::Status;
use crate::model::time::Timestamp;
use crate::query::{Position, Question, Scope};
use crate::store::StoreError;
use crate::store::projects::ProjectQuery;

/// Ids of one kind that may be named.
const MOST_IDS: usize = 1000;

/// What LangSmith answers to those who would search everything.
const NO_SCOPE: &str = "At least one of 'session', 'id', 'parent_run', or 'reference_example' must be specified";

/// What runs are asked for by.
#[derive(Default)]
pub(in crate::api::langsmith) struct Terms {
    pub(in crate::api::langsmith) runs: Vec<RunId>,
    /// Whether ids make everything else be ignored.
    pub(in crate::api::langsmith) ids_alone: bool,
    pub(in crate::api::langsmith) trace: Option<TraceId>,
    pub(in crate::api::langsmith) parent: Option<RunId>,
    pub(in crate::api::langsmith) projects: Vec<ProjectId>,
    pub(in crate::api::langsmith) examples: Vec<Uuid>,
    pub(in crate::api::langsmith) run_type: Option<String>,
    pub(in crate::api::langsmith) is_root: Option<bool>,
    pub(in crate::api::langsmith) failed: Option<bool>,
    /// Whether those that did not fail must have ended.
    pub(in crate::api::langsmith) ended: bool,
    pub(in crate::api::langsmith) started_from: Option<Timestamp>,
    pub(in crate::api::langsmith) started_until: Option<Timestamp>,
    pub(in crate::api::langsmith) text: Option<String>,
    pub(in crate::api::langsmith) filters: Vec<Filter>,
    pub(in crate::api::langsmith) trace_filter: Option<Filter>,
    pub(in crate::api::langsmith) tree_filter: Option<Filter>,
    pub(in crate::api::langsmith) newest_first: bool,
}

impl Terms {
    /// What makes it no question: that it is about everything.
    pub(in crate::api::langsmith) fn lack(&self) -> Option<&'static str> {
        let lists = self.runs.is_empty() && self.projects.is_empty() && self.examples.is_empty();
        (lists && self.trace.is_none() && self.parent.is_none()).then_some(NO_SCOPE)
    }

    /// The question.
    pub(in crate::api::langsmith) async fn question(self, api: &Api, tenant: TenantId) -> Result<Question, Problem> {
        if let Some(lack) = self.lack() {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "no-scope", lack));
        }
        if self.ids_alone && !self.runs.is_empty() {
            return Ok(Question {
                scope: Scope::Runs(self.runs),
                filter: Filter::default(),
                trace_filter: None,
                tree_filter: None,
                newest_first: self.newest_first,
            });
        }
        let (scope, by_projects) = self.scope(api, tenant).await?;
        let mut filter = self.filter();
        if !by_projects && !self.projects.is_empty() {
            filter = filter.and(Filter::in_projects(&self.projects));
        }
        let (trace_filter, tree_filter) = (self.trace_filter, self.tree_filter);
        Ok(Question { scope, filter, trace_filter, tree_filter, newest_first: self.newest_first })
    }

    /// Where to look, and whether that is what projects were named for.
    async fn scope(&self, api: &Api, tenant: TenantId) -> Result<(Scope, bool), StoreError> {
        if !self.runs.is_empty() {
            return Ok((Scope::Runs(self.runs.clone()), false));
        }
        if let Some(trace) = self.trace {
            return Ok((Scope::Trace(trace), false));
        }
        // Children are in their parent's trace.
        if let Some(parent) = self.parent
            && let Some(found) = api.store.runs(tenant, &[parent]).await?.into_iter().next()
        {
            return Ok((Scope::Trace(found.run.trace_id), false));
        }
        let mut projects = self.projects.clone();
        if projects.is_empty() {
            let every = ProjectQuery { limit: u32::MAX, ..ProjectQuery::default() };
            projects = api.store.list_projects(tenant, &every).await?.iter().map(|project| project.id).collect();
        }
        projects.sort_unstable();
        projects.dedup();
        Ok((Scope::Projects(projects), true))
    }

    fn filter(&self) -> Filter {
        let mut parts: Vec<Filter> = self.filters.clone();
        parts.extend(self.trace.map(Filter::in_trace));
        parts.extend(self.parent.map(Filter::child_of));
        parts.extend((!self.examples.is_empty()).then(|| Filter::answers(&self.examples)));
        parts.extend(self.run_type.as_deref().map(Filter::run_type));
        parts.extend(self.is_root.map(Filter::is_root));
        let failed = Filter::status(Status::Error.as_str());
        match self.failed {
            Some(true) => parts.push(failed),
            Some(false) => {
                parts.push(failed.negated());
                parts.extend(self.ended.then(|| Filter::status(Status::Pending.as_str()).negated()));
            }
            None => {}
        }
        parts.extend(self.started_from.map(|at| Filter::started(Order::Gte, at)));
        parts.extend(self.started_until.map(|at| Filter::started(Order::Lte, at)));
        parts.extend(self.text.as_deref().filter(|text| !text.trim().is_empty()).map(Filter::text));
        parts.into_iter().fold(Filter::default(), Filter::and)
    }
}

/// A body that is being read: what is wrong with it is gathered.
#[derive(Default)]
pub(in crate::api::langsmith) struct Reading {
    wrong: Vec<Invalid>,
}

impl Reading {
    /// One value, if it is there and right.
    pub(in crate::api::langsmith) fn of<T>(
        &mut self,
        name: &str,
        raw: Option<&RawValue>,
        read: impl FnOnce(&str, &RawValue) -> Result<T, Invalid>,
    ) -> Option<T> {
        match read(name, raw?) {
            Ok(value) => Some(value),
            Err(invalid) => {
                self.wrong.push(invalid);
                None
            }
        }
    }

    /// Several values; one alone need not be in a list.
    pub(in crate::api::langsmith) fn list<T>(
        &mut self,
        name: &str,
        raw: Option<&RawValue>,
        read: impl Fn(&str) -> Result<T, InvalidId>,
    ) -> Vec<T> {
        let all = |name: &str, raw: &RawValue| {
            let texts =
                if raw.get().starts_with('"') { vec![value::string(name, raw)?] } else { value::strings(name, raw)? };
            if texts.len() > MOST_IDS {
                return Err(Invalid::new(name, format!("names more than {MOST_IDS} ids")));
            }
            let read =
                |text: &String| read(text).map_err(|error| Invalid::new(name, format!("is no list of ids: {error}")));
            texts.iter().map(read).collect::<Result<Vec<T>, Invalid>>()
        };
        self.of(name, raw, all).unwrap_or_default()
    }

    /// What was read, unless something is wrong.
    pub(in crate::api::langsmith) fn finished<T>(self, read: T) -> Result<T, Vec<Invalid>> {
        if self.wrong.is_empty() { Ok(read) } else { Err(self.wrong) }
    }
}

/// A filter. What is wrong with it is told with its place.
pub(in crate::api::langsmith) fn filter(name: &str, raw: &RawValue) -> Result<Filter, Invalid> {
    let text = value::string(name, raw)?;
    let (filter, _) = Filter::parse(&text, Mode::Lenient).map_err(|problems| {
        let told = problems.iter().map(|problem| {
            let place = text.get(..problem.span.start).unwrap_or_default().chars().count().saturating_add(1);
            let hint = problem.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("at character {place}: {}{hint}", problem.message)
        });
        Invalid::new(name, format!("does not parse, {}", told.collect::<Vec<_>>().join("; ")))
    })?;
    Ok(filter)
}

pub(in crate::api::langsmith) fn boolean(name: &str, raw: &RawValue) -> Result<bool, Invalid> {
    serde_json::from_str(raw.get()).map_err(|_| Invalid::new(name, "must be true or false"))
}

/// How many, of which there must be one.
pub(in crate::api::langsmith) fn count(name: &str, raw: &RawValue) -> Result<u32, Invalid> {
    let count = serde_json::from_str(raw.get()).ok().filter(|count| *count > 0);
    count.ok_or_else(|| Invalid::new(name, "must be a whole number above 0"))
}

/// How many, or none.
pub(in crate::api::langsmith) fn offset(name: &str, raw: &RawValue) -> Result<u32, Invalid> {
    serde_json::from_str(raw.get()).map_err(|_| Invalid::new(name, "must be a whole number"))
}

/// A cursor of an earlier answer.
pub(in crate::api::langsmith) fn position(name: &str, raw: &RawValue) -> Result<Position, Invalid> {
    Position::parse(&value::string(name, raw)?).ok_or_else(|| Invalid::new(name, "is none that this server gave"))
}

/// An id of a project, as text.
pub(in crate::api::langsmith) fn project(text: &str) -> Result<ProjectId, InvalidId> {
    ProjectId::from_str(text)
}
