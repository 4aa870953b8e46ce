//! Requests as `ingest` takes them.

use std::str::FromStr;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderName, header};
use bytes::Bytes;
use futures_util::stream::StreamExt;
use serde::Deserialize;

use crate::api::Api;
use crate::api::problem::Problem;
use crate::ingest::{Incoming, Invalid, depth};
use crate::model::id::InvalidId;

/// A request whose body has not been read.
pub(crate) fn incoming(request: Request) -> Incoming {
    // What is not text is no word that is known further on, where it is refused; it does not count as absent.
    let text = |name: HeaderName| Some(String::from_utf8_lossy(request.headers().get(name)?.as_bytes()).into_owned());
    Incoming {
        content_type: text(header::CONTENT_TYPE),
        encoding: text(header::CONTENT_ENCODING),
        length: text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        body: Box::pin(request.into_body().into_data_stream().map(|chunk| chunk.map_err(Into::into))),
    }
}

/// The whole body of a request, decoded and within the limits.
pub(crate) async fn body(api: &Api, request: Request) -> Result<Bytes, Problem> {
    Ok(api.intake().body(incoming(request)).await?)
}

/// The whole body, as an extractor: within the limits and the budget of all requests, whatever the surface.
pub(crate) struct Whole(pub(crate) Bytes);

impl FromRequest<Api> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        body(api, request).await.map(Self)
    }
}

/// An object as its keys.
pub(crate) fn keys<'a, T: Deserialize<'a>>(api: &Api, json: &'a [u8]) -> Result<T, Problem> {
    depth::check("body", json, api.limits.json_depth)?;
    if json.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Problem::malformed("the body must be a JSON object"));
    }
    serde_json::from_slice(json).map_err(|error| Problem::malformed(format!("the body is not valid JSON: {error}")))
}

/// An id out of a path.
pub(crate) fn id<T: FromStr<Err = InvalidId>>(name: &str, text: &str) -> Result<T, Problem> {
    let parsed = text.parse().map_err(|error| Invalid::new(name, format!("is not an id: {error}")));
    parsed.map_err(|invalid| Problem::from(invalid).with("loc", serde_json::json!(["path", name])))
}
