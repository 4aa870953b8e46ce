//! Blobs as objects of a bucket, on Amazon S3 or a server that speaks its protocol.
//!
//! Promises: every call ends within its [`Patience`], and what can be tried again is told apart from what cannot.
//! Checksum headers are sent only where the protocol demands them, because other servers refuse them. Links are
//! presigned, for the public endpoint when there is one, and say the truth about their end: seven days at most, and no
//! later than temporary credentials end. Those are renewed while they are still good, and used to their end when they
//! cannot be. A link is made without asking the server, so one to an object that was deleted is made too, and answers
//! 404.

use std::error::Error;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::meta::region::RegionProviderChain;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    self, Credentials, IdentityCache, ProvideCredentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedCredentialsProvider,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use bytes::Bytes;
use secrecy::ExposeSecret as _;
use url::Url;

use crate::blob::listing::PAGE;
use crate::blob::{BlobError, BlobPages, BlobStore, Listed, Patience, S3Credentials, S3Settings, key};
use crate::model::run::BlobKey;
use crate::model::time::Timestamp;

/// Temporary credentials are renewed this long before they end, or somewhat later.
const RENEWED_BEFORE: Duration = Duration::from_mins(5);

const LONGEST_LINK: Duration = Duration::from_hours(7 * 24);
const DEFAULT_REGION: &str = "us-east-1";

/// A bucket of blobs.
#[derive(Debug, Clone)]
pub struct S3Blobs {
    client: Client,
    signer: Client,
    bucket: String,
    prefix: String,
    check_within: Duration,
    credentials: Arc<Kept>,
}

/// Where credentials come from, and the last that came: good until they end, even if no others come.
#[derive(Debug)]
struct Kept {
    source: Option<SharedCredentialsProvider>,
    last: Mutex<Option<Credentials>>,
}

impl Kept {
    /// When the last credentials end, if they are temporary.
    fn end(&self) -> Option<Timestamp> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().and_then(Credentials::expiry).map(|at| Timestamp::from_chrono(at.into()))
    }
}

impl ProvideCredentials for Kept {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let given = match &self.source {
                Some(source) => source.provide_credentials().await,
                None => Err(CredentialsError::not_loaded("there is no source of credentials")),
            };
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            match (given, last.as_ref()) {
                (Ok(credentials), _) => Ok(last.insert(credentials).clone()),
                (Err(error), Some(credentials)) => {
                    tracing::warn!(error = innermost(&error), "credentials were not renewed; the last ones are used");
                    Ok(credentials.clone())
                }
                (Err(error), None) => Err(error),
            }
        })
    }
}

impl S3Blobs {
    /// Prepares to talk to a bucket. Says nothing yet: [`BlobStore::check`] does.
    pub async fn connect(settings: &S3Settings) -> Self {
        let (builder, source) = match &settings.credentials {
            Some(given) => {
                let region = settings.region.clone().unwrap_or_else(|| DEFAULT_REGION.to_owned());
                let builder =
                    config::Builder::new().behavior_version(BehaviorVersion::latest()).region(Region::new(region));
                (builder, Some(SharedCredentialsProvider::new(fixed(given))))
            }
            None => from_environment(settings).await,
        };
        let credentials = Arc::new(Kept { source, last: Mutex::default() });
        let shared: Arc<dyn ProvideCredentials> = Arc::<Kept>::clone(&credentials);
        let builder = with_habits(builder, settings.patience)
            .identity_cache(IdentityCache::lazy().buffer_time(RENEWED_BEFORE).build())
            .credentials_provider(SharedCredentialsProvider::new(shared))
            .force_path_style(settings.path_style);
        let at = |endpoint: Option<&Url>| {
            let mut builder = builder.clone();
            if let Some(url) = endpoint {
                builder.set_endpoint_url(Some(url.as_str().trim_end_matches('/').to_owned()));
            }
            Client::from_conf(builder.build())
        };
        let endpoint = settings.endpoint.as_ref();
        Self {
            client: at(endpoint),
            signer: at(settings.public_endpoint.as_ref().or(endpoint)),
            bucket: settings.bucket.clone(),
            prefix: settings.prefix.clone(),
            check_within: settings.patience.check,
            credentials,
        }
    }

    async fn presigned(&self, object: &str, now: Timestamp, lasts: Duration) -> Result<Url, BlobError> {
        let config = PresigningConfig::builder()
            .start_time(now.to_chrono().into())
            .expires_in(lasts)
            .build()
            .map_err(|error| BlobError::Refused(error.to_string()))?;
        let request = self.signer.get_object().bucket(&self.bucket).key(object).presigned(config).await;
        let request = request.map_err(|error| reason(&error))?;
        Url::parse(request.uri()).map_err(|error| BlobError::Refused(format!("the link is not a URL: {error}")))
    }

