//! Blob storage keeps its promises in a directory and on S3 alike: one suite, stamped for both.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path as UrlPath, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use runhook::blob::directory::{BadLink, Directory};
use runhook::blob::s3::S3Blobs;
use runhook::blob::{BlobError, BlobStore, BlobUrl, key_of};
use runhook::crypto::Keyring;
use runhook::model::id::{RunId, TenantId};
use runhook::model::rule::BatchLimits;
use runhook::model::run::BlobKey;
use runhook::model::time::{Clock as _, SystemClock, Timestamp};
use runhook::payload::render;
use tempfile::TempDir;
use tokio::task::JoinSet;
use url::Url;

use crate::support::s3::S3Server;
use crate::support::samples::{built, run_with};

const HOUR: Duration = Duration::from_hours(1);

/// A store under test, with whatever must live as long as it does.
struct Fixture<T> {
    store: Arc<T>,
    _held: Box<dyn Send + Sync>,
}

fn keyring() -> Arc<Keyring> {
    Arc::new(Keyring::parse(&Keyring::line(1, &[5; 32])).unwrap())
}

fn key(field: &str, bytes: &[u8]) -> BlobKey {
    key_of(TenantId::DEFAULT, RunId(uuid::Uuid::from_u128(9)), field, bytes)
}

async fn directory() -> Fixture<Directory> {
    let root = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = Url::parse(&format!("http://{}/under", listener.local_addr().unwrap())).unwrap();
    let store = Arc::new(Directory::new(root.path().join("blobs"), base, keyring()));
    store.prepare().await.unwrap();
    let app =
        axum::Router::new().route("/under/blobs/{*key}", axum::routing::get(download)).with_state(Arc::clone(&store));
    let mut serving: JoinSet<()> = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
    let held: (TempDir, JoinSet<()>) = (root, serving);
    Fixture { store, _held: Box::new(held) }
}

#[derive(serde::Deserialize)]
struct Signed {
    expires: i64,
    sig: String,
}

