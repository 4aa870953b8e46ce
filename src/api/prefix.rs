//! Where clients look for us: some are configured with the root, some with `/api/v1` or `/api`.

use axum::http::{Request, Uri};

/// Takes one optional prefix and one trailing slash off a request's path.
pub(crate) fn strip<B>(mut request: Request<B>) -> Request<B> {
    if let Some(uri) = stripped(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

fn stripped(uri: &Uri) -> Option<Uri> {
    let path = without_slash(without_prefix(uri.path()));
    if path == uri.path() {
        return None;
    }
    let path_and_query = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query.parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn without_prefix(path: &str) -> &str {
    let after = |prefix: &str| path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    match after("/api/v1").or_else(|| after("/api")) {
        Some("") => "/",
        Some(rest) => rest,
        None => path,
    }
}

fn without_slash(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some("") | None => path,
        Some(rest) => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_prefix_and_one_slash_are_taken_off() {
        for (given, expected) in [
            ("/runs/multipart", "/runs/multipart"),
            ("/api/v1/runs/multipart", "/runs/multipart"),
            ("/api/runs?x=1", "/runs?x=1"),
            ("/runs/?x=/", "/runs?x=/"),
            ("/api/v1/", "/"),
            ("/api", "/"),
            ("/", "/"),
            ("/api/v2/runs/query", "/v2/runs/query"),
            ("/api/v1/platform/alerts", "/platform/alerts"),
            ("/apikeys", "/apikeys"),
            ("/v1/rules", "/v1/rules"),
            ("/api/v10/x", "/v10/x"),
        ] {
            let request = Request::builder().uri(given).body(()).unwrap();
            assert_eq!(strip(request).uri().to_string(), expected, "{given}");
        }
    }
}
