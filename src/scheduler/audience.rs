//! Who hears of what rules find, beside the rules' own endpoints: those who subscribe to that kind of event. Asked once for
//! each kind and window, and only when something was found.

use std::collections::HashMap;

use crate::catalog::built_in::{RECORD_COMPLETED, RULE_MATCHED};
use crate::model::event::Event;
use crate::model::id::{EndpointId, TenantId};
use crate::model::rule::Rule;
use crate::store::events::Reach;
use crate::store::{Store, StoreError};

/// Those who hear of what one window finds.
pub(super) struct Audience<'s> {
    store: &'s dyn Store,
    tenant: TenantId,
    known: HashMap<Option<String>, Vec<EndpointId>>,
}

/// What a rule's messages are events of.
pub(super) fn event_of(rule: &Rule) -> Event {
    Event::of_tenant(rule.event.as_deref().unwrap_or(RULE_MATCHED))
}

impl<'s> Audience<'s> {
    pub(super) fn of(store: &'s dyn Store, tenant: TenantId) -> Self {
        Self { store, tenant, known: HashMap::new() }
    }

    /// Those who hear of what this rule finds.
    pub(super) async fn of_rule(&mut self, rule: &Rule) -> Result<Vec<EndpointId>, StoreError> {
        if let Some(known) = self.known.get(&rule.event) {
            return Ok(known.clone());
        }
        let mut found = self.store.hearers(self.tenant, &event_of(rule), Reach::Tenant).await?;
        if rule.event.is_none() {
            // To those who listen as Argilla's listeners do, a match is a record that is complete.
            let listeners =
                self.store.hearers(self.tenant, &Event::of_tenant(RECORD_COMPLETED), Reach::Application).await?;
            found.extend(listeners);
        }
        self.known.insert(rule.event.clone(), found.clone());
        Ok(found)
    }
}
