//! Downloads of blobs that live in a directory: whoever holds a link may fetch what it names until it expires.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use crate::api::Api;
use crate::api::problem::Problem;
use crate::blob::directory::BadLink;
use crate::model::run::BlobKey;

/// How much of a blob is in memory at a time.
const CHUNK: usize = 64 * 1024;

/// What makes a link good.
#[derive(Deserialize)]
pub(crate) struct Signature {
    expires: i64,
    sig: String,
}

/// `GET /blobs/{key}?expires=…&sig=…`, without an API key: the link is the permission.
pub(crate) async fn download(
    State(api): State<Api>,
    Path(key): Path<String>,
    signature: Result<Query<Signature>, QueryRejection>,
) -> Result<Response, Problem> {
    let Some(directory) = api.blobs.as_directory() else {
        return Err(Problem::not_found("blob").hint("this server keeps blobs on S3; links lead there"));
    };
    let Ok(Query(signature)) = signature else {
        return Err(Problem::new(StatusCode::FORBIDDEN, "no-signature", "a link needs its expires and sig parameters"));
    };
    let key = BlobKey(key);
    directory.verify(&key, signature.expires, &signature.sig, api.clock.now()).map_err(|bad| match bad {
        BadLink::Forged => Problem::new(StatusCode::FORBIDDEN, "wrong-signature", bad.to_string()),
        BadLink::Expired => Problem::new(StatusCode::FORBIDDEN, "expired", bad.to_string())
            .hint("links are made anew with every delivery; replay it, or ask the API for the run"),
    })?;
    let Some(blob) = directory.open(&key).await? else { return Err(Problem::not_found("blob")) };
    let mime_type =
        HeaderValue::from_str(&blob.mime_type).unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"));
    // What a client uploaded is handed out as a file: a browser never shows it as a page of this origin.
    let headers = [
        (header::CONTENT_TYPE, mime_type),
        (header::CONTENT_LENGTH, HeaderValue::from(blob.length)),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-store")),
    ];
    let body = Body::from_stream(ReaderStream::with_capacity(blob.file.take(blob.length), CHUNK));
    Ok((headers, body).into_response())
}
