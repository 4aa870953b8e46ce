//! `POST /runs/query/validate`: whether a body would be answered, and what is wrong with it.

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;

use crate::api::Api;
use crate::api::auth::Principal;
use crate::api::langsmith::fault::Fault;
use crate::api::langsmith::search::{Keys, asked};
use crate::api::request;

#[derive(Serialize)]
pub(super) struct Verdict {
    valid: bool,
    errors: Vec<Wrong>,
}

#[derive(Serialize)]
struct Wrong {
    field: String,
    message: String,
}

pub(super) async fn validate(
    State(api): State<Api>,
    _principal: Principal,
    request: Request,
) -> Result<Json<Verdict>, Fault> {
    let body = request::body(&api, request).await?;
    let keys: Keys<'_> = request::keys(&api, &body)?;
    let errors: Vec<Wrong> = match asked(&keys) {
        Ok(asked) => {
            let lack = asked.terms.lack();
            lack.into_iter().map(|why| Wrong { field: "session".to_owned(), message: why.to_owned() }).collect()
        }
        Err(wrong) => {
            wrong.into_iter().map(|invalid| Wrong { message: invalid.to_string(), field: invalid.field }).collect()
        }
    };
    Ok(Json(Verdict { valid: errors.is_empty(), errors }))
}
