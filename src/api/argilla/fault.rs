//! Errors as Argilla's clients read them: `{"detail": …}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::problem::Problem;

/// A problem, as this surface tells it.
#[derive(Debug)]
pub(super) struct Fault(Problem);

impl<T: Into<Problem>> From<T> for Fault {
    fn from(problem: T) -> Self {
        Self(problem.into())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let body = match problem.more.get("loc") {
            Some(place) => json!({ "detail": [{ "loc": place, "msg": problem.detail, "type": "value_error" }] }),
            None => json!({ "detail": problem.detail }),
        };
        problem.finish(Json(body).into_response())
    }
}
