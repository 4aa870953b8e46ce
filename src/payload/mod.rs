//! payload.
/// Stub.
pub fn render(
    body: &crate::model::message::Body,
    _links: &std::collections::HashMap<crate::model::run::BlobKey, url::Url>,
) -> bytes::Bytes {
    bytes::Bytes::from(body.json.clone())
}