    fn object(&self, key: &BlobKey) -> Result<String, BlobError> {
        if !key::is_valid(key) {
            return Err(BlobError::Refused("the key is not one".into()));
        }
        Ok(self.named(&key.0))
    }

    fn named(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }

    async fn store(&self, object: String, bytes: Bytes, mime_type: &str) -> Result<(), BlobError> {
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(object)
            .content_type(mime_type)
            .body(ByteStream::from(bytes))
            .send()
            .await
            .map_err(|error| reason(&error))?;
        Ok(())
    }
}

#[async_trait]
impl BlobStore for S3Blobs {
    async fn put(&self, key: &BlobKey, bytes: Bytes, mime_type: &str) -> Result<(), BlobError> {
        self.store(self.object(key)?, bytes, mime_type).await
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<Bytes>, BlobError> {
        let answer = self.client.get_object().bucket(&self.bucket).key(self.object(key)?).send().await;
        let object = match answer {
            Ok(object) => object,
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => return Ok(None),
            Err(error) => return Err(reason(&error)),
        };
        let collected = object.body.collect().await;
        collected.map(|body| Some(body.into_bytes())).map_err(|error| BlobError::Unavailable(innermost(&error)))
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        let answer = self.client.delete_object().bucket(&self.bucket).key(self.object(key)?).send().await;
        match answer {
            // Amazon answers 204 for an object that is not there; other servers say so.
            Err(error) if error.code() != Some("NoSuchKey") => Err(reason(&error)),
            _ => Ok(()),
        }
    }

    async fn delete_older(&self, key: &BlobKey, than: Timestamp) -> Result<bool, BlobError> {
        let answer = self.client.head_object().bucket(&self.bucket).key(self.object(key)?).send().await;
        let stored_at = match answer {
            Ok(object) => object.last_modified,
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => return Ok(false),
            Err(error) => return Err(reason(&error)),
        };
        let is_older = stored_at.is_some_and(|at| instant(at) < than);
        if is_older {
            self.delete(key).await?;
        }
        Ok(is_older)
    }

    fn pages(&self) -> Box<dyn BlobPages> {
        Box::new(Objects { blobs: self.clone(), next: Next::First })
    }

    async fn link(&self, key: &BlobKey, now: Timestamp, lasts: Duration) -> Result<Url, BlobError> {
        let (object, lasts) = (self.object(key)?, lasts.min(LONGEST_LINK));
        // Signing asks for credentials first, so that afterwards it is known when they end.
        let link = self.presigned(&object, now, lasts).await?;
        let Some(end) = self.credentials.end().filter(|end| *end < now.after(lasts)) else { return Ok(link) };
        let left = end.since(now);
        if left < Duration::from_secs(1) {
            return Err(BlobError::Unavailable("the temporary credentials have ended and were not renewed".into()));
        }
        tell_of_shorter_links(left);
        self.presigned(&object, now, left).await
    }

    async fn check(&self) -> Result<(), BlobError> {
        let stored = self.store(self.named("runhook-check"), Bytes::new(), "application/octet-stream");
        let late = |_| BlobError::Unavailable(format!("the server did not answer within {:?}", self.check_within));
        tokio::time::timeout(self.check_within, stored).await.map_err(late)?
    }
}

/// Said once: it is so with every role and every instance of a cloud.
fn tell_of_shorter_links(left: Duration) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        let minutes = left.as_secs().div_ceil(60);
        tracing::warn!(minutes, "links to large values end with the temporary credentials, before `link_lasts`");
    });
}

/// The objects under the prefix.
struct Objects {
    blobs: S3Blobs,
    next: Next,
}

/// Where the listing goes on.
enum Next {
    First,
    After(String),
    End,
}

#[async_trait]
impl BlobPages for Objects {
    async fn next(&mut self) -> Result<Option<Vec<Listed>>, BlobError> {
        let after = match &self.next {
            Next::First => None,
            Next::After(token) => Some(token.clone()),
            Next::End => return Ok(None),
        };
        let prefix = self.blobs.named("");
        let request = self.blobs.client.list_objects_v2().bucket(&self.blobs.bucket).prefix(&prefix);
        let request = request.max_keys(i32::try_from(PAGE).unwrap_or(i32::MAX)).set_continuation_token(after);
        let answer = request.send().await.map_err(|error| reason(&error))?;
        let objects = answer.contents.unwrap_or_default().into_iter();
        let listed = objects.filter_map(|object| {
            let key = BlobKey(object.key?.strip_prefix(&prefix)?.to_owned());
            Some(Listed { stored_at: instant(object.last_modified?), key })
        });
        self.next = answer.next_continuation_token.map_or(Next::End, Next::After);
        Ok(Some(listed.filter(|listed| key::is_valid(&listed.key)).collect()))
    }
}

