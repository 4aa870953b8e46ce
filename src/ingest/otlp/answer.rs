//! What an exporter is told, in the encoding of its request.

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use serde_json::json;

use crate::ingest::otlp::{Encoding, Traced};

/// How many refusals are told of.
const TOLD: usize = 10;

/// `google.rpc.Status`, without its details.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// The answer to a request that was done, which is empty unless something of it was refused.
#[must_use]
pub fn done(traced: &Traced, encoding: Encoding) -> Vec<u8> {
    let (rejected, message) = (i64::try_from(traced.rejected).unwrap_or(i64::MAX), message(traced));
    let is_partial = rejected > 0 || !message.is_empty();
    match encoding {
        Encoding::Protobuf => {
            let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message: message };
            ExportTraceServiceResponse { partial_success: is_partial.then_some(partial) }.encode_to_vec()
        }
        Encoding::Json if !is_partial => b"{}".to_vec(),
        Encoding::Json => json!({
            "partialSuccess": { "rejectedSpans": rejected.to_string(), "errorMessage": message }
        })
        .to_string()
        .into_bytes(),
    }
}

/// The answer to a request that was not done. The codes are gRPC's.
#[must_use]
pub fn failed(status: u16, message: &str, encoding: Encoding) -> Vec<u8> {
    let code = match status {
        400 | 408 | 413 | 415 | 422 => 3,
        401 => 16,
        403 => 7,
        404 => 5,
        429 => 8,
        503 => 14,
        _ => 13,
    };
    match encoding {
        Encoding::Protobuf => Status { code, message: message.to_owned() }.encode_to_vec(),
        Encoding::Json => json!({ "code": code, "message": message }).to_string().into_bytes(),
    }
}

fn message(traced: &Traced) -> String {
    let told = traced.refused.iter().take(TOLD).map(|refused| format!("{}: {}", refused.part, refused.error));
    let mut told: Vec<String> = told.collect();
    if let Some(more) = traced.refused.len().checked_sub(TOLD).filter(|more| *more > 0) {
        told.push(format!("and {more} more"));
    }
    told.join("; ")
}
