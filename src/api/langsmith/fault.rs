//! Errors in the shapes LangSmith's clients know: `{"error", "details"}` where runs are taken in, `{"detail"}`
//! everywhere else, with a list of places when a body does not validate.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::api::problem::Problem;

/// A problem, and the shape its sender expects.
#[derive(Debug)]
pub(crate) struct Fault {
    problem: Problem,
    shape: Shape,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Intake,
    Record,
}

impl Fault {
    /// Where runs are taken in.
    pub(crate) fn intake(problem: impl Into<Problem>) -> Self {
        Self { problem: problem.into(), shape: Shape::Intake }
    }
}

/// Everywhere else.
impl<T: Into<Problem>> From<T> for Fault {
    fn from(problem: T) -> Self {
        Self { problem: problem.into(), shape: Shape::Record }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let problem = &self.problem;
        let body = match self.shape {
            Shape::Intake => {
                let mut body = Map::new();
                body.insert("error".to_owned(), problem.detail.clone().into());
                body.insert("details".to_owned(), problem.hint.clone().unwrap_or_default().into());
                body.extend(problem.more.clone());
                Value::Object(body)
            }
            Shape::Record => match problem.more.get("loc") {
                Some(place) => json!({ "detail": [{ "loc": place, "msg": problem.detail, "type": "value_error" }] }),
                None => json!({ "detail": problem.detail }),
            },
        };
        problem.finish(Json(body).into_response())
    }
}
