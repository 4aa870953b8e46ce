//! The setting that says where blobs live: `dir:PATH`, or `s3://bucket/prefix?endpoint=…&region=…`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

/// Where blobs live.
#[derive(Debug, Clone)]
pub enum BlobUrl {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A bucket.
    S3(Box<S3Settings>),
}

/// A bucket and how to reach it.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// What every object's name begins with, without slashes around it; may be empty.
    pub prefix: String,
    /// The server, when it is not Amazon's.
    pub endpoint: Option<Url>,
    /// The region; without one, the environment's, and `us-east-1` where that names none or the server is not Amazon's.
    pub region: Option<String>,
    /// Credentials; without them, those of the standard environment, profile or instance.
    pub credentials: Option<S3Credentials>,
    /// Whether the bucket is named in the path instead of the host: most servers that are not Amazon's need it.
    pub path_style: bool,
    /// Where receivers reach the server, when that differs from `endpoint`. Links are signed for it.
    pub public_endpoint: Option<Url>,
    /// How long it is waited for.
    pub patience: Patience,
}

/// How long a bucket is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a connection.
    pub connection: Duration,
    /// For the first byte of an answer, from the first byte of the request on.
    pub answer: Duration,
    /// For a whole call, tries included.
    pub call: Duration,
    /// For the call that proves that the bucket can be written.
    pub check: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connection: Duration::from_secs(3),
            answer: Duration::from_secs(15),
            call: Duration::from_mins(1),
            check: Duration::from_secs(10),
        }
    }
}

/// Credentials given to the process itself. `Debug` shows the id only.
#[derive(Debug, Clone)]
pub struct S3Credentials {
    /// The access key's id.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: SecretString,
    /// The session's token, when they are temporary.
    pub session_token: Option<SecretString>,
}

/// The text does not say where blobs live. Never quotes it: it may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the blob URL {reason}; write `dir:PATH` or `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`")]
pub struct InvalidBlobUrl {
    reason: String,
}

impl FromStr for BlobUrl {
    type Err = InvalidBlobUrl;

    fn from_str(text: &str) -> Result<Self, InvalidBlobUrl> {
        match text.trim().split_once(':') {
            Some(("dir", "")) => Err(invalid("names no directory")),
            Some(("dir", path)) => Ok(Self::Directory(PathBuf::from(path))),
            Some(("s3", _)) => s3(text.trim()).map(|settings| Self::S3(Box::new(settings))),
            Some(_) => Err(invalid("has an unknown scheme")),
            None => Err(invalid("has no scheme")),
        }
    }
}

fn s3(text: &str) -> Result<S3Settings, InvalidBlobUrl> {
    let url = Url::parse(text).map_err(|error| invalid(format!("is not a URL ({error})")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(
            "holds credentials, which do not belong there: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ));
    }
    if url.port().is_some() {
        return Err(invalid("has a port after the bucket: name the server with `endpoint`"));
    }
    let bucket = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| invalid("names no bucket"))?.to_owned();
    let prefix = percent_decode_str(url.path().trim_matches('/'))
        .decode_utf8()
        .map_err(|_| invalid("has a prefix that is not UTF-8"))?
        .into_owned();
    let mut settings = S3Settings {
        bucket,
        prefix,
        endpoint: None,
        region: None,
        credentials: None,
        path_style: false,
        public_endpoint: None,
        patience: Patience::default(),
    };
    let mut path_style = None;
    for (name, value) in url.query_pairs() {
        match name.as_ref() {
            "endpoint" => settings.endpoint = Some(server("endpoint", &value)?),
            "public_endpoint" => settings.public_endpoint = Some(server("public_endpoint", &value)?),
            "region" => settings.region = Some(value.into_owned()).filter(|region| !region.is_empty()),
            "path_style" => {
                path_style =
                    Some(value.parse().map_err(|_| invalid("has a `path_style` that is neither `true` nor `false`"))?);
            }
            other => {
                let other: String = other.chars().take(32).collect();
                return Err(invalid(format!(
                    "has an unknown parameter `{other}` (known: endpoint, public_endpoint, region, path_style)"
                )));
            }
        }
    }
    settings.path_style = path_style.unwrap_or(settings.endpoint.is_some());
    Ok(settings)
}

fn server(name: &str, text: &str) -> Result<Url, InvalidBlobUrl> {
    let url = Url::parse(text).map_err(|error| invalid(format!("has a `{name}` that is not a URL ({error})")))?;
    let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if matches!(url.scheme(), "http" | "https") && url.has_host() && bare {
        Ok(url)
    } else {
        Err(invalid(format!("has a `{name}` that is not plainly http(s)://host:port")))
    }
}

fn invalid(reason: impl Into<String>) -> InvalidBlobUrl {
    InvalidBlobUrl { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(text: &str) -> S3Settings {
        match text.parse().unwrap() {
            BlobUrl::S3(settings) => *settings,
            BlobUrl::Directory(path) => panic!("a directory: {}", path.display()),
        }
    }

    #[test]
    fn a_directory_is_named_by_its_path() {
        assert!(
            matches!("dir:./data/blobs".parse(), Ok(BlobUrl::Directory(path)) if path.as_os_str() == "./data/blobs")
        );
        assert!(matches!("dir:/b".parse(), Ok(BlobUrl::Directory(path)) if path.as_os_str() == "/b"));
    }

    #[test]
    fn a_bucket_of_amazon_needs_nothing_more() {
        let settings = bucket("s3://runs/a/b/");
        assert_eq!((settings.bucket.as_str(), settings.prefix.as_str()), ("runs", "a/b"));
        assert!(settings.endpoint.is_none() && settings.region.is_none() && !settings.path_style);
    }

    #[test]
    fn a_bucket_elsewhere_is_addressed_by_path_unless_told_otherwise() {
        let settings =
            bucket("s3://runs?endpoint=http://minio:9000&region=eu-1&public_endpoint=https://s3.example.com");
        assert_eq!(settings.endpoint.unwrap().as_str(), "http://minio:9000/");
        assert_eq!(settings.public_endpoint.unwrap().as_str(), "https://s3.example.com/");
        assert_eq!(settings.region.as_deref(), Some("eu-1"));
        assert!(settings.path_style);
        assert!(!bucket("s3://runs?endpoint=http://minio:9000&path_style=false").path_style);
    }

    #[test]
    fn what_is_wrong_is_said_without_quoting_a_secret() {
        let message = |text: &str| text.parse::<BlobUrl>().unwrap_err().to_string();
        assert!(message("dir:").contains("names no directory"));
        assert!(message("/var/blobs").contains("has no scheme"));
        assert!(message("gs://x").contains("unknown scheme"));
        assert!(message("s3://").contains("names no bucket"));
        assert!(message("s3://b?acl=x").contains("unknown parameter `acl`"));
        assert!(message("s3://b?path_style=yes").contains("`path_style`"));
        assert!(message("s3://b?endpoint=minio:9000").contains("`endpoint`"));
        let secret = message("s3://AKIA:hunter2@bucket/x");
        assert!(secret.contains("AWS_SECRET_ACCESS_KEY") && !secret.contains("hunter2"), "{secret}");
    }
}
