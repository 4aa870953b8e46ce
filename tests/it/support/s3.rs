//! An S3 server in process, on a real socket, with real signatures.

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use runhook::blob::{S3Credentials, S3Settings};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tower::ServiceExt as _;
use url::Url;

/// A server with one empty bucket. It ends when it is dropped.
pub(crate) struct S3Server {
    /// How to reach its bucket.
    pub(crate) settings: S3Settings,
    /// What it stores.
    pub(crate) root: TempDir,
    _serving: JoinSet<()>,
}

impl S3Server {
    /// Starts a server on a free port.
    pub(crate) async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("runs")).unwrap();
        let credentials = S3Credentials {
            access_key_id: "AKIDTEST".into(),
            secret_access_key: "not-a-real-secret".into(),
            session_token: None,
        };
        let mut builder = S3ServiceBuilder::new(FileSystem::new(root.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single("AKIDTEST", "not-a-real-secret"));
        let service = builder.build();
        let app = axum::Router::new().fallback(move |request: Request| {
            let service = service.clone();
            async move {
                match service.oneshot(request).await {
                    Ok(response) => response.map(Body::new),
                    Err(_) => refused(),
                }
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
        let settings = S3Settings {
            bucket: "runs".into(),
            prefix: "a/b".into(),
            endpoint: Some(endpoint),
            region: None,
            credentials: Some(credentials),
            path_style: true,
            public_endpoint: None,
        };
        Self { settings, root, _serving: serving }
    }
}

fn refused() -> Response {
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}