async fn download(
    State(store): State<Arc<Directory>>,
    UrlPath(key): UrlPath<String>,
    Query(signed): Query<Signed>,
) -> Response {
    let key = BlobKey(key);
    if store.verify(&key, signed.expires, &signed.sig, SystemClock.now()).is_err() {
        return StatusCode::FORBIDDEN.into_response();
    }
    match store.download(&key).await.unwrap() {
        Some(blob) => ([(header::CONTENT_TYPE, blob.mime_type)], blob.bytes).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn s3() -> Fixture<S3Blobs> {
    let server = S3Server::start().await;
    let store = Arc::new(S3Blobs::connect(&server.settings).await);
    Fixture { store, _held: Box::new(server) }
}

async fn fetch(link: Url) -> (StatusCode, Option<String>, Bytes) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.get(link).send().await.unwrap();
    let status = StatusCode::from_u16(response.status().as_u16()).unwrap();
    let mime_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    (status, mime_type, response.bytes().await.unwrap())
}

/// Five megabytes that no compression or text handling would leave alone.
fn large() -> Bytes {
    (0..5_000_000_u32).map(|i| u8::try_from(i.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect()
}

macro_rules! suite {
    ($start:ident { $($test:ident),* $(,)? }) => {
        mod $start {
            $(
                #[tokio::test]
                async fn $test() {
                    let fixture = super::$start().await;
                    super::promises::$test(&*fixture.store).await;
                }
            )*
        }
    };
}

macro_rules! both {
    ($($test:ident),* $(,)?) => {
        suite!(directory { $($test),* });
        suite!(s3 { $($test),* });
    };
}

both!(
    a_blob_is_there_once_it_was_put_and_gone_once_it_was_deleted,
    a_link_downloads_the_same_bytes_with_their_type,
    an_expired_link_is_refused,
    a_link_that_was_tampered_with_is_refused,
    a_key_that_leads_elsewhere_is_refused,
    a_check_passes_and_leaves_the_blobs_alone,
    inputs_of_five_megabytes_arrive_as_a_link_that_downloads_to_the_same_bytes,
);

mod promises {
    use super::*;

    pub(super) async fn a_blob_is_there_once_it_was_put_and_gone_once_it_was_deleted(store: &dyn BlobStore) {
        let bytes = Bytes::from_static(b"{\"q\":\"what?\"}");
        let key = key("inputs", &bytes);
        assert_eq!(store.get(&key).await.unwrap(), None);
        for _ in 0..2 {
            store.put(&key, bytes.clone(), "application/json").await.unwrap();
            assert_eq!(store.get(&key).await.unwrap().as_ref(), Some(&bytes));
        }
        for _ in 0..2 {
            store.delete(&key).await.unwrap();
            assert_eq!(store.get(&key).await.unwrap(), None);
        }
        store.put(&key, bytes.clone(), "application/json").await.unwrap();
        assert_eq!(store.get(&key).await.unwrap(), Some(bytes));
    }

    pub(super) async fn a_link_downloads_the_same_bytes_with_their_type(store: &dyn BlobStore) {
        let nothing = Bytes::new();
        for (field, mime_type, bytes) in [
            ("inputs", "application/json", large()),
            ("attachment.a picture/ü.png", "image/png", Bytes::from_static(b"\x89PNG\r\n\0")),
            ("outputs", "application/json", nothing),
        ] {
            let key = key(field, &bytes);
            store.put(&key, bytes.clone(), mime_type).await.unwrap();
            let link = store.link(&key, SystemClock.now(), HOUR).await.unwrap();
            let (status, served_type, served) = fetch(link).await;
            assert_eq!((status, served_type.as_deref()), (StatusCode::OK, Some(mime_type)), "{field}");
            assert!(served == bytes, "{field}: {} bytes of {}", served.len(), bytes.len());
        }
    }

    pub(super) async fn an_expired_link_is_refused(store: &dyn BlobStore) {
        let bytes = Bytes::from_static(b"secret");
        let key = key("inputs", &bytes);
        store.put(&key, bytes, "application/json").await.unwrap();
        let link = store.link(&key, SystemClock.now().before(2 * HOUR), HOUR).await.unwrap();
        let (status, _, body) = fetch(link).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(!body.windows(6).any(|part| part == b"secret"));
    }

    pub(super) async fn a_link_that_was_tampered_with_is_refused(store: &dyn BlobStore) {
        let (one, other) = (Bytes::from_static(b"one"), Bytes::from_static(b"other"));
        let (one_key, other_key) = (key("inputs", &one), key("inputs", &other));
        store.put(&one_key, one, "application/json").await.unwrap();
        store.put(&other_key, other, "application/json").await.unwrap();
        let link = store.link(&one_key, SystemClock.now(), HOUR).await.unwrap();

        let mut moved = link.clone();
        moved.set_path(&link.path().replace(&one_key.0, &other_key.0));
        assert_ne!(moved, link);
        assert_eq!(fetch(moved).await.0, StatusCode::FORBIDDEN);

        let prolonged = changed(&link, &["expires", "X-Amz-Expires"], |value| format!("{value}0"));
        assert_eq!(fetch(prolonged).await.0, StatusCode::FORBIDDEN);

        let forged =
            changed(&link, &["sig", "X-Amz-Signature"], |value| value.replace(|c: char| c.is_ascii_hexdigit(), "a"));
        assert_eq!(fetch(forged).await.0, StatusCode::FORBIDDEN);
    }

    pub(super) async fn a_key_that_leads_elsewhere_is_refused(store: &dyn BlobStore) {
        for text in ["../up", "/etc/passwd", "a/../../b", ".aside/x", "a//b", ""] {
            let key = BlobKey(text.to_owned());
            assert!(matches!(store.get(&key).await, Err(BlobError::Refused(_))), "{text}");
            assert!(matches!(store.delete(&key).await, Err(BlobError::Refused(_))), "{text}");
            let put = store.put(&key, Bytes::from_static(b"x"), "text/plain").await;
            assert!(matches!(put, Err(BlobError::Refused(_))), "{text}");
            assert!(matches!(store.link(&key, SystemClock.now(), HOUR).await, Err(BlobError::Refused(_))), "{text}");
        }
    }

    pub(super) async fn a_check_passes_and_leaves_the_blobs_alone(store: &dyn BlobStore) {
        let bytes = Bytes::from_static(b"x");
        let key = key("inputs", &bytes);
        store.put(&key, bytes.clone(), "application/json").await.unwrap();
        store.check().await.unwrap();
        store.check().await.unwrap();
        assert_eq!(store.get(&key).await.unwrap(), Some(bytes));
    }

    pub(super) async fn inputs_of_five_megabytes_arrive_as_a_link_that_downloads_to_the_same_bytes(
        store: &dyn BlobStore,
    ) {
        let text = format!("{{\"q\":  \"{}\"}}", "é\\u00e9x".repeat(500_000));
        let built = built(BatchLimits::default(), &[run_with(1, Some(&text))]);
        for upload in built.uploads {
            store.put(&upload.key, upload.bytes, &upload.mime_type).await.unwrap();
        }
        let body = &built.messages[0].body;
        let mut links = HashMap::new();
        for link in &body.links {
            links.insert(link.key.clone(), store.link(&link.key, SystemClock.now(), HOUR).await.unwrap());
        }
        let sent: serde_json::Value = serde_json::from_slice(&render(body, &links)).unwrap();
        let url = sent["runs"][0]["inputs_s3_urls"]["ROOT"]["presigned_url"].as_str().unwrap();
        let (status, _, bytes) = fetch(Url::parse(url).unwrap()).await;
        assert_eq!(status, StatusCode::OK);
        assert!(bytes == text.as_bytes());
    }

    fn changed(link: &Url, names: &[&str], change: impl Fn(&str) -> String) -> Url {
        let pairs: Vec<(String, String)> = link.query_pairs().into_owned().collect();
        let mut url = link.clone();
        url.query_pairs_mut().clear().extend_pairs(pairs.iter().map(|(name, value)| {
            let value = if names.contains(&name.as_str()) { change(value) } else { value.clone() };
            (name, value)
        }));
        assert_ne!(&url, link);
        url
    }
}

fn files_under(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_under(&path)) } else { files.push(path) }
    }
    files
}

