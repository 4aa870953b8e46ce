//! Errors in the shapes Svix's clients know: `{"code", "detail"}`, and under 422 a list of places.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::api::problem::Problem;

/// A problem, as this surface tells it.
#[derive(Debug)]
pub(super) struct Fault(Problem);

/// What a handler answers.
pub(super) type Answer<T> = Result<T, Fault>;

impl<T: Into<Problem>> From<T> for Fault {
    fn from(problem: T) -> Self {
        Self(problem.into())
    }
}

impl Fault {
    /// Nothing has this id.
    pub(super) fn not_found() -> Self {
        Problem::new(StatusCode::NOT_FOUND, "not-found", "Entity not found").into()
    }

    /// It is there already.
    pub(super) fn exists(code: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::CONFLICT, code, detail).into()
    }

    /// Something in the body cannot be done, at this place.
    pub(super) fn invalid(place: &[&str], detail: impl Into<String>) -> Self {
        Problem::invalid(detail).with("loc", json!(place)).into()
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let body = match (problem.status, problem.code) {
            (_, "no-api-key" | "wrong-api-key") => {
                let mut response =
                    Json(json!({ "code": "authentication_failed", "detail": "Invalid token" })).into_response();
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                return response;
            }
            (StatusCode::UNPROCESSABLE_ENTITY, _) => {
                let place = problem.more.get("loc").cloned().unwrap_or_else(|| json!(["body"]));
                let one =
                    |place: &Value, message: &Value| json!({ "loc": place, "msg": message, "type": "value_error" });
                match problem.more.get("failures").and_then(Value::as_array) {
                    Some(all) => json!({ "detail": all.iter().map(|f| one(&f["loc"], &f["msg"])).collect::<Vec<_>>() }),
                    None => json!({ "detail": [one(&place, &problem.detail.clone().into())] }),
                }
            }
            _ => json!({ "code": problem.code.replace('-', "_"), "detail": problem.detail }),
        };
        problem.finish(Json(body).into_response())
    }
}
