//! `huggingface`: what `WebhooksServer` of `huggingface_hub` reads. The project takes the repository's place. The documented
//! payload follows in the same object, so one body serves its readers too.

use serde::Serialize;

use crate::payload::format::standard::TYPE;
use crate::payload::format::{FormatError, Source};

#[derive(Serialize)]
struct Head<'a> {
    event: Event,
    repo: Repo<'a>,
    webhook: Webhook<'a>,
}

#[derive(Serialize)]
struct Event {
    action: &'static str,
    scope: &'static str,
}

#[derive(Serialize)]
struct Repo<'a> {
    r#type: &'static str,
    name: String,
    id: &'a str,
    private: bool,
    url: Place,
    owner: Id<String>,
}

#[derive(Serialize)]
struct Place {
    web: String,
}

#[derive(Serialize)]
struct Id<T> {
    id: T,
}

#[derive(Serialize)]
struct Webhook<'a> {
    id: &'a str,
    version: u32,
}

pub(super) fn write(source: Source<'_>) -> Result<Vec<u8>, FormatError> {
    let (told, tenant) = (source.told()?, source.message.tenant_id);
    source.with_body(&Head {
        event: Event { action: "update", scope: TYPE },
        repo: Repo {
            r#type: "dataset",
            name: format!("{tenant}/{}", told.project),
            id: told.project_id(),
            private: true,
            url: Place { web: format!("/o/{tenant}/projects/p/{}", told.project_id()) },
            owner: Id { id: tenant.to_string() },
        },
        webhook: Webhook { id: &told.rule_id, version: 3 },
    })
}