#[tokio::test]
async fn a_directory_holds_nothing_half_written_and_nothing_after_deletion() {
    let root = tempfile::tempdir().unwrap();
    let base = Url::parse("http://127.0.0.1:4710").unwrap();
    let store = Directory::new(root.path().to_owned(), base, keyring());
    std::fs::create_dir(root.path().join(".aside")).unwrap();
    std::fs::write(root.path().join(".aside/0123"), b"half of it").unwrap();
    store.prepare().await.unwrap();
    assert_eq!(files_under(root.path()), Vec::<PathBuf>::new());

    let bytes = Bytes::from_static(b"\x89PNG");
    let key = key("attachment.a", &bytes);
    store.put(&key, bytes.clone(), "image/png").await.unwrap();
    assert_eq!(files_under(root.path()).len(), 2, "the blob and its type");
    store.delete(&key).await.unwrap();
    assert_eq!(files_under(root.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_file_that_a_crash_cut_short_is_written_anew() {
    let root = tempfile::tempdir().unwrap();
    let store = Directory::new(root.path().to_owned(), Url::parse("http://h").unwrap(), keyring());
    let bytes = Bytes::from_static(b"all of it");
    let key = key("inputs", &bytes);
    let path = root.path().join(&key.0);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, b"").unwrap();
    store.put(&key, bytes.clone(), "application/json").await.unwrap();
    assert_eq!(store.get(&key).await.unwrap(), Some(bytes));
}

#[tokio::test]
async fn a_link_of_a_directory_holds_until_its_second_and_over_a_rotation() {
    let now = Timestamp::parse("2026-11-22T08:00:00.9Z").unwrap();
    let base = Url::parse("https://example.com/runhook/").unwrap();
    let root = tempfile::tempdir().unwrap();
    let store = Directory::new(root.path().to_owned(), base.clone(), keyring());
    let key = key("inputs", b"x");
    store.put(&key, Bytes::from_static(b"x"), "application/json").await.unwrap();
    let link = store.link(&key, now, HOUR).await.unwrap();
    let expires = 1_795_338_000;
    assert!(
        link.as_str().starts_with(&format!("https://example.com/runhook/blobs/{}?expires={expires}&sig=", key.0)),
        "{link}"
    );
    let (_, sig) = link.query_pairs().last().unwrap();
    let edge = Timestamp(expires * 1_000_000);
    let verified = |store: &Directory, at| store.verify(&key, expires, &sig, at);
    assert_eq!(verified(&store, edge.before(Duration::from_micros(1))), Ok(()));
    assert_eq!(verified(&store, edge), Err(BadLink::Expired));
    assert_eq!(store.verify(&key, expires + 1, &sig, now), Err(BadLink::Forged));

    let lines = format!("{}\n{}", Keyring::line(2, &[6; 32]).as_str(), Keyring::line(1, &[5; 32]).as_str());
    let rotated = Directory::new(PathBuf::from("unused"), base.clone(), Arc::new(Keyring::parse(&lines).unwrap()));
    assert_eq!(verified(&rotated, now), Ok(()));
    let stranger = Keyring::parse(&Keyring::line(1, &[6; 32])).unwrap();
    let other = Directory::new(PathBuf::from("unused"), base, Arc::new(stranger));
    assert_eq!(verified(&other, now), Err(BadLink::Forged));
}

#[tokio::test]
async fn a_directory_makes_no_link_to_a_blob_that_is_gone() {
    let root = tempfile::tempdir().unwrap();
    let store = Directory::new(root.path().to_owned(), Url::parse("http://h").unwrap(), keyring());
    let key = key("inputs", b"x");
    store.put(&key, Bytes::from_static(b"x"), "application/json").await.unwrap();
    store.link(&key, SystemClock.now(), HOUR).await.unwrap();
    store.delete(&key).await.unwrap();
    let error = store.link(&key, SystemClock.now(), HOUR).await.unwrap_err();
    assert_eq!(error.to_string(), "blob storage refused: the blob is gone");
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_unavailable() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    std::fs::write(&file, b"in the way").unwrap();
    let base = Url::parse("http://h").unwrap();
    assert!(runhook::blob::open(&BlobUrl::Directory(file.clone()), base.clone(), keyring()).await.is_err());
    let store = Directory::new(file, base, keyring());
    let put = store.put(&key("inputs", b"x"), Bytes::from_static(b"x"), "application/json").await;
    assert!(matches!(put, Err(BlobError::Unavailable(_))), "{put:?}");
    assert!(matches!(store.check().await, Err(BlobError::Unavailable(_))));
}

#[tokio::test]
async fn an_s3_server_that_is_not_there_is_unavailable_within_a_bounded_time() {
    let mut settings = S3Server::start().await.settings;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    settings.endpoint = Some(Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap());
    drop(listener);
    let store = S3Blobs::connect(&settings).await;
    let key = key("inputs", b"x");
    let put = store.put(&key, Bytes::from_static(b"x"), "application/json");
    let put = tokio::time::timeout(settings.patience.call, put).await.unwrap();
    assert!(matches!(&put, Err(BlobError::Unavailable(why)) if why.contains("not reached")), "{put:?}");
}

#[tokio::test]
async fn credentials_that_s3_does_not_take_are_refused_and_never_shown() {
    let server = S3Server::start().await;
    let mut stranger = server.settings.clone();
    stranger.credentials.as_mut().unwrap().secret_access_key = "a-wrong-secret".into();
    assert!(!format!("{stranger:?}").contains("a-wrong-secret"));
    let store = S3Blobs::connect(&stranger).await;
    let error = store.check().await.unwrap_err();
    let said = "blob storage refused: the server answered 403 SignatureDoesNotMatch: look at AWS_ACCESS_KEY_ID, ";
    assert!(error.to_string().starts_with(said), "{error}");
    assert!(!format!("{store:?}").contains("a-wrong-secret"));
}

#[tokio::test]
async fn objects_lie_under_the_prefix_and_links_name_the_public_endpoint() {
    let server = S3Server::start().await;
    let mut settings = server.settings.clone();
    let mut public = settings.endpoint.clone().unwrap();
    public.set_host(Some("localhost")).unwrap();
    settings.public_endpoint = Some(public.clone());
    let store = S3Blobs::connect(&settings).await;
    let key = key("inputs", b"x");
    store.put(&key, Bytes::from_static(b"x"), "application/json").await.unwrap();
    assert!(server.root.path().join("runs/a/b").join(&key.0).exists());
    let link = store.link(&key, SystemClock.now(), 30 * 24 * HOUR).await.unwrap();
    assert_eq!(link.host_str(), Some("localhost"));
    assert_eq!(link.port(), public.port());
    let names: Vec<String> = link.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert!(!names.iter().any(|name| name.to_lowercase().contains("checksum")), "{names:?}");
    let lasts = link.query_pairs().find(|(name, _)| name == "X-Amz-Expires").unwrap().1.into_owned();
    assert_eq!(lasts, "604800", "seven days at most");
    assert_eq!(fetch(link).await.0, StatusCode::OK);
}
