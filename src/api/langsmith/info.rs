//! `GET /info`, `GET /ok`: what clients ask before they send anything.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::langsmith::fault::Fault;
use crate::api::langsmith::params::Params;

/// The LangSmith version whose behaviour this is. Clients compare it to decide what they may send.
const VERSION: &str = "0.16.20";

/// The largest body a client is told to send. The request limit has room above it for what wraps the runs.
const BATCH_BYTES: u64 = 20 * 1024 * 1024;

/// The most runs a client is told to send at a time.
const BATCH_RUNS: u32 = 100;

/// The routes of this file.
pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/info", get(info)).route("/ok", get(ok))
}

/// All six keys of `batch_ingest_config` are there: one missing stops the Python client's tracing without a word.
async fn info(State(api): State<Api>) -> Json<Value> {
    Json(json!({
        "version": VERSION,
        "license_expiration_time": null,
        "batch_ingest_config": {
            "use_multipart_endpoint": true,
            "scale_up_qsize_trigger": 1000,
            "scale_up_nthreads_limit": 16,
            "scale_down_nempty_trigger": 4,
            "size_limit": BATCH_RUNS.min(api.limits.runs_per_request),
            "size_limit_bytes": BATCH_BYTES.min(api.limits.request_bytes),
        },
        "instance_flags": {
            "zstd_compression_enabled": true,
            "gzip_body_enabled": true,
            "ch_query_enabled": true,
            "sdb_query_enabled": false,
        },
    }))
}

async fn ok(State(api): State<Api>, params: Params) -> Result<Json<Value>, Fault> {
    if params.flag("check_db") {
        api.store.check_writable(api.clock.now()).await?;
    }
    Ok(Json(json!({ "ok": true })))
}