fn instant(at: DateTime) -> Timestamp {
    Timestamp(at.secs().saturating_mul(1_000_000).saturating_add(i64::from(at.subsec_nanos() / 1_000)))
}

fn fixed(given: &S3Credentials) -> Credentials {
    let token = given.session_token.as_ref().map(|token| token.expose_secret().to_owned());
    Credentials::new(&given.access_key_id, given.secret_access_key.expose_secret(), token, None, "runhook")
}

/// The standard chain: environment, profile, web identity, container, instance.
async fn from_environment(settings: &S3Settings) -> (config::Builder, Option<SharedCredentialsProvider>) {
    let given = RegionProviderChain::first_try(settings.region.clone().map(Region::new));
    // Asking an instance for its region takes seconds where there is none, and no other server cares.
    let region = if settings.endpoint.is_some() { given } else { given.or_default_provider() };
    let loaded = aws_config::defaults(BehaviorVersion::latest()).region(region.or_else(DEFAULT_REGION)).load().await;
    (config::Builder::from(&loaded), loaded.credentials_provider())
}

fn with_habits(builder: config::Builder, patience: Patience) -> config::Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(patience.connection)
        .read_timeout(patience.answer)
        .operation_attempt_timeout(patience.answer.saturating_mul(2))
        .operation_timeout(patience.call)
        .build();
    let retries = RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(200));
    builder
        .timeout_config(timeouts)
        .retry_config(retries.with_max_backoff(Duration::from_secs(5)))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
}

/// A single wait or all of them together were too long.
const LATE: &str = "the server did not answer in time";

/// What an error means. A server that is overloaded, broken or silent may be tried again; one that answered anything
/// else meant it.
fn reason<E>(error: &SdkError<E, HttpResponse>) -> BlobError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(lacking) = causes(error).find(|cause| cause.is::<CredentialsError>()) {
        return BlobError::Unavailable(format!("no credentials: {}; {GIVE_CREDENTIALS}", innermost(lacking)));
    }
    match error {
        SdkError::ServiceError(answer) => answered(answer.raw().status().as_u16(), answer.err().code()),
        SdkError::TimeoutError(_) => BlobError::Unavailable(LATE.into()),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => BlobError::Unavailable(LATE.into()),
        SdkError::ConstructionFailure(_) => {
            BlobError::Refused(format!("no request could be made: {}", innermost(error)))
        }
        _ => BlobError::Unavailable(format!("the server was not reached: {}", innermost(error))),
    }
}

const GIVE_CREDENTIALS: &str =
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a profile or a role";

fn answered(status: u16, code: Option<&str>) -> BlobError {
    let mut said = format!("the server answered {status} {}", code.unwrap_or("without a code"));
    if let Some(advice) = advice(status, code) {
        said = format!("{said}: {advice}");
    }
    let passes = matches!(code, Some("RequestTimeTooSkewed" | "ExpiredToken" | "TokenRefreshRequired"));
    let again = status >= 500 || matches!(status, 408 | 429) || passes;
    if again { BlobError::Unavailable(said) } else { BlobError::Refused(said) }
}

/// What to do about an answer.
fn advice(status: u16, code: Option<&str>) -> Option<&'static str> {
    match (status, code) {
        (_, Some("NoSuchBucket")) => Some("make the bucket, or name another in the blob URL"),
        (_, Some("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken")) => {
            Some("look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or at the profile")
        }
        (_, Some("ExpiredToken")) => Some("the temporary credentials have ended and were not renewed"),
        (_, Some("RequestTimeTooSkewed")) => Some("set this machine's clock"),
        (301 | 307, _) | (_, Some("AuthorizationHeaderMalformed" | "PermanentRedirect")) => {
            Some("name the bucket's own region with `region` in the blob URL")
        }
        (403, _) => Some("let these credentials put, get and delete objects under the prefix, and list the bucket"),
        (404, _) => Some("look at the bucket and at `endpoint` in the blob URL"),
        _ => None,
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The text of the error at the bottom: what happened, without the URLs that wrap it.
fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}
