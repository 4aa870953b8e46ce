//! Blobs as objects of a bucket, on Amazon S3 or a server that speaks its protocol.
//!
//! Promises: every call ends within [`LONGEST`], and what can be tried again is told apart from what cannot. Checksum
//! headers are sent only where the protocol demands them, because other servers refuse them. Links are presigned, for
//! the public endpoint when there is one, and last seven days at most; with temporary credentials they end with those.
//! A link is made without asking the server, so one to an object that was deleted is made too, and answers 404.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::meta::region::RegionProviderChain;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    self, Credentials, ProvideCredentials as _, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider,
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
use crate::blob::{BlobError, BlobPages, BlobStore, Listed, S3Credentials, S3Settings, key};
use crate::model::run::BlobKey;
use crate::model::time::Timestamp;

/// The longest a call takes, tries included.
pub const LONGEST: Duration = Duration::from_mins(1);

const LONGEST_LINK: Duration = Duration::from_hours(7 * 24);
const DEFAULT_REGION: &str = "us-east-1";

/// A bucket of blobs.
#[derive(Debug, Clone)]
pub struct S3Blobs {
    client: Client,
    signer: Client,
    bucket: String,
    prefix: String,
    credentials: Option<SharedCredentialsProvider>,
}

impl S3Blobs {
    /// Prepares to talk to a bucket. Says nothing yet: [`BlobStore::check`] does.
    pub async fn connect(settings: &S3Settings) -> Result<Self, BlobError> {
        let (builder, credentials) = match &settings.credentials {
            Some(given) => {
                let provider = SharedCredentialsProvider::new(fixed(given));
                let region = settings.region.clone().unwrap_or_else(|| DEFAULT_REGION.to_owned());
                let builder = config::Builder::new()
                    .behavior_version(BehaviorVersion::latest())
                    .region(Region::new(region))
                    .credentials_provider(provider.clone());
                (builder, Some(provider))
            }
            None => from_environment(settings).await,
        };
        let builder = with_habits(builder).force_path_style(settings.path_style);
        let at = |endpoint: Option<&Url>| {
            let mut builder = builder.clone();
            if let Some(url) = endpoint {
                builder.set_endpoint_url(Some(url.as_str().trim_end_matches('/').to_owned()));
            }
            Client::from_conf(builder.build())
        };
        let endpoint = settings.endpoint.as_ref();
        Ok(Self {
            client: at(endpoint),
            signer: at(settings.public_endpoint.as_ref().or(endpoint)),
            bucket: settings.bucket.clone(),
            prefix: settings.prefix.clone(),
            credentials,
        })
    }

    /// When the credentials end, if they are temporary: links signed with them end then too.
    pub async fn credentials_end(&self) -> Result<Option<Timestamp>, BlobError> {
        let Some(provider) = &self.credentials else { return Ok(None) };
        let credentials = provider
            .provide_credentials()
            .await
            .map_err(|error| BlobError::Unavailable(format!("no credentials: {}", innermost(&error))))?;
        Ok(credentials.expiry().map(|at| Timestamp::from_chrono(at.into())))
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
        let config = PresigningConfig::builder()
            .start_time(now.to_chrono().into())
            .expires_in(lasts.min(LONGEST_LINK))
            .build()
            .map_err(|error| BlobError::Refused(error.to_string()))?;
        let request = self.signer.get_object().bucket(&self.bucket).key(self.object(key)?).presigned(config).await;
        let request = request.map_err(|error| reason(&error))?;
        Url::parse(request.uri()).map_err(|error| BlobError::Refused(format!("the link is not a URL: {error}")))
    }

    async fn check(&self) -> Result<(), BlobError> {
        self.store(self.named("runhook-check"), Bytes::new(), "application/octet-stream").await
    }
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

fn with_habits(builder: config::Builder) -> config::Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .read_timeout(Duration::from_secs(15))
        .operation_attempt_timeout(Duration::from_secs(30))
        .operation_timeout(LONGEST)
        .build();
    let retries = RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(200));
    builder
        .timeout_config(timeouts)
        .retry_config(retries.with_max_backoff(Duration::from_secs(5)))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
}

/// What an error means. A server that is overloaded, broken or silent may be tried again; one that answered anything
/// else meant it.
fn reason<E>(error: &SdkError<E, HttpResponse>) -> BlobError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let said = format!("the server answered {status} {}", answer.err().code().unwrap_or("without a code"));
            let again =
                status >= 500 || matches!(status, 408 | 429) || answer.err().code() == Some("RequestTimeTooSkewed");
            if again { BlobError::Unavailable(said) } else { BlobError::Refused(said) }
        }
        SdkError::TimeoutError(_) => BlobError::Unavailable("the server did not answer in time".into()),
        SdkError::ConstructionFailure(_) => {
            BlobError::Refused(format!("no request could be made: {}", innermost(error)))
        }
        _ => BlobError::Unavailable(format!("the server was not reached: {}", innermost(error))),
    }
}

/// The text of the error at the bottom: what happened, without the URLs that wrap it.
fn innermost(error: &(dyn Error + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source()).last().map(ToString::to_string).unwrap_or_default()
}
